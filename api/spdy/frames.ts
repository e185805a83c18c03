import { SluiceError } from '../errors.ts'

/**
 * Frames of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00, section 2), which Kubernetes speaks between API server, node and
 * `kubectl`. Header blocks stay compressed here; headers.ts reads them.
 */
export type SpdyFrame =
  /** Part of a data frame: large ones come in pieces, so that nothing has to hold them whole. */
  | { readonly t: 'data'; readonly stream: number; readonly data: Uint8Array; readonly fin: boolean }
  | { readonly t: 'synStream'; readonly stream: number; readonly block: Uint8Array; readonly fin: boolean }
  | { readonly t: 'synReply'; readonly stream: number; readonly block: Uint8Array; readonly fin: boolean }
  | { readonly t: 'headers'; readonly stream: number; readonly block: Uint8Array; readonly fin: boolean }
  | { readonly t: 'rst'; readonly stream: number; readonly status: number }
  | { readonly t: 'ping'; readonly id: number }
  | { readonly t: 'goAway'; readonly lastStream: number; readonly status: number }
  /** SETTINGS, WINDOW_UPDATE and unknown types: nobody here has a use for them. */
  | { readonly t: 'ignored'; readonly type: number }

export const RST_STATUS = { protocolError: 1, invalidStream: 2, refused: 3, cancel: 5, internal: 6 } as const
/** A control frame with more is refused: header blocks of Kubernetes have some hundred bytes. */
export const MAX_CONTROL_BYTES = 16 * 1024
const MAX_DATA_BYTES = 0xff_ffff
const CONTROL = 0x8003_0000
const TYPE = { synStream: 1, synReply: 2, rst: 3, settings: 4, ping: 6, goAway: 7, headers: 8, window: 9 } as const
const FIN = 1

export function encodeFrame(frame: Exclude<SpdyFrame, { t: 'ignored' }>): Buffer {
  switch (frame.t) {
    case 'data':
      return Buffer.concat([dataHeader(frame.stream, frame.data.length, frame.fin), frame.data])
    case 'synStream':
      // Stream, associated stream, priority and slot, block.
      return control(TYPE.synStream, frame.fin, [frame.stream, 0], Buffer.concat([Buffer.alloc(2), frame.block]))
    case 'synReply':
      return control(TYPE.synReply, frame.fin, [frame.stream], frame.block)
    case 'headers':
      return control(TYPE.headers, frame.fin, [frame.stream], frame.block)
    case 'rst':
      return control(TYPE.rst, false, [frame.stream, frame.status])
    case 'ping':
      return control(TYPE.ping, false, [frame.id])
    case 'goAway':
      return control(TYPE.goAway, false, [frame.lastStream, frame.status])
  }
}

/** The eight bytes before the data of a frame; at most 16 MiB less one. */
export function dataHeader(stream: number, length: number, fin: boolean): Buffer {
  if (length > MAX_DATA_BYTES) throw broken(`data of ${length} bytes do not fit into a frame`)
  const header = Buffer.allocUnsafe(8)
  header.writeUInt32BE(stream, 0)
  header.writeUInt32BE((fin ? FIN << 24 : 0) + length, 4)
  return header
}

function control(type: number, fin: boolean, words: readonly number[], rest: Uint8Array = new Uint8Array()): Buffer {
  const length = words.length * 4 + rest.length
  if (length > MAX_CONTROL_BYTES) throw broken(`a control frame of ${length} bytes is too long`)
  const frame = Buffer.allocUnsafe(8 + length)
  frame.writeUInt32BE(CONTROL + type, 0)
  frame.writeUInt32BE((fin ? FIN << 24 : 0) + length, 4)
  for (const [index, word] of words.entries()) frame.writeUInt32BE(word >>> 0, 8 + 4 * index)
  frame.set(rest, 8 + words.length * 4)
  return frame
}

/** Reads frames from bytes cut anywhere. Throws SLUICE_SPDY_BROKEN; then the connection is of no more use. */
export class FrameReader {
  #held: Buffer = Buffer.alloc(0)
  /** Of a data frame whose header was read: what is still to come. */
  #data: { stream: number; left: number; fin: boolean } | undefined;

  *read(chunk: Uint8Array): Generator<SpdyFrame> {
    let bytes = this.#held.length === 0 ? asBuffer(chunk) : Buffer.concat([this.#held, chunk])
    this.#held = Buffer.alloc(0)
    while (bytes.length > 0) {
      if (this.#data !== undefined) {
        const { stream, left, fin } = this.#data
        const data = bytes.subarray(0, left)
        bytes = bytes.subarray(data.length)
        this.#data = data.length < left ? { stream, left: left - data.length, fin } : undefined
        yield { t: 'data', stream, data, fin: fin && this.#data === undefined }
        continue
      }
      if (bytes.length < 8) break
      const first = bytes.readUInt32BE(0)
      const length = bytes.readUInt32BE(4) & 0xff_ffff
      const fin = ((bytes[4] ?? 0) & FIN) !== 0
      if (first < 0x8000_0000) {
        bytes = bytes.subarray(8)
        if (length > 0) this.#data = { stream: first, left: length, fin }
        else yield { t: 'data', stream: first, data: bytes.subarray(0, 0), fin }
        continue
      }
      if ((first & 0x7fff_0000) >>> 16 !== 3) throw broken('a frame is of another version than 3')
      if (length > MAX_CONTROL_BYTES) throw broken(`a control frame has ${length} bytes`)
      if (bytes.length < 8 + length) break
      yield controlFrame(first & 0xffff, fin, bytes.subarray(8, 8 + length))
      bytes = bytes.subarray(8 + length)
    }
    // A copy: what is left of a large chunk must not keep all of it in memory.
    this.#held = Buffer.from(bytes)
  }
}

function controlFrame(type: number, fin: boolean, body: Buffer): SpdyFrame {
  const word = (index: number): number => {
    if (body.length < 4 * index + 4) throw broken(`a frame of type ${type} is too short`)
    return body.readUInt32BE(4 * index) & 0x7fff_ffff
  }
  switch (type) {
    case TYPE.synStream:
      if (body.length < 10) throw broken('SYN_STREAM is too short')
      return { t: 'synStream', stream: word(0), block: Buffer.from(body.subarray(10)), fin }
    case TYPE.synReply:
      return { t: 'synReply', stream: word(0), block: Buffer.from(body.subarray(4)), fin }
    case TYPE.headers:
      return { t: 'headers', stream: word(0), block: Buffer.from(body.subarray(4)), fin }
    case TYPE.rst:
      return { t: 'rst', stream: word(0), status: word(1) }
    case TYPE.ping:
      if (body.length < 4) throw broken('PING is too short')
      return { t: 'ping', id: body.readUInt32BE(0) }
    case TYPE.goAway:
      return { t: 'goAway', lastStream: word(0), status: body.length < 8 ? 0 : word(1) }
    default:
      return { t: 'ignored', type }
  }
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

export const broken = (message: string): SluiceError =>
  new SluiceError('SLUICE_SPDY_BROKEN', `the other side breaks SPDY/3.1: ${message}`, {
    hint: 'Check that what connects is kubectl, an API server or a container runtime.',
  })
