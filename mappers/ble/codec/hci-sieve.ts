import type { Heard } from '../transport.ts'
import { isAdvertisingReport, readReports } from './hci-reports.ts'

/** H4 packet types (Bluetooth Core 5.4, Vol 4 Part A, 2). */
const ACL = 0x02
const EVENT = 0x04

/**
 * Takes advertising reports out of a stream of H4 bytes before anything else looks at them; what remains is passed on as
 * it came. A host stack copies, splits and prints every chunk several times, which is most of what an advertisement costs.
 */
export class HciSieve {
  readonly #hear: (heard: Heard) => void
  /** Start of an event, or of a header, that is not complete yet: 259 bytes at most. */
  #carry: Uint8Array = new Uint8Array(0)
  /** So many bytes still belong to a packet that is being passed on. */
  #passing = 0

  constructor(hear: (heard: Heard) => void) {
    this.#hear = hear
  }

  /** Bytes that were taken already and come before the next read, for example from a parser that stops halfway. */
  prepend(bytes: Uint8Array): void {
    this.#carry = Uint8Array.from(bytes)
  }

  /** Puts what was kept back at `at` of `buffer`, where the next read has to begin; returns how much that is. */
  restore(buffer: Uint8Array, at: number): number {
    const { length } = this.#carry
    buffer.set(this.#carry, at)
    this.#carry = new Uint8Array(0)
    return length
  }

  /** Sieves `buffer` from `start` to `end` in place; returns where what remains ends. */
  sift(buffer: Uint8Array, start: number, end: number): number {
    let at = start
    let kept = start
    const keep = (size: number) => {
      if (kept !== at) buffer.copyWithin(kept, at, at + size)
      kept += size
      at += size
    }
    while (at < end) {
      const left = end - at
      if (this.#passing > 0) {
        const size = Math.min(this.#passing, left)
        this.#passing -= size
        keep(size)
        continue
      }
      const type = buffer[at]
      if (type !== EVENT && type !== ACL) {
        // Out of step. Whoever reads next has its own way to find the next packet.
        keep(left)
        break
      }
      const header = type === EVENT ? 3 : 5
      if (left < header) return this.#later(buffer, at, end, kept)
      const size = header + (type === EVENT ? buffer[at + 2]! : buffer[at + 3]! | (buffer[at + 4]! << 8))
      if (type === ACL) this.#passing = size
      else if (left < size) return this.#later(buffer, at, end, kept)
      else this.#event(buffer.subarray(at, at + size)) ? (at += size) : keep(size)
    }
    return kept
  }

  #event(packet: Uint8Array): boolean {
    if (!isAdvertisingReport(packet)) return false
    readReports(packet, this.#hear)
    return true
  }

  #later(buffer: Uint8Array, at: number, end: number, kept: number): number {
    this.#carry = buffer.slice(at, end)
    return kept
  }
}
