/** Replies one measurement is made of, at least; and a multiple of the window. */
const leastReplies = 24
const repliesPerSlot = 3
/** A larger window must bring this much more throughput to be kept. */
const worthwhileGain = 1.12
/** How long a window that was refused, or brought nothing, is not tried again. */
const holdMs = 60_000

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
  #settled = false

  constructor(initial: number, max: number) {
    this.#max = max
    this.#ceiling = max
    this.#size = Math.min(initial, max)
  }

  get size(): number {
    return this.#size
  }

  /** A reply came; `inFlight` counts it. */
  replied(inFlight: number, nowMs: number): void {
    if (this.#size >= this.#max && this.#rateBefore === 0) return
    if (this.#sinceMs < 0) this.#sinceMs = nowMs
    this.#replies++
    if (inFlight >= this.#size) this.#full++
    if (this.#replies < Math.max(leastReplies, repliesPerSlot * this.#size) || nowMs <= this.#sinceMs) return
    const rate = this.#replies / (nowMs - this.#sinceMs)
    // Only a window that was nearly always full says anything about the server.
    const saturated = this.#full >= 0.6 * this.#replies
    this.#restart(nowMs)
    if (saturated) this.#judge(rate, nowMs)
  }

  /** An answer did not come, or the server said it is busy or hung up. */
  refused(nowMs: number): void {
    this.#hold(Math.max(1, this.#size >> 1), nowMs)
    this.#size = this.#ceiling
    this.#rateBefore = 0
    this.#settled = false
    this.#restart(nowMs)
  }

  #judge(rate: number, nowMs: number): void {
    if (this.#ceiling < this.#max && nowMs >= this.#ceilingUntilMs) {
      this.#ceiling = this.#max
      this.#settled = false
    }
    if (this.#rateBefore > 0 && rate < this.#rateBefore * worthwhileGain) {
      this.#hold(Math.max(1, this.#size >> 1), nowMs)
      this.#size = this.#ceiling
      this.#rateBefore = 0
      this.#settled = true
      return
    }
    if (this.#settled || this.#size >= this.#ceiling) {
      this.#rateBefore = 0
      return
    }
    this.#rateBefore = rate
    this.#size = Math.min(this.#ceiling, this.#size * 2)
  }

  #hold(ceiling: number, nowMs: number): void {
    this.#ceiling = ceiling
    this.#ceilingUntilMs = nowMs + holdMs
  }

  #restart(nowMs: number): void {
    this.#replies = 0
    this.#full = 0
    this.#sinceMs = nowMs
  }
}
