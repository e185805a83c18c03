import type { Forecast } from '../../api/schema/power.ts'
import { ChargeLeft, type JournalPoint, type LessonCurve } from './charge-left.ts'
import { BLOCK_S, LoadAhead } from './load-ahead.ts'
import { LoadHistory } from './load-history.ts'
import { LoadPattern } from './load-pattern.ts'
import { TimeToFull } from './time-to-full.ts'
import { warmth } from './warmth.ts'

/** One sample of the battery as a whole. */
export interface BatterySample {
  readonly monotonicMs: number
  /** Time of day, for loads that have habits. */
  readonly wallMs?: number | undefined
  readonly charging: boolean
  /** Joules where the battery counts them, else per cent of its gauge. */
  readonly energy: number
  readonly full: number
  readonly unit: 'J' | '%'
  /** Watts out of the battery or into it, at least 0; undefined where only the gauge is known. */
  readonly flow: number | undefined
  readonly volts?: number | undefined
  readonly celsius: number | undefined
}

/** What earlier discharges taught. */
export interface DischargeLessons {
  /** Share of its scale that the gauge still showed when the power went. */
  readonly reserveShare: number
  readonly curves: readonly LessonCurve[]
}

export const NO_LESSONS: DischargeLessons = { reserveShare: 0, curves: [] }

/** How temperature changes is seen over an hour, and taken to go on for at most two. */
const TREND_BLOCKS = 61
const MAX_TREND_S = 7200
const MIN_BLOCKS = 3
/**
 * Nine chances of ten lie within so many standard deviations: 1.645 if errors were normal, and a third more because those of
 * loads are not. Set on one half of the discharges of `test/energy`, and judged on the other.
 */
const Z90 = 2.2
const FLOOR_ERROR = 0.03
/** A forecast is moved only when it is off by this share, so that it counts down and does not flap. */
const HYSTERESIS = 0.03
const HYSTERESIS_S = 60
/** A change between charging and discharging counts after this long. */
const TURN_S = 15
const HOUR_S = 3600
const MAX_HOURS = 24 * 30

/** Time to empty and to full: what can still be drawn, and the load, temperature and time of day that lie ahead. */
export class BatteryForecast {
  #lessons: DischargeLessons
  readonly #pattern: LoadPattern
  readonly #loads: LoadHistory
  #charging: boolean | undefined
  #turnMs: number | undefined
  #load: LoadAhead
  #left: ChargeLeft | undefined
  #toFull: TimeToFull | undefined
  #block = new Minute()
  #celsius: (number | undefined)[] = []
  #blockEnergy = 0
  #unit: 'J' | 's' = 'J'
  #last: BatterySample | undefined
  #published: { readonly forecast: Forecast; readonly atMs: number } | undefined

  constructor(
    lessons: DischargeLessons = NO_LESSONS,
    pattern: LoadPattern = new LoadPattern(),
    loads: LoadHistory = new LoadHistory(),
  ) {
    this.#lessons = lessons
    this.#loads = loads
    this.#pattern = pattern
    this.#load = new LoadAhead(loads)
  }

  learn(lessons: DischargeLessons): void {
    this.#lessons = lessons
  }

  /** The discharge that is going on, for the lessons of the next. */
  get journal(): readonly JournalPoint[] {
    return this.#left?.journal ?? []
  }

  /** What the journal counts in. */
  get unit(): 'J' | 's' {
    return this.#unit
  }

