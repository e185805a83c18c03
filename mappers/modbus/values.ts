import { Unusable } from '../sdk/no-value.ts'
import type { Order, ValueType } from './schema.ts'

/**
 * Registers <-> raw values, before scale, offset and map. Pure.
 *
 * Integers of 64 bits come as `bigint` only where a number could not hold them exactly (beyond 2^53).
 */
export type Raw = number | bigint | string | Uint8Array

export interface ValueFormat {
  readonly as: ValueType
  readonly order: Order
  /** Registers of a string or bytes value. */
  readonly length: number
  readonly stringByte: 'both' | 'high' | 'low'
}

const NOT_BCD = new Unusable('not-bcd', 'a digit of the BCD number is above 9')

/** Reads the raw value whose first register starts at byte `at` of a response (big-endian registers). */
export type RawReader = (view: DataView, at: number) => Raw | Unusable

const REGISTERS: Readonly<Record<ValueType, number>> = {
  bool: 1,
  int8l: 1,
  int8h: 1,
  uint8l: 1,
  uint8h: 1,
  int16: 1,
  uint16: 1,
  int32: 2,
  uint32: 2,
  int64: 4,
  uint64: 4,
  float16: 1,
  float32: 2,
  float64: 4,
  bcd16: 1,
  bcd32: 2,
  string: 0,
  bytes: 0,
}

/** Registers a value takes. */
export const registersOf = (format: Pick<ValueFormat, 'as' | 'length'>): number =>
  REGISTERS[format.as] === 0 ? format.length : REGISTERS[format.as]

export const isInteger = (as: ValueType): boolean => /^(u?int|bcd)/.test(as)

/** Smallest and largest raw number of a type; undefined for text. */
export function rawLimits(as: ValueType): { min: number | bigint; max: number | bigint } | undefined {
  const match = /^(u?)int(\d+)/.exec(as)
  if (match !== null) {
    const bits = Number(match[2])
    if (bits === 64) {
      return match[1] === 'u' ? { min: 0n, max: 2n ** 64n - 1n } : { min: -(2n ** 63n), max: 2n ** 63n - 1n }
    }
    return match[1] === 'u' ? { min: 0, max: 2 ** bits - 1 } : { min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 }
  }
  if (as === 'bool') return { min: 0, max: 1 }
  if (as === 'bcd16') return { min: 0, max: 9999 }
  if (as === 'bcd32') return { min: 0, max: 99_999_999 }
  if (as === 'float16') return { min: -65504, max: 65504 }
  if (as === 'float32') return { min: -3.4028234663852886e38, max: 3.4028234663852886e38 }
  if (as === 'float64') return { min: -Number.MAX_VALUE, max: Number.MAX_VALUE }
  return undefined
}

type Canonical = 'big' | 'big-swap' | 'little' | 'little-swap'
const CANONICAL: Readonly<Record<Order, Canonical>> = {
  big: 'big',
  'big-swap': 'big-swap',
  little: 'little',
  'little-swap': 'little-swap',
  ABCD: 'big',
  CDAB: 'big-swap',
  DCBA: 'little',
  BADC: 'little-swap',
}
export const canonicalOrder = (order: Order): Canonical => CANONICAL[order]

const swapsBytes = (order: Canonical) => order === 'little' || order === 'little-swap'
const swapsWords = (order: Canonical) => order === 'big-swap' || order === 'little'

const scratch = new DataView(new ArrayBuffer(8))

/** Puts `words` registers from `at` into the scratch view, most significant byte first. */
function untangle(view: DataView, at: number, words: number, order: Canonical): void {
  for (let word = 0; word < words; word++) {
    const from = at + 2 * (swapsWords(order) ? words - 1 - word : word)
    scratch.setUint16(word * 2, view.getUint16(from, swapsBytes(order)))
  }
}

export function compileReader(format: ValueFormat): RawReader {
  const order = canonicalOrder(format.order)
  const { as } = format
  if (as === 'string') return textReader(format, order)
  if (as === 'bytes') return (view, at) => registerBytes(view, at, format.length, order)
  const words = REGISTERS[as]
  const read = bigEndianReader(as)
  if (order === 'big' || (words === 1 && !swapsBytes(order))) return read
  return (view, at) => {
    untangle(view, at, words, order)
    return read(scratch, 0)
  }
}

function bigEndianReader(as: ValueType): RawReader {
  switch (as) {
    case 'bool':
      return (view, at) => (view.getUint16(at) === 0 ? 0 : 1)
    case 'int8h':
      return (view, at) => view.getInt8(at)
    case 'int8l':
      return (view, at) => view.getInt8(at + 1)
    case 'uint8h':
      return (view, at) => view.getUint8(at)
    case 'uint8l':
      return (view, at) => view.getUint8(at + 1)
    case 'int16':
      return (view, at) => view.getInt16(at)
    case 'uint16':
      return (view, at) => view.getUint16(at)
    case 'int32':
      return (view, at) => view.getInt32(at)
    case 'uint32':
      return (view, at) => view.getUint32(at)
    case 'int64':
      return (view, at) => joinWords(view.getInt32(at), view.getUint32(at + 4))
    case 'uint64':
      return (view, at) => joinWords(view.getUint32(at), view.getUint32(at + 4))
    case 'float16':
      return (view, at) => float16ToNumber(view.getUint16(at))
    case 'float32':
      return (view, at) => view.getFloat32(at)
    case 'float64':
      return (view, at) => view.getFloat64(at)
    case 'bcd16':
      return (view, at) => bcdToNumber(view.getUint16(at))
    case 'bcd32':
      return (view, at) => bcdToNumber(view.getUint32(at))
    case 'string':
    case 'bytes':
      return () => ''
  }
}

