import { describe, expect, test } from 'vitest'
import { discharge, seeded } from './discharge.test-helper.ts'
import { DischargeHistory } from './discharge-history.ts'
import { MemoryStorage } from './fake-machine.test-helper.ts'
import { BatteryForecast, type BatterySample } from './forecast.ts'

interface Judged {
  /** Largest error in the last half: of the time left, or of a tenth of the whole where less than that is left. */
  readonly worst: number
  readonly covered: number
  readonly judged: number
}

function judge(options: Parameters<typeof discharge>[0], forecast = new BatteryForecast()): Judged {
  const { samples, emptyMs } = discharge(options)
  let worst = 0
  let covered = 0
  let judged = 0
  for (const sample of samples) {
    forecast.add(sample)
    if (sample.monotonicMs < emptyMs / 2 || sample.monotonicMs % 60_000 !== 0) continue
    const trueS = (emptyMs - sample.monotonicMs) / 1000
    const { seconds, lowSeconds, highSeconds } = forecast.get(false, sample.monotonicMs)!
    worst = Math.max(worst, Math.abs(seconds - trueS) / Math.max(trueS, emptyMs / 10_000))
    judged++
    if (trueS >= lowSeconds && trueS <= highSeconds) covered++
  }
  return { worst, covered, judged }
}

const seeds = Array.from({ length: 20 }, (_, i) => i + 1)

describe('time to empty', () => {
  test('is within 10 % over the last half of a discharge with duty cycle, load step, cold night and noise', () => {
    for (const seed of seeds) expect({ seed, within: judge({ seed }).worst <= 0.1 }).toEqual({ seed, within: true })
  })

  test('lies in its interval nine times of ten, also when the load is of a kind that nobody can know', () => {
    const all = seeds.map((seed) => judge({ seed, restless: true }))
    const covered = all.reduce((sum, judged) => sum + judged.covered, 0)
    const judged = all.reduce((sum, one) => sum + one.judged, 0)
    expect(covered / judged).toBeGreaterThan(0.85)
  })

  test('has learned from a battery that ended early where it will end the next time', () => {
    const storage = new MemoryStorage()
    const first = discharge({ seed: 3, cutOff: 0.12 })
    const history = new DischargeHistory(storage, 'boot-1')
    for (const { energy, full, monotonicMs } of first.samples)
      history.discharging(energy / full, undefined, monotonicMs)
    const full = first.samples[0]!.full
    // The power went: nobody closed anything. The lesson is taken at the next boot, and half of it at first.
    const untaught = judge({ seed: 3, cutOff: 0.12 }).worst
    let { reserve } = new DischargeHistory(storage, 'boot-2').lessons(full)
    expect(reserve / full).toBeCloseTo(0.06, 2)
    for (let n = 3; n < 7; n++) {
      const again = new DischargeHistory(storage, `boot-${n}`)
      for (const { energy, full: whole, monotonicMs } of first.samples)
        again.discharging(energy / whole, undefined, monotonicMs)
      reserve = again.lessons(full).reserve
    }
    const taught = judge({ seed: 3, cutOff: 0.12 }, new BatteryForecast({ reserve, gaugeFactor: 1 })).worst
    expect(taught).toBeLessThan(untaught / 3)
    expect(taught).toBeLessThan(0.15)
  })

  test('takes an orderly end for no lesson', () => {
    const storage = new MemoryStorage()
    const history = new DischargeHistory(storage, 'boot-1')
    history.discharging(0.1, undefined, 0)
    history.ended()
    expect(new DischargeHistory(storage, 'boot-2').lessons(100).reserve).toBe(0)
  })

  test('counts down and does not flap between two estimates', () => {
    const { samples, emptyMs } = discharge({ seed: 5 })
    const forecast = new BatteryForecast()
    let jumps = 0
    let before: number | undefined
    for (const sample of samples) {
      forecast.add(sample)
      const seconds = forecast.get(false, sample.monotonicMs)?.seconds
      const settled = sample.monotonicMs > emptyMs / 5
      if (settled && seconds !== undefined && before !== undefined && Math.abs(seconds - (before - 10)) > 5) jumps++
      before = seconds
    }
    expect(jumps).toBeLessThan(emptyMs / 1000 / 1200)
  })

  test('is not there before there is anything to go by, and ends with the discharge', () => {
    const forecast = new BatteryForecast()
    const at = (s: number, charging: boolean): BatterySample => {
      return { monotonicMs: s * 1000, charging, energy: 1e5 - s, full: 2e5, flow: 5, celsius: undefined }
    }
    for (let s = 0; s < 120; s++) forecast.add(at(s, false))
    expect(forecast.get(false, 120_000)).toBeUndefined()
    for (let s = 120; s < 400; s++) forecast.add(at(s, false))
    expect(forecast.get(false, 400_000)!.seconds).toBeGreaterThan(0)
    // A plug that is pulled and put back within seconds is no new charge.
    for (let s = 400; s < 405; s++) forecast.add(at(s, true))
    for (let s = 405; s < 420; s++) forecast.add(at(s, false))
    expect(forecast.get(false, 420_000)).toBeDefined()
    for (let s = 420; s < 460; s++) forecast.add(at(s, true))
    expect(forecast.get(false, 460_000)).toBeUndefined()
  })

  test('comes from a percentage alone where nothing else is known', () => {
    const forecast = new BatteryForecast()
    for (let s = 0; s < 7200; s += 10) {
      const energy = Math.round(90 - s / 360)
      forecast.add({ monotonicMs: s * 1000, charging: false, energy, full: 100, flow: undefined, celsius: undefined })
    }
    const { seconds } = forecast.get(false, 7_190_000)!
    expect(Math.abs(seconds / (70 * 360) - 1)).toBeLessThan(0.1)
  })
})

describe('time to full', () => {
  test('knows that charging slows down: within a quarter from a third of the charge on, and in its interval', () => {
    for (const seed of seeds) {
      const random = seeded(seed)
      const full = 150_000 + random() * 100_000
      const constantW = 15 + random() * 20
      const efficiency = 0.88 + random() * 0.1
      const samples: BatterySample[] = []
      let energy = full * 0.1
      let s = 0
      for (let watts = constantW; watts > 0.05 * constantW; s += 10) {
        const missing = Math.max(0, (full - energy) / full)
        watts = Math.min(constantW, (constantW * missing) / 0.2) * (0.98 + random() * 0.04)
        energy += watts * efficiency * 10
        samples.push({
          monotonicMs: s * 1000,
          charging: true,
          energy: Math.round(energy / 36) * 36,
          full,
          flow: watts,
          celsius: 25,
        })
      }
      const forecast = new BatteryForecast()
      for (const sample of samples) {
        forecast.add(sample)
        const at = sample.monotonicMs / 1000
        if (at < s / 3 || at > s * 0.9 || at % 300 !== 0) continue
        const { seconds, lowSeconds, highSeconds } = forecast.get(true, sample.monotonicMs)!
        expect(Math.abs(seconds / (s - at) - 1)).toBeLessThan(0.25)
        expect(s - at).toBeGreaterThan(lowSeconds)
        expect(s - at).toBeLessThan(highSeconds)
      }
    }
  })
})
