import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../../api/clock.ts'

export interface CongestionOptions {
  readonly clock: Clock
  /** Unread bytes of one subscriber above which publishers to it slow down. */
  readonly softBytes: number
  /** Unread bytes of one subscriber above which it loses messages. */
  readonly hardBytes: number
  /** A subscriber that was above the soft mark for this long slows nobody down any more. */
  readonly patienceMs: number
}

const DEFAULTS = { softBytes: 256 * 1024, hardBytes: 1024 * 1024, patienceMs: 500 }
/** Publishers are let go after this long even when nobody has read anything. */
const MAX_WAIT_MS = 50

interface Unread {
  /** Monotonic time since when it is above the soft mark. */
  readonly sinceMs: number
  dropped: number
}

/**
 * What happens when a subscriber reads more slowly than others publish. A moment of that makes the publishers wait,
 * so that nothing is lost; a subscriber that stays behind loses messages and makes nobody wait.
 */
export class Congestion {
  readonly #options: CongestionOptions
  readonly #behind = new Map<Duplex, Unread>()
  #waiting: (() => void)[] = []
  #marks = 0
  #timer: Timer | undefined
  #dropped = 0
  #closed = false

  constructor(options: Partial<CongestionOptions> & Pick<CongestionOptions, 'clock'>) {
    this.#options = { ...DEFAULTS, ...options }
  }

  /** Messages that slow subscribers lost. */
  get dropped(): number {
    return this.#dropped
  }

  /** Subscribers that are above the soft mark now. */
  get behind(): number {
    return this.#behind.size
  }

  /** Whether one more message may be written to this subscriber. Told by whoever writes, for each message. */
  admits(connection: Duplex): boolean {
    const unread = connection.writableLength
    if (unread <= this.#options.softBytes) return true
    const nowMs = this.#options.clock.monotonic()
    let known = this.#behind.get(connection)
    if (known === undefined) {
      this.#behind.set(connection, (known = { sinceMs: nowMs, dropped: 0 }))
      const over = () => {
        connection.off('drain', over)
        connection.off('close', over)
        this.#behind.delete(connection)
        this.#release()
      }
      connection.once('drain', over)
      connection.once('close', over)
    }
    if (nowMs - known.sinceMs < this.#options.patienceMs) this.#marks++
    if (unread <= this.#options.hardBytes) return true
    known.dropped++
    this.#dropped++
    return false
  }

  mark(): number {
    return this.#marks
  }

  /** Calls `next` at once when no subscriber was found behind since `mark`, else when it has caught up. */
  pass(mark: number, next: () => void): void {
    if (mark === this.#marks || this.#closed) {
      next()
      return
    }
    this.#waiting.push(next)
    this.#timer ??= this.#options.clock.after(MAX_WAIT_MS, () => this.#release(), true)
  }

  close(): void {
    this.#closed = true
    this.#release()
  }

  #release(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const waiting = this.#waiting
    this.#waiting = []
    for (const next of waiting) next()
  }
}
