/** Protocol Buffers on the wire, without any schema: what a field path in a model and Sparkplug's payload need. */

export class ProtobufError extends Error {}

/** One field as it stands on the wire: a varint, 8 or 4 bytes, or a length and bytes. */
export interface WireField {
  readonly number: number
  readonly kind: 'varint' | 'fixed64' | 'bytes' | 'fixed32'
  /** The varint's value; 0 for the other kinds. */
  readonly varint: bigint
  /** The bytes of the other kinds; empty for a varint. */
  readonly bytes: Uint8Array
}

const EMPTY = new Uint8Array()
const MAX_FIELDS = 100_000

/** The fields in their order. Groups, which nobody uses any more, are refused. */
export function readFields(message: Uint8Array): WireField[] {
  const fields: WireField[] = []
  let at = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = message[at++]
      if (byte === undefined) throw new ProtobufError('the payload ends inside a number')
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asUintN(64, value)
    }
    throw new ProtobufError('a number has more than ten bytes')
  }
  const take = (size: number): Uint8Array => {
    if (size > message.length - at) throw new ProtobufError('the payload ends inside a field')
    at += size
    return message.subarray(at - size, at)
  }
  while (at < message.length) {
    if (fields.length >= MAX_FIELDS) throw new ProtobufError(`more than ${MAX_FIELDS} fields`)
    const key = Number(varint())
    const number = Math.floor(key / 8)
    if (number === 0 || number > 536_870_911) throw new ProtobufError(`there is no field number ${number}`)
    const type = key % 8
    if (type === 0) fields.push({ number, kind: 'varint', varint: varint(), bytes: EMPTY })
    else if (type === 1) fields.push({ number, kind: 'fixed64', varint: 0n, bytes: take(8) })
    else if (type === 2) fields.push({ number, kind: 'bytes', varint: 0n, bytes: take(Number(varint())) })
    else if (type === 5) fields.push({ number, kind: 'fixed32', varint: 0n, bytes: take(4) })
    else throw new ProtobufError(`wire type ${type} is not known`)
  }
  return fields
}

/** Builds a message field by field. */
export class ProtobufWriter {
  readonly #parts: Buffer[] = []

  finish(): Uint8Array {
    return Buffer.concat(this.#parts)
  }

  varint(number: number, value: bigint): this {
    this.#parts.push(varintBytes(BigInt(number * 8)), varintBytes(BigInt.asUintN(64, value)))
    return this
  }

  bool(number: number, value: boolean): this {
    return this.varint(number, value ? 1n : 0n)
  }

  float(number: number, value: number): this {
    const bytes = Buffer.alloc(4)
    bytes.writeFloatLE(value)
    this.#parts.push(varintBytes(BigInt(number * 8 + 5)), bytes)
    return this
  }

  double(number: number, value: number): this {
    const bytes = Buffer.alloc(8)
    bytes.writeDoubleLE(value)
    this.#parts.push(varintBytes(BigInt(number * 8 + 1)), bytes)
    return this
  }

  bytes(number: number, value: Uint8Array): this {
    this.#parts.push(varintBytes(BigInt(number * 8 + 2)), varintBytes(BigInt(value.length)), Buffer.from(value))
    return this
  }

  text(number: number, value: string): this {
    return this.bytes(number, Buffer.from(value))
  }
}

function varintBytes(value: bigint): Buffer {
  const bytes: number[] = []
  let left = value
  while (left >= 0x80n) {
    bytes.push(Number(left & 0x7fn) | 0x80)
    left >>= 7n
  }
  bytes.push(Number(left))
  return Buffer.from(bytes)
}

export const float32 = (bytes: Uint8Array): number => viewOf(bytes).getFloat32(0, true)
export const float64 = (bytes: Uint8Array): number => viewOf(bytes).getFloat64(0, true)
export const uint32 = (bytes: Uint8Array): number => viewOf(bytes).getUint32(0, true)
export const uint64 = (bytes: Uint8Array): bigint => viewOf(bytes).getBigUint64(0, true)

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
