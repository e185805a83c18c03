import type { DeviceView, TwinView } from '../api/views.ts'
import type { Style } from './output.ts'
import { age, type Column, padEnd, padStart, printable, table } from './text.ts'
import { formatValue, shortName, withUnit } from './values.ts'

const COLUMNS: readonly Column[] = [
  { title: 'DEVICE', max: 28 },
  { title: 'PROPERTY', max: 24 },
  { title: 'VALUE', max: 28, flexible: true },
  { title: 'QUALITY', max: 26, flexible: true },
  { title: 'DESIRED', max: 32, flexible: true },
  { title: 'AGE', align: 'right' },
]

/** Twins as an aligned table, one line a property; the device's name stands on its first line only. */
export function deviceTable(
  devices: readonly DeviceView[],
  nowMs: number,
  style: Style,
  width: number,
  floor?: number[],
): string[] {
  const rows = devices.flatMap((device) => deviceRows(device, nowMs, style))
  return table(COLUMNS, rows, width, style.dim, floor)
}

function deviceRows(device: DeviceView, nowMs: number, style: Style): string[][] {
  const name = `${stateMark(device, style)} ${style.bold(printable(shortName(device)))}`
  if (device.twins.length === 0 || device.state === 'invalid') {
    const why = printable(device.reason ?? (device.state === 'invalid' ? 'invalid' : 'no values yet'))
    return [[name, style.dim(device.state), style.dim(why), '', '', '']]
  }
  const units = alignValues(device.twins)
  return device.twins.map((twin, index) => [
    index === 0 ? name : '',
    printable(twin.name),
    units[index]!,
    quality(twin, style),
    desired(twin, style),
    twin.at === undefined ? style.dim('–') : style.dim(age(nowMs - Date.parse(twin.at))),
  ])
}

export const stateMark = (device: Pick<DeviceView, 'state'>, style: Style): string =>
  ({
    online: style.green('●'),
    offline: style.red('●'),
    invalid: style.red('✗'),
    paused: style.dim('‖'),
    unknown: style.dim('○'),
  })[device.state]

/** Numbers right-aligned in front of their units, words left-aligned. */
function alignValues(twins: readonly TwinView[]): string[] {
  const texts = twins.map((twin) => formatValue(twin.value))
  const widest = Math.min(
    12,
    Math.max(0, ...texts.filter((_, i) => typeof twins[i]!.value === 'number').map((t) => t.length)),
  )
  return twins.map((twin, index) => {
    if (typeof twin.value !== 'number') return withUnit(twin)
    return `${padStart(texts[index]!, widest)}${twin.unit === undefined ? '' : ` ${printable(twin.unit)}`}`
  })
}

function quality(twin: TwinView, style: Style): string {
  if (twin.quality === undefined) return style.dim('waiting')
  if (twin.quality === 'good') return style.green('good')
  const code = twin.quality.replace(/^bad\((.*)\)$/, '$1')
  const words = printable(twin.reason === undefined ? code : `${code}: ${twin.reason}`)
  return twin.quality === 'stale' || twin.quality === 'uncertain' ? style.yellow(words) : style.red(words)
}

function desired(twin: TwinView, style: Style): string {
  if (twin.desired === undefined) return twin.access === 'read' ? '' : style.dim('writable')
  const value = formatValue(twin.desired.value)
  const why = twin.stateReason === undefined ? '' : `: ${printable(twin.stateReason)}`
  switch (twin.state) {
    case 'synced':
    case 'applied':
      return `${value} ${style.green(twin.state)}`
    case 'rejected':
    case 'timedOut':
      return `${value} ${style.red(twin.state)}${why}`
    default:
      return `${value} ${style.yellow(twin.state ?? 'pending')}${why}`
  }
}

const receiver = ({ id, rssiDbm }: { readonly id: string; readonly rssiDbm?: number }): string =>
  rssiDbm === undefined ? printable(id) : `${printable(id)} (${rssiDbm} dBm)`

function linkWords({ link = {} }: DeviceView): string {
  const words: string[] = []
  if (link.rssiDbm !== undefined) words.push(`${link.rssiDbm} dBm`)
  if (link.snrDb !== undefined) words.push(`SNR ${link.snrDb} dB`)
  if (link.spreadingFactor !== undefined) words.push(`SF${link.spreadingFactor}`)
  if (link.marginDb !== undefined) words.push(`${link.marginDb} dB to spare`)
  if (link.gateways !== undefined) words.push(`heard by ${link.gateways.map(receiver).join(', ')}`)
  if (link.quality !== undefined) words.push(`quality ${link.quality}`)
  if (link.latencyMs !== undefined) words.push(`answers in ${link.latencyMs} ms`)
  if (link.errorRate !== undefined) words.push(`${Math.round(link.errorRate * 1000) / 10} % errors`)
  if (link.unusable !== undefined) words.push(`${link.unusable} not usable (sluice notices)`)
  return words.join(', ')
}

/** One device with everything known about it, for `device get`. */
export function deviceDetails(device: DeviceView, nowMs: number, style: Style, width: number): string[] {
  const facts: [string, string][] = [
    ['model', printable(device.model)],
    ['gateway', printable(device.gateway ?? '–')],
    [
      'state',
      `${stateMark(device, style)} ${device.state}${device.reason === undefined ? '' : `, ${printable(device.reason)}`}`,
    ],
  ]
  if (device.lastSeen !== undefined) facts.push(['last seen', `${age(nowMs - Date.parse(device.lastSeen))} ago`])
  if (device.staleSince !== undefined) facts.push(['stale since', printable(device.staleSince)])
  const link = linkWords(device)
  if (link !== '') facts.push(['link', link])
  const { percent, at } = device.battery ?? {}
  if (percent !== undefined) {
    facts.push(['battery', `${percent} %${at === undefined ? '' : `, ${age(nowMs - Date.parse(at))} ago`}`])
  }
  return [
    style.bold(printable(shortName(device))),
    ...facts.map(([name, text]) => `  ${style.dim(padEnd(name, 12))}${text}`),
    '',
    ...deviceTable([device], nowMs, style, width),
  ]
}
