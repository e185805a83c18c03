import { Duplex } from 'node:stream'
import { type Clock, systemClock, type Timer } from '../clock.ts'
import { SluiceError, toSluiceError } from '../errors.ts'
import type { Json } from '../resources.ts'
import {
  decodeMessage,
  encodeControl,
  encodeData,
  MAX_STREAM_CHUNK_BYTES,
  type StreamControl,
  type StreamMessage,
} from './streams.ts'

/** The connection below a stream; a WebSocket in production. */
export interface StreamSocket {
  /** `sent` is called when the network took it, or the connection ended. */
  send(message: Uint8Array | string, sent: () => void): void
  /** Bytes accepted by `send` that the network has not taken yet. */
  readonly bufferedBytes: number
  /** Stops and resumes reading, so that TCP slows the other side down. */
  pause(): void
  resume(): void
  /** Sends what is queued, then closes. */
  close(): void
  /** Asks whether the other side is there; an answer is told as `heard`. */
  ping(): void
}

/** Above this a writer has to wait until the network took some. */
const FULL_BYTES = 512 * 1024
/** What a reader that does not read lets come in, for each channel. */
const CHANNEL_BYTES = 256 * 1024
const PING_MS = 15_000
/** Pings without any sign of life before the other side is taken for gone. */
const SILENT_PINGS = 3
/** A stream on which nothing moved for this long is ended, as a kubelet does it (streamingConnectionIdleTimeout). */
const IDLE_MS = 4 * 3_600_000

/**
 * One side of a stream, the same on both: channels are Duplexes with half-close, and a reader that does not read holds
 * up the writer on the other side. Ends exactly once, as `outcome` tells: with a result or with an error.
 */
export class StreamEndpoint {
  /** Resolves when the other side said that it is ready; rejects when it failed before. */
  readonly opened: Promise<void>
  /** The result when it is done; rejects with what the other side, the network or we made of it. */
  readonly outcome: Promise<Json>
  readonly #socket: StreamSocket
  readonly #clock: Clock
  readonly #channels = new Map<number, Channel>()
  readonly #waiting: (() => void)[] = []
  readonly #open = Promise.withResolvers<void>()
  readonly #ended = Promise.withResolvers<Json>()
  #over = false
  #paused = false
  #silent = 0
  #movedMs: number
  #timer: Timer | undefined

  constructor(socket: StreamSocket, clock: Clock = systemClock) {
    this.#socket = socket
    this.#clock = clock
    this.#movedMs = clock.monotonic()
    this.opened = this.#open.promise
    this.outcome = this.#ended.promise
    // Whoever does not look at one of them must not bring the process down.
    this.opened.catch(() => {})
    this.outcome.catch(() => {})
    this.#arm()
  }

  get over(): boolean {
    return this.#over
  }

  /** Both directions of a channel; made when it is first asked for or data comes. */
  channel(id: number): Duplex {
    return this.#channel(id)
  }

  #channel(id: number): Channel {
    let channel = this.#channels.get(id)
    if (channel === undefined) {
      channel = new Channel({
        write: (data, taken) => this.#write(id, data, taken),
        end: (taken) => {
          this.#control({ c: 'end', channel: id })
          taken()
        },
        wanted: () => this.#flow(),
        stop: () => this.#control({ c: 'stop', channel: id }),
      })
      this.#channels.set(id, channel)
      if (this.#over) channel.cut(undefined)
    }
    return channel
  }

  /** Tells the other side that what it asked for is there. */
  ready(): void {
    this.#control({ c: 'open' })
  }

