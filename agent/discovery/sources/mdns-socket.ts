import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { EventEmitter } from 'node:events'
import type { Clock } from '../../../api/clock.ts'

/** RFC 6762, section 17: no message is larger, headers included. */
const MAX_BYTES = 9000
/** Resource records of one message. A responder with a hundred services of one type does not exist. */
const MAX_RECORDS = 128
/** Messages taken in a burst, and every second after it: many more than the answers of a whole office. */
const BURST = 200
const PER_SECOND = 50

/** What a socket has to do for multicast DNS; `node:dgram` in production, a scripted network in tests. */
export interface Datagrams extends Pick<EventEmitter, 'on'> {
  bind(port: number, address: string, done: () => void): unknown
  address(): { readonly port: number }
  addMembership(group: string, address: string): void
  dropMembership(group: string, address: string): void
  setMulticastInterface(address: string): void
  setMulticastTTL(hops: number): unknown
  setMulticastLoopback(on: boolean): unknown
  send(bytes: Buffer, offset: number, length: number, port: number, address: string, done?: () => void): void
  close(done?: () => void): unknown
}

export type OpenDatagrams = () => Datagrams

export const openUdp: OpenDatagrams = (): Socket => createSocket({ type: 'udp4', reuseAddr: true })

export interface Refusals {
  /** Messages not looked at because too many came, and because their size or form is none. */
  flooded: number
  malformed: number
}

/**
 * A socket that hands on only what is worth parsing. Whoever is on the network can send here, so size, number of records
 * and rate are bounded before anything is decoded, and what the parser throws ends here.
 */
export class GuardedSocket extends EventEmitter {
  readonly refusals: Refusals = { flooded: 0, malformed: 0 }
  readonly #inner: Datagrams
  readonly #clock: Clock
  #tokens = BURST
  #filledMs: number

  /** `onError`: what the socket reports; the library would end the process with some of it. */
  constructor(inner: Datagrams, clock: Clock, onError: (error: Error) => void) {
    super()
    this.#inner = inner
    this.#clock = clock
    this.#filledMs = clock.monotonic()
    inner.on('error', (error: Error) => {
      onError(error)
      try {
        this.emit('error', error)
      } catch {
        // Thrown where nobody listens, by the library or by this emitter.
      }
    })
    inner.on('listening', () => this.emit('listening'))
    inner.on('message', (message: Buffer, from: RemoteInfo) => this.#take(message, from))
  }

  bind(port: number, address: string, done: () => void): void {
    this.#inner.bind(port, address, done)
  }

  address(): { readonly port: number } {
    return this.#inner.address()
  }

  addMembership(group: string, address: string): void {
    this.#inner.addMembership(group, address)
  }

  dropMembership(group: string, address: string): void {
    this.#inner.dropMembership(group, address)
  }

  setMulticastInterface(address: string): void {
    this.#inner.setMulticastInterface(address)
  }

  setMulticastTTL(hops: number): void {
    this.#inner.setMulticastTTL(hops)
  }

  setMulticastLoopback(on: boolean): void {
    this.#inner.setMulticastLoopback(on)
  }

  send(bytes: Buffer, offset: number, length: number, port: number, address: string, done?: () => void): void {
    this.#inner.send(bytes, offset, length, port, address, done)
  }

  close(done?: () => void): void {
    this.#inner.close(done)
  }

  #take(message: Buffer, from: RemoteInfo): void {
    if (!isAnswer(message)) return
    if (!this.#hasTurn()) {
      this.refusals.flooded++
      return
    }
    if (message.length > MAX_BYTES || recordsOf(message) > MAX_RECORDS) {
      this.refusals.malformed++
      return
    }
    try {
      this.emit('message', message, from)
    } catch {
      this.refusals.malformed++
    }
  }

  #hasTurn(): boolean {
    const nowMs = this.#clock.monotonic()
    this.#tokens = Math.min(BURST, this.#tokens + ((nowMs - this.#filledMs) * PER_SECOND) / 1000)
    this.#filledMs = nowMs
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}

/** RFC 1035, section 4.1.1: twelve bytes of header, whose third begins with the bit that says answer. */
const isAnswer = (message: Buffer): boolean => message.length > 12 && (message[2]! & 0x80) !== 0

const recordsOf = (message: Buffer): number =>
  [4, 6, 8, 10].reduce((sum, offset) => sum + message.readUInt16BE(offset), 0)
