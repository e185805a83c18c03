import type { Json } from '../../../api/resources.ts'
import { type Decoded, fields, malformed, tidy } from './fields.ts'

/** RuuviTag data format 5 (RAWv2), https://docs.ruuvi.com: manufacturer data of company 0x0499. */
export const RUUVI_COMPANY = 0x0499

const LENGTH = 24
const COMPANY_BYTES = 2

export const RUUVI_FIELDS: readonly string[] = [
  'temperature',
  'humidity',
  'pressure',
  'accelerationX',
  'accelerationY',
  'accelerationZ',
  'voltage',
  'txPower',
  'movements',
  'sequence',
]

/**
 * Decodes manufacturer data, company identifier included. Degrees Celsius, per cent, pascal, g, volt, dBm. What the tag
 * marks as not available is left out.
 */
export function decodeRuuvi(manufacturer: Uint8Array): Decoded {
  const data = Buffer.from(manufacturer.buffer, manufacturer.byteOffset, manufacturer.length).subarray(COMPANY_BYTES)
  if (data[0] !== 5) return malformed(`Ruuvi data format ${data[0] ?? 'missing'}, only 5 is known`)
  if (data.length < LENGTH) return malformed(`Ruuvi RAWv2 has ${LENGTH} bytes, this one ${data.length}`)
  const found: [string, Json][] = []
  const put = (name: string, raw: number, absent: number, value: () => number) => {
    if (raw !== absent) found.push([name, tidy(value())])
  }
  const temperature = data.readInt16BE(1)
  const humidity = data.readUInt16BE(3)
  const pressure = data.readUInt16BE(5)
  put('temperature', temperature, -0x8000, () => temperature * 0.005)
  put('humidity', humidity, 0xffff, () => humidity * 0.0025)
  put('pressure', pressure, 0xffff, () => pressure + 50_000)
  for (const [axis, at] of [['X', 7] as const, ['Y', 9] as const, ['Z', 11] as const]) {
    const raw = data.readInt16BE(at)
    put(`acceleration${axis}`, raw, -0x8000, () => raw * 0.001)
  }
  const power = data.readUInt16BE(13)
  put('voltage', power >> 5, 0x7ff, () => (power >> 5) / 1000 + 1.6)
  put('txPower', power & 0x1f, 0x1f, () => (power & 0x1f) * 2 - 40)
  put('movements', data[15]!, 0xff, () => data[15]!)
  const sequence = data.readUInt16BE(16)
  put('sequence', sequence, 0xffff, () => sequence)
  return fields(found)
}
