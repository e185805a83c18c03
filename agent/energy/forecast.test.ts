import { describe, expect, test } from 'vitest'
import { DischargeHistory } from './discharge-history.ts'
import { MemoryStorage } from './fake-machine.test-helper.ts'
import { BatteryForecast, type BatterySample } from './forecast.ts'
import { LoadPattern } from './load-pattern.ts'
import { seeded } from './seeded.test-helper.ts'

/** A battery of 180 kJ that goes out at `endShare` of its gauge, with a duty cycle; a sample each ten seconds. */
function discharge(endShare = 0): BatterySample[] {
  const full = 180_000
  const samples: BatterySample[] = []
  let energy = full
  for (let s = 0; energy > endShare * full; s += 10) {
    const flow = s % 600 < 200 ? 8 : 4
    energy -= flow * 10
    const shown = Math.round(energy / 36) * 36
    samples.push({ monotonicMs: s * 1000, charging: false, energy: shown, full, unit: 'J', flow, celsius: 20 })
  }
  return samples
}

/** Largest error in the last half: of the time left, or of a tenth of the whole where less than that is left. */
function worstError(samples: readonly BatterySample[], forecast: BatteryForecast): number {
  const endMs = samples.at(-1)!.monotonicMs
  let worst = 0
  for (const sample of samples) {
    forecast.add(sample)
    if (sample.monotonicMs < endMs / 2) continue
    const trueS = (endMs - sample.monotonicMs) / 1000
    const { seconds } = forecast.get(false, sample.monotonicMs)!
    worst = Math.max(worst, Math.abs(seconds - trueS) / Math.max(trueS, endMs / 10_000))
  }
  return worst
}

/** As at a gateway whose power goes without a word: written on the way, read at the next start. */
function runOut(storage: MemoryStorage, boot: number, samples: readonly BatterySample[]): void {
  const history = new DischargeHistory(storage, `boot-${boot}`)
  const forecast = new BatteryForecast(history.lessons, history.pattern, history.loads)
  for (const sample of samples) {
    forecast.add(sample)
    history.discharging(sample.energy / sample.full, forecast.unit, forecast.journal, sample.monotonicMs)
  }
}

