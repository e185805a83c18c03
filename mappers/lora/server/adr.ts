import { requiredSnrDb } from '../airtime.ts'
import type { Region } from '../regions/region.ts'

/** Room left for fading: what is taken off the margin before a step is given away. */
const INSTALLATION_MARGIN_DB = 10
const STEP_DB = 3
const HISTORY = 20

/** Signal history of one device since its last change of data rate. */
export class AdrHistory {
  #snrs: number[] = []
  #received = 0
  #missed = 0

  /** @param missed counters skipped before this uplink. */
  add(snrDb: number, missed: number): void {
    this.#snrs.push(snrDb)
    if (this.#snrs.length > HISTORY) this.#snrs.shift()
    this.#received++
    // A device that was away for a night says nothing about its signal.
    this.#missed += Math.min(missed, 5)
  }

  reset(): void {
    this.#snrs = []
    this.#received = 0
    this.#missed = 0
  }

  get full(): boolean {
    return this.#snrs.length >= HISTORY
  }

  get best(): number {
    return Math.max(...this.#snrs)
  }

  /** Share of uplinks that got lost, 0 to 1. */
  get loss(): number {
    return this.#received === 0 ? 0 : this.#missed / (this.#missed + this.#received)
  }
}

export interface AdrChoice {
  readonly dr: number
  readonly txPower: number
  readonly nbTrans: number
}

/**
 * The data rate and power a device should use: Semtech's simple rate adaptation. Surplus signal first raises the data
 * rate, then lowers the power; a lack of it raises the power (the device itself lowers its data rate when it is not heard).
 * @param sf spreading factor the history was heard with.
 */
export function chooseAdr(region: Region, now: AdrChoice, history: AdrHistory, sf: number): AdrChoice {
  const marginDb = history.best - requiredSnrDb(sf) - INSTALLATION_MARGIN_DB
  let steps = Math.floor(marginDb / STEP_DB)
  let { dr, txPower } = now
  while (steps > 0 && dr < region.maxAdrDr) {
    dr++
    steps--
  }
  while (steps > 0 && txPower < region.maxTxPower) {
    txPower++
    steps--
  }
  while (steps < 0 && txPower > 0) {
    txPower--
    steps++
  }
  const { loss } = history
  const nbTrans = loss > 0.3 ? 3 : loss > 0.1 ? 2 : 1
  return { dr, txPower, nbTrans }
}
