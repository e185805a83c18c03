import type { Json } from '../../api/resources.ts'
import type { ValueType } from './schema.ts'

const SIZES: Readonly<Record<Exclude<ValueType, 'string' | 'bytes'>, number>> = {
  bool: 1,
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int24: 3,
  uint24: 3,
  int32: 4,
  uint32: 4,
  float32: 4,
  float64: 8,
}

/** Bytes a value takes; `length` counts for text and bytes only. */
export const sizeOf = (as: ValueType, length = 1): number => (as === 'string' || as === 'bytes' ? length : SIZES[as])

/** The raw number at `start`. The caller has checked that it is inside. */
export function readRaw(bytes: Uint8Array, start: number, as: ValueType, little: boolean): number {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (as) {
    case 'bool':
      return view[start] === 0 ? 0 : 1
    case 'float32':
      return little ? view.readFloatLE(start) : view.readFloatBE(start)
    case 'float64':
      return little ? view.readDoubleLE(start) : view.readDoubleBE(start)
    default: {
      const size = sizeOf(as)
      if (as.startsWith('uint')) return little ? view.readUIntLE(start, size) : view.readUIntBE(start, size)
      return little ? view.readIntLE(start, size) : view.readIntBE(start, size)
    }
  }
}

/** The bytes of a raw value, or in words why there are none. Integers are rounded. */
export function bytesOf(as: ValueType, raw: Json, little: boolean): Buffer | string {
  if (as === 'string') return typeof raw === 'string' ? Buffer.from(raw, 'utf8') : 'text is needed'
  if (as === 'bytes') return typeof raw === 'string' ? Buffer.from(raw, 'base64') : 'bytes in base64 are needed'
  const number = typeof raw === 'boolean' ? Number(raw) : raw
  if (typeof number !== 'number' || !Number.isFinite(number)) return `${JSON.stringify(raw)} is no number`
  const size = SIZES[as]
  const out = Buffer.alloc(size)
  if (as === 'float32') {
    if (little) out.writeFloatLE(number)
    else out.writeFloatBE(number)
    return out
  }
  if (as === 'float64') {
    if (little) out.writeDoubleLE(number)
    else out.writeDoubleBE(number)
    return out
  }
  const whole = Math.round(number)
  const signed = as.startsWith('int')
  const low = signed ? -(2 ** (8 * size - 1)) : 0
  const high = as === 'bool' ? 1 : signed ? 2 ** (8 * size - 1) - 1 : 2 ** (8 * size) - 1
  if (whole < low || whole > high) return `${whole} does not fit ${as} (${low} to ${high})`
  const unsigned = whole < 0 ? whole + 2 ** (8 * size) : whole
  if (little) out.writeUIntLE(unsigned, 0, size)
  else out.writeUIntBE(unsigned, 0, size)
  return out
}
