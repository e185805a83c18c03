import type { Json, ModelProperty, WriteState } from '../resources.ts'
import type { TwinView } from '../views.ts'
import { isBad, type Quality } from './quality.ts'
import { matchesDesired, type Twin, waitReason, writeState } from './twin.ts'

/** Who cannot be heard at the moment. */
export interface Silence {
  /** The device does not answer its gateway. */
  readonly device: boolean
  /** The gateway does not answer the cloud; false at the gateway itself. */
  readonly gateway: boolean
}

export interface VisibleReading {
  readonly value?: Json
  readonly atMs: number
  readonly quality: Quality
  readonly reason?: string
}

/** What a person sees of a property: the last known value, with its time, and the quality of the newest reading. */
export function visibleReading(twin: Twin, silence: Silence): VisibleReading | undefined {
  const { reported, known } = twin
  if (reported === undefined) return undefined
  return {
    ...(known?.value === undefined ? {} : { value: known.value }),
    atMs: (known ?? reported).atMs,
    quality: silence.gateway && !isBad(reported.quality) ? 'stale' : reported.quality,
    ...(reported.reason === undefined ? {} : { reason: reported.reason }),
  }
}

export interface VisibleWrite {
  readonly state: WriteState
  /** Why it is so and what to do, where that is not plain. */
  readonly reason?: string
}

/** How the desired value stands, in words; undefined when nothing is desired. */
export function visibleWrite(
  twin: Twin,
  property: ModelProperty | undefined,
  silence: Silence,
): VisibleWrite | undefined {
  const tolerance = property?.write?.tolerance ?? 0
  const state = writeState(twin, silence.device || silence.gateway, tolerance)
  if (state === undefined) return undefined
  const reason = writeReason(twin, state, tolerance, silence)
  return reason === undefined ? { state } : { state, reason }
}

function writeReason(twin: Twin, state: WriteState, tolerance: number, silence: Silence): string | undefined {
  if (state === 'pending') {
    return silence.gateway ? 'the gateway is away; it is written when it is back' : waitReason(twin)
  }
  const { desired, known, write } = twin
  const drifted =
    state === 'applied' &&
    known?.value !== undefined &&
    known.atMs > (write?.atMs ?? 0) &&
    !matchesDesired(desired!.value, known.value, tolerance)
  return drifted ? 'written, and changed at the device since; set it again to write it again' : write?.reason
}

const iso = (atMs: number): string => new Date(atMs).toISOString()

/** One property as both APIs answer it. */
export function twinView(name: string, twin: Twin, property: ModelProperty | undefined, silence: Silence): TwinView {
  const seen = visibleReading(twin, silence)
  const write = visibleWrite(twin, property, silence)
  const { desired } = twin
  return {
    name,
    ...(seen?.value === undefined ? {} : { value: seen.value }),
    ...(property?.unit === undefined ? {} : { unit: property.unit }),
    ...(seen === undefined ? {} : { at: iso(seen.atMs), quality: seen.quality }),
    ...(seen?.reason === undefined ? {} : { reason: seen.reason }),
    access: property?.access ?? 'read',
    ...(desired === undefined
      ? {}
      : {
          desired: {
            value: desired.value,
            version: desired.version,
            at: iso(desired.atMs),
            ...(desired.by === undefined ? {} : { by: desired.by }),
          },
        }),
    ...(write === undefined ? {} : { state: write.state }),
    ...(write?.reason === undefined ? {} : { stateReason: write.reason }),
  }
}
