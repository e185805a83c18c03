import type { Json } from '../../api/resources.ts'
import { float32, float64, ProtobufError, readFields, type WireField } from './protobuf.ts'

/** Sparkplug B 3.0, section 6.4.16: arrays are packed into bytes, lowest byte first. */
export const ARRAY_TYPE = {
  Int8Array: 22,
  Int16Array: 23,
  Int32Array: 24,
  Int64Array: 25,
  UInt8Array: 26,
  UInt16Array: 27,
  UInt32Array: 28,
  UInt64Array: 29,
  FloatArray: 30,
  DoubleArray: 31,
  BooleanArray: 32,
  StringArray: 33,
  DateTimeArray: 34,
} as const

export type ArrayType = keyof typeof ARRAY_TYPE

interface Element {
  readonly size: number
  readonly read: (view: DataView, at: number) => number
  readonly write: (view: DataView, at: number, value: number) => void
}

const wide = (read: (view: DataView, at: number) => bigint): Element => ({
  size: 8,
  read: (view, at) => Number(read(view, at)),
  write: (view, at, value) => view.setBigInt64(at, BigInt(Math.trunc(value)), true),
})

const ELEMENT: Readonly<Partial<Record<ArrayType, Element>>> = {
  Int8Array: { size: 1, read: (v, at) => v.getInt8(at), write: (v, at, x) => v.setInt8(at, x) },
  UInt8Array: { size: 1, read: (v, at) => v.getUint8(at), write: (v, at, x) => v.setUint8(at, x) },
  Int16Array: { size: 2, read: (v, at) => v.getInt16(at, true), write: (v, at, x) => v.setInt16(at, x, true) },
  UInt16Array: { size: 2, read: (v, at) => v.getUint16(at, true), write: (v, at, x) => v.setUint16(at, x, true) },
  Int32Array: { size: 4, read: (v, at) => v.getInt32(at, true), write: (v, at, x) => v.setInt32(at, x, true) },
  UInt32Array: { size: 4, read: (v, at) => v.getUint32(at, true), write: (v, at, x) => v.setUint32(at, x, true) },
  Int64Array: wide((view, at) => view.getBigInt64(at, true)),
  UInt64Array: wide((view, at) => view.getBigUint64(at, true)),
  DateTimeArray: wide((view, at) => view.getBigInt64(at, true)),
  FloatArray: { size: 4, read: (v, at) => v.getFloat32(at, true), write: (v, at, x) => v.setFloat32(at, x, true) },
  DoubleArray: { size: 8, read: (v, at) => v.getFloat64(at, true), write: (v, at, x) => v.setFloat64(at, x, true) },
}

/** Values that a metric may have beside one number or text, or why there is none of use. */
export type Structured = { readonly value: Json } | { readonly problem: string }

export function decodeArray(type: ArrayType, bytes: Uint8Array): Structured {
  if (type === 'StringArray') return decodeStrings(bytes)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (type === 'BooleanArray') return decodeBooleans(view)
  const { size, read } = ELEMENT[type]!
  if (bytes.length % size !== 0) return { problem: `${bytes.length} bytes are no ${type}` }
  const values = Array.from({ length: bytes.length / size }, (_, index) => read(view, index * size))
  return values.every(Number.isFinite) ? { value: values } : { problem: `an element of the ${type} is not finite` }
}

/** A count of 32 bits, then the bits, highest first. */
function decodeBooleans(view: DataView): Structured {
  const count = view.byteLength < 4 ? Number.NaN : view.getUint32(0, true)
  if (Math.ceil(count / 8) !== view.byteLength - 4) return { problem: `${view.byteLength} bytes are no BooleanArray` }
  return {
    value: Array.from(
      { length: count },
      (_, index) => ((view.getUint8(4 + (index >> 3)) >> (7 - (index & 7))) & 1) === 1,
    ),
  }
}

/** Texts that end in a zero byte each. */
function decodeStrings(bytes: Uint8Array): Structured {
  if (bytes.length === 0) return { value: [] }
  if (bytes.at(-1) !== 0) return { problem: 'the last text of the StringArray does not end' }
  return { value: Buffer.from(bytes.subarray(0, -1)).toString().split('\0') }
}

