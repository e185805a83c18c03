import type { Activity } from './source.ts'

/**
 * Power of a machine from what it does: `idle + cpu·busy + frequency·busy·ratio² + radio·bytes + storage·bytes`.
 * All coefficients are at least 0. The frequency term carries what voltage scaling adds: power of a busy core grows
 * with the square of the frequency on top of the share that grows with its cycles.
 */
export interface PowerModel {
  readonly idleWatts: number
  /** Watts of one busy core at its lowest frequency, beyond idle. */
  readonly cpuWatts: number
  /** Watts that a busy core takes on top at its highest frequency. */
  readonly frequencyWatts: number
  readonly radioJPerByte: number
  readonly storageJPerByte: number
  /** Standard error of the whole, percent. */
  readonly errorPercent: number
  /** Where the numbers come from, for a person. */
  readonly origin: string
  /** Fitted or published for this very kind of machine; else a guess from its size. */
  readonly calibrated: boolean
}

/** The terms of the model for one sample; the coefficients' order everywhere. */
export function modelTerms(activity: Activity, elapsedS: number): number[] {
  const busyCores = activity.busyCpuS / elapsedS
  const ratio = activity.frequencyRatio ?? 1
  return [
    1,
    busyCores,
    busyCores * ratio * ratio,
    (activity.radioBytes ?? 0) / elapsedS,
    (activity.storageBytes ?? 0) / elapsedS,
  ]
}

export function modelCoefficients(model: PowerModel): number[] {
  return [model.idleWatts, model.cpuWatts, model.frequencyWatts, model.radioJPerByte, model.storageJPerByte]
}

/** Watts of the whole machine; `elapsedS` is above 0. */
export function modelWatts(model: PowerModel, activity: Activity, elapsedS: number): number {
  const terms = modelTerms(activity, elapsedS)
  return modelCoefficients(model).reduce((watts, coefficient, i) => watts + coefficient * terms[i]!, 0)
}

/** A stored model; undefined when the text is none. */
export function parseModel(text: string | undefined): PowerModel | undefined {
  if (text === undefined) return undefined
  try {
    const model = JSON.parse(text) as PowerModel
    const numbers = [...modelCoefficients(model), model.errorPercent]
    const sound = numbers.every((n) => typeof n === 'number' && Number.isFinite(n) && n >= 0)
    return sound && typeof model.origin === 'string' && typeof model.calibrated === 'boolean' ? model : undefined
  } catch {
    return undefined
  }
}
