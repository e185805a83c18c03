import { splitKey } from '../../api/resources.ts'
import type { Reported } from '../../api/twin/twin.ts'
import { writeState } from '../../api/twin/twin.ts'
import type { DeviceView, TwinView } from '../../api/views.ts'
import type { DeviceState, PropertyState } from './device-state.ts'

export function deviceState(device: DeviceState): DeviceView['state'] {
  if (device.spec.paused === true) return 'paused'
  if (device.problem !== undefined) return 'invalid'
  if (device.reach === undefined) return 'unknown'
  return device.reach.online ? 'online' : 'offline'
}

export function deviceView(device: DeviceState, gateway: string): DeviceView {
  const state = deviceState(device)
  const reason = state === 'invalid' ? device.problem : state === 'offline' ? device.reach?.reason : undefined
  const names = device.model?.properties.map(({ name }) => name) ?? [...device.properties.keys()]
  return {
    ...splitKey(device.key),
    model: device.spec.model,
    gateway,
    state,
    ...(reason === undefined ? {} : { reason }),
    ...(device.lastSeenMs === undefined ? {} : { lastSeen: iso(device.lastSeenMs) }),
    ...(state === 'offline' ? { staleSince: iso(device.reach!.atMs) } : {}),
    twins: names.map((name) => twinView(device.properties.get(name)!, state === 'offline')),
  }
}

function twinView(property: PropertyState, sourceSilent: boolean): TwinView {
  const { definition, twin } = property
  const { desired, write } = twin
  const state = writeState(twin, sourceSilent, definition?.write?.tolerance)
  return {
    name: property.name,
    ...readingView(twin.reported, twin.known),
    ...(definition?.unit === undefined ? {} : { unit: definition.unit }),
    access: definition?.access ?? 'read',
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
    ...(state === undefined ? {} : { state }),
    ...(write?.reason !== undefined && state === write.state ? { stateReason: write.reason } : {}),
  }
}

/** The last known value stays visible beside the quality of the newest reading; `at` is the time of the value. */
function readingView(reported: Reported | undefined, known: Reported | undefined): Partial<TwinView> {
  if (reported === undefined) return {}
  return {
    ...(known?.value === undefined ? {} : { value: known.value }),
    at: iso((known ?? reported).atMs),
    quality: reported.quality,
    ...(reported.reason === undefined ? {} : { reason: reported.reason }),
  }
}

const iso = (atMs: number): string => new Date(atMs).toISOString()