/** Undefined for elements that the type does not hold. */
export function encodeArray(type: ArrayType, values: readonly Json[]): Uint8Array | undefined {
  if (type === 'StringArray') {
    const texts = values.map((value) => (typeof value === 'string' ? value : JSON.stringify(value)))
    return texts.some((text) => text.includes('\0'))
      ? undefined
      : Buffer.from(texts.map((text) => `${text}\0`).join(''))
  }
  if (type === 'BooleanArray') {
    const bytes = new Uint8Array(4 + Math.ceil(values.length / 8))
    new DataView(bytes.buffer).setUint32(0, values.length, true)
    for (const [index, value] of values.entries()) if (value === true) bytes[4 + (index >> 3)]! |= 0x80 >> (index & 7)
    return values.every((value) => typeof value === 'boolean') ? bytes : undefined
  }
  const { size, write } = ELEMENT[type]!
  const view = new DataView(new ArrayBuffer(values.length * size))
  for (const [index, value] of values.entries()) {
    if (typeof value !== 'number') return undefined
    write(view, index * size, value)
  }
  return new Uint8Array(view.buffer)
}

/**
 * A table as a list of its rows, each an object by the names of the columns (section 6.4.17).
 * @throws ProtobufError when the bytes are no data set.
 */
export function decodeDataSet(bytes: Uint8Array): Structured {
  const columns: string[] = []
  const types: number[] = []
  const rows: Uint8Array[] = []
  for (const field of readFields(bytes)) {
    if (field.number === 2) columns.push(Buffer.from(field.bytes).toString())
    else if (field.number === 3) types.push(...numbersOf(field))
    else if (field.number === 4) rows.push(field.bytes)
  }
  if (new Set(columns).size !== columns.length) return { problem: 'two columns of the data set have one name' }
  const values: Json[] = []
  for (const row of rows) {
    const cells = readFields(row).filter(({ number }) => number === 1)
    if (cells.length !== columns.length) {
      return { problem: `a row of the data set has ${cells.length} cells for ${columns.length} columns` }
    }
    values.push(Object.fromEntries(cells.map(({ bytes: cell }, at) => [columns[at]!, cellOf(cell, types[at])])))
  }
  return { value: values }
}

/** Repeated numbers stand one by one or packed into one field. */
function numbersOf({ kind, varint, bytes }: WireField): number[] {
  if (kind === 'varint') return [Number(varint)]
  const numbers: number[] = []
  let value = 0
  let scale = 1
  for (const byte of bytes) {
    value += (byte & 0x7f) * scale
    scale *= 128
    if (byte >= 0x80) continue
    numbers.push(value)
    value = 0
    scale = 1
  }
  return numbers
}

/** Bits of the integer types by their number; negative for signed ones. */
const CELL_BITS: readonly (number | undefined)[] = [undefined, -8, -16, -32, -64, 8, 16, 32, 64]

/** A cell without a field is null. Not finite is null, too: JSON has no other word for it. */
function cellOf(cell: Uint8Array, type: number | undefined): Json {
  const field = readFields(cell).at(-1)
  switch (field?.number) {
    case 1:
    case 2: {
      const bits = CELL_BITS[type ?? 0]
      if (bits === undefined) return Number(field.varint)
      return Number(bits < 0 ? BigInt.asIntN(-bits, field.varint) : BigInt.asUintN(bits, field.varint))
    }
    case 3:
      return finite(float32(exactly(field, 'fixed32')))
    case 4:
      return finite(float64(exactly(field, 'fixed64')))
    case 5:
      return field.varint !== 0n
    case 6:
      return Buffer.from(field.bytes).toString()
    default:
      return null
  }
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)

function exactly(field: WireField, kind: 'fixed32' | 'fixed64'): Uint8Array {
  if (field.kind === kind) return field.bytes
  throw new ProtobufError(`field ${field.number} is a ${field.kind} on the wire where a ${kind} belongs`)
}
