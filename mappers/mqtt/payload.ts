import type { Json } from '../../api/resources.ts'
import { float32, float64, ProtobufError, readFields, uint32, uint64, type WireField } from '../sdk/protobuf.ts'
import { CborError, decodeCbor } from './cbor.ts'
import type { Step } from './path.ts'
import { valueAt } from './path.ts'
import type { Format, Wire } from './schema.ts'

/** Why a payload gives no value. The code becomes the reading's quality: `bad(payload-format)`. */
export interface PayloadProblem {
  readonly code: 'payload-format' | 'payload-missing' | 'payload-type' | 'payload-size'
  readonly reason: string
}

export type Extracted = { readonly raw: Json } | { readonly problem: PayloadProblem }

/** Beyond this no payload is decoded: what a device says in a megabyte is no reading. */
const MAX_DECODED_BYTES = 256 * 1024

/** One message, decoded at most once a format however many properties read it. */
export class Payload {
  readonly bytes: Uint8Array
  #json: Extracted | undefined
  #cbor: Extracted | undefined
  #text: string | undefined

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  get text(): string {
    return (this.#text ??= Buffer.from(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength).toString())
  }

  /** The raw value at `path` in the given format; `payload-missing` when the path leads nowhere. */
  extract(format: Format, path: readonly Step[], wire: Wire): Extracted {
    if (this.bytes.length > MAX_DECODED_BYTES) {
      const reason = `the payload has ${this.bytes.length} bytes, at most ${MAX_DECODED_BYTES} are decoded`
      return { problem: { code: 'payload-size', reason } }
    }
    if (format === 'json') return at((this.#json ??= this.#decode('JSON', () => JSON.parse(this.text) as Json)), path)
    if (format === 'cbor') return at((this.#cbor ??= this.#decode('CBOR', () => decodeCbor(this.bytes))), path)
    if (format === 'protobuf') return protobufAt(this.bytes, path, wire)
    if (format === 'bytes') return { raw: Buffer.from(this.bytes).toString('base64') }
    const raw = this.text.trim()
    return { raw }
  }

  #decode(name: string, decode: () => Json): Extracted {
    try {
      return { raw: decode() }
    } catch (error) {
      const why = error instanceof CborError ? `: ${error.message}` : ''
      return { problem: { code: 'payload-format', reason: `the payload is no ${name}${why}: ${this.#shown()}` } }
    }
  }

  /** The beginning of the payload, for a person. */
  #shown(): string {
    return JSON.stringify(Buffer.from(this.bytes.subarray(0, 40)).toString('latin1'))
  }
}

function at(decoded: Extracted, path: readonly Step[]): Extracted {
  if ('problem' in decoded || path.length === 0) return decoded
  const raw = valueAt(decoded.raw, path)
  return raw === undefined ? missing(path) : { raw }
}

const missing = (path: readonly Step[]): Extracted => ({
  problem: { code: 'payload-missing', reason: `there is no '${path.join('.')}' in the payload` },
})

/** Steps are field numbers; a number in brackets picks one of a repeated field, else the last one counts (as proto3 says). */
function protobufAt(bytes: Uint8Array, path: readonly Step[], wire: Wire): Extracted {
  try {
    let message = bytes
    for (let index = 0; index < path.length; index++) {
      const number = Number(path[index])
      const fields = readFields(message).filter((field) => field.number === number)
      const next = path[index + 1]
      const picked = typeof next === 'number' ? fields[next] : fields.at(-1)
      if (typeof next === 'number') index++
      if (picked === undefined) return missing(path)
      if (index === path.length - 1) return wireValue(picked, wire)
      if (picked.kind !== 'bytes') {
        return { problem: { code: 'payload-type', reason: `field ${number} is no message` } }
      }
      message = picked.bytes
    }
    return missing(path)
  } catch (error) {
    const why = error instanceof ProtobufError ? error.message : String(error)
    return { problem: { code: 'payload-format', reason: `the payload is no protobuf message: ${why}` } }
  }
}

const KIND: Readonly<Record<Wire, WireField['kind']>> = {
  uint: 'varint',
  int: 'varint',
  sint: 'varint',
  bool: 'varint',
  float: 'fixed32',
  fixed32: 'fixed32',
  sfixed32: 'fixed32',
  double: 'fixed64',
  fixed64: 'fixed64',
  sfixed64: 'fixed64',
  string: 'bytes',
  bytes: 'bytes',
}

function wireValue({ kind, varint, bytes }: WireField, wire: Wire): Extracted {
  if (kind !== KIND[wire]) {
    return { problem: { code: 'payload-type', reason: `the field is a ${kind} on the wire, which is no ${wire}` } }
  }
  switch (wire) {
    case 'uint':
      return { raw: Number(varint) }
    case 'int':
      return { raw: Number(BigInt.asIntN(64, varint)) }
    case 'sint':
      return { raw: Number(BigInt.asIntN(64, (varint >> 1n) ^ -(varint & 1n))) }
    case 'bool':
      return { raw: varint !== 0n }
    case 'float':
      return number(float32(bytes))
    case 'fixed32':
      return { raw: uint32(bytes) }
    case 'sfixed32':
      return { raw: uint32(bytes) | 0 }
    case 'double':
      return number(float64(bytes))
    case 'fixed64':
      return { raw: Number(uint64(bytes)) }
    case 'sfixed64':
      return { raw: Number(BigInt.asIntN(64, uint64(bytes))) }
    case 'string':
      return { raw: Buffer.from(bytes).toString() }
    case 'bytes':
      return { raw: Buffer.from(bytes).toString('base64') }
  }
}

const number = (value: number): Extracted =>
  Number.isFinite(value) ? { raw: value } : { problem: { code: 'payload-type', reason: `${value} is no number` } }
