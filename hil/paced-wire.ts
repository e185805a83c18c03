import type { Clock, Timer } from '../api/clock.ts'
import type { LineFaults } from './line-faults.ts'
import { strike } from './line-faults.ts'
import { seededRandom } from './random.ts'
import { bitsPerChar, type UartSettings, uartReceives } from './uart.ts'

/** Bytes that are due within this are handed over together, as a UART's buffer would. */
const sliceMs = 1

export interface PacedWireOptions {
  /** 0 or less: no pacing, bytes pass at once. */
  readonly baud: number
  /** Default 11, as Modbus counts: start, 8 data, parity or second stop, stop. */
  readonly bitsPerChar?: number
  /** Who transmits a damaged frame: the end's index; faults strike what that end sends. */
  readonly faults?: Readonly<Record<number, LineFaults>>
  /** The sender hears itself, as some RS-485 adapters have it. */
  readonly echo?: boolean
  readonly seed?: number
  /**
   * How the UART of an end is set right now. With it the sender's rate paces the line, and an end that is set otherwise
   * receives what its UART makes of it. Without it every end is set as the line is.
   */
  readonly uartOf?: (end: number) => UartSettings
}

interface Transmission {
  readonly from: number
  readonly bytes: Uint8Array
  readonly startMs: number
  readonly charMs: number
  /** What ends receive that are not set as the sender is. */
  readonly otherwise: ReadonlyMap<number, Uint8Array>
  delivered: number
}

/** Counters of a line, for tests to look at. */
export interface WireStats {
  readonly bytes: number
  /** Frames that began while another end was sending; on a real bus both are lost. */
  readonly collisions: number
  readonly faults: ReadonlyMap<string, number>
}

/**
 * A bus of two or more ends in time: what one end sends reaches all others, a character at a time at the baud rate.
 * Every byte has its own due time reckoned from the start of its frame, so timer jitter never adds up.
 * Two ends sending at once garble each other.
 */
export class PacedWire {
  readonly #clock: Clock
  readonly #charMs: number
  readonly #options: PacedWireOptions
  readonly #ends: number
  readonly #deliver: (to: number, bytes: Uint8Array) => void
  readonly #random: () => number
  readonly #freeAtMs: number[]
  readonly #active: Transmission[] = []
  readonly #faults = new Map<string, number>()
  #timer: Timer | undefined
  #bytes = 0
  #collisions = 0

  constructor(options: PacedWireOptions, ends: number, clock: Clock, deliver: (to: number, bytes: Uint8Array) => void) {
    this.#options = options
    this.#ends = ends
    this.#clock = clock
    this.#deliver = deliver
    this.#charMs = options.baud > 0 ? ((options.bitsPerChar ?? 11) * 1000) / options.baud : 0
    this.#random = seededRandom(options.seed ?? 1)
    this.#freeAtMs = new Array<number>(ends).fill(0)
  }

  get stats(): WireStats {
    return { bytes: this.#bytes, collisions: this.#collisions, faults: this.#faults }
  }

  /** End `from` sends `frame` now, or as soon as what it sent before has left. */
  transmit(from: number, frame: Uint8Array): void {
    const nowMs = this.#clock.monotonic()
    const faults = this.#options.faults?.[from]
    const count = (fault: string) => void this.#faults.set(fault, (this.#faults.get(fault) ?? 0) + 1)
    const parts = faults === undefined ? [{ pauseMs: 0, bytes: frame }] : strike(frame, faults, this.#random, count)
    const uart = this.#options.uartOf?.(from)
    const charMs = uart === undefined ? this.#charMs : (bitsPerChar(uart) * 1000) / uart.baud
    for (const { pauseMs, bytes } of parts) {
      const startMs = Math.max(nowMs, this.#freeAtMs[from]!) + pauseMs
      const endMs = startMs + bytes.length * charMs
      this.#freeAtMs[from] = endMs
      const sent = this.#collide(from, startMs, endMs, bytes)
      this.#active.push({ from, bytes: sent, startMs, charMs, otherwise: this.#otherwise(from, sent), delivered: 0 })
    }
    this.#run()
  }

  close(): void {
    this.#timer?.cancel()
    this.#active.length = 0
  }

  #otherwise(from: number, bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
    const { uartOf } = this.#options
    const otherwise = new Map<number, Uint8Array>()
    if (uartOf === undefined) return otherwise
    const sender = uartOf(from)
    for (let to = 0; to < this.#ends; to++) {
      const receiver = uartOf(to)
      if (to === from || (receiver.baud === sender.baud && receiver.parity === sender.parity)) continue
      otherwise.set(to, uartReceives(bytes, sender, receiver))
    }
    return otherwise
  }

  #collide(from: number, startMs: number, endMs: number, bytes: Uint8Array): Uint8Array {
    const other = this.#active.find(
      (one) => one.from !== from && one.startMs < endMs && startMs < one.startMs + one.bytes.length * one.charMs,
    )
    if (other === undefined || other.charMs === 0) return Uint8Array.from(bytes)
    this.#collisions++
    for (let at = other.delivered; at < other.bytes.length; at++) other.bytes[at]! &= 0x55
    return bytes.map((byte) => byte & 0x55)
  }

  #run(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const nowMs = this.#clock.monotonic()
    let nextMs = Number.POSITIVE_INFINITY
    for (const one of this.#active) {
      const due =
        one.charMs === 0 ? this.#unpacedDue(one, nowMs) : Math.floor((nowMs - one.startMs) / one.charMs + 1e-6)
      const upTo = Math.min(one.bytes.length, due)
      if (upTo > one.delivered) this.#hand(one, upTo)
      if (one.delivered < one.bytes.length) nextMs = Math.min(nextMs, this.#nextDueMs(one, nowMs))
    }
    for (let i = this.#active.length - 1; i >= 0; i--) {
      const one = this.#active[i]!
      if (one.delivered >= one.bytes.length) this.#active.splice(i, 1)
    }
    if (nextMs < Number.POSITIVE_INFINITY) {
      this.#timer = this.#clock.after(Math.max(0, nextMs - this.#clock.monotonic()), () => this.#run())
    }
  }

  #unpacedDue(one: Transmission, nowMs: number): number {
    return nowMs >= one.startMs ? one.bytes.length : 0
  }

  /** The last byte in its own time; those before it a slice at a time. */
  #nextDueMs(one: Transmission, nowMs: number): number {
    const endMs = one.startMs + one.bytes.length * one.charMs
    const firstMs = one.startMs + (one.delivered + 1) * one.charMs
    return Math.min(endMs, Math.max(firstMs, nowMs + sliceMs))
  }

  #hand(one: Transmission, upTo: number): void {
    const had = one.delivered
    one.delivered = upTo
    this.#bytes += upTo - had
    for (let to = 0; to < this.#ends; to++) {
      if (to === one.from && this.#options.echo !== true) continue
      const bytes = one.otherwise.get(to) ?? one.bytes
      const place = (count: number) => Math.floor((count * bytes.length) / one.bytes.length)
      if (place(upTo) > place(had)) this.#deliver(to, bytes.subarray(place(had), place(upTo)))
    }
  }
}
