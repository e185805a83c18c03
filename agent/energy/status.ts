import type { EnergyStatus, PowerStatus, ThermalStatus } from '../../api/schema/power.ts'
import type { WholePower } from './choose.ts'
import type { Ledger } from './ledger.ts'
import type { Sample } from './source.ts'

const MAX_REASON = 250
/** A day of which so little was estimated counts as measured: a counter that was bridged for a second, say. */
const MEASURED_SHARE = 0.99

export function powerStatus(power: WholePower, supply: 'mains' | 'battery' | 'unknown', atMs: number): PowerStatus {
  const { watts, source, by, errorPercent, doubt } = power
  return {
    watts: round(watts, 3),
    source,
    by,
    ...(errorPercent === undefined ? {} : { errorPercent: round(errorPercent, 1) }),
    ...(doubt === undefined ? {} : { reason: doubt.slice(0, MAX_REASON) }),
    supply,
    at: iso(atMs),
  }
}

/** Undefined before anything was booked. */
export function energyStatus(
  ledger: Ledger,
  by: string,
  atMs: number,
  forecast?: { readonly fromMs: number; readonly gPerKWh: readonly number[] },
): EnergyStatus | undefined {
  const { today, sinceBoot } = ledger
  const todayJ = today.measuredJ + today.estimatedJ
  const sinceBootJ = sinceBoot.measuredJ + sinceBoot.estimatedJ
  if (sinceBootJ <= 0) return undefined
  const measured = today.measuredJ >= MEASURED_SHARE * todayJ
  const reason =
    ledger.failure ??
    (today.unknownS >= 1 ? `Of today, ${Math.round(today.unknownS)} s are not known and not counted` : undefined)
  // Of a day only partly covered by a known intensity, the carbon of that part would look like the whole day's.
  const carbon = today.carbonKnownJ >= MEASURED_SHARE * todayJ && todayJ > 0
  return {
    sinceBootJ: round(sinceBootJ, 1),
    todayJ: round(todayJ, 1),
    source: measured ? 'measured' : 'estimated',
    by,
    ...(measured ? {} : { errorPercent: round(today.errorWeight / todayJ, 1) }),
    ...(reason === undefined ? {} : { reason: reason.slice(0, MAX_REASON) }),
    ...(carbon
      ? { todayCarbonG: round(today.carbonG, 3), carbonGPerKWh: round((today.carbonG / todayJ) * 3.6e6, 1) }
      : {}),
    ...(forecast === undefined
      ? {}
      : { carbonForecast: { from: iso(forecast.fromMs), gPerKWh: [...forecast.gPerKWh] } }),
    agentTodayJ: round(today.agentJ, 1),
    at: iso(atMs),
  }
}

/** Undefined on a machine without any sensor: nobody knows its temperature. */
export function thermalStatus(sample: Sample): ThermalStatus | undefined {
  const { temperatures, throttles } = sample
  if (temperatures.length === 0 && throttles.length === 0) return undefined
  const zones = temperatures.map(({ name, celsius }) => ({ name, celsius: round(celsius, 1) }))
  return {
    ...(zones.length === 0 ? {} : { celsius: Math.max(...zones.map(({ celsius }) => celsius)), zones }),
    throttled: throttles.length > 0,
    ...(throttles.length === 0 ? {} : { reasons: throttles.slice(0, 8) }),
    at: iso(sample.time.wallMs),
  }
}

const iso = (atMs: number): string => new Date(atMs).toISOString()

/** The vocabulary is for people and a network; more digits than any sensor has would say nothing. */
export function round(value: number, digits: number): number {
  const factor = 10 ** digits
  return Math.round(value * factor) / factor
}
