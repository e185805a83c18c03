import type { Duplex } from 'node:stream'
import { SluiceError, toSluiceError } from '../errors.ts'
import { broken, dataHeader, encodeFrame, FrameReader, RST_STATUS, type SpdyFrame } from './frames.ts'
import { HeaderPacker, HeaderUnpacker, type SpdyHeaders } from './headers.ts'
import { SpdyStream, type StreamWork } from './stream.ts'

export interface SpdyConnectionOptions {
  /** Who opened the connection numbers its streams odd. */
  readonly role: 'client' | 'server'
  /** The other side opened a stream; call `accept` or `destroy` on it. Absent: it may open none. */
  readonly onStream?: (stream: SpdyStream) => void
  /** At a time; more are refused one by one. Default 256. */
  readonly maxStreams?: number
}

/** Pieces of data become frames of at most this, so that streams take turns. */
const MAX_FRAME_DATA_BYTES = 64 * 1024

/** Held while headers are unpacked, before the other side has to wait. */
const MAX_QUEUED_BYTES = 128 * 1024

/**
 * SPDY/3.1 as Kubernetes speaks it: no flow control of its own. A stream nobody reads therefore holds up the
 * connection, once its buffer is full; nothing is thrown away and nothing grows without bound.
 */
export class SpdyConnection {
  /** Resolves when the connection has ended, however. */
  readonly closed: Promise<void>
  readonly #socket: Duplex
  readonly #options: SpdyConnectionOptions
  readonly #reader = new FrameReader()
  readonly #packer = new HeaderPacker()
  readonly #unpacker = new HeaderUnpacker()
  readonly #streams = new Map<number, SpdyStream>()
  readonly #full = new Set<number>()
  readonly #waiting: (() => void)[] = []
  /** Frames behind one whose headers are being unpacked. */
  #queue: SpdyFrame[] | undefined
  #queuedBytes = 0
  /** The connection has ended, and what came before is still being unpacked. */
  #ended: SluiceError | undefined
  #nextStream: number
  #lastStream = 0
  #away = false
  #over = false
  #end = Promise.withResolvers<void>()

