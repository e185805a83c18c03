/**
 * Bounds what probing silent devices may take of one link: a token bucket of link time. Healthy traffic leaves only
 * `share` of the time for probes; what the link does not use otherwise may be probed with freely, so that a line whose
 * devices are all silent is found again quickly.
 */
export class ProbeBudget {
  readonly #share: number
  readonly #idleShare: number
  readonly #capacityMs: number
  #tokensMs: number
  #atMs: number

  /** `share`: of a busy link's time. `idleShare`: of the idle time on top. `capacityMs`: what can be saved up. */
  constructor(nowMs: number, options: { share?: number; idleShare?: number; capacityMs?: number } = {}) {
    this.#share = options.share ?? 0.02
    this.#idleShare = options.idleShare ?? 0.3
    this.#capacityMs = options.capacityMs ?? 1500
    this.#tokensMs = this.#capacityMs
    this.#atMs = nowMs
  }

  /**
   * Takes `costMs` and returns 0, or takes nothing and returns how long to wait before asking again.
   * `use`: share of the link's time that other traffic took lately, 0 to 1.
   */
  take(costMs: number, use: number, nowMs: number): number {
    const rate = this.#share + this.#idleShare * (1 - Math.min(1, Math.max(0, use)))
    this.#tokensMs = Math.min(this.#capacityMs, this.#tokensMs + (nowMs - this.#atMs) * rate)
    this.#atMs = nowMs
    // One probe may cost more than can be saved up: it runs on a full bucket and leaves a debt.
    const needed = Math.min(costMs, this.#capacityMs)
    if (this.#tokensMs < needed) return Math.max(1, Math.ceil((needed - this.#tokensMs) / rate))
    this.#tokensMs -= costMs
    return 0
  }
}
