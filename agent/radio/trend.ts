export type Trend = 'improving' | 'steady' | 'degrading'

export interface TrendOptions {
  /** Difference of the fast and the slow mean at which a trend begins; it ends below a third of that. */
  readonly threshold: number
  readonly fastMs: number
  readonly slowMs: number
  /** A trend that began is told for at least this long. */
  readonly holdMs: number
}

/** Trend of a quality from 0 to 1: a tenth up or down within a few minutes. */
export const QUALITY_TREND: TrendOptions = { threshold: 0.1, fastMs: 20_000, slowMs: 180_000, holdMs: 60_000 }

/**
 * Tells whether a figure gets better or worse: a fast exponential mean is compared with a slow one. What begins at the
 * threshold ends at a third of it and not before its hold is over, so that noise does not make it flap.
 */
export class TrendOf {
  readonly #options: TrendOptions
  #fast: number | undefined
  #slow = 0
  #atMs = 0
  #trend: Trend = 'steady'
  #sinceMs = Number.NEGATIVE_INFINITY

  constructor(options: TrendOptions = QUALITY_TREND) {
    this.#options = options
  }

  get trend(): Trend {
    return this.#trend
  }

  /** The fast mean; undefined before the first figure. */
  get smooth(): number | undefined {
    return this.#fast
  }

  /** Takes a figure at a monotonic time in milliseconds; one that is not a number is passed over. */
  take(value: number, nowMs: number): Trend {
    if (!Number.isFinite(value)) return this.#trend
    if (this.#fast === undefined) {
      this.#fast = value
      this.#slow = value
      this.#atMs = nowMs
      return this.#trend
    }
    const { fastMs, slowMs, threshold, holdMs } = this.#options
    const passedMs = Math.max(0, nowMs - this.#atMs)
    this.#atMs = nowMs
    this.#fast += (value - this.#fast) * (1 - Math.exp(-passedMs / fastMs))
    this.#slow += (value - this.#slow) * (1 - Math.exp(-passedMs / slowMs))
    const difference = this.#fast - this.#slow
    const ended = Math.abs(difference) < threshold / 3
    const begun: Trend = difference >= threshold ? 'improving' : difference <= -threshold ? 'degrading' : 'steady'
    const opposite = begun !== 'steady' && begun !== this.#trend
    if (opposite && nowMs - this.#sinceMs >= (this.#trend === 'steady' ? 0 : holdMs)) this.#begin(begun, nowMs)
    else if (this.#trend !== 'steady' && ended && nowMs - this.#sinceMs >= holdMs) this.#begin('steady', nowMs)
    return this.#trend
  }

  #begin(trend: Trend, nowMs: number): void {
    this.#trend = trend
    this.#sinceMs = nowMs
  }
}
