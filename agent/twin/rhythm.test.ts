import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LEAST_SILENCE_MS, Rhythm, UNKNOWN_RHYTHM_MS } from './rhythm.ts'

const MIN = 60_000
const HOUR = 60 * MIN

const heardAfter = (...gapsMs: readonly number[]) => {
  const rhythm = new Rhythm()
  let nowMs = 1000
  rhythm.heard(nowMs)
  for (const gap of gapsMs) rhythm.heard((nowMs += gap))
  return rhythm
}

const times = (n: number, gapMs: number): number[] => Array.from({ length: n }, () => gapMs)

describe('the rhythm of a device that speaks when it wants', () => {
  it('is unknown at first, also after a burst', () => {
    expect(new Rhythm().silenceMs).toBe(UNKNOWN_RHYTHM_MS)
    expect(heardAfter(...times(100, 20)).silenceMs).toBe(UNKNOWN_RHYTHM_MS)
  })

  it('is three times the usual silence, a minute at least', () => {
    expect(heardAfter(...times(20, 10 * MIN)).silenceMs).toBe(30 * MIN)
    expect(heardAfter(...times(3, HOUR)).silenceMs).toBe(3 * HOUR)
    expect(heardAfter(...times(2000, 1000)).silenceMs).toBe(LEAST_SILENCE_MS)
  })

  it('bursts in between do not make it impatient', () => {
    const bursts = times(5, 10 * MIN).flatMap((gap) => [gap, ...times(50, 10)])
    expect(heardAfter(...bursts).silenceMs).toBeCloseTo(30 * MIN, -4)
  })

  it('an outage is no rhythm, and is forgotten', () => {
    const away = heardAfter(...times(100, MIN), 12 * HOUR)
    expect(away.silenceMs).toBe(12 * MIN)
    expect(heardAfter(...times(100, MIN), 12 * HOUR, ...times(24 * 60, MIN)).silenceMs).toBeLessThan(4 * MIN)
  })

  it('a device that slows down is followed in a few messages', () => {
    expect(heardAfter(...times(1000, MIN), ...times(4, 2 * HOUR)).silenceMs).toBe(6 * HOUR)
  })

  it('stays between a minute and a day, whatever comes', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 40 * 24 * HOUR }), { maxLength: 60 }), (gaps) => {
        const { silenceMs } = heardAfter(...gaps)
        expect(silenceMs).toBeGreaterThanOrEqual(LEAST_SILENCE_MS)
        expect(silenceMs).toBeLessThanOrEqual(24 * HOUR)
      }),
    )
  })
})