  /** Ends it well, after what was written to channels is on its way. */
  async done(result: Json): Promise<void> {
    await Promise.all([...this.#channels.values()].map((channel) => channel.flushed()))
    if (this.#over) return
    this.#control({ c: 'done', result })
    this.#finish(undefined, result)
    this.#socket.close()
  }

  /** Ends it with an error that the other side is told. */
  fail(thrown: unknown): void {
    if (this.#over) return
    const error = toSluiceError(thrown)
    const { code, message, hint } = error
    const text = { code, message: message.slice(0, 4096) || code }
    this.#control({ c: 'failed', ...text, ...(hint === undefined ? {} : { hint: hint.slice(0, 1024) }) })
    this.#finish(error, null)
    this.#socket.close()
  }

  /** A message came. */
  receive(message: Uint8Array | string): void {
    if (this.#over) return
    this.#silent = 0
    this.#movedMs = this.#clock.monotonic()
    const read = decodeMessage(message)
    if (read === undefined) {
      this.fail(new SluiceError('SLUICE_STREAM_BAD_MESSAGE', 'the other side of a stream broke its rules'))
      return
    }
    this.#take(read)
  }

  /** A sign of life came that is no message. */
  heard(): void {
    this.#silent = 0
  }

  /** The connection is gone. */
  closed(reason: string): void {
    if (this.#over) return
    this.#finish(new SluiceError('SLUICE_STREAM_LOST', `the stream was cut: ${reason}`), null)
  }

  #take(read: StreamMessage): void {
    switch (read.c) {
      case 'data':
        this.#channel(read.channel).deliver(read.data)
        this.#flow()
        return
      case 'end':
        this.#channel(read.channel).deliver(null)
        return
      case 'stop':
        this.#channel(read.channel).deaf()
        return
      case 'open':
        this.#open.resolve()
        return
      case 'done':
        this.#finish(undefined, read.result)
        this.#socket.close()
        return
      case 'failed': {
        const { code, message, hint } = read
        this.#finish(new SluiceError(code, message, hint === undefined ? {} : { hint }), null)
        this.#socket.close()
        return
      }
    }
  }

  #write(channel: number, data: Uint8Array, taken: () => void): void {
    if (this.#over) {
      taken()
      return
    }
    this.#movedMs = this.#clock.monotonic()
    for (let from = 0; from < data.length; from += MAX_STREAM_CHUNK_BYTES) {
      const part = data.subarray(from, from + MAX_STREAM_CHUNK_BYTES)
      this.#socket.send(encodeData(channel, part), () => this.#drained())
    }
    if (this.#socket.bufferedBytes < FULL_BYTES) taken()
    else this.#waiting.push(taken)
  }

  #drained(): void {
    if (this.#waiting.length === 0) return
    if (!this.#over && this.#socket.bufferedBytes >= FULL_BYTES / 2) return
    for (const taken of this.#waiting.splice(0)) taken()
  }

  #control(control: StreamControl): void {
    if (!this.#over) this.#socket.send(encodeControl(control), () => this.#drained())
  }

  /** One full channel stops the reading of all: there is one connection, and nothing is thrown away. */
  #flow(): void {
    const full = [...this.#channels.values()].some((channel) => channel.full)
    if (full === this.#paused) return
    this.#paused = full
    if (full) this.#socket.pause()
    else this.#socket.resume()
  }

  #finish(error: SluiceError | undefined, result: Json): void {
    this.#over = true
    this.#timer?.cancel()
    // What came is read to the end by whoever wants it.
    for (const channel of this.#channels.values()) channel.cut(error)
    for (const taken of this.#waiting.splice(0)) taken()
    if (this.#paused) this.#socket.resume()
    if (error === undefined) {
      this.#open.resolve()
      this.#ended.resolve(result)
    } else {
      this.#open.reject(error)
      this.#ended.reject(error)
    }
  }

  #arm(): void {
    this.#timer = this.#clock.after(PING_MS, () => this.#beat(), true)
  }

  #beat(): void {
    if (this.#over) return
    if (this.#clock.monotonic() - this.#movedMs > IDLE_MS) {
      this.fail(new SluiceError('SLUICE_STREAM_IDLE', 'nothing moved on the stream for four hours'))
      return
    }
    // While we do not read we hear nothing, and that is our own doing.
    if (!this.#paused && this.#silent++ >= SILENT_PINGS) {
      this.#socket.close()
      this.closed(`the other side said nothing for ${(SILENT_PINGS * PING_MS) / 1000} s`)
      return
    }
    this.#socket.ping()
    this.#arm()
  }
}

interface ChannelWork {
  write(data: Uint8Array, taken: () => void): void
  end(taken: () => void): void
  wanted(): void
  stop(): void
}

class Channel extends Duplex {
  readonly #work: ChannelWork
  #full = false
  #deaf = false
  #over = false

  constructor(work: ChannelWork) {
    super({ allowHalfOpen: true, autoDestroy: false, readableHighWaterMark: CHANNEL_BYTES, emitClose: true })
    this.#work = work
    // An error of the stream is told by its outcome; a channel nobody listens to must not throw it.
    this.on('error', () => {})
  }

  get full(): boolean {
    return this.#full
  }

  deliver(data: Uint8Array | null): void {
    if (this.readableEnded || this.destroyed) return
    const room = this.push(data)
    this.#full = !room && data !== null
  }

  /** The other side does not want to read any more. */
  deaf(): void {
    this.#deaf = true
  }

  /** Ends the writing; resolves when everything is on its way, or never will be. */
  flushed(): Promise<void> {
    if (this.#over || this.writableFinished || this.destroyed) return Promise.resolve()
    return new Promise((resolve) => {
      this.once('finish', resolve)
      this.once('close', resolve)
      this.end()
    })
  }

  cut(error: SluiceError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#full = false
    if (error !== undefined && !this.readableEnded) this.destroy(error)
    else this.deliver(null)
  }

  override _read(): void {
    if (!this.#full) return
    this.#full = false
    this.#work.wanted()
  }

  override _write(data: Uint8Array, _encoding: BufferEncoding, taken: (error?: Error | null) => void): void {
    if (this.#over || this.#deaf) taken()
    else this.#work.write(data, () => taken())
  }

  override _writev(chunks: { chunk: Uint8Array }[], taken: (error?: Error | null) => void): void {
    if (this.#over || this.#deaf) {
      taken()
      return
    }
    const data = chunks.length === 1 ? chunks[0]!.chunk : Buffer.concat(chunks.map(({ chunk }) => chunk))
    this.#work.write(data, () => taken())
  }

  override _final(taken: (error?: Error | null) => void): void {
    if (this.#over) taken()
    else this.#work.end(() => taken())
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#over && !this.readableEnded) this.#work.stop()
    const wasFull = this.#full
    this.#full = false
    if (wasFull) this.#work.wanted()
    done(error)
  }
}
