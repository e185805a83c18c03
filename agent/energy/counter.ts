/** What a counter says of the time since its last reading. `bridged`: taken from the power before, not counted. */
export interface CounterStep {
  readonly joules: number
  readonly bridged: boolean
  readonly doubt?: string
}

/** No zone of any processor takes more; a larger step is a counter that started anew. */
const MAX_ZONE_WATTS = 1500
/** The power before stands in for at most this long. */
const MAX_BRIDGE_S = 10

/**
 * Turns an energy counter that wraps, starts anew, jumps or runs backwards into joules that only grow. Pure arithmetic:
 * the caller reads the register and the time.
 */
export class WrappingCounter {
  readonly #rangeJ: number
  readonly #maxWatts: number
  #lastJ: number | undefined
  #lastWatts: number | undefined

  /** `rangeJ`: where the register wraps; 0 when nobody knows, and then a smaller reading is a fresh start. */
  constructor(rangeJ: number, maxWatts = MAX_ZONE_WATTS) {
    this.#rangeJ = Math.max(0, rangeJ)
    this.#maxWatts = maxWatts
  }

  /** Undefined at the first reading, and where nothing can be said of the time that passed. */
  advance(valueJ: number, elapsedS: number): CounterStep | undefined {
    const last = this.#lastJ
    if (last === undefined) {
      this.#lastJ = valueJ
      return undefined
    }
    if (elapsedS <= 0) return { joules: 0, bridged: false }
    this.#lastJ = valueJ
    const step = this.#step(valueJ - last, elapsedS)
    if (step !== undefined && !step.bridged) this.#lastWatts = step.joules / elapsedS
    return step
  }

  #step(differenceJ: number, elapsedS: number): CounterStep | undefined {
    const mostJ = this.#maxWatts * elapsedS
    const countedJ = differenceJ >= 0 ? differenceJ : differenceJ + this.#rangeJ
    if (countedJ < 0 || countedJ > mostJ) {
      const what = differenceJ < 0 ? 'The counter started anew' : `The counter jumped by ${Math.round(differenceJ)} J`
      return this.#bridge(elapsedS, what)
    }
    // While nobody looked, the register may have come round more than once; the power before says how often.
    if (this.#rangeJ > 0 && mostJ > this.#rangeJ) {
      if (this.#lastWatts === undefined) return undefined
      const turns = Math.max(0, Math.round((this.#lastWatts * elapsedS - countedJ) / this.#rangeJ))
      const doubt = `Nobody read the counter for ${Math.round(elapsedS)} s, in which it may have wrapped`
      return { joules: countedJ + turns * this.#rangeJ, bridged: turns > 0, doubt }
    }
    return { joules: countedJ, bridged: false }
  }

  #bridge(elapsedS: number, doubt: string): CounterStep | undefined {
    if (this.#lastWatts === undefined || elapsedS > MAX_BRIDGE_S) return undefined
    return { joules: this.#lastWatts * elapsedS, bridged: true, doubt }
  }

  /** Forgets the last reading, so that the next one starts afresh. */
  forget(): void {
    this.#lastJ = undefined
  }
}
