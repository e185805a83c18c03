import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../../api/clock.ts'

export interface CongestionOptions {
  readonly clock: Clock
  /** Unread bytes of one subscriber above which publishers to it slow down. */
  readonly softBytes: number
  /** Unread bytes of one subscriber above which it loses messages. */
  readonly hardBytes: number
  /** A subscriber above the soft mark must read `softBytes` in this time, or it slows nobody down any more. */
  readonly patienceMs: number
}

const DEFAULTS = { softBytes: 256 * 1024, hardBytes: 1024 * 1024, patienceMs: 500 }
/** Publishers are let go after this long whatever the subscribers do. */
const MAX_WAIT_MS = 50
/** Subscribers that publishers wait for are looked at this often. */
const LOOK_MS = 1

interface Behind {
  /** Bytes of it that were on the wire when `sinceMs` was set. */
  flushed: number
  sinceMs: number
  patient: boolean
}

/**
 * What happens when a subscriber reads more slowly than others publish. While it reads on, publishers to it wait a
 * moment, so that nothing is lost; one that hardly reads loses messages and makes nobody wait.
 */
export class Congestion {
  readonly #options: CongestionOptions
  readonly #behind = new Map<Duplex, Behind>()
  #waiting: (() => void)[] = []
  #marks = 0
  #timer: Timer | undefined
  #waitingSinceMs = 0
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
    const { softBytes, hardBytes } = this.#options
    if (unread <= softBytes) return true
    const known = this.#behind.get(connection) ?? this.#fallsBehind(connection)
    if (this.#isPatient(connection, known)) this.#marks++
    if (unread <= hardBytes) return true
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
    if (this.#timer !== undefined) return
    this.#waitingSinceMs = this.#options.clock.monotonic()
    this.#look()
  }

  close(): void {
    this.#closed = true
    this.#release()
  }

  #fallsBehind(connection: Duplex): Behind {
    const known = { flushed: flushedBytes(connection), sinceMs: this.#options.clock.monotonic(), patient: true }
    this.#behind.set(connection, known)
    const over = () => {
      connection.off('drain', over)
      connection.off('close', over)
      this.#behind.delete(connection)
    }
    connection.on('drain', over)
    connection.on('close', over)
    return known
  }

  #isPatient(connection: Duplex, known: Behind): boolean {
    const { clock, patienceMs, softBytes } = this.#options
    const nowMs = clock.monotonic()
    if (nowMs - known.sinceMs >= patienceMs) {
      const flushed = flushedBytes(connection)
      known.patient = flushed - known.flushed >= softBytes
      known.flushed = flushed
      known.sinceMs = nowMs
    }
    return known.patient
  }

  /** Lets the publishers go as soon as those who read on have caught up. */
  #look(): void {
    const { clock, softBytes } = this.#options
    this.#timer = clock.after(
      LOOK_MS,
      () => {
        const late = clock.monotonic() - this.#waitingSinceMs >= MAX_WAIT_MS
        const behind = [...this.#behind].some(
          ([connection, { patient }]) => patient && connection.writableLength > softBytes,
        )
        if (behind && !late) this.#look()
        else this.#release()
      },
      true,
    )
  }

  #release(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const waiting = this.#waiting
    this.#waiting = []
    for (const next of waiting) next()
  }
}

/** Bytes that a connection has handed to the system so far. */
function flushedBytes(connection: Duplex): number {
  const written = 'bytesWritten' in connection ? Number(connection.bytesWritten) : 0
  return written - connection.writableLength
}
