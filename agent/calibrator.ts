import { SluiceError } from '../api/errors.ts'
import { type Calibration, MIN_POINTS } from './energy/calibrate.ts'
import { CalibrationSession } from './energy/calibration-session.ts'
import type { Energy } from './energy/energy.ts'

export interface CalibrationState {
  /** The meter that is recorded; absent while nothing is. */
  readonly meter?: string
  readonly points: number
  readonly needed: number
  /** Where the model in force comes from, and its error in per cent. */
  readonly model: { readonly origin: string; readonly errorPercent: number; readonly calibrated: boolean }
}

/** Records a meter beside what the machine does, for as long as somebody wants, and fits the model to it. */
export class Calibrator implements Disposable {
  readonly #energy: Energy
  #session: { readonly meter: string; readonly recording: CalibrationSession; readonly end: Disposable } | undefined

  constructor(energy: Energy) {
    this.#energy = energy
  }

  get state(): CalibrationState {
    const { origin, errorPercent, calibrated } = this.#energy.model
    return {
      ...(this.#session === undefined ? {} : { meter: this.#session.meter }),
      points: this.#session?.recording.points.length ?? 0,
      needed: MIN_POINTS,
      model: { origin, errorPercent, calibrated },
    }
  }

  /** Starts over with this meter, or with the one that measures the whole machine. Throws SLUICE_ENERGY_NO_METER. */
  start(wanted: string | undefined): void {
    const meters = this.#energy
      .snapshot()
      .meters.filter(({ source, covers }) => source === 'measured' && (wanted !== undefined || covers === 'machine'))
    const found = meters.find(({ meter, by }) => wanted === undefined || meter === wanted || by === wanted)
    if (found === undefined) {
      const there = meters.map(({ meter }) => meter).join(', ')
      throw new SluiceError(
        'SLUICE_ENERGY_NO_METER',
        wanted === undefined
          ? 'Nothing measures the whole of this gateway, so there is nothing to fit the model to'
          : `There is no measuring meter '${wanted}' at this gateway${there === '' ? '' : `; there are: ${there}`}`,
        {
          hint: 'Name a meter in Gateway.spec.energy.meter: a Device with a property of role power, read every second.',
        },
      )
    }
    this[Symbol.dispose]()
    const recording = new CalibrationSession(found.meter)
    this.#session = { meter: found.meter, recording, end: this.#energy.observe((sample) => recording.add(sample)) }
  }

  /** Fits what was recorded; with `adopt` the fit is the model from now on. Throws SLUICE_ENERGY_CALIBRATION. */
  finish(adopt: boolean): Calibration {
    if (this.#session === undefined) {
      throw new SluiceError('SLUICE_ENERGY_NO_CALIBRATION', 'Nothing is being recorded', {
        hint: 'Start with: sluice energy calibrate',
      })
    }
    const calibration = this.#session.recording.finish(this.#energy.model)
    if (adopt) this.#energy.adopt(calibration.model)
    this[Symbol.dispose]()
    return calibration
  }

  [Symbol.dispose](): void {
    this.#session?.end[Symbol.dispose]()
    this.#session = undefined
  }
}
