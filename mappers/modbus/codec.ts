import { SluiceError } from '../../api/errors.ts'
import type { DeviceIdObject, ModbusRequest, ModbusResponse } from './codec-types.ts'

export type { ModbusRequest, ModbusResponse } from './codec-types.ts'

/** Most items one request may carry (MODBUS Application Protocol V1.1b3, sections 6.1 to 6.17). */
const modbusLimits = {
  readBits: 2000,
  readRegisters: 125,
  writeBits: 1968,
  writeRegisters: 123,
  /** Function 23 has less room to write, its request carries two addresses. */
  readWriteRegisters: 121,
  /** What a tunnelled part and its control byte take (firmware/core/smp-tunnel.h). */
  tunnelBytes: 241,
} as const

/** Longest PDU: 256 bytes of a serial frame less unit and CRC (section 4.1). */
export const maxPduLength = 253

/** Function 43 carries other protocols too; 14 is device identification (section 6.21). */
const meiDeviceIdentification = 14

/** What `decodeResponse` finds: the response, the unit's refusal (`fc` 0), or why it is no answer to this request (`fc` -1). */
export type DecodedResponse =
  | ModbusResponse
  | { readonly fc: 0; readonly exception: number }
  | { readonly fc: -1; readonly mismatch: string }

/** Throws `SLUICE_MODBUS_BOUNDS` where a request breaks the specification's limits. */
export function checkRequest(request: ModbusRequest): void {
  switch (request.fc) {
    case 1:
    case 2:
      checkRange(request.fc, 'coils', request.address, request.count, modbusLimits.readBits)
      return
    case 3:
    case 4:
      checkRange(request.fc, 'registers', request.address, request.count, modbusLimits.readRegisters)
      return
    case 5:
      checkRange(5, 'coils', request.address, 1, 1)
      return
    case 6:
      checkRange(6, 'registers', request.address, 1, 1)
      checkWord(6, request.value)
      return
    case 15:
      checkRange(15, 'coils', request.address, request.values.length, modbusLimits.writeBits)
      return
    case 16:
      checkRange(16, 'registers', request.address, request.values.length, modbusLimits.writeRegisters)
      checkWords(16, request.values)
      return
    case 22:
      checkRange(22, 'registers', request.address, 1, 1)
      checkWord(22, request.and)
      checkWord(22, request.or)
      return
    case 23:
      checkRange(23, 'registers to read', request.readAddress, request.readCount, modbusLimits.readRegisters)
      checkRange(23, 'registers to write', request.writeAddress, request.values.length, modbusLimits.readWriteRegisters)
      checkWords(23, request.values)
      return
    case 43:
      if (!isIntegerIn(request.category, 1, 4) || !isIntegerIn(request.objectId, 0, 255)) {
        throw outOfBounds(43, `category ${request.category} (1 to 4), object ${request.objectId} (0 to 255)`)
      }
      return
    case 65:
      if (!isIntegerIn(request.data.length, 1, modbusLimits.tunnelBytes))
        throw outOfBounds(65, `${request.data.length} bytes, where 1 to ${modbusLimits.tunnelBytes} fit`)
  }
}

/** True for requests that change the unit; only these can be broadcast. */
export function isWrite(request: ModbusRequest): boolean {
  return request.fc === 5 || request.fc === 6 || request.fc === 15 || request.fc === 16 || request.fc === 22
}

/** Bytes of the request's PDU. */
export function requestLength(request: ModbusRequest): number {
  switch (request.fc) {
    case 15:
      return 6 + ((request.values.length + 7) >> 3)
    case 16:
      return 6 + 2 * request.values.length
    case 22:
      return 7
    case 23:
      return 10 + 2 * request.values.length
    case 43:
      return 4
    case 65:
      return 2 + request.data.length
    default:
      return 5
  }
}

/** Writes the PDU of a checked request at `offset` and returns where it ends. */
export function encodeRequest(request: ModbusRequest, target: Uint8Array, offset: number): number {
  let at = offset
  target[at++] = request.fc
  switch (request.fc) {
    case 5:
      at = putWord(target, at, request.address)
      return putWord(target, at, request.value ? 0xff00 : 0)
    case 6:
      at = putWord(target, at, request.address)
      return putWord(target, at, request.value)
    case 15:
      at = putWord(target, at, request.address)
      at = putWord(target, at, request.values.length)
      return putBits(target, at, request.values)
    case 16:
      at = putWord(target, at, request.address)
      at = putWord(target, at, request.values.length)
      return putWords(target, at, request.values)
    case 22:
      at = putWord(target, at, request.address)
      at = putWord(target, at, request.and)
      return putWord(target, at, request.or)
    case 23:
      at = putWord(target, at, request.readAddress)
      at = putWord(target, at, request.readCount)
      at = putWord(target, at, request.writeAddress)
      at = putWord(target, at, request.values.length)
      return putWords(target, at, request.values)
    case 43:
      target[at++] = meiDeviceIdentification
      target[at++] = request.category
      target[at++] = request.objectId
      return at
    case 65:
      target[at++] = request.data.length
      target.set(request.data, at)
      return at + request.data.length
    default:
      at = putWord(target, at, request.address)
      return putWord(target, at, request.count)
  }
}