  constructor(socket: Duplex, options: SpdyConnectionOptions) {
    this.#socket = socket
    this.#options = options
    this.#nextStream = options.role === 'client' ? 1 : 2
    this.closed = this.#end.promise
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('drain', () => this.#drained())
    socket.on('error', (error) => this.#lost(toSluiceError(error, 'SLUICE_SPDY_LOST')))
    socket.on('end', () => this.#lost(lost()))
    socket.on('close', () => this.#lost(lost()))
  }

  get over(): boolean {
    return this.#over
  }

  /** Streams that are open in at least one direction. */
  get streams(): number {
    return this.#streams.size
  }

  /** Opens a stream; the other side's SYN_REPLY is told by `accepted`. */
  open(headers: SpdyHeaders, fin = false): SpdyStream {
    if (this.#over || this.#away) throw lost()
    const id = this.#nextStream
    this.#nextStream += 2
    const stream = this.#make(id, new Map(headers), fin)
    this.#send({ t: 'synStream', stream: id, block: this.#packer.pack(headers), fin })
    return stream
  }

  /** Says that no more streams will be taken, lets those that are open end, and closes. */
  async close(): Promise<void> {
    if (this.#over) return
    this.#goAway(0)
    this.#endWhenIdle()
    await this.closed
  }

  /** Ends everything at once. */
  destroy(error: SluiceError = lost()): void {
    if (this.#over) return
    this.#finish(error)
    this.#socket.destroy()
  }

  #receive(chunk: Buffer): void {
    if (this.#over) return
    try {
      for (const frame of this.#reader.read(chunk)) {
        if (this.#queue !== undefined) this.#queue.push(frame)
        else this.#take(frame)
        if (this.#over) return
      }
      if (this.#queue !== undefined) this.#queuedBytes += chunk.length
      this.#flow()
    } catch (thrown) {
      this.#break(toSluiceError(thrown))
    }
  }

  #take(frame: SpdyFrame): void {
    switch (frame.t) {
      case 'data': {
        const stream = this.#streams.get(frame.stream)
        // Data that was on its way when a stream was reset is nobody's fault.
        stream?.deliver(frame.data, frame.fin)
        return
      }
      case 'synStream':
      case 'synReply':
      case 'headers':
        this.#unpack(frame)
        return
      case 'rst':
        this.#streams.get(frame.stream)?.reset(frame.status)
        return
      case 'ping':
        // Our own pings would have the parity of our streams; we send none.
        if (frame.id % 2 !== this.#nextStream % 2) this.#send(frame)
        return
      case 'goAway':
        this.#away = true
        this.#endWhenIdle()
        return
      case 'ignored':
        return
    }
  }

  #unpack(frame: Extract<SpdyFrame, { block: Uint8Array }>): void {
    this.#queue = []
    this.#unpacker.unpack(frame.block).then(
      (headers) => this.#unpacked(frame, headers),
      (thrown: unknown) => this.#break(toSluiceError(thrown)),
    )
  }

  #unpacked(frame: Extract<SpdyFrame, { block: Uint8Array }>, headers: Map<string, string>): void {
    if (this.#over) return
    const behind = this.#queue ?? []
    this.#queue = undefined
    try {
      this.#headed(frame, headers)
      while (behind.length > 0 && !this.#over) {
        const next = behind.shift()!
        this.#take(next)
        if (this.#queue !== undefined) {
          ;(this.#queue as SpdyFrame[]).push(...behind)
          return
        }
      }
    } catch (thrown) {
      this.#break(toSluiceError(thrown))
      return
    }
    this.#queuedBytes = 0
    if (this.#ended !== undefined) this.#finish(this.#ended)
    this.#flow()
  }

  #headed(frame: Extract<SpdyFrame, { block: Uint8Array }>, headers: Map<string, string>): void {
    if (frame.t !== 'synStream') {
      const stream = this.#streams.get(frame.stream)
      stream?.replied(headers)
      if (frame.fin) stream?.deliver(new Uint8Array(), true)
      return
    }
    const { onStream, maxStreams = 256 } = this.#options
    const id = frame.stream
    if (id % 2 === this.#nextStream % 2 || id <= this.#lastStream) throw broken(`stream ${id} is out of order`)
    this.#lastStream = id
    if (this.#away || onStream === undefined || this.#streams.size >= maxStreams) {
      this.#send({ t: 'rst', stream: id, status: RST_STATUS.refused })
      return
    }
    const stream = this.#make(id, headers, false)
    if (frame.fin) stream.deliver(new Uint8Array(), true)
    onStream(stream)
  }

  #make(id: number, headers: SpdyHeaders, ended: boolean): SpdyStream {
    const work: StreamWork = {
      reply: (told) => this.#send({ t: 'synReply', stream: id, block: this.#packer.pack(told), fin: false }),
      data: (data, fin, taken) => this.#write(id, data, fin, taken),
      reset: (status) => this.#send({ t: 'rst', stream: id, status }),
      full: (full) => {
        if (full) this.#full.add(id)
        else this.#full.delete(id)
        this.#flow()
      },
      gone: () => {
        this.#streams.delete(id)
        this.#full.delete(id)
        this.#flow()
        if (this.#away) this.#endWhenIdle()
      },
    }
    const stream = new SpdyStream(id, headers, work, ended)
    this.#streams.set(id, stream)
    return stream
  }

  #write(id: number, data: Uint8Array, fin: boolean, taken: () => void): void {
    if (this.#over) {
      taken()
      return
    }
    this.#socket.cork()
    let from = 0
    do {
      const part = data.subarray(from, from + MAX_FRAME_DATA_BYTES)
      from += part.length
      this.#socket.write(dataHeader(id, part.length, fin && from >= data.length))
      if (part.length > 0) this.#socket.write(part)
    } while (from < data.length)
    this.#socket.uncork()
    if (this.#socket.writableNeedDrain) this.#waiting.push(taken)
    else taken()
  }

  #send(frame: Exclude<SpdyFrame, { t: 'ignored' }>): void {
    if (!this.#over) this.#socket.write(encodeFrame(frame))
  }

  #drained(): void {
    for (const taken of this.#waiting.splice(0)) taken()
  }

  #flow(): void {
    if (this.#over) return
    // A queue is short-lived: bytes left in the socket would go with it, should the connection break meanwhile.
    if (this.#full.size > 0 || this.#queuedBytes > MAX_QUEUED_BYTES) this.#socket.pause()
    else this.#socket.resume()
  }

  #goAway(status: number): void {
    if (!this.#over) this.#send({ t: 'goAway', lastStream: this.#lastStream, status })
    this.#away = true
  }

  #endWhenIdle(): void {
    if (!this.#over && this.#streams.size === 0) this.#socket.end(() => this.#socket.destroy())
  }

  #break(error: SluiceError): void {
    if (this.#over) return
    this.#goAway(RST_STATUS.protocolError)
    this.#finish(error)
    this.#socket.end(() => this.#socket.destroy())
  }

  /** A short command says all it has in one piece and closes behind it: that is read to its end. */
  #lost(error: SluiceError): void {
    if (this.#queue === undefined) this.#finish(error)
    else this.#ended ??= error
  }

  #finish(error: SluiceError): void {
    if (this.#over) return
    this.#over = true
    this.#unpacker[Symbol.dispose]()
    for (const stream of [...this.#streams.values()]) stream.cut(error)
    this.#streams.clear()
    this.#drained()
    this.#end.resolve()
  }
}

const lost = () => new SluiceError('SLUICE_SPDY_LOST', 'the connection of a stream has ended')
