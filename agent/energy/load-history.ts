/** Foresight is judged after so many minutes; in between it is taken to grow evenly. */
export const JUDGED_MINUTES = [15, 60, 240]
/** What is taken for the error of a load that was never foreseen, as a share of it, and how many looks that counts for. */
const PRIOR = { recent: [0.05, 0.08, 0.12], habit: [0.3, 0.3, 0.3], looks: 1 }
/** Looks that are remembered, so that a gateway with a new job is known anew. */
const MAX_LOOKS = 40
/** Minutes on battery before a mean over them is a habit, and those that are remembered: a day. */
const MIN_MINUTES = 480
const MAX_MINUTES = 1440

interface Kept {
  readonly mean: number
  readonly minutes: number
  readonly recent: readonly number[]
  readonly habit: readonly number[]
  readonly both: readonly number[]
  readonly looks: readonly number[]
}

/**
 * What the load on battery has been over discharges and restarts, and how well it could be foreseen: by what it had just
 * been, and by what it is on the mean. Whichever foresaw better is believed more, the further ahead the more so.
 */
export class LoadHistory {
  #mean: number
  #minutes: number
  readonly #recent: number[]
  readonly #habit: number[]
  readonly #both: number[]
  readonly #looks: number[]

  constructor(kept?: unknown) {
    const sound = isKept(kept) ? kept : undefined
    const squares = (errors: readonly number[]) => errors.map((error) => error ** 2)
    this.#mean = sound?.mean ?? 0
    this.#minutes = sound?.minutes ?? 0
    this.#recent = [...(sound?.recent ?? squares(PRIOR.recent))]
    this.#habit = [...(sound?.habit ?? squares(PRIOR.habit))]
    this.#both = [...(sound?.both ?? squares(PRIOR.recent))]
    this.#looks = [...(sound?.looks ?? JUDGED_MINUTES.map(() => PRIOR.looks))]
  }

  /** One more minute on battery. */
  add(load: number): void {
    this.#minutes = Math.min(MAX_MINUTES, this.#minutes + 1)
    this.#mean += (load - this.#mean) / this.#minutes
  }

  /** The load as it is on the mean; undefined before there was enough. */
  get habit(): number | undefined {
    return this.#minutes >= MIN_MINUTES ? this.#mean : undefined
  }

  /** Holds what was foreseen against what came; minutes of one stretch tell the same, and count as one look together. */
  judge(
    stretch: number,
    then: { readonly recent: number; readonly habit: number; readonly both: number },
    came: number,
  ) {
    if (!(came > 0 && then.recent > 0 && then.habit > 0 && then.both > 0)) return
    const weight = 1 / JUDGED_MINUTES[stretch]!
    const looks = this.#looks[stretch]!
    const learn = (squares: number[], foreseen: number) => {
      squares[stretch] = (squares[stretch]! * looks + Math.log(came / foreseen) ** 2 * weight) / (looks + weight)
    }
    learn(this.#recent, then.recent)
    learn(this.#habit, then.habit)
    learn(this.#both, then.both)
    this.#looks[stretch] = Math.min(MAX_LOOKS, looks + weight)
  }

  /** How much the habit counts beside the newest stretch, 0 to 1, for a mean over so many minutes to come. */
  habitWeight(minutes: number): number {
    const recent = between(this.#recent, minutes)
    const habit = between(this.#habit, minutes)
    return recent / (recent + habit)
  }

  /** Standard error of the mean load over so many minutes to come, as a share of it. */
  error(minutes: number): number {
    return Math.sqrt(between(this.#both, minutes))
  }

  toJSON(): Kept {
    return {
      mean: this.#mean,
      minutes: this.#minutes,
      recent: this.#recent,
      habit: this.#habit,
      both: this.#both,
      looks: this.#looks,
    }
  }
}

function between(squares: readonly number[], minutes: number): number {
  if (minutes <= JUDGED_MINUTES[0]!) return squares[0]!
  for (let i = 1; i < JUDGED_MINUTES.length; i++) {
    const [from, to] = [JUDGED_MINUTES[i - 1]!, JUDGED_MINUTES[i]!]
    if (minutes > to) continue
    return squares[i - 1]! + (Math.log(minutes / from) / Math.log(to / from)) * (squares[i]! - squares[i - 1]!)
  }
  return squares.at(-1)!
}

function isKept(value: unknown): value is Kept {
  if (typeof value !== 'object' || value === null) return false
  const { mean, minutes, recent, habit, both, looks } = value as Record<string, unknown>
  const sound = (each: unknown) => typeof each === 'number' && Number.isFinite(each) && each >= 0
  const numbers = (list: unknown) => Array.isArray(list) && list.length === JUDGED_MINUTES.length && list.every(sound)
  return sound(mean) && sound(minutes) && [recent, habit, both, looks].every(numbers)
}
