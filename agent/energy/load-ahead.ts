import { JUDGED_MINUTES, LoadHistory } from './load-history.ts'

export const BLOCK_S = 60
const MAX_BLOCKS = 720
/** The load ahead is taken from about as long a stretch behind, within these limits. */
const WINDOW = { minBlocks: 20, maxBlocks: 240 }
/** Means over so long are compared to find a load that changed for good: two rounds of a ten-minute duty cycle. */
const CHANGE_BLOCKS = 20
/** A change for good is this many times what such means differ by anyhow, and at least this share of the load. */
const CHANGE = { deviations: 4, share: 0.08, assumedDeviation: 0.03 }
const MAX_CHANGES = 2

interface Block {
  /** Mean load of the minute, as a multiple of which the pattern of the day is taken out. NaN where it is unknown. */
  readonly base: number
}

interface Foresight {
  /** By the newest stretch, by habit, and by both. */
  readonly recent: number
  readonly habit: number
  readonly both: number
}

/** What lies ahead, from what lies behind: minutes of load with the habits of the day taken out. */
export class LoadAhead {
  #blocks: Block[] = []
  /** Of the blocks, how many belong to the load as it is now. */
  #sameLoad = 0
  #changes = 0
  readonly #history: LoadHistory
  readonly #foreseen: (readonly Foresight[])[] = []

  constructor(history: LoadHistory = new LoadHistory()) {
    this.#history = history
  }

  /** A minute with its mean load and what the pattern of the day foretold as a multiple of the mean. */
  push(flow: number, ratio: number): void {
    this.#blocks.push({ base: flow / ratio })
    if (this.#blocks.length > MAX_BLOCKS) this.#blocks.shift()
    this.#sameLoad = Math.min(this.#sameLoad + 1, this.#blocks.length)
    if (this.#changes < MAX_CHANGES && this.#changed()) {
      this.#changes++
      // A load that changes for good again and again does not: then all that was seen tells more than the newest.
      this.#sameLoad = this.#changes < MAX_CHANGES ? CHANGE_BLOCKS : this.#blocks.length
    }
    this.#judge()
  }

  /** Holds what was foreseen a while ago against what came. */
  #judge(): void {
    for (const [i, minutes] of JUDGED_MINUTES.entries()) {
      const then = this.#foreseen.at(-minutes)?.[i]
      if (then === undefined || this.#foreseen.length < minutes) continue
      this.#history.judge(i, then, this.recent(minutes))
    }
    const base = this.#blocks.at(-1)!.base
    if (base > 0) this.#history.add(base)
    this.#foreseen.push(JUDGED_MINUTES.map((minutes) => this.#foresee(minutes * BLOCK_S)))
    if (this.#foreseen.length > JUDGED_MINUTES.at(-1)!) this.#foreseen.shift()
  }

  #foresee(secondsAhead: number): Foresight {
    const recent = this.#recentFor(secondsAhead)
    const habit = this.#history.habit ?? recent
    const weight = this.#history.habitWeight(secondsAhead / BLOCK_S)
    return { recent, habit, both: recent + weight * (habit - recent) }
  }

  get minutes(): number {
    return this.#blocks.length
  }

  /** Mean load without the pattern of the day; NaN while nothing is known. */
  base(secondsAhead: number): number {
    return this.#foresee(secondsAhead).both
  }

  #recentFor(secondsAhead: number): number {
    const wanted = Math.round(Math.min(WINDOW.maxBlocks, Math.max(WINDOW.minBlocks, secondsAhead / BLOCK_S)))
    return this.#mean(this.#blocks.length - Math.min(wanted, this.#sameLoad), this.#blocks.length)
  }

  /** Mean load of the newest minutes. */
  recent(minutes: number): number {
    return this.#mean(Math.max(0, this.#blocks.length - minutes), this.#blocks.length)
  }

  /** How far off its own foresight of so long ahead was until now, as a share of the load. */
  spread(seconds: number): number {
    return this.#history.error(seconds / BLOCK_S)
  }

  /** Whether the newest stretch differs from those before by more than they differ among themselves. */
  #changed(): boolean {
    const before: number[] = []
    const end = this.#blocks.length - CHANGE_BLOCKS
    const first = this.#blocks.length - this.#sameLoad
    for (let to = end; to - CHANGE_BLOCKS >= first; to -= CHANGE_BLOCKS) {
      const mean = this.#mean(to - CHANGE_BLOCKS, to)
      if (Number.isFinite(mean)) before.push(mean)
    }
    if (before.length < 2) return false
    const mean = average(before)
    const deviation = Math.hypot(CHANGE.assumedDeviation * mean, deviationOf(before))
    const off = Math.abs(this.#mean(end, this.#blocks.length) - mean)
    return off > CHANGE.deviations * deviation * (1 + 1 / before.length) && off > CHANGE.share * mean
  }

  /** Mean of blocks `from` to `to` whose load is known; NaN when none is. */
  #mean(from: number, to: number): number {
    let sum = 0
    let count = 0
    for (let i = from; i < to; i++) {
      const { base } = this.#blocks[i]!
      if (Number.isNaN(base)) continue
      sum += base
      count++
    }
    return count > 0 ? sum / count : Number.NaN
  }
}

const average = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

/** Standard deviation of a sample; 0 of a single value. */
function deviationOf(values: readonly number[]): number {
  if (values.length < 2) return 0
  const mean = average(values)
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1))
}
