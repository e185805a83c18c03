import type { GatewayStatus } from './resources.ts'

type Summary = NonNullable<GatewayStatus['summary']>

/** `3h12m`, `45m`, `2d4h`: a time span as `kubectl` shows ages. */
export function spanWords(seconds: number): string {
  const minutes = Math.max(0, Math.round(seconds / 60))
  if (minutes < 60) return `${minutes}m`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`
  return hours % 24 === 0 ? `${hours / 24}d` : `${Math.floor(hours / 24)}d${hours % 24}h`
}

/** Less than a millionth is what is left of sums that were divided, and nothing that was measured. */
const DUST = 1e-6

/** Three digits with a unit: `820mW`, `4.20W`, `12.5W`, `1.20kW`. */
export function scaled(value: number, unit: string): string {
  const size = Math.abs(value)
  if (size >= 1e6) return `${(value / 1e6).toPrecision(3)}M${unit}`
  if (size >= 1000) return `${(value / 1000).toPrecision(3)}k${unit}`
  if (size < DUST) return `0${unit}`
  if (size >= 1) return `${value.toPrecision(3)}${unit}`
  return `${Number((value * 1000).toPrecision(3))}m${unit}`
}

function batteryWords({ battery }: GatewayStatus): string | undefined {
  if (battery === undefined) return undefined
  const percent = battery.percent === undefined ? '' : `${Math.round(battery.percent)}%`
  const { timeToEmpty, timeToFull, state } = battery
  if (state === 'discharging')
    return join(percent, timeToEmpty === undefined ? state : `${spanWords(timeToEmpty.seconds)} left`)
  if (state === 'charging')
    return join(percent, timeToFull === undefined ? state : `full in ${spanWords(timeToFull.seconds)}`)
  return join(percent, state)
}

function powerWords({ power }: GatewayStatus): string | undefined {
  if (power === undefined) return undefined
  const watts = `${power.source === 'estimated' ? '~' : ''}${scaled(power.watts, 'W')}`
  return power.supply === undefined || power.supply === 'unknown' ? watts : join(watts, power.supply)
}

function linkWords({ link, networks }: GatewayStatus): string | undefined {
  const way = networks?.find(({ toHub }) => toHub === true)
  const parts = [
    way?.kind ?? '',
    way?.signalDbm === undefined ? '' : `${Math.round(way.signalDbm)}dBm`,
    link?.roundTripMs === undefined ? '' : `${link.roundTripMs.toFixed(link.roundTripMs < 10 ? 1 : 0)}ms`,
    (link?.lossRatio ?? 0) >= 0.01 ? `${Math.round((link?.lossRatio ?? 0) * 100)}% lost` : '',
    link?.trend === 'degrading' ? 'degrading' : '',
  ]
  const words = join(...parts)
  return words === '' ? undefined : words
}

/** A gateway's battery, power and link in the few words that `kubectl get gateways` has room for; `~` says estimated. */
export function vitalSummary(status: GatewayStatus): Summary | undefined {
  const battery = batteryWords(status)
  const power = powerWords(status)
  const link = linkWords(status)
  const summary: Summary = {
    ...(battery === undefined ? {} : { battery }),
    ...(power === undefined ? {} : { power }),
    ...(link === undefined ? {} : { link }),
  }
  return Object.keys(summary).length === 0 ? undefined : summary
}

const join = (...words: readonly string[]): string =>
  words
    .filter((word) => word !== '')
    .join(' ')
    .slice(0, 64)

/** The same in one line for a terminal: `81% 3h12m left, ~4.25W battery, wifi -61dBm 24ms`, with what a policy does. */
export function vitalLine(status: GatewayStatus): string {
  const { battery, power, link } = vitalSummary(status) ?? {}
  const { stage, paused = 0 } = status.policy ?? {}
  const inForce =
    stage === undefined || stage === 'normal' ? undefined : `stage ${stage}${paused === 0 ? '' : `, ${paused} paused`}`
  const heat = status.thermal?.throttled === true ? 'slowed down' : undefined
  return [battery === undefined ? undefined : `battery ${battery}`, power, link, heat, inForce]
    .filter((word) => word !== undefined)
    .join(', ')
}