function joinWords(high: number, low: number): number | bigint {
  const value = high * 2 ** 32 + low
  return Number.isSafeInteger(value) ? value : (BigInt(high) << 32n) | BigInt(low)
}

function bcdToNumber(packed: number): number | Unusable {
  let value = 0
  for (let shift = 28; shift >= 0; shift -= 4) {
    const digit = (packed >>> shift) & 15
    if (digit > 9) return NOT_BCD
    value = value * 10 + digit
  }
  return value
}

function numberToBcd(value: number): number {
  let packed = 0
  let rest = value
  for (let shift = 0; rest > 0; shift += 4) {
    packed += (rest % 10) * 2 ** shift
    rest = Math.floor(rest / 10)
  }
  return packed
}

/** IEEE 754 binary16. */
function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  if (exponent === 0) return sign * fraction * 2 ** -24
  return sign * (1024 + fraction) * 2 ** (exponent - 25)
}

function numberToFloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7e00
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  if (size >= 65520) return sign | 0x7c00
  const exponent = Math.max(-14, Math.floor(Math.log2(size)))
  const fraction = roundHalfEven(size * 2 ** (10 - exponent))
  // A fraction of 2048 carries into the exponent, one under 1024 is subnormal: the sum covers both.
  return sign | (((exponent + 14) << 10) + fraction)
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor
}

function registerBytes(view: DataView, at: number, words: number, order: Canonical): Uint8Array {
  const bytes = new Uint8Array(view.buffer.slice(view.byteOffset + at, view.byteOffset + at + words * 2))
  return swapsBytes(order) ? swapPairs(bytes) : bytes
}

function swapPairs(bytes: Uint8Array): Uint8Array {
  for (let i = 0; i + 1 < bytes.length; i += 2) {
    const high = bytes[i]!
    bytes[i] = bytes[i + 1]!
    bytes[i + 1] = high
  }
  return bytes
}

const utf8 = new TextDecoder()

/** Text ends at the first NUL; padding blanks at the end are dropped. Words of a string are never reordered. */
function textReader(format: ValueFormat, order: Canonical): RawReader {
  const { stringByte } = format
  return (view, at) => {
    let bytes = registerBytes(view, at, format.length, order)
    if (stringByte !== 'both') bytes = bytes.filter((_, index) => index % 2 === (stringByte === 'high' ? 0 : 1))
    const end = bytes.indexOf(0)
    return utf8.decode(end < 0 ? bytes : bytes.subarray(0, end)).trimEnd()
  }
}

/** Registers for a raw value, or why it cannot be written. The inverse of the reader. */
export function rawToRegisters(format: ValueFormat, raw: Raw): Uint16Array | Unusable {
  const words = registersOf(format)
  const order = canonicalOrder(format.order)
  if (format.as === 'string' || format.as === 'bytes') return bytesToRegisters(format, raw, words, order)
  if (typeof raw !== 'number' && typeof raw !== 'bigint') return new Unusable('type', 'not a number')
  const limits = rawLimits(format.as)!
  if (Number.isNaN(raw) || raw < limits.min || raw > limits.max) {
    return new Unusable('range', `${raw} does not fit ${format.as} (${limits.min} to ${limits.max})`)
  }
  storeBigEndian(format.as, raw)
  const out = new Uint16Array(words)
  for (let word = 0; word < words; word++) {
    out[swapsWords(order) ? words - 1 - word : word] = scratch.getUint16(word * 2, swapsBytes(order))
  }
  return out
}

function storeBigEndian(as: ValueType, raw: number | bigint): void {
  scratch.setUint16(0, 0)
  const value = Number(raw)
  switch (as) {
    case 'int8h':
    case 'uint8h':
      scratch.setInt8(0, value)
      break
    case 'int8l':
    case 'uint8l':
      scratch.setInt8(1, value)
      break
    case 'bool':
    case 'int16':
    case 'uint16':
      scratch.setUint16(0, value)
      break
    case 'int32':
    case 'uint32':
      scratch.setUint32(0, value)
      break
    case 'int64':
    case 'uint64':
      scratch.setBigUint64(0, BigInt.asUintN(64, BigInt(raw)))
      break
    case 'float16':
      scratch.setUint16(0, numberToFloat16(value))
      break
    case 'float32':
      scratch.setFloat32(0, value)
      break
    case 'float64':
      scratch.setFloat64(0, value)
      break
    case 'bcd16':
      scratch.setUint16(0, numberToBcd(value))
      break
    case 'bcd32':
      scratch.setUint32(0, numberToBcd(value))
      break
  }
}

function bytesToRegisters(format: ValueFormat, raw: Raw, words: number, order: Canonical): Uint16Array | Unusable {
  const bytes = typeof raw === 'string' ? new TextEncoder().encode(raw) : raw
  if (!(bytes instanceof Uint8Array)) return new Unusable('type', `not ${format.as}`)
  const oneByte = format.as === 'string' && format.stringByte !== 'both'
  const room = oneByte ? words : words * 2
  if (bytes.length > room)
    return new Unusable('range', `${bytes.length} bytes do not fit ${words} registers (${room} bytes)`)
  const spread = new Uint8Array(words * 2)
  bytes.forEach((byte, index) => {
    spread[oneByte ? index * 2 + (format.stringByte === 'low' ? 1 : 0) : index] = byte
  })
  if (swapsBytes(order)) swapPairs(spread)
  const view = new DataView(spread.buffer)
  return Uint16Array.from({ length: words }, (_, word) => view.getUint16(word * 2))
}
