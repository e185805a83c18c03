import type { Forecast } from '../../api/schema/power.ts'

/** One sample of the battery as a whole. Energies in any one unit, joules or percent; the drain in that unit a second. */
export interface BatterySample {
  readonly monotonicMs: number
  readonly charging: boolean
  readonly energy: number
  readonly full: number
  /** Out of the battery or into it, at least 0; undefined where only the energy is known. */
  readonly flow: number | undefined
  readonly celsius: number | undefined
}

/** What earlier discharges taught. */
export interface DischargeLessons {
  /** What the gauge still showed when the power went, in the unit of the samples. */
  readonly reserve: number
  /** By how much the gauge fell for each unit that was measured to flow: above 1 in the cold and under heavy load. */
  readonly gaugeFactor: number
}

export const NO_LESSONS: DischargeLessons = { reserve: 0, gaugeFactor: 1 }

const BLOCK_S = 60
const MAX_BLOCKS = 720
/** The load ahead is taken from about as long a stretch behind, within these limits. */
const WINDOW = { minBlocks: 20, maxBlocks: 240 }
/** Means over so long are compared to find a load that changed for good: two rounds of a ten-minute duty cycle. */
const CHANGE_BLOCKS = 20
/** A change for good is this many times what such means differ by anyhow, and at least this share of the load. */
const CHANGE = { deviations: 4, share: 0.08, assumedDeviation: 0.03 }
const FACTOR_BLOCKS = 240
/** How temperature changes is seen over an hour, and taken to go on for at most two. */
const TREND_BLOCKS = 61
const MAX_TREND_S = 7200
/** How far the gauge's own word is trusted against lessons, as a share of the full battery. */
const FACTOR_PRIOR = 0.02
const FACTOR_LIMITS = { min: 0.6, max: 2 }
/** Time constant with which reckoning is pulled to the gauge. */
const GAUGE_S = 600
const GAUGE_LEAP = 0.04
const MIN_BLOCKS = 3
/** Nine chances of ten lie within so many standard deviations. */
const Z90 = 1.645
const FLOOR_ERROR = 0.03
const GAUGE_ERROR = 0.01
const MAX_CHANGES = 2
/** Before there is enough to compare. */
const UNKNOWN_SPREAD = 0.3
/** A forecast is moved only when it is off by this share, so that it counts down and does not flap. */
const HYSTERESIS = 0.03
const HYSTERESIS_S = 60
/** A change between charging and discharging counts after this long. */
const TURN_S = 15
/** Charging is at constant current up to here, and then tapers off to this share of it (CC-CV of lithium cells). */
const TAPER_FROM = 0.8
const TAPER_TO = 0.05

/**
 * Usable share of a lithium-ion cell's capacity by temperature at moderate load, as manufacturers' data sheets of 18650
 * cells have it, within about 10 points. Only ratios are used, and the gauge corrects them.
 */
const CAPACITY_BY_CELSIUS: readonly (readonly [number, number])[] = [
  [-20, 0.6],
  [-10, 0.75],
  [0, 0.87],
  [10, 0.94],
  [25, 1],
]

interface Block {
  flow: number
  /** Gauge at its end. */
  energy: number
  celsius: number | undefined
}

/** Time to empty and to full, from a filtered load, what the gauge makes of it, temperature and earlier discharges. */
export class BatteryForecast {
  #lessons: DischargeLessons
  #charging: boolean | undefined
  #turnMs: number | undefined
  #blocks: Block[] = []
  #flowSum = 0
  #flowS = 0
  #blockS = 0
  #startEnergy = 0
  /** Of the blocks, how many belong to the load as it is now. */
  #sameLoad = 0
  #changes = 0
  /** What flowed in the blocks that the gauge is held against; undefined when blocks have changed since it was summed. */
  #flowed: number | undefined
  #energy = 0
  #fullFlow = 0
  #last: BatterySample | undefined
  #published: { readonly forecast: Forecast; readonly atMs: number } | undefined

  constructor(lessons: DischargeLessons = NO_LESSONS) {
    this.#lessons = lessons
  }

