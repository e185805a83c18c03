/** Replies one measurement is made of, at least; and a multiple of the window. */
const leastReplies = 24
/** And at least this long, so that a hiccup of either side does not decide. */
const leastMs = 30
const repliesPerSlot = 3
/** A larger window must bring this much more throughput to be kept. */
const worthwhileGain = 1.12
/** How long a window that was refused is not tried again. */
const refusedHoldMs = 60_000
/** The same for one that brought nothing: at first soon, as that may have been chance, then ever more seldom. */
const firstHoldMs = 1000

/**
 * Learns how many requests a Modbus TCP server likes to have at once. It starts small and doubles while the replies
 * per second still grow, that is, while latency grows less than the window: with a server that works one by one behind
 * a slow network this ends where the network time is hidden, and with one that queues nothing at all it stays small.
 * It halves when answers fail to come, since many controllers drop what they cannot hold.
 */
export class TransactionWindow {
  readonly #max: number
  #size: number
  #ceiling: number
  #ceilingUntilMs = 0
  #replies = 0
  #full = 0
  #sinceMs = -1
  #rateBefore = 0
  #strikes = 0
  #holdMs = firstHoldMs

  constructor(initial: number, max: number) {
    this.#max = max
    this.#ceiling = max
    this.#size = Math.min(initial, max)
  }

  get size(): number {
    return this.#size
  }

  /** A reply came; `full` says whether the window was used up when requests were last sent. */
  replied(full: boolean, nowMs: number): void {
    if (this.#size >= this.#max && this.#rateBefore === 0) return
    if (this.#sinceMs < 0) this.#sinceMs = nowMs
    this.#replies++
    if (full) this.#full++
    if (this.#replies < Math.max(leastReplies, repliesPerSlot * this.#size) || nowMs < this.#sinceMs + leastMs) return
    const rate = this.#replies / (nowMs - this.#sinceMs)
    // Only a window that was nearly always full says anything about the server.
    const saturated = this.#full >= 0.8 * this.#replies
    this.#restart(nowMs)
    if (saturated) this.#judge(rate, nowMs)
  }

  /** An answer did not come, or the server said it is busy or hung up. */
  refused(nowMs: number): void {
    this.#size = Math.max(1, this.#size >> 1)
    this.#hold(this.#size, refusedHoldMs, nowMs)
    this.#rateBefore = 0
    this.#strikes = 0
    this.#restart(nowMs)
  }

  #judge(rate: number, nowMs: number): void {
    if (this.#rateBefore > 0 && rate < this.#rateBefore * worthwhileGain) {
      // Once may be chance.
      if (++this.#strikes < 2) return
      this.#size = Math.max(1, this.#size >> 1)
      this.#hold(this.#size, this.#holdMs, nowMs)
      this.#holdMs = Math.min(refusedHoldMs, 2 * this.#holdMs)
      this.#rateBefore = 0
      this.#strikes = 0
      return
    }
    if (this.#rateBefore > 0) this.#holdMs = firstHoldMs
    this.#strikes = 0
    if (this.#ceiling < this.#max && nowMs >= this.#ceilingUntilMs) this.#ceiling = this.#max
    if (this.#size >= this.#ceiling) {
      this.#rateBefore = 0
      return
    }
    this.#rateBefore = rate
    this.#size = Math.min(this.#ceiling, this.#size * 2)
  }

  #hold(ceiling: number, holdMs: number, nowMs: number): void {
    this.#ceiling = ceiling
    this.#ceilingUntilMs = nowMs + holdMs
  }

  #restart(nowMs: number): void {
    this.#replies = 0
    this.#full = 0
    this.#sinceMs = nowMs
  }
}