/**
 * Bytes of the PDU that answers `request` when nothing is refused. For functions 43 and 65 it depends on what has come:
 * `pdu[start, end)` is looked at, and while it cannot be told yet the answer is at least one byte more than is there.
 */
export function responseLength(request: ModbusRequest, pdu: Uint8Array, start: number, end: number): number {
  switch (request.fc) {
    case 1:
    case 2:
      return 2 + ((request.count + 7) >> 3)
    case 3:
    case 4:
      return 2 + 2 * request.count
    case 23:
      return 2 + 2 * request.readCount
    case 22:
      return 7
    case 43:
      return deviceIdLength(pdu, start, end)
    case 65:
      return end - start < 2 ? 3 : 2 + pdu[start + 1]!
    default:
      return 5
  }
}

/**
 * Tells early that bytes cannot be the beginning of an answer to `request`: function, byte count, or the echo of a
 * write differs. `pdu[start, end)` may be cut anywhere. Exceptions to the request pass.
 */
export function couldAnswer(request: ModbusRequest, pdu: Uint8Array, start: number, end: number): boolean {
  if (end <= start) return true
  const fc = pdu[start]!
  if (fc === (request.fc | 0x80)) return end <= start + 1 || pdu[start + 1] !== 0
  if (fc !== request.fc) return false
  switch (request.fc) {
    case 1:
    case 2:
    case 3:
    case 4:
    case 23:
      return end <= start + 1 || pdu[start + 1] === responseLength(request, pdu, start, end) - 2
    case 43:
      return end <= start + 1 || pdu[start + 1] === meiDeviceIdentification
    case 65:
      return end <= start + 1 || isIntegerIn(pdu[start + 1]!, 1, modbusLimits.tunnelBytes)
    default:
      return echoes(request, pdu, start, end)
  }
}

/** Takes the answer in `pdu[start, end)` apart; register and bit bytes are copied, so the buffer may be used again. */
export function decodeResponse(request: ModbusRequest, pdu: Uint8Array, start: number, end: number): DecodedResponse {
  const fc = pdu[start]
  if (end - start === 2 && fc === (request.fc | 0x80)) {
    const exception = pdu[start + 1]!
    return exception === 0 ? mismatch('exception code 0') : { fc: 0, exception }
  }
  if (fc !== request.fc) return mismatch(`function ${fc ?? 'missing'} where ${request.fc} was asked`)
  const expected = responseLength(request, pdu, start, end)
  if (end - start !== expected) return mismatch(`${end - start} bytes where ${expected} were expected`)
  switch (request.fc) {
    case 1:
    case 2:
      if (pdu[start + 1] !== expected - 2) return mismatch(`byte count ${pdu[start + 1]}, not ${expected - 2}`)
      return { fc: request.fc, count: request.count, bits: copyBytes(pdu, start + 2, end) }
    case 3:
    case 4:
    case 23:
      if (pdu[start + 1] !== expected - 2) return mismatch(`byte count ${pdu[start + 1]}, not ${expected - 2}`)
      return { fc: request.fc, registers: copyBytes(pdu, start + 2, end) }
    case 43:
      return decodeDeviceId(pdu, start, end)
    case 65:
      return { fc: 65, data: copyBytes(pdu, start + 2, end) }
    default:
      if (!echoes(request, pdu, start, end)) return mismatch('the echo of the write differs from the write')
      return confirmation(request)
  }
}

/** The response that confirms a write, as the unit would have sent it: what a broadcast resolves with. */
export function confirmation(request: ModbusRequest): ModbusResponse {
  switch (request.fc) {
    case 5:
      return { fc: 5, address: request.address, value: request.value }
    case 6:
      return { fc: 6, address: request.address, value: request.value }
    case 15:
    case 16:
      return { fc: request.fc, address: request.address, count: request.values.length }
    case 22:
      return { fc: 22, address: request.address, and: request.and, or: request.or }
    default:
      throw new SluiceError('SLUICE_MODBUS_BOUNDS', `function ${request.fc} is not a write`)
  }
}

/** Bit `index` (from 0) of a packed coil answer. */
export function bitAt(response: { readonly bits: Uint8Array }, index: number): boolean {
  return ((response.bits[index >> 3] ?? 0) & (1 << (index & 7))) !== 0
}