  learn(lessons: DischargeLessons): void {
    this.#lessons = lessons
  }

  /** What this discharge has shown so far; undefined before there is enough of it. */
  get gaugeFactor(): number | undefined {
    return this.#charging === false && this.#blocks.length >= WINDOW.minBlocks ? this.#factor() : undefined
  }

  add(sample: BatterySample): void {
    if (!this.#turned(sample)) return
    const last = this.#last
    this.#last = sample
    if (last === undefined) {
      this.#startEnergy = sample.energy
      this.#energy = sample.energy
      return
    }
    const elapsedS = (sample.monotonicMs - last.monotonicMs) / 1000
    if (elapsedS <= 0) return
    this.#reckon(sample, elapsedS)
    if (sample.flow !== undefined && elapsedS <= BLOCK_S) {
      this.#flowSum += sample.flow * elapsedS
      this.#flowS += elapsedS
    }
    this.#blockS += elapsedS
    if (this.#blockS < BLOCK_S) return
    const flow = this.#flowS > 0 ? this.#flowSum / this.#flowS : Number.NaN
    this.#blocks.push({ flow, energy: sample.energy, celsius: sample.celsius })
    this.#flowed = undefined
    if (this.#blocks.length > MAX_BLOCKS) this.#startEnergy = this.#blocks.shift()!.energy
    this.#sameLoad = Math.min(this.#sameLoad + 1, this.#blocks.length)
    if (this.#changes < MAX_CHANGES && this.#changed()) {
      this.#changes++
      // A load that changes for good again and again does not: then all that was seen tells more than the newest.
      this.#sameLoad = this.#changes < MAX_CHANGES ? CHANGE_BLOCKS : this.#blocks.length
    }
    this.#flowSum = 0
    this.#flowS = 0
    this.#blockS = 0
    if (sample.charging) this.#fullFlow = Math.max(this.#fullFlow, this.#mean(5))
    this.#publish(sample)
  }

  /** Counts down between two estimates. Undefined while nothing is known. */
  get(charging: boolean, nowMs: number): Forecast | undefined {
    const published = this.#published
    if (published === undefined || this.#charging !== charging) return undefined
    const passedS = (nowMs - published.atMs) / 1000
    const left = (seconds: number) => Math.max(0, Math.round(seconds - passedS))
    const { seconds, lowSeconds, highSeconds } = published.forecast
    return { seconds: left(seconds), lowSeconds: left(lowSeconds), highSeconds: left(highSeconds) }
  }

  /** False while the direction is in doubt; starts anew when it has turned. */
  #turned(sample: BatterySample): boolean {
    if (sample.charging === this.#charging) {
      this.#turnMs = undefined
      return true
    }
    this.#turnMs ??= sample.monotonicMs
    if (this.#charging !== undefined && sample.monotonicMs - this.#turnMs < TURN_S * 1000) return false
    this.#charging = sample.charging
    this.#turnMs = undefined
    this.#blocks = []
    this.#flowed = undefined
    this.#sameLoad = this.#changes = 0
    this.#last = undefined
    this.#published = undefined
    this.#fullFlow = 0
    this.#flowSum = this.#flowS = this.#blockS = 0
    return true
  }

  /** Gauges step and tremble; what flows is known better from second to second, and the gauge in the long run. */
  #reckon(sample: BatterySample, elapsedS: number): void {
    const sign = sample.charging ? 1 : -1
    const rate = ((sample.flow ?? 0) * this.#factor()) / (sample.charging ? 1 : warmth(sample.celsius))
    this.#energy += sign * rate * elapsedS
    const off = sample.energy - this.#energy
    const leap = Math.abs(off) > GAUGE_LEAP * sample.full || sample.flow === undefined
    this.#energy += leap ? off : off * (1 - Math.exp(-elapsedS / GAUGE_S))
  }

  #publish(sample: BatterySample): void {
    if (this.#blocks.length < MIN_BLOCKS) return
    const forecast = sample.charging ? this.#toFull(sample) : this.#toEmpty(sample)
    const before = this.get(sample.charging, sample.monotonicMs)
    if (forecast === undefined) this.#published = undefined
    else {
      const off = before === undefined ? Number.POSITIVE_INFINITY : Math.abs(forecast.seconds - before.seconds)
      const settled = off <= Math.max(HYSTERESIS_S, HYSTERESIS * forecast.seconds) && before !== undefined
      this.#published = {
        forecast: settled ? { ...forecast, seconds: before.seconds } : forecast,
        atMs: sample.monotonicMs,
      }
    }
  }

  #toEmpty(sample: BatterySample): Forecast | undefined {
    const left = Math.max(0, this.#energy - this.#lessons.reserve)
    let window = WINDOW.minBlocks
    let rate = this.#rate(window, 0)
    // The window follows from the time left, which follows from the window: twice is near enough.
    for (let turn = 0; turn < 2 && rate > 0; turn++) {
      const secondsAhead = left / rate
      window = Math.round(Math.min(WINDOW.maxBlocks, Math.max(WINDOW.minBlocks, secondsAhead / BLOCK_S)))
      rate = this.#rate(window, secondsAhead)
    }
    if (!(rate > 0)) return undefined
    const seconds = left / rate
    const gauge = left > 0 ? (GAUGE_ERROR * sample.full) / left : 0
    return interval(seconds, Math.hypot(FLOOR_ERROR, this.#spread(seconds / BLOCK_S), gauge))
  }

  #toFull(sample: BatterySample): Forecast | undefined {
    const factor = this.#factor()
    const flow = this.#mean(5) * factor
    const missing = sample.full - this.#energy
    if (!(flow > 0)) return undefined
    if (missing <= 0) return interval(0, 0)
    const taperMissing = (1 - TAPER_FROM) * sample.full
    // In the taper the flow is proportional to what is missing, so what is missing falls exponentially.
    const turns = Math.log(1 / TAPER_TO)
    if (missing > taperMissing) return interval((missing - taperMissing + taperMissing * turns) / flow, 0.15)
    const full = Math.max(this.#fullFlow * factor, (flow * taperMissing) / missing)
    return interval((missing / flow) * Math.max(0, Math.log(flow / (full * TAPER_TO))), 0.25)
  }

  /** What the gauge will lose a second: the load, by what the gauge made of it, at the temperature to come. */
  #rate(window: number, secondsAhead: number): number {
    const load = this.#load(window)
    return Number.isFinite(load) ? (load * this.#factor()) / warmth(this.#celsiusAhead(secondsAhead)) : this.#slope()
  }

  /** Mean temperature to come, if it goes on changing as in the last hour for up to two more. */
  #celsiusAhead(secondsAhead: number): number | undefined {
    const now = this.#blocks.at(-1)?.celsius
    const before = this.#blocks.at(-TREND_BLOCKS)?.celsius
    if (now === undefined || before === undefined) return now
    const perSecond = (now - before) / ((TREND_BLOCKS - 1) * BLOCK_S)
    return now + (perSecond * Math.min(secondsAhead, MAX_TREND_S)) / 2
  }

  /** Mean of the newest blocks of the load as it is now. */
  #load(window: number): number {
    return meanFlow(this.#blocks, this.#blocks.length - Math.min(window, this.#sameLoad), this.#blocks.length)
  }

  /** Whether the newest stretch differs from those before by more than they differ among themselves. */
  #changed(): boolean {
    const before: number[] = []
    const end = this.#blocks.length - CHANGE_BLOCKS
    const first = this.#blocks.length - this.#sameLoad
    for (let to = end; to - CHANGE_BLOCKS >= first; to -= CHANGE_BLOCKS) {
      const mean = meanFlow(this.#blocks, to - CHANGE_BLOCKS, to)
      if (Number.isFinite(mean)) before.push(mean)
    }
    if (before.length < 2) return false
    const mean = average(before)
    const deviation = Math.hypot(CHANGE.assumedDeviation * mean, deviationOf(before))
    const off = Math.abs(meanFlow(this.#blocks, end, this.#blocks.length) - mean)
    return off > CHANGE.deviations * deviation * (1 + 1 / before.length) && off > CHANGE.share * mean
  }

  #mean(count: number): number {
    const mean = meanFlow(this.#blocks, Math.max(0, this.#blocks.length - count), this.#blocks.length)
    return Number.isFinite(mean) ? mean : 0
  }

  /** Fall of the gauge for each unit that flowed, as it would be in a warm cell. */
  #factor(): number {
    const first = Math.max(0, this.#blocks.length - FACTOR_BLOCKS)
    const from = first === 0 ? this.#startEnergy : this.#blocks[first - 1]!.energy
    const flowed = (this.#flowed ??= this.#flowSince(first))
    const to = this.#blocks.at(-1)?.energy ?? from
    const prior = FACTOR_PRIOR * (this.#last?.full ?? 0)
    const fallen = Math.max(0, this.#charging === true ? to - from : from - to)
    const factor = flowed + prior > 0 ? (fallen + prior * this.#lessons.gaugeFactor) / (flowed + prior) : 1
    return Math.min(FACTOR_LIMITS.max, Math.max(FACTOR_LIMITS.min, factor))
  }

  /** Asked for every second, and changes with the blocks alone. */
  #flowSince(first: number): number {
    let flowed = 0
    for (let i = first; i < this.#blocks.length; i++) {
      const { flow, celsius } = this.#blocks[i]!
      // Charging fills the cell by what flows, cold or not.
      if (Number.isFinite(flow)) flowed += (flow * BLOCK_S) / (this.#charging === true ? 1 : warmth(celsius))
    }
    return flowed
  }

  /** Fall of the gauge alone, where nothing says what flows. */
  #slope(): number {
    const span = Math.min(FACTOR_BLOCKS, this.#blocks.length)
    const from = span === this.#blocks.length ? this.#startEnergy : this.#blocks.at(-1 - span)!.energy
    return Math.max(0, from - this.#blocks.at(-1)!.energy) / (span * BLOCK_S)
  }

  /** How much means over a stretch of `blocks` minutes differ, as a share of the mean. */
  #spread(blocks: number): number {
    const first = this.#blocks.length - this.#sameLoad
    const length = Math.max(1, Math.min(Math.floor(blocks), Math.floor(this.#sameLoad / 4)))
    const means: number[] = []
    for (let end = this.#blocks.length; end - length >= first && means.length < 64; end -= length) {
      const mean = meanFlow(this.#blocks, end - length, end)
      if (Number.isFinite(mean)) means.push(mean)
    }
    const mean = means.length === 0 ? 0 : average(means)
    if (means.length < 2 || mean <= 0) return UNKNOWN_SPREAD
    // What lies ahead differs from what lies behind by both their deviations; few stretches tell little of either.
    return (deviationOf(means) / mean) * Math.SQRT2 * (1 + 1 / means.length)
  }
}

/** Mean of blocks `from` to `to` whose flow is known; NaN when none is. */
function meanFlow(blocks: readonly Block[], from: number, to: number): number {
  let sum = 0
  let count = 0
  for (let i = from; i < to; i++) {
    const { flow } = blocks[i]!
    if (Number.isNaN(flow)) continue
    sum += flow
    count++
  }
  return count > 0 ? sum / count : Number.NaN
}

const average = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

/** Standard deviation of a sample; 0 of a single value. */
function deviationOf(values: readonly number[]): number {
  if (values.length < 2) return 0
  const mean = average(values)
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1))
}

function warmth(celsius: number | undefined): number {
  if (celsius === undefined) return 1
  const table = CAPACITY_BY_CELSIUS
  if (celsius <= table[0]![0]) return table[0]![1]
  for (let i = 1; i < table.length; i++) {
    const [low, lowShare] = table[i - 1]!
    const [high, highShare] = table[i]!
    if (celsius <= high) return lowShare + ((celsius - low) / (high - low)) * (highShare - lowShare)
  }
  return 1
}

function interval(seconds: number, deviation: number): Forecast {
  const spread = 1 + Z90 * deviation
  return { seconds, lowSeconds: seconds / spread, highSeconds: seconds * spread }
}
