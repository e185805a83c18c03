import { type Calibration, type CalibrationPoint, calibrate, MIN_POINTS } from './calibrate.ts'
import { modelTerms, type PowerModel } from './model.ts'
import type { Sample } from './source.ts'

/** A meter that is read every few seconds and a processor that changes every millisecond are compared over this long. */
const POINT_S = 5
/** Two hours of samples. */
const MAX_MOMENTS = 7200
/** Meters tell means of some seconds, and are read some seconds later. More than that is no meter for this. */
const MAX_LAG = 20
/** A delay is believed when the error is less by this share with it than without. */
const LAG_GAIN = 0.1

interface Moment {
  readonly terms: readonly number[]
  readonly watts: number
  readonly elapsedS: number
}

/** Records what a calibration needs from the samples of a running agent. */
export class CalibrationSession {
  readonly #meter: string
  /** Stretches without a gap. */
  readonly #stretches: Moment[][] = [[]]
  #moments = 0

  /** `meter`: the meter to fit against, as in `MeterReading.meter`: `device:plant/meter-1`. */
  constructor(meter: string) {
    this.#meter = meter
  }

  add({ time, activity, meters }: Sample): void {
    const reading = meters.find(({ meter }) => meter === this.#meter)
    const { elapsedS, suspendedS } = time
    const known = activity !== undefined && reading?.watts !== undefined
    if (!known || elapsedS <= 0 || elapsedS > POINT_S || suspendedS > 0) {
      if (this.#stretches.at(-1)!.length > 0) this.#stretches.push([])
      return
    }
    if (this.#moments >= MAX_MOMENTS) return
    this.#moments++
    this.#stretches.at(-1)!.push({ terms: modelTerms(activity, elapsedS), watts: reading.watts!, elapsedS })
  }

  get points(): readonly CalibrationPoint[] {
    return this.#pointsAt(0)
  }

  /**
   * As `calibrate`; `fallback` is the model in force. A meter that is behind what the machine does is held against what it
   * did then: the delay is the one with which both go together best.
   */
  finish(fallback: PowerModel): Calibration {
    const origin = `fitted to ${this.#meter}`
    const first = calibrate(this.#pointsAt(0), origin, fallback)
    let best = first
    let lag = 0
    for (let tried = 1; tried <= MAX_LAG; tried++) {
      const points = this.#pointsAt(tried)
      if (points.length < MIN_POINTS) break
      const fit = calibrate(points, origin, fallback)
      if (fit.errorWatts >= best.errorWatts) continue
      best = fit
      lag = tried
    }
    if (lag === 0 || best.errorWatts > first.errorWatts * (1 - LAG_GAIN)) return first
    return {
      ...best,
      notes: [...best.notes, `The meter tells about ${lag} s late; it was held against what was done then.`],
    }
  }

  /** What the machine did beside what the meter said so many samples later, over five seconds each. */
  #pointsAt(lag: number): CalibrationPoint[] {
    const points: CalibrationPoint[] = []
    for (const stretch of this.#stretches) {
      let terms: number[] = []
      let joules = 0
      let seconds = 0
      for (let i = 0; i + lag < stretch.length; i++) {
        const { terms: now, elapsedS } = stretch[i]!
        terms = now.map((term, j) => (terms[j] ?? 0) + term * elapsedS)
        joules += stretch[i + lag]!.watts * elapsedS
        seconds += elapsedS
        if (seconds < POINT_S) continue
        points.push({ terms: terms.map((term) => term / seconds), watts: joules / seconds })
        terms = []
        joules = seconds = 0
      }
    }
    return points
  }
}
