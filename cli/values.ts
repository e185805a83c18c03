import type { Json } from '../api/resources.ts'
import type { DeviceView, TwinView } from '../api/views.ts'
import { printable } from './text.ts'

/** A value as a person reads it: numbers without noise digits, text without quotes, the rest as JSON. */
export function formatValue(value: Json | undefined): string {
  if (value === undefined) return '–'
  if (typeof value === 'number') return formatNumber(value)
  if (typeof value === 'string') return printable(value)
  return printable(JSON.stringify(value))
}

/** Six significant digits show every digit of a float32 that means something; whole numbers stay whole. */
function formatNumber(value: number): string {
  if (Number.isInteger(value)) return String(value)
  const short = Number(value.toPrecision(6))
  return Math.abs(short) >= 1e-4 && Math.abs(short) < 1e15 ? String(short) : short.toExponential()
}

export const withUnit = (twin: Pick<TwinView, 'value' | 'unit'>): string =>
  twin.unit === undefined || twin.value === undefined
    ? formatValue(twin.value)
    : `${formatValue(twin.value)} ${printable(twin.unit)}`

/** What a person typed after `=`: JSON where it is JSON, otherwise the text itself. */
export function parseValue(text: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch {
    return text
  }
}

export const keyOf = (device: Pick<DeviceView, 'namespace' | 'name'>): string => `${device.namespace}/${device.name}`

/** `default/meter-1` is shown as `meter-1`. */
export const shortName = (device: Pick<DeviceView, 'namespace' | 'name'>): string =>
  device.namespace === 'default' ? device.name : keyOf(device)
