import { shortestFloat32 } from '../../sdk/convert.ts'
import { Unusable } from '../../sdk/no-value.ts'

/** How a few bytes are a value. Integers up to 64 bits; `sfloat` and `float11073` are ISO/IEEE 11073-20601 floats. */
export const VALUE_TYPES = [
  'bool',
  'int8',
  'uint8',
  'int16',
  'uint16',
  'int24',
  'uint24',
  'int32',
  'uint32',
  'int48',
  'uint48',
  'int64',
  'uint64',
  'float32',
  'float64',
  'sfloat',
  'float11073',
  'string',
  'bytes',
] as const
export type ValueType = (typeof VALUE_TYPES)[number]

export interface ValueFormat {
  readonly as: ValueType
  readonly order: 'little' | 'big'
  /** First byte. */
  readonly at: number
  /** Bytes of a string or bytes value; to the end when undefined. */
  readonly length: number | undefined
}

export type Raw = number | bigint | boolean | string | Uint8Array

const SIZES: Readonly<Record<ValueType, number>> = {
  bool: 1,
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int24: 3,
  uint24: 3,
  int32: 4,
  uint32: 4,
  int48: 6,
  uint48: 6,
  int64: 8,
  uint64: 8,
  float32: 4,
  float64: 8,
  sfloat: 2,
  float11073: 4,
  string: 0,
  bytes: 0,
}

export const sizeOf = (as: ValueType): number => SIZES[as]

export const isIntegerType = (as: ValueType): boolean => /^u?int/.test(as)

const strict = new TextDecoder('utf-8', { fatal: true })

/** Reads one value; never throws. */
export function readValue(format: ValueFormat, data: Uint8Array): Raw | Unusable {
  const { as, at, length } = format
  const size = as === 'string' || as === 'bytes' ? (length ?? Math.max(0, data.length - at)) : SIZES[as]
  if (at + size > data.length) {
    return new Unusable('too-short', `the value ends at byte ${at + size}, the payload has ${data.length}`)
  }
  const bytes = Buffer.from(data.buffer, data.byteOffset + at, size)
  if (as === 'string') return readText(bytes)
  if (as === 'bytes') return Uint8Array.from(bytes)
  return readNumber(format, bytes)
}

function readText(bytes: Buffer): string | Unusable {
  const end = bytes.indexOf(0)
  try {
    return strict.decode(end < 0 ? bytes : bytes.subarray(0, end)).trimEnd()
  } catch {
    return new Unusable('not-text', 'the bytes are no UTF-8 text')
  }
}

function readNumber({ as, order }: ValueFormat, bytes: Buffer): number | bigint | boolean | Unusable {
  const big = order === 'big'
  const size = bytes.length
  switch (as) {
    case 'bool':
      return bytes[0] !== 0
    case 'int64':
      return big ? bytes.readBigInt64BE() : bytes.readBigInt64LE()
    case 'uint64':
      return big ? bytes.readBigUInt64BE() : bytes.readBigUInt64LE()
    case 'float32':
      return finite(shortestFloat32(big ? bytes.readFloatBE() : bytes.readFloatLE()))
    case 'float64':
      return finite(big ? bytes.readDoubleBE() : bytes.readDoubleLE())
    case 'sfloat':
      return medical(big ? bytes.readUInt16BE() : bytes.readUInt16LE(), 12, 4)
    case 'float11073':
      return medical(big ? bytes.readUInt32BE() : bytes.readUInt32LE(), 24, 8)
    default:
      if (as.startsWith('u')) return big ? bytes.readUIntBE(0, size) : bytes.readUIntLE(0, size)
      return big ? bytes.readIntBE(0, size) : bytes.readIntLE(0, size)
  }
}

const finite = (value: number): number | Unusable =>
  Number.isFinite(value) ? value : new Unusable('not-a-number', 'the device sent NaN or infinity')

/** Mantissa and power of ten; the five highest mantissas mean infinity, NaN, and "not at this resolution". */
function medical(raw: number, mantissaBits: number, exponentBits: number): number | Unusable {
  const half = 2 ** (mantissaBits - 1)
  const mantissa = raw % 2 ** mantissaBits
  const signed = mantissa >= half ? mantissa - 2 * half : mantissa
  const exponent = Math.floor(raw / 2 ** mantissaBits)
  const power = exponent >= 2 ** (exponentBits - 1) ? exponent - 2 ** exponentBits : exponent
  if (power === 0 && mantissa >= half - 2 && mantissa <= half + 2) {
    return new Unusable('not-available', 'the device says that it has no value')
  }
  return finite(Number(`${signed}e${power}`))
}

/** Bytes of one value, from its first byte on (`at` is not applied); Unusable when it does not fit the type. */
export function writeValue({ as, order, length }: ValueFormat, raw: Raw): Uint8Array | Unusable {
  if (as === 'string' || as === 'bytes') {
    const bytes = typeof raw === 'string' ? Buffer.from(raw, 'utf8') : raw instanceof Uint8Array ? raw : undefined
    if (bytes === undefined) return new Unusable('type', `${String(raw)} is not ${as}`)
    if (length === undefined) return Uint8Array.from(bytes)
    if (bytes.length > length) return new Unusable('range', `${bytes.length} bytes do not fit ${length}`)
    const padded = new Uint8Array(length)
    padded.set(bytes)
    return padded
  }
  const out = Buffer.alloc(SIZES[as])
  const big = order === 'big'
  if (as === 'bool') {
    out[0] = raw === true || raw === 1 ? 1 : 0
    return out
  }
  if (typeof raw !== 'number' && typeof raw !== 'bigint') return new Unusable('type', `${String(raw)} is no number`)
  if (as === 'float32') big ? out.writeFloatBE(Number(raw)) : out.writeFloatLE(Number(raw))
  else if (as === 'float64') big ? out.writeDoubleBE(Number(raw)) : out.writeDoubleLE(Number(raw))
  else if (as === 'sfloat' || as === 'float11073') return new Unusable('type', `${as} cannot be written`)
  else return writeInteger(as, big, out, raw)
  return out
}

function writeInteger(as: ValueType, big: boolean, out: Buffer, raw: number | bigint): Uint8Array | Unusable {
  if (typeof raw === 'number' && !Number.isSafeInteger(raw)) return new Unusable('range', `${raw} is no whole number`)
  const bits = BigInt(out.length * 8)
  const value = BigInt(raw)
  const low = as.startsWith('u') ? 0n : -(1n << (bits - 1n))
  const high = as.startsWith('u') ? (1n << bits) - 1n : (1n << (bits - 1n)) - 1n
  if (value < low || value > high) return new Unusable('range', `${raw} does not fit ${as} (${low} to ${high})`)
  const pattern = BigInt.asUintN(Number(bits), value)
  for (let i = 0; i < out.length; i++) {
    out[big ? out.length - 1 - i : i] = Number((pattern >> BigInt(8 * i)) & 0xffn)
  }
  return out
}