function echoes(request: ModbusRequest, pdu: Uint8Array, start: number, end: number): boolean {
  switch (request.fc) {
    case 5:
      return wordIs(pdu, start + 1, end, request.address) && wordIs(pdu, start + 3, end, request.value ? 0xff00 : 0)
    case 6:
      return wordIs(pdu, start + 1, end, request.address) && wordIs(pdu, start + 3, end, request.value)
    case 15:
    case 16:
      return wordIs(pdu, start + 1, end, request.address) && wordIs(pdu, start + 3, end, request.values.length)
    case 22:
      return (
        wordIs(pdu, start + 1, end, request.address) &&
        wordIs(pdu, start + 3, end, request.and) &&
        wordIs(pdu, start + 5, end, request.or)
      )
    default:
      return false
  }
}

/** Header: function, MEI type, category, conformity, more follows, next object, number of objects; then id, length, value. */
function deviceIdLength(pdu: Uint8Array, start: number, end: number): number {
  if (end - start < 7) return 7
  let at = start + 7
  for (let left = pdu[start + 6]!; left > 0; left--) {
    if (at + 2 > end) return at + 2 - start
    at += 2 + pdu[at + 1]!
  }
  return at - start
}

function decodeDeviceId(pdu: Uint8Array, start: number, end: number): DecodedResponse {
  if (pdu[start + 1] !== meiDeviceIdentification) return mismatch(`MEI type ${pdu[start + 1]}, not 14`)
  const objects: DeviceIdObject[] = []
  for (let at = start + 7; at < end; at += 2 + pdu[at + 1]!) {
    objects.push({ id: pdu[at]!, value: copyBytes(pdu, at + 2, at + 2 + pdu[at + 1]!) })
  }
  return {
    fc: 43,
    category: pdu[start + 2]!,
    conformity: pdu[start + 3]!,
    moreFollows: pdu[start + 4] === 0xff,
    nextObjectId: pdu[start + 5]!,
    objects,
  }
}

function mismatch(text: string): DecodedResponse {
  return { fc: -1, mismatch: text }
}

/** Buffer's pool makes these small copies several times cheaper than one ArrayBuffer each. */
function copyBytes(source: Uint8Array, start: number, end: number): Uint8Array {
  const copy = Buffer.allocUnsafe(end - start)
  if (end - start > 32) copy.set(source.subarray(start, end))
  else for (let at = start; at < end; at++) copy[at - start] = source[at]!
  return copy
}

function putWord(target: Uint8Array, at: number, value: number): number {
  target[at] = value >> 8
  target[at + 1] = value & 0xff
  return at + 2
}

function putWords(target: Uint8Array, offset: number, values: Uint16Array | readonly number[]): number {
  let at = offset
  target[at++] = 2 * values.length
  for (const value of values) at = putWord(target, at, value)
  return at
}

function putBits(target: Uint8Array, offset: number, values: readonly boolean[]): number {
  const bytes = (values.length + 7) >> 3
  target[offset] = bytes
  target.fill(0, offset + 1, offset + 1 + bytes)
  for (let i = 0; i < values.length; i++) if (values[i]) target[offset + 1 + (i >> 3)]! |= 1 << (i & 7)
  return offset + 1 + bytes
}

/** True also where the word has not come yet. */
function wordIs(pdu: Uint8Array, at: number, end: number, value: number): boolean {
  return (at >= end || pdu[at] === value >> 8) && (at + 1 >= end || pdu[at + 1] === (value & 0xff))
}

function isIntegerIn(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high
}

function checkRange(fc: number, what: string, address: number, count: number, most: number): void {
  if (!isIntegerIn(address, 0, 65_535)) throw outOfBounds(fc, `address ${address} is not 0 to 65535`)
  if (!isIntegerIn(count, 1, most)) throw outOfBounds(fc, `${count} ${what}, where 1 to ${most} fit`)
  if (address + count > 65_536) throw outOfBounds(fc, `${count} ${what} from ${address} go past address 65535`)
}

function checkWord(fc: number, value: number): void {
  if (!isIntegerIn(value, 0, 65_535)) throw outOfBounds(fc, `register value ${value} is not 0 to 65535`)
}

function checkWords(fc: number, values: Uint16Array | readonly number[]): void {
  if (values instanceof Uint16Array) return
  for (const value of values) checkWord(fc, value)
}

function outOfBounds(fc: number, what: string): SluiceError {
  return new SluiceError('SLUICE_MODBUS_BOUNDS', `Modbus function ${fc}: ${what}`, {
    hint: 'Split the request, or correct the address in the device model.',
  })
}
