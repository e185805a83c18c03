import { crc16, lrc8 } from './checksum.ts'
import type { DecodedResponse, ModbusRequest } from './codec.ts'
import { checkRequest, couldAnswer, decodeResponse, encodeRequest, requestLength, responseLength } from './codec.ts'

/** Longest serial frame, in bytes (serial line specification V1.02, section 2.3). */
const maxRtuFrame = 256

/** What `scan` found in the bytes that came. */
type Scan =
  /** A whole, undamaged answer to the request lies in [start, end). */
  | { readonly kind: 'answer'; readonly start: number; readonly end: number; readonly decoded: DecodedResponse }
  /** Bytes that begin like the answer and lack their end. */
  | { readonly kind: 'incomplete' }
  /** As long as the answer and headed like it, but the check sum is wrong. */
  | { readonly kind: 'damaged' }
  | { readonly kind: 'nothing' }

/** RTU and ASCII differ only in how a PDU is wrapped; everything about time is the line's (`session-line.ts`). */
export interface LineFraming {
  readonly name: 'rtu' | 'ascii'
  /** The whole frame to write. Throws `SLUICE_MODBUS_BOUNDS`. */
  encode(unit: number, request: ModbusRequest): Uint8Array
  /** Characters of the undamaged answer (of the longest, for functions 43 and 65). */
  answerChars(request: ModbusRequest): number
  /** Looks for the answer of `unit` to `request` anywhere in `bytes[0, end)`, whatever surrounds it. Never throws. */
  scan(bytes: Uint8Array, end: number, unit: number, request: ModbusRequest): Scan
  /** True when `bytes[0, end)` is one undamaged frame of anybody. */
  isFrame(bytes: Uint8Array, end: number): boolean
}

const incomplete: Scan = { kind: 'incomplete' }
const damaged: Scan = { kind: 'damaged' }
const nothing: Scan = { kind: 'nothing' }

export const rtuFraming: LineFraming = {
  name: 'rtu',

  encode(unit, request) {
    checkRequest(request)
    const frame = new Uint8Array(requestLength(request) + 3)
    frame[0] = unit
    const end = encodeRequest(request, frame, 1)
    const crc = crc16(frame, 0, end)
    frame[end] = crc & 0xff
    frame[end + 1] = crc >> 8
    return frame
  },

  answerChars(request) {
    return request.fc === 43 || request.fc === 65 ? maxRtuFrame : responseLength(request, emptyPdu, 0, 0) + 3
  },

  scan(bytes, end, unit, request) {
    let best: Scan = nothing
    for (let start = 0; start < end; start++) {
      if (bytes[start] !== unit || !couldAnswer(request, bytes, start + 1, end)) continue
      const refused = start + 1 < end && bytes[start + 1]! >= 0x80
      const pduLength = refused ? 2 : responseLength(request, bytes, start + 1, end)
      const frameEnd = start + pduLength + 3
      if (pduLength > maxRtuFrame - 3) continue
      if (frameEnd > end) {
        best = incomplete
        continue
      }
      const crc = crc16(bytes, start, frameEnd - 2)
      if (bytes[frameEnd - 2] === (crc & 0xff) && bytes[frameEnd - 1] === crc >> 8) {
        const decoded = decodeResponse(request, bytes, start + 1, frameEnd - 2)
        if (decoded.fc !== -1) return { kind: 'answer', start, end: frameEnd, decoded }
      }
      if (best.kind === 'nothing') best = damaged
    }
    return best
  },

  isFrame(bytes, end) {
    // The CRC over a frame and its own CRC is 0.
    return end >= 4 && end <= maxRtuFrame && crc16(bytes, 0, end) === 0
  },
}

const colon = 0x3a
const carriageReturn = 0x0d
const lineFeed = 0x0a

export const asciiFraming: LineFraming = {
  name: 'ascii',

  encode(unit, request) {
    checkRequest(request)
    const body = new Uint8Array(requestLength(request) + 2)
    body[0] = unit
    const end = encodeRequest(request, body, 1)
    body[end] = lrc8(body, 0, end)
    return Buffer.from(`:${Buffer.from(body).toString('hex').toUpperCase()}\r\n`, 'latin1')
  },

  answerChars(request) {
    return request.fc === 43 || request.fc === 65 ? 513 : 2 * (responseLength(request, emptyPdu, 0, 0) + 2) + 3
  },

  scan(bytes, end, unit, request) {
    let best: Scan = nothing
    for (let start = 0; start < end; start++) {
      if (bytes[start] !== colon) continue
      const close = frameClose(bytes, start, end)
      if (close < 0) {
        if (close === -1) best = incomplete
        continue
      }
      const body = unhex(bytes, start + 1, close - 2)
      if (body === undefined || lrc8(body, 0, body.length) !== 0) {
        if (best.kind === 'nothing') best = damaged
        continue
      }
      if (body[0] !== unit || !couldAnswer(request, body, 1, body.length - 1)) continue
      const decoded = decodeResponse(request, body, 1, body.length - 1)
      if (decoded.fc !== -1) return { kind: 'answer', start, end: close, decoded }
    }
    return best
  },

  isFrame(bytes, end) {
    if (bytes[0] !== colon || frameClose(bytes, 0, end) !== end) return false
    const body = unhex(bytes, 1, end - 2)
    return body !== undefined && lrc8(body, 0, body.length) === 0
  },
}

const emptyPdu = new Uint8Array(0)

/** End of the frame that begins with the colon at `start`; -1 when it has not come, -2 when another one begins first. */
function frameClose(bytes: Uint8Array, start: number, end: number): number {
  for (let at = start + 1; at < end; at++) {
    if (bytes[at] === colon) return -2
    if (bytes[at] === lineFeed) return bytes[at - 1] === carriageReturn ? at + 1 : -2
  }
  return -1
}

/** Bytes of hexadecimal text, or undefined where it is none or too short for unit, function and check. */
function unhex(bytes: Uint8Array, start: number, end: number): Uint8Array | undefined {
  const length = (end - start) >> 1
  if (length < 3 || (end - start) % 2 !== 0) return undefined
  const out = new Uint8Array(length)
  for (let i = 0; i < length; i++) {
    const high = hexDigit(bytes[start + 2 * i]!)
    const low = hexDigit(bytes[start + 2 * i + 1]!)
    if (high < 0 || low < 0) return undefined
    out[i] = (high << 4) | low
  }
  return out
}

function hexDigit(char: number): number {
  if (char >= 0x30 && char <= 0x39) return char - 0x30
  if (char >= 0x41 && char <= 0x46) return char - 0x37
  return char >= 0x61 && char <= 0x66 ? char - 0x57 : -1
}