describe('time to empty', () => {
  test('is within 10 % over the last half of a discharge with a duty cycle', () => {
    expect(worstError(discharge(), new BatteryForecast())).toBeLessThan(0.1)
  })

  test('has learned from batteries that ended early where the next will end', () => {
    const storage = new MemoryStorage()
    const samples = discharge(0.12)
    const untaught = worstError(samples, new BatteryForecast())
    for (let boot = 1; boot <= 4; boot++) runOut(storage, boot, samples)
    const { lessons, loads } = new DischargeHistory(storage, 'boot-5')
    expect(lessons.reserveShare).toBeGreaterThan(0.1)
    expect(lessons.curves).toHaveLength(3)
    const taught = worstError(samples, new BatteryForecast(lessons, undefined, loads))
    expect(untaught).toBeGreaterThan(0.5)
    expect(taught).toBeLessThan(0.1)
  })

  test('finds out a gauge that shows one percent for the last third, by the voltage it had the last time', () => {
    const storage = new MemoryStorage()
    const samples = discharge().map((sample, i, all): BatterySample => {
      const left = 1 - i / all.length
      // Lithium cells of some kind that nobody knows: only the earlier discharge tells what 11 volts mean.
      const volts = 10 + 2 * left + (left < 0.1 ? (left - 0.1) * 5 : 0)
      return { ...sample, unit: '%', full: 100, energy: Math.max(1, Math.round((left - 0.33) * 149)), volts }
    })
    const untaught = worstError(samples, new BatteryForecast())
    for (let boot = 1; boot <= 2; boot++) runOut(storage, boot, samples)
    const { lessons, loads } = new DischargeHistory(storage, 'boot-3')
    expect(untaught).toBeGreaterThan(0.6)
    expect(worstError(samples, new BatteryForecast(lessons, undefined, loads))).toBeLessThan(0.2)
  })

  test('takes an orderly end for no lesson, and what cannot be read for none', () => {
    const storage = new MemoryStorage()
    const history = new DischargeHistory(storage, 'boot-1')
    history.discharging(0.1, 'J', [{ drawn: 0, share: 1 }], 0)
    history.ended()
    expect(new DischargeHistory(storage, 'boot-2').lessons).toEqual({ reserveShare: 0, curves: [] })
    for (const text of [
      '',
      '{',
      '[]',
      '{"reserveShare":null}',
      '{"reserveShare":0.1,"curves":[{}]}',
      '{"reserveShare":0,"curves":[],"open":{}}',
    ]) {
      storage.put({ discharges: text })
      expect(new DischargeHistory(storage, 'boot-3').lessons).toEqual({ reserveShare: 0, curves: [] })
    }
  })

  test('sees the night coming that it has learned', () => {
    const pattern = new LoadPattern()
    const byDay = (wallS: number) => ((wallS / 3600) % 24 < 12 ? 8 : 2)
    for (let s = 0; s < 6 * 86_400; s += 60) pattern.add(s * 1000, byDay(s), 60)
    const full = 100_000
    const told = (known?: LoadPattern) => {
      const forecast = new BatteryForecast(undefined, known)
      // Four hours at 8 W from eight o'clock on take it all; with the night from twelve on, most of it is there in the evening.
      let energy = full
      for (let s = 0; s <= 3600; s += 10) {
        energy -= 80
        const wallMs = (7 * 86_400 + 8 * 3600 + s) * 1000
        forecast.add({ monotonicMs: s * 1000, wallMs, charging: false, energy, full, unit: 'J', flow: 8, celsius: 20 })
      }
      return forecast.get(false, 3_600_000)!.seconds
    }
    expect(told() / (71_200 / 8)).toBeCloseTo(1, 1)
    const trueS = 3 * 3600
    expect(told(pattern)).toBeLessThan(trueS)
    const longer = 71_200 / 8
    expect(told(pattern)).toBeGreaterThan(longer * 0.95)
  })

  test('counts down and does not flap between two estimates', () => {
    const forecast = new BatteryForecast()
    let jumps = 0
    let before: number | undefined
    const samples = discharge()
    const endMs = samples.at(-1)!.monotonicMs
    for (const sample of samples) {
      forecast.add(sample)
      const seconds = forecast.get(false, sample.monotonicMs)?.seconds
      const settled = sample.monotonicMs > endMs / 5
      if (settled && seconds !== undefined && before !== undefined && Math.abs(seconds - (before - 10)) > 5) jumps++
      before = seconds
    }
    expect(jumps).toBeLessThan(endMs / 1000 / 1200)
  })

  test('is not there before there is anything to go by, and ends with the discharge', () => {
    const forecast = new BatteryForecast()
    const at = (s: number, charging: boolean): BatterySample => {
      return { monotonicMs: s * 1000, charging, energy: 1e5 - s, full: 2e5, unit: 'J', flow: 5, celsius: undefined }
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

  test('comes from the gauge where the driver always says that nothing flows', () => {
    const forecast = new BatteryForecast()
    for (const sample of discharge().slice(0, 1500)) forecast.add({ ...sample, flow: 0 })
    const { seconds } = forecast.get(false, 14_990_000)!
    expect(Math.abs(seconds / (180_000 / 5.333 - 14_990) - 1)).toBeLessThan(0.1)
  })

  test('comes from a percentage alone where nothing else is known', () => {
    const forecast = new BatteryForecast()
    for (let s = 0; s < 7200; s += 10) {
      const energy = Math.round(90 - s / 360)
      forecast.add({
        monotonicMs: s * 1000,
        charging: false,
        energy,
        full: 100,
        unit: '%',
        flow: undefined,
        celsius: undefined,
      })
    }
    const { seconds } = forecast.get(false, 7_190_000)!
    expect(Math.abs(seconds / (70 * 360) - 1)).toBeLessThan(0.1)
  })
})

describe('time to full', () => {
  test('knows that charging slows down: within a quarter from a third of the charge on, and in its interval', () => {
    for (let seed = 1; seed <= 20; seed++) {
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
          unit: 'J',
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