  add(sample: BatterySample): void {
    if (!this.#turned(sample)) return
    const last = this.#last
    this.#last = sample
    if (last === undefined || last.unit !== sample.unit) {
      this.#begin(sample)
      return
    }
    const elapsedS = (sample.monotonicMs - last.monotonicMs) / 1000
    if (elapsedS <= 0) return
    const flow = this.#unit === 's' ? 1 : sample.flow
    this.#left?.draw(((flow ?? 0) * elapsedS) / warmth(sample.celsius))
    this.#toFull?.add(sample.energy, sample.full, sample.flow, elapsedS)
    this.#block.add(flow, sample.volts, elapsedS)
    if (this.#block.elapsedS >= BLOCK_S) this.#endBlock(sample)
  }

  #begin(sample: BatterySample): void {
    const { charging, energy, full, unit, flow } = sample
    this.#load = new LoadAhead(this.#loads)
    this.#block = new Minute()
    this.#celsius = []
    this.#blockEnergy = energy
    // Where nobody measures the load it is taken for even: then what is left is counted in seconds of it.
    this.#unit = unit === 'J' || flow !== undefined ? 'J' : 's'
    this.#toFull = charging ? new TimeToFull(energy, full) : undefined
    this.#left = charging
      ? undefined
      : new ChargeLeft({
          unit: this.#unit,
          full: unit === 'J' ? full : undefined,
          reserve: this.#lessons.reserveShare,
          curves: this.#lessons.curves,
        })
  }

  #endBlock(sample: BatterySample): void {
    const { energy, full, wallMs, celsius, unit, charging } = sample
    const { volts, elapsedS } = this.#block
    let { flow } = this.#block
    this.#block = new Minute()
    const lost = Math.max(0, this.#blockEnergy - energy)
    // A gauge alone, or a driver that always says 0 A: what the gauge lost is what was drawn.
    if (unit === 'J' && !charging && (Number.isNaN(flow) || (flow === 0 && lost > 0))) {
      this.#left?.draw(lost / warmth(celsius))
      flow = lost / elapsedS
    }
    this.#blockEnergy = energy
    this.#load.push(flow, wallMs === undefined ? 1 : this.#pattern.ratio(wallMs))
    this.#celsius.push(celsius)
    if (this.#celsius.length > TREND_BLOCKS) this.#celsius.shift()
    this.#toFull?.block(flow, energy)
    this.#left?.look({ share: full > 0 ? energy / full : 0, volts }, elapsedS)
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
    this.#last = undefined
    this.#published = undefined
    return true
  }

  #publish(sample: BatterySample): void {
    if (this.#load.minutes < MIN_BLOCKS) return
    const forecast = this.#toFull?.forecast() ?? this.#toEmpty(sample)
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
    const left = this.#left?.left()
    if (left === undefined) return undefined
    let seconds = 0
    // The load looked at follows from the time left, which follows from the load: three times is near enough.
    for (let turn = 0; turn < 3; turn++) {
      const base = this.#load.base(seconds)
      if (!(base > 0)) return undefined
      seconds = this.#lasts(left.amount, base, sample.wallMs)
    }
    const rate = seconds > 0 ? left.amount / seconds : this.#load.base(0)
    const byLoad = Math.hypot(FLOOR_ERROR, this.#load.spread(seconds)) * seconds
    const off = Z90 * Math.hypot(byLoad, left.error / rate)
    const lowSeconds = seconds > 0 ? seconds ** 2 / (seconds + off) : 0
    return { seconds, lowSeconds, highSeconds: seconds + off }
  }

  /** How long an amount lasts under a load that follows the day, at the temperatures to come. */
  #lasts(amount: number, base: number, wallMs: number | undefined): number {
    let rest = amount
    let seconds = 0
    for (let hour = 0; hour < MAX_HOURS; hour++) {
      const ratio = wallMs === undefined ? 1 : this.#pattern.ratio(wallMs + seconds * 1000)
      const rate = (base * ratio) / warmth(this.#celsiusAhead(seconds))
      const untilFullHour = wallMs === undefined ? HOUR_S : HOUR_S - ((wallMs / 1000 + seconds) % HOUR_S)
      const stretchS = Math.max(1, Math.min(HOUR_S, untilFullHour))
      if (rate * stretchS >= rest) return seconds + rest / rate
      rest -= rate * stretchS
      seconds += stretchS
    }
    return seconds
  }

  /** If it goes on changing as in the last hour, for up to two more. */
  #celsiusAhead(secondsAhead: number): number | undefined {
    const now = this.#celsius.at(-1)
    const before = this.#celsius.length < TREND_BLOCKS ? undefined : this.#celsius[0]
    if (now === undefined || before === undefined) return now
    const perSecond = (now - before) / ((TREND_BLOCKS - 1) * BLOCK_S)
    return now + perSecond * Math.min(secondsAhead + HOUR_S / 2, MAX_TREND_S)
  }
}

/** Means over a minute; of what nobody told, NaN or nothing. */
class Minute {
  elapsedS = 0
  #flowSum = 0
  #flowS = 0
  #voltSum = 0
  #voltS = 0

  add(flow: number | undefined, volts: number | undefined, elapsedS: number): void {
    this.elapsedS += elapsedS
    if (flow !== undefined && elapsedS <= BLOCK_S) {
      this.#flowSum += flow * elapsedS
      this.#flowS += elapsedS
    }
    if (volts !== undefined) {
      this.#voltSum += volts * elapsedS
      this.#voltS += elapsedS
    }
  }

  get flow(): number {
    return this.#flowS > 0 ? this.#flowSum / this.#flowS : Number.NaN
  }

  get volts(): number | undefined {
    return this.#voltS > 0 ? this.#voltSum / this.#voltS : undefined
  }
}
