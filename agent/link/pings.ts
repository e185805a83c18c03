import type { Clock } from '../../api/clock.ts'
import { type LinkStatus, observePing, observeRoundTrip } from './status.ts'

const CLOCK_SAMPLES = 16
const FIRST_CLOCK_SAMPLES = 4
const CLOCK_SLACK_MS = 20

export interface PingsOptions {
  readonly clock: Clock
  readonly status: LinkStatus
  /** `offsetMs`: the hub's clock minus ours, once something is known of it. */
  readonly send: (ping: { t: 'ping'; id: number; offsetMs?: number }) => void
  /** The hub's clock minus ours, milliseconds; right to within half of the quickest round trip. */
  readonly onOffset: (offsetMs: number) => void
}

interface ClockSample {
  readonly roundTripMs: number
  readonly offsetMs: number
}

/** What a connection is asked for again and again: whether it carries, how long it takes, and what time it is there. */
export class Pings {
  readonly #options: PingsOptions
  readonly #sent = new Map<number, number>()
  #id = 0
  /** What recent pings said of the hub's clock; the quickest is right to within half its round trip. */
  #samples: ClockSample[] = []
  #offsetMs: number | undefined
  #answeredFromMs = Number.NEGATIVE_INFINITY

  constructor(options: PingsOptions) {
    this.#options = options
  }

  /** Monotonic time at which the newest ping was sent that has an answer. */
  get answeredFromMs(): number {
    return this.#answeredFromMs
  }

  /** Returns the ping's number. */
  send(): number {
    const id = ++this.#id
    this.#sent.set(id, this.#options.clock.monotonic())
    this.#options.send(this.#offsetMs === undefined ? { t: 'ping', id } : { t: 'ping', id, offsetMs: this.#offsetMs })
    return id
  }

  /** Counts as lost what has been without an answer for this long. */
  loseOlderThan(ageMs: number): void {
    const nowMs = this.#options.clock.monotonic()
    for (const [id, sentMs] of this.#sent) {
      if (nowMs - sentMs < ageMs) continue
      this.#sent.delete(id)
      observePing(this.#options.status, false)
    }
  }

  /** Takes an answer; false for one that nobody asked for. */
  answered(id: number, hubNowMs: number | undefined): boolean {
    const sentMs = this.#sent.get(id)
    if (sentMs === undefined) return false
    this.#sent.delete(id)
    const { clock, status } = this.#options
    const roundTripMs = clock.monotonic() - sentMs
    if (hubNowMs !== undefined) this.#compareClocks(roundTripMs, hubNowMs)
    this.#answeredFromMs = Math.max(this.#answeredFromMs, sentMs)
    observePing(status, true)
    observeRoundTrip(status, roundTripMs)
    return true
  }

  #compareClocks(roundTripMs: number, hubNowMs: number): void {
    const { clock, onOffset } = this.#options
    const offsetMs = hubNowMs + roundTripMs / 2 - clock.now()
    // A sample that contradicts the others by more than both may err: a clock was set.
    const known = this.#samples.filter(
      (one) => Math.abs(one.offsetMs - offsetMs) <= (one.roundTripMs + roundTripMs) / 2 + CLOCK_SLACK_MS,
    )
    this.#samples = [...known.slice(1 - CLOCK_SAMPLES), { roundTripMs, offsetMs }]
    const best = this.#samples.reduce((a, b) => (b.roundTripMs < a.roundTripMs ? b : a))
    this.#offsetMs = best.offsetMs
    onOffset(best.offsetMs)
    // The hub is told with the next ping; the first few follow each other at once.
    if (this.#samples.length < FIRST_CLOCK_SAMPLES) this.send()
  }
}
