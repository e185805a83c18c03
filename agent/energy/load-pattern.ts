const HOURS = 24
const HOUR_MS = 3_600_000
/** An hour counts when at least so much of it was seen. */
const MIN_SEEN_S = 1800
/** A new day moves what is known of an hour by at least this share, so that new habits are learned within a week. */
const MIN_WEIGHT = 0.2
/** Of earlier judgements, how much stays with each new hour: about four days. */
const JUDGED_DECAY = 0.99
/** No hour is taken for more, or for less, than this many times the mean. */
const MAX_RATIO = 5

interface Kept {
  readonly watts: readonly number[]
  readonly seen: readonly number[]
  readonly patternError: number
  readonly flatError: number
}

/**
 * How the load goes by the time of day, learned hour by hour. It is used only as far as it has shown to foretell an
 * hour better than the mean of the day does, so that a load without habits is taken as it is.
 *
 * Hours are of UTC: daylight saving then costs some days of learning twice a year, and no time zone has to be known.
 */
export class LoadPattern {
  readonly #watts: number[]
  readonly #seen: number[]
  #patternError: number
  #flatError: number
  #hour: number | undefined
  #joules = 0
  #seconds = 0

  constructor(kept?: unknown) {
    const sound = isKept(kept) ? kept : undefined
    this.#watts = [...(sound?.watts ?? new Array<number>(HOURS).fill(0))]
    this.#seen = [...(sound?.seen ?? new Array<number>(HOURS).fill(0))]
    this.#patternError = sound?.patternError ?? 0
    this.#flatError = sound?.flatError ?? 0
  }

  /** True when an hour has been learned and the whole is worth keeping. */
  add(wallMs: number, watts: number, elapsedS: number): boolean {
    const hour = Math.floor(wallMs / HOUR_MS)
    let learned = false
    if (hour !== this.#hour) {
      // A clock that was set leaves a part of an hour behind, which is not enough to learn from.
      learned = this.#hour !== undefined && this.#learn(this.#hour)
      this.#hour = hour
      this.#joules = this.#seconds = 0
    }
    this.#joules += watts * elapsedS
    this.#seconds += elapsedS
    return learned
  }

  #learn(hour: number): boolean {
    if (this.#seconds < MIN_SEEN_S || this.#seconds > HOUR_MS / 1000 + 60) return false
    const at = ((hour % HOURS) + HOURS) % HOURS
    const watts = this.#joules / this.#seconds
    const seen = this.#seen[at]!
    if (seen > 0) {
      this.#patternError = this.#patternError * JUDGED_DECAY + (watts - this.#watts[at]!) ** 2
      this.#flatError = this.#flatError * JUDGED_DECAY + (watts - this.#mean()) ** 2
    }
    const weight = Math.max(MIN_WEIGHT, 1 / (seen + 1))
    this.#watts[at] = this.#watts[at]! + (watts - this.#watts[at]!) * weight
    this.#seen[at] = seen + 1
    return true
  }

  #mean(): number {
    let sum = 0
    let hours = 0
    for (let hour = 0; hour < HOURS; hour++) {
      if (this.#seen[hour]! === 0) continue
      sum += this.#watts[hour]!
      hours++
    }
    return hours === 0 ? 0 : sum / hours
  }

  /** Load at that time, as a multiple of the mean of a day; 1 where nothing is known better. */
  ratio(wallMs: number): number {
    const at = ((Math.floor(wallMs / HOUR_MS) % HOURS) + HOURS) % HOURS
    const mean = this.#mean()
    if (this.#seen[at]! === 0 || !(mean > 0) || !(this.#flatError > 0)) return 1
    const skill = Math.max(0, 1 - this.#patternError / this.#flatError)
    const ratio = Math.min(MAX_RATIO, Math.max(1 / MAX_RATIO, this.#watts[at]! / mean))
    return 1 + skill * (ratio - 1)
  }

  toJSON(): Kept {
    const round = (values: readonly number[]) => values.map((value) => Number(value.toPrecision(4)))
    return {
      watts: round(this.#watts),
      seen: this.#seen.map((seen) => Math.min(seen, 1000)),
      patternError: this.#patternError,
      flatError: this.#flatError,
    }
  }
}

function isKept(value: unknown): value is Kept {
  if (typeof value !== 'object' || value === null) return false
  const { watts, seen, patternError, flatError } = value as Record<string, unknown>
  const numbers = (list: unknown) =>
    Array.isArray(list) && list.length === HOURS && list.every((each) => Number.isFinite(each) && each >= 0)
  return numbers(watts) && numbers(seen) && Number.isFinite(patternError) && Number.isFinite(flatError)
}
