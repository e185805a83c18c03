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
const WINDOW = { minBlocks: 20, maxBlocks: 90 }
const FACTOR_BLOCKS = 240
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
    return this.#charging === false && this.#blocks.length >= WINDOW.minBlocks ? this.#factor(0, 1) : undefined
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
    if (this.#blocks.length > MAX_BLOCKS) this.#startEnergy = this.#blocks.shift()!.energy
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
    this.#last = undefined
    this.#published = undefined
    this.#fullFlow = 0
    this.#flowSum = this.#flowS = this.#blockS = 0
    return true
  }

  /** Gauges step and tremble; what flows is known better from second to second, and the gauge in the long run. */
  #reckon(sample: BatterySample, elapsedS: number): void {
    const sign = sample.charging ? 1 : -1
    const rate =
      (sample.flow ?? 0) * (this.#blocks.length < MIN_BLOCKS ? this.#lessons.gaugeFactor : this.#factor(0, 1))
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
    let rate = this.#rate(window, sample)
    // The window follows from the time left, which follows from the window: twice is near enough.
    for (let turn = 0; turn < 2 && rate > 0; turn++) {
      window = Math.round(Math.min(WINDOW.maxBlocks, Math.max(WINDOW.minBlocks, left / rate / BLOCK_S / 2)))
      rate = this.#rate(window, sample)
    }
    if (!(rate > 0)) return undefined
    const seconds = left / rate
    const gauge = left > 0 ? (GAUGE_ERROR * sample.full) / left : 0
    return interval(seconds, Math.hypot(FLOOR_ERROR, this.#spread(seconds / BLOCK_S), gauge))
  }

  #toFull(sample: BatterySample): Forecast | undefined {
    const factor = this.#factor(0, 1)
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

  /** What the gauge will lose a second: the load by what the gauge made of it, at the temperature of now. */
  #rate(window: number, sample: BatterySample): number {
    const load = this.#load(window)
    if (!Number.isFinite(load)) return this.#slope()
    return load * this.#factor(warmth(sample.celsius), this.#warmthBehind())
  }

  /** Mean of the newest blocks, newer ones weighing more. */
  #load(window: number): number {
    const count = Math.min(window, this.#blocks.length)
    let sum = 0
    let weights = 0
    for (let age = 0; age < count; age++) {
      const { flow } = this.#blocks[this.#blocks.length - 1 - age]!
      if (Number.isNaN(flow)) continue
      const weight = 1 - age / window
      sum += flow * weight
      weights += weight
    }
    return weights > 0 ? sum / weights : Number.NaN
  }

  #mean(count: number): number {
    const flows = this.#blocks
      .slice(-count)
      .map(({ flow }) => flow)
      .filter(Number.isFinite)
    return flows.length === 0 ? 0 : flows.reduce((sum, flow) => sum + flow, 0) / flows.length
  }

  /** Fall of the gauge for each unit that flowed, corrected for a change of temperature since (0: none known). */
  #factor(warmthNow: number, warmthBehind: number): number {
    const first = Math.max(0, this.#blocks.length - FACTOR_BLOCKS)
    const from = first === 0 ? this.#startEnergy : this.#blocks[first - 1]!.energy
    let flowed = 0
    for (let i = first; i < this.#blocks.length; i++) {
      const { flow } = this.#blocks[i]!
      if (Number.isFinite(flow)) flowed += flow * BLOCK_S
    }
    const to = this.#blocks.at(-1)?.energy ?? from
    const prior = FACTOR_PRIOR * (this.#last?.full ?? 0)
    const fallen = Math.max(0, this.#charging === true ? to - from : from - to)
    const factor = flowed + prior > 0 ? (fallen + prior * this.#lessons.gaugeFactor) / (flowed + prior) : 1
    const correction = warmthNow > 0 ? warmthBehind / warmthNow : 1
    return Math.min(FACTOR_LIMITS.max, Math.max(FACTOR_LIMITS.min, factor * correction))
  }

  #warmthBehind(): number {
    const known = this.#blocks
      .slice(-FACTOR_BLOCKS)
      .map(({ celsius }) => warmth(celsius))
      .filter((share) => share > 0)
    return known.length === 0 ? 1 : known.reduce((sum, share) => sum + share, 0) / known.length
  }

  /** Fall of the gauge alone, where nothing says what flows. */
  #slope(): number {
    const span = Math.min(FACTOR_BLOCKS, this.#blocks.length)
    const from = span === this.#blocks.length ? this.#startEnergy : this.#blocks.at(-1 - span)!.energy
    return Math.max(0, from - this.#blocks.at(-1)!.energy) / (span * BLOCK_S)
  }

  /** How much means over a stretch of `blocks` minutes differed from one to the next, as a share of the mean. */
  #spread(blocks: number): number {
    const flows = this.#blocks.map(({ flow }) => flow).filter(Number.isFinite)
    if (flows.length < 2 * MIN_BLOCKS) return 0.3
    const length = Math.max(1, Math.min(Math.floor(blocks), Math.floor(flows.length / 4)))
    const means: number[] = []
    for (let end = flows.length; end >= length && means.length < 64; end -= length) {
      let sum = 0
      for (let i = end - length; i < end; i++) sum += flows[i]!
      means.push(sum / length)
    }
    const mean = means.reduce((sum, value) => sum + value, 0) / means.length
    if (means.length < 2 || mean <= 0) return 0.3
    let squares = 0
    for (const value of means) squares += (value - mean) ** 2
    const spread = Math.sqrt(squares / (means.length - 1)) / mean
    // Few stretches tell little of how far they may differ.
    return spread * (1 + 1 / means.length)
  }
}

function warmth(celsius: number | undefined): number {
  if (celsius === undefined) return 0
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
