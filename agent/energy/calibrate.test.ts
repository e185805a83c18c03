import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CalibrationPoint, calibrate } from './calibrate.ts'
import { CalibrationSession } from './calibration-session.ts'
import { FakeMachine } from './fake-machine.test-helper.ts'
import { nonNegativeLeastSquares } from './least-squares.ts'
import { modelCoefficients, modelTerms, type PowerModel } from './model.ts'
import { emptySample } from './sample.test-helper.ts'
import { seeded } from './seeded.test-helper.ts'

const truth: PowerModel = {
  idleWatts: 2.9,
  cpuWatts: 0.35,
  frequencyWatts: 0.8,
  radioJPerByte: 4e-7,
  storageJPerByte: 2e-8,
  errorPercent: 0,
  origin: 'truth',
  calibrated: true,
}
const guess: PowerModel = {
  ...truth,
  idleWatts: 1,
  cpuWatts: 1,
  frequencyWatts: 1,
  radioJPerByte: 1e-7,
  errorPercent: 50,
}

/** A machine that works, sends and stores in stretches, seen by a meter with `noise`. */
function recording(seed: number, count: number, noise: number, busy = 4): CalibrationPoint[] {
  const random = seeded(seed)
  let level = 0
  return Array.from({ length: count }, (_, i) => {
    if (i % 6 === 0) level = random()
    const activity = {
      busyCpuS: Math.max(0, level * busy + (random() - 0.5) * 0.1),
      totalCpuS: 4,
      frequencyRatio: 0.4 + 0.6 * random(),
      radioBytes: random() < 0.3 ? random() * 2e6 : 0,
      storageBytes: random() < 0.3 ? random() * 2e7 : 0,
    }
    const terms = modelTerms(activity, 1)
    const watts = modelCoefficients(truth).reduce((sum, c, j) => sum + c * terms[j]!, 0)
    return { terms, watts: watts * (1 + (random() + random() - 1) * noise) }
  })
}

describe('calibrating', () => {
  test('finds the machine’s own coefficients behind a noisy meter, and its error is that of the noise', () => {
    const { model, errorPercent, explained, notes } = calibrate(recording(1, 600, 0.05), 'fitted', guess)
    const fitted = modelCoefficients(model)
    modelCoefficients(truth).forEach((coefficient, i) => {
      expect(Math.abs(fitted[i]! / coefficient - 1)).toBeLessThan(0.15)
    })
    expect(errorPercent).toBeGreaterThan(1)
    expect(errorPercent).toBeLessThan(4)
    expect(explained).toBeGreaterThan(0.9)
    expect(notes).toEqual([])
  })

  test('does not make up a price of work from a machine that never worked', () => {
    const { model, notes } = calibrate(recording(2, 200, 0.02, 0.02), 'fitted', guess)
    expect(model).toMatchObject({ cpuWatts: guess.cpuWatts, frequencyWatts: guess.frequencyWatts, calibrated: false })
    expect(notes[0]).toMatch(/all the time about as busy/)
  })

  test('refuses a recording that is too short, or whose meter said nothing', () => {
    expect(() => calibrate(recording(3, 20, 0), 'fitted', guess)).toThrow(/too few/)
    const silent = recording(3, 200, 0).map((point) => ({ ...point, watts: Number.NaN }))
    expect(() => calibrate(silent, 'fitted', guess)).toThrow(/0 usable points/)
  })

  test('never gives a negative coefficient, and no non-negative neighbour fits better', () => {
    const row = fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: 3, maxLength: 3 })
    const data = fc.array(fc.tuple(row, fc.double({ min: -100, max: 100, noNaN: true })), {
      minLength: 8,
      maxLength: 30,
    })
    fc.assert(
      fc.property(data, (points) => {
        const rows = points.map(([terms]) => terms)
        const values = points.map(([, value]) => value)
        const x = nonNegativeLeastSquares(rows, values)
        const loss = (of: readonly number[]) =>
          rows.reduce((sum, terms, i) => sum + (terms.reduce((y, t, j) => y + t * of[j]!, 0) - values[i]!) ** 2, 0)
        const least = loss(x)
        x.forEach((value, j) => {
          expect(value).toBeGreaterThanOrEqual(0)
          for (const step of [0.01, -0.01]) {
            const moved = x.map((other, k) => (k === j ? Math.max(0, other + step) : other))
            expect(loss(moved)).toBeGreaterThanOrEqual(least - 1e-6 * (1 + least))
          }
        })
      }),
    )
  })

  test('records a running agent against a meter twin, and the fitted model is in force and kept', async () => {
    await using machine = new FakeMachine()
    let watts = 3
    const readTwin = (_: string, __: string | undefined, role: string) =>
      role === 'power' ? { value: watts, unit: 'W', good: true, atMs: machine.clock.now() } : undefined
    const config = { meter: { device: 'plant/meter-1' } }
    const energy = machine.start({ config, readTwin })
    const session = new CalibrationSession('device:plant/meter-1')
    using _recording = energy.observe((sample) => session.add(sample))
    for (let turn = 0; turn < 12; turn++) {
      const busy = turn % 4
      await machine.run(40, () => void (watts = 3 + 1.25 * busy), busy)
    }
    const { model, errorPercent } = session.finish(energy.model)
    expect(model.idleWatts).toBeCloseTo(3, 1)
    expect(model.cpuWatts + model.frequencyWatts).toBeCloseTo(1.25, 1)
    expect(errorPercent).toBeLessThan(5)
    energy.adopt(model)
    expect(machine.storage.get('model')).toMatch(/plant\/meter-1/)
    expect(energy.snapshot().power).toMatchObject({ by: 'device:plant/meter-1', source: 'measured', watts: 6.75 })
  })

  test('holds a meter that tells four seconds late against what was done then', () => {
    const random = seeded(5)
    const session = new CalibrationSession('device:plant/meter-1')
    const told: number[] = []
    let level = 0
    for (let s = 0; s < 900; s++) {
      if (s % 15 === 0) level = random() * 4
      const activity = { busyCpuS: level, totalCpuS: 4, frequencyRatio: 1, radioBytes: 0, storageBytes: 0 }
      told.push(modelCoefficients(truth).reduce((sum, c, j) => sum + c * modelTerms(activity, 1)[j]!, 0))
      const sample = emptySample()
      session.add({
        ...sample,
        time: { ...sample.time, elapsedS: s === 0 ? 0 : 1 },
        activity,
        meters: [
          {
            ...{ meter: 'device:plant/meter-1', by: 'device:plant/meter-1', covers: 'machine', source: 'measured' },
            watts: told[Math.max(0, s - 4)]!,
          },
        ],
      })
    }
    const { errorPercent, notes, model } = session.finish(guess)
    expect(notes).toContain('The meter tells about 4 s late; it was held against what was done then.')
    expect(errorPercent).toBeLessThan(1)
    expect(model.idleWatts).toBeCloseTo(truth.idleWatts, 1)
  })
})
