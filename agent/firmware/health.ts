import type { Reading } from '../../mappers/sdk/mapper.ts'

/**
 * Whether a device is well: so many polls in a row with nothing but good values, among them every property that was good
 * before. Pure; fed with what the mappers read.
 */
export class HealthCheck {
  readonly #device: string
  readonly #polls: number
  readonly #missing: Set<string>
  #good = 0
  #lastBad: string | undefined

  constructor(device: string, polls: number, goodBefore: Iterable<string>) {
    this.#device = device
    this.#polls = polls
    this.#missing = new Set(goodBefore)
  }

  take(batch: readonly Reading[]): void {
    const own = batch.filter(({ device }) => device === this.#device)
    if (own.length === 0) return
    const bad = own.find(({ quality }) => quality !== 'good')
    if (bad !== undefined) {
      this.#good = 0
      this.#lastBad = `${bad.property} is ${bad.quality}${bad.reason === undefined ? '' : `: ${bad.reason}`}`
      return
    }
    this.#good++
    for (const { property } of own) this.#missing.delete(property)
  }

  get healthy(): boolean {
    return this.#good >= this.#polls && this.#good > 0 && this.#missing.size === 0
  }

  /** What is missing, for a person. */
  get why(): string {
    if (this.#missing.size > 0) {
      const names = [...this.#missing].slice(0, 3).join(', ')
      return `no good value yet of ${names}${this.#lastBad === undefined ? '' : ` (${this.#lastBad})`}`
    }
    if (this.#good < this.#polls) return `${this.#good} of ${this.#polls} good polls; ${this.#lastBad ?? 'waiting'}`
    return 'healthy'
  }
}
