import { badRequest } from '../http/status.ts'

/** One field of a protobuf message: its number and, by wire type, a number or bytes. */
export interface ProtoField {
  readonly number: number
  readonly value: bigint | Buffer
}

/** Splits a protobuf message into its fields (wire types 0, 1, 2 and 5). Throws 400 when it is cut short or malformed. */
export function readFields(message: Buffer): ProtoField[] {
  const fields: ProtoField[] = []
  let offset = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = message[offset++]
      if (byte === undefined) throw malformed()
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asUintN(64, value)
    }
    throw malformed()
  }
  const bytes = (length: number): Buffer => {
    if (length < 0 || offset + length > message.length) throw malformed()
    offset += length
    return message.subarray(offset - length, offset)
  }
  while (offset < message.length) {
    const tag = varint()
    const number = Number(tag >> 3n)
    switch (Number(tag & 7n)) {
      case 0:
        fields.push({ number, value: varint() })
        break
      case 1:
        fields.push({ number, value: bytes(8) })
        break
      case 2:
        fields.push({ number, value: bytes(Number(varint())) })
        break
      case 5:
        fields.push({ number, value: bytes(4) })
        break
      default:
        throw malformed()
    }
  }
  return fields
}

export function malformed(): Error {
  return badRequest('the body is no well-formed protobuf message')
}
