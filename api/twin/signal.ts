import type { HeardBy, ReachFacts } from '../link/messages.ts'
import type { DeviceStatus, ModelProperty } from '../resources.ts'
import type { Reported, Twin } from './twin.ts'

/** What a gateway knows of reaching a device. */
export interface ReachFigures extends ReachFacts {
  readonly errorRate?: number
  readonly latencyMs?: number
  /** When it was said; the time of a battery figure that came with it. */
  readonly atMs: number
}

export type DeviceLink = NonNullable<DeviceStatus['link']>
export type DeviceBattery = NonNullable<DeviceStatus['battery']>

/** The twins of a device as whoever holds them has them. */
export type TwinOf = (property: string) => Twin | undefined

/**
 * The link of a device as people see it: what its protocol says, and where that says nothing, what properties with the
 * roles `rssi`, `snr` and `linkQuality` say. Undefined when nothing is known.
 */
export function deviceLink(
  reach: ReachFigures | undefined,
  properties: Iterable<ModelProperty>,
  twinOf: TwinOf,
): DeviceLink | undefined {
  const { errorRate, latencyMs, spreadingFactor, marginDb, gateways, unusable } = reach ?? {}
  let { rssiDbm, snrDb } = reach ?? {}
  let quality: number | undefined
  for (const { name, role } of properties) {
    if (role === 'rssi') rssiDbm ??= knownNumber(twinOf(name))?.value
    else if (role === 'snr') snrDb ??= knownNumber(twinOf(name))?.value
    else if (role === 'linkQuality') quality ??= knownNumber(twinOf(name))?.value
  }
  const link: DeviceLink = {
    ...(errorRate === undefined ? {} : { errorRate: clamp(rounded(errorRate, 1000), 0, 1) }),
    ...(latencyMs === undefined ? {} : { latencyMs: Math.max(0, rounded(latencyMs, 10)) }),
    ...(rssiDbm === undefined ? {} : { rssiDbm: rounded(rssiDbm, 10) }),
    ...(snrDb === undefined ? {} : { snrDb: rounded(snrDb, 10) }),
    ...(spreadingFactor === undefined ? {} : { spreadingFactor }),
    ...(marginDb === undefined ? {} : { marginDb: rounded(marginDb, 10) }),
    ...(gateways === undefined ? {} : { gateways: gateways.map(heardByOf) }),
    ...(quality === undefined ? {} : { quality }),
    ...(unusable === undefined ? {} : { unusable }),
  }
  return Object.keys(link).length === 0 ? undefined : link
}

const heardByOf = ({ id, rssiDbm, snrDb }: HeardBy) => ({
  id,
  ...(rssiDbm === undefined ? {} : { rssiDbm: rounded(rssiDbm, 10) }),
  ...(snrDb === undefined ? {} : { snrDb: rounded(snrDb, 10) }),
})

/** The battery of a device: what its protocol says, else a property with the role `battery`, in per cent. */
export function deviceBattery(
  reach: ReachFigures | undefined,
  properties: Iterable<ModelProperty>,
  twinOf: TwinOf,
): DeviceBattery | undefined {
  if (reach?.batteryPercent !== undefined) return batteryOf(reach.batteryPercent, reach.atMs)
  for (const { name, role } of properties) {
    if (role !== 'battery') continue
    const known = knownNumber(twinOf(name))
    if (known !== undefined) return batteryOf(known.value, known.atMs)
  }
  return undefined
}

const batteryOf = (percent: number, atMs: number): DeviceBattery => ({
  percent: clamp(rounded(percent, 10), 0, 100),
  at: new Date(clamp(atMs, 0, 253_402_300_799_000)).toISOString(),
})

function knownNumber(twin: Twin | undefined): (Reported & { readonly value: number }) | undefined {
  const known = twin?.known
  return typeof known?.value === 'number' && Number.isFinite(known.value) ? { ...known, value: known.value } : undefined
}

/**
 * How much a figure has to move before it is worth a report, a status patch or an event of its own. A signal that is
 * merely noisy stays within; 10 s is the shortest pause between two reports that only figures are the reason for.
 */
export const SIGNAL_DEADBAND = { rssiDbm: 4, snrDb: 3, marginDb: 3, batteryPercent: 1 } as const
export const SIGNAL_EVERY_MS = 10_000

/** Whether the figures moved by more than their noise since they were last told. */
export function figuresMoved(told: ReachFigures | undefined, now: ReachFigures): boolean {
  if (told === undefined) return true
  const { errorRate: rateBefore = 0, latencyMs: latencyBefore = 0 } = told
  const { errorRate = 0, latencyMs = 0 } = now
  if (Math.abs(errorRate - rateBefore) >= 0.05) return true
  if (Math.abs(latencyMs - latencyBefore) >= 0.5 * Math.max(1, latencyBefore)) return true
  if (told.spreadingFactor !== now.spreadingFactor || told.unusable !== now.unusable) return true
  if (told.carry !== now.carry || namesOf(told.gateways) !== namesOf(now.gateways)) return true
  return (['rssiDbm', 'snrDb', 'marginDb', 'batteryPercent'] as const).some((name) => {
    const [before, after] = [told[name], now[name]]
    if (before === undefined || after === undefined) return before !== after
    return Math.abs(after - before) >= SIGNAL_DEADBAND[name]
  })
}

/** Which receivers, whatever their order: how well each hears is noise like that of the best. */
const namesOf = (gateways: readonly HeardBy[] = []): string =>
  gateways
    .map(({ id }) => id)
    .sort()
    .join(' ')

const rounded = (value: number, steps: number): number => Math.round(value * steps) / steps

const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value))
