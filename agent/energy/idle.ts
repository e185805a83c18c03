import type { LedgerStep } from './ledger.ts'
import type { PowerModel } from './model.ts'
import type { Activity } from './source.ts'

/** Power counts as a floor when it was that low for so long, not for a lucky sample. */
const CALM_S = 10
/** The floor is forgotten at this pace, so that a lamp that was unplugged once does not stay the measure for ever. */
const RISE_PER_S = 1e-5

/**
 * What the machine takes for being switched on. A calibrated model knows. Where power is measured and the model is a
 * guess, it is the least that was seen for ten seconds in a row; before that, the share of idle processor time.
 */
export class IdlePower {
  #sumJ = 0
  #sumS = 0
  #floor: number | undefined

  watts(step: LedgerStep | undefined, elapsedS: number, model: PowerModel, activity: Activity | undefined): number {
    if (step === undefined || elapsedS <= 0) return model.idleWatts
    if (model.calibrated || step.source === 'estimated') return model.idleWatts
    this.#sumJ += step.joules
    this.#sumS += elapsedS
    if (this.#floor !== undefined) this.#floor *= 1 + RISE_PER_S * elapsedS
    if (this.#sumS >= CALM_S) {
      const mean = this.#sumJ / this.#sumS
      this.#floor = Math.min(this.#floor ?? mean, mean)
      this.#sumJ = this.#sumS = 0
    }
    const mean = step.joules / elapsedS
    if (this.#floor !== undefined) return Math.min(this.#floor, mean)
    const usage = activity === undefined || activity.totalCpuS <= 0 ? 0 : activity.busyCpuS / activity.totalCpuS
    return mean * (1 - Math.min(1, usage))
  }

  forget(): void {
    this.#floor = undefined
  }
}
