import { SluiceError } from '../../../api/errors.ts'
import { CborError, type CborValue, decodeCbor, encodeCbor } from './cbor.ts'

/** One SMP packet: 8 bytes of header (big-endian) and a CBOR map. */

export const SMP_HEADER_BYTES = 8

export type SmpOperation = 'read' | 'write'

export interface SmpRequest {
  readonly operation: SmpOperation
  readonly group: number
  readonly command: number
  readonly body: { readonly [field: string]: CborValue }
}

export type SmpFields = { readonly [field: string]: CborValue }

/** `sequence` is 0 to 255; the answer carries the same. Version 2 (`versioned`) names the group of an error. */
export function encodePacket(request: SmpRequest, sequence: number, versioned = true): Uint8Array {
  const body = encodeCbor(request.body)
  const head = Buffer.alloc(SMP_HEADER_BYTES)
  head[0] = (versioned ? 1 << 3 : 0) | (request.operation === 'read' ? 0 : 2)
  head.writeUInt16BE(body.length, 2)
  head.writeUInt16BE(request.group, 4)
  head[6] = sequence
  head[7] = request.command
  return Buffer.concat([head, body])
}

/** Whether a packet answers the request with this sequence number, as far as its header says. */
export function answers(packet: Uint8Array, request: SmpRequest, sequence: number): boolean {
  if (packet.length < SMP_HEADER_BYTES) return false
  const bytes = Buffer.from(packet.buffer, packet.byteOffset, packet.byteLength)
  return (
    ((bytes[0] ?? 0) & 7) === (request.operation === 'read' ? 1 : 3) &&
    bytes.readUInt16BE(4) === request.group &&
    bytes[6] === sequence &&
    bytes[7] === request.command &&
    bytes.readUInt16BE(2) === bytes.length - SMP_HEADER_BYTES
  )
}

/** The fields of an answer. Throws SLUICE_SMP_ANSWER for what is no map. */
export function decodeAnswer(packet: Uint8Array): SmpFields {
  let value: CborValue
  try {
    value = decodeCbor(packet.subarray(SMP_HEADER_BYTES))
  } catch (cause) {
    if (!(cause instanceof CborError)) throw cause
    throw new SluiceError('SLUICE_SMP_ANSWER', `the board's answer is no CBOR: ${cause.message}`, { cause })
  }
  const fields = asFields(value)
  if (fields === undefined) throw new SluiceError('SLUICE_SMP_ANSWER', "the board's answer is no map")
  return fields
}

/** A value as a map, or undefined. */
export function asFields(value: CborValue | undefined): SmpFields | undefined {
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
  return isMap ? Object.fromEntries(Object.entries(value)) : undefined
}
