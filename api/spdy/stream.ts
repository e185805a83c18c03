import { Duplex } from 'node:stream'
import { SluiceError } from '../errors.ts'
import { RST_STATUS } from './frames.ts'
import type { SpdyHeaders } from './headers.ts'

/** What a stream asks of its connection. */
export interface StreamWork {
  reply(headers: SpdyHeaders): void
  data(data: Uint8Array, fin: boolean, taken: () => void): void
  reset(status: number): void
  /** Whether the stream can take more. */
  full(full: boolean): void
  /** Both directions have ended. */
  gone(): void
}

/** Held for a reader that does not read, before the connection has to wait for it. */
const BUFFER_BYTES = 256 * 1024

/** One stream: a Duplex with half-close. `destroy` before its end resets it. */
export class SpdyStream extends Duplex {
  readonly id: number
  readonly headers: SpdyHeaders
  /** The other side's headers, once it took a stream that we opened; rejects when it did not. */
  readonly accepted: Promise<SpdyHeaders>
  readonly #work: StreamWork
  readonly #reply = Promise.withResolvers<SpdyHeaders>()
  #full = false
  #theirEnd = false
  #ourEnd = false
  #gone = false

  constructor(id: number, headers: SpdyHeaders, work: StreamWork, ended: boolean) {
    super({ allowHalfOpen: true, autoDestroy: false, readableHighWaterMark: BUFFER_BYTES })
    this.id = id
    this.headers = headers
    this.#work = work
    this.accepted = this.#reply.promise
    this.accepted.catch(() => {})
    // Errors reach whoever reads or writes; a stream nobody looks at must not end the process.
    this.on('error', () => {})
    this.on('finish', () => {
      this.#ourEnd = true
      this.#settle()
    })
    if (ended) this.#ourEnd = true
    if (ended) this.end()
  }

  /** Takes a stream that the other side opened. */
  accept(headers: SpdyHeaders = new Map()): void {
    if (!this.#gone) this.#work.reply(headers)
  }

  deliver(data: Uint8Array, fin: boolean): void {
    if (this.destroyed || this.#theirEnd) return
    if (data.length > 0 && !this.push(data)) this.#setFull(true)
    if (!fin) return
    this.#theirEnd = true
    this.push(null)
    this.#settle()
  }

  replied(headers: SpdyHeaders): void {
    this.#reply.resolve(headers)
  }

  /** The other side gave it up. */
  reset(status: number): void {
    this.cut(new SluiceError('SLUICE_SPDY_RESET', `the other side reset a stream (status ${status})`))
  }

  /** Ends it here without telling anybody. */
  cut(error: SluiceError): void {
    if (this.#gone) return
    const unread = this.#theirEnd && this.readableLength > 0
    this.#theirEnd = true
    this.#ourEnd = true
    this.#settle()
    this.#reply.reject(error)
    // All of theirs has come and only waits to be read: that the connection went after it takes nothing of it away.
    if (unread) this.once('end', () => this.destroy())
    else if (!this.readableEnded || !this.writableFinished) this.destroy(error)
  }

  override _read(): void {
    this.#setFull(false)
  }

  override _write(data: Uint8Array, _encoding: BufferEncoding, taken: (error?: Error | null) => void): void {
    if (this.#ourEnd) taken()
    else this.#work.data(data, false, () => taken())
  }

  override _final(taken: (error?: Error | null) => void): void {
    if (this.#ourEnd) taken()
    else this.#work.data(new Uint8Array(), true, () => taken())
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#gone && !(this.#theirEnd && this.#ourEnd)) this.#work.reset(RST_STATUS.cancel)
    this.#theirEnd = true
    this.#ourEnd = true
    this.#settle()
    done(error)
  }

  #setFull(full: boolean): void {
    if (this.#full === full) return
    this.#full = full
    this.#work.full(full)
  }

  #settle(): void {
    if (!this.#theirEnd || !this.#ourEnd || this.#gone) return
    this.#gone = true
    this.#full = false
    this.#reply.reject(new SluiceError('SLUICE_SPDY_RESET', 'a stream ended before the other side took it'))
    this.#work.gone()
  }
}
