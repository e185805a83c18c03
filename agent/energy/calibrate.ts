import { SluiceError } from '../../api/errors.ts'
import { nonNegativeLeastSquares } from './least-squares.ts'
import type { PowerModel } from './model.ts'

/** One stretch of time: what the machine did, as terms of the model, and what the meter said. */
export interface CalibrationPoint {
  readonly terms: readonly number[]
  readonly watts: number
}

export interface Calibration {
  readonly model: PowerModel
  readonly points: number
  /** Root of the mean square of the error on points the fit had not seen, watts. */
  readonly errorWatts: number
  /** Of the mean power, percent. */
  readonly errorPercent: number
  /** Share of the meter's variation that the model explains on points it had not seen, at most 1. */
  readonly explained: number
  /** What the recording could not tell, and what to do about it. */
  readonly notes: readonly string[]
}

export const MIN_POINTS = 60
const FOLDS = 5
const POINT_S = 5
/** Busy cores must have differed by this much, or nobody can tell what work costs. */
const MIN_BUSY_RANGE = 0.3

/**
 * Fits the model to a meter's samples: least squares, no coefficient below 0. The error is that of cross-validation: each
 * fifth of the recording is predicted by a fit of the other four. Throws SLUICE_ENERGY_CALIBRATION when the recording
 * is too short or all of it alike.
 */
export function calibrate(points: readonly CalibrationPoint[], origin: string, fallback: PowerModel): Calibration {
  const sound = points.filter(({ terms, watts }) => watts > 0 && [...terms, watts].every(Number.isFinite))
  if (sound.length < MIN_POINTS) {
    throw new SluiceError(
      'SLUICE_ENERGY_CALIBRATION',
      `${sound.length} usable points of ${POINT_S} s are too few to fit a model; it takes ${MIN_POINTS}`,
      { hint: `Record for at least ${Math.ceil((MIN_POINTS * POINT_S) / 60)} minutes, with the meter being read.` },
    )
  }
  const notes: string[] = []
  const busy = sound.map(({ terms }) => terms[1]!)
  const range = Math.max(...busy) - Math.min(...busy)
  const known = knownColumns(sound)
  if (range < MIN_BUSY_RANGE) {
    known[1] = known[2] = false
    notes.push(
      'The processor was all the time about as busy, which does not tell what work costs: that part is kept from before, and ' +
        'idle is not to be relied upon. Keep it idle and busy by turns.',
    )
  }
  if (!known[3]) notes.push('Hardly anything was sent by radio; its cost is kept from before.')
  if (!known[4]) notes.push('Hardly anything was stored; its cost is kept from before.')
  const kept = [
    fallback.idleWatts,
    fallback.cpuWatts,
    fallback.frequencyWatts,
    fallback.radioJPerByte,
    fallback.storageJPerByte,
  ]
  const solve = (of: readonly CalibrationPoint[]) => fitKnown(of, known, kept)
  const errors = crossErrors(sound, solve)
  const mean = sound.reduce((sum, { watts }) => sum + watts, 0) / sound.length
  const errorWatts = Math.sqrt(errors.reduce((sum, error) => sum + error * error, 0) / errors.length)
  const variance = sound.reduce((sum, { watts }) => sum + (watts - mean) ** 2, 0) / sound.length
  const [idleWatts, cpuWatts, frequencyWatts, radioJPerByte, storageJPerByte] = solve(sound)
  const errorPercent = (errorWatts / mean) * 100
  return {
    model: {
      idleWatts: idleWatts!,
      cpuWatts: cpuWatts!,
      frequencyWatts: frequencyWatts!,
      radioJPerByte: radioJPerByte!,
      storageJPerByte: storageJPerByte!,
      errorPercent,
      origin,
      calibrated: range >= MIN_BUSY_RANGE,
    },
    points: sound.length,
    errorWatts,
    errorPercent,
    explained: variance > 0 ? 1 - errorWatts ** 2 / variance : 0,
    notes,
  }
}

/** A column tells something when it is not nearly constant; idle power always is, and is what remains. */
function knownColumns(points: readonly CalibrationPoint[]): boolean[] {
  return points[0]!.terms.map((_, j) => {
    if (j === 0) return true
    const column = points.map(({ terms }) => terms[j]!)
    const mean = column.reduce((sum, value) => sum + value, 0) / column.length
    const deviation = Math.sqrt(column.reduce((sum, value) => sum + (value - mean) ** 2, 0) / column.length)
    const least = j >= 3 ? 10_000 : 1e-3
    return deviation > least
  })
}

function fitKnown(points: readonly CalibrationPoint[], known: readonly boolean[], kept: readonly number[]): number[] {
  const columns = known.flatMap((is, j) => (is ? [j] : []))
  const rows = points.map(({ terms }) => columns.map((j) => terms[j]!))
  const values = points.map(({ terms, watts }) =>
    known.reduce((rest, is, j) => (is ? rest : rest - kept[j]! * terms[j]!), watts),
  )
  const fitted = nonNegativeLeastSquares(rows, values)
  return known.map((is, j) => (is ? fitted[columns.indexOf(j)]! : kept[j]!))
}

/** Stretches, not single points, are left out: neighbours are alike and would tell each other's secret. */
function crossErrors(
  points: readonly CalibrationPoint[],
  solve: (of: readonly CalibrationPoint[]) => number[],
): number[] {
  const size = Math.ceil(points.length / FOLDS)
  const errors: number[] = []
  for (let fold = 0; fold < FOLDS; fold++) {
    const left = points.slice(fold * size, (fold + 1) * size)
    const rest = [...points.slice(0, fold * size), ...points.slice((fold + 1) * size)]
    const x = solve(rest)
    for (const { terms, watts } of left) errors.push(watts - terms.reduce((sum, term, j) => sum + term * x[j]!, 0))
  }
  return errors
}
