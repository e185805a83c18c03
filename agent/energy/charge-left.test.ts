import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { emptyingShare } from './cell-curve.ts'
import { ChargeLeft } from './charge-left.ts'
import { LoadHistory } from './load-history.ts'
import { LoadPattern } from './load-pattern.ts'

describe('what can still be drawn', () => {
  test('is finite and never negative, whatever gauge and poles say and whatever was remembered', () => {
    const share = fc.double({ min: 0, max: 1.2, noNaN: true })
    const volts = fc.option(fc.double({ min: 0, max: 60, noNaN: true }), { nil: undefined })
    const point = fc.record({ left: fc.double({ min: 0, max: 1e6, noNaN: true }), share, volts })
    const curve = fc.record({
      unit: fc.constantFrom('J' as const, 's' as const),
      points: fc.array(point, { maxLength: 10 }),
    })
    const look = fc.record({ share, volts, drawn: fc.double({ min: 0, max: 1e5, noNaN: true }) })
    fc.assert(
      fc.property(
        fc.array(curve, { maxLength: 3 }),
        fc.option(fc.double({ min: 1, max: 1e6, noNaN: true }), { nil: undefined }),
        fc.array(look, { maxLength: 40 }),
        (curves, full, looks) => {
          const left = new ChargeLeft({ unit: 'J', full, reserve: 0.05, curves })
          for (const { drawn, ...sight } of looks) {
            left.draw(drawn)
            left.look(sight, 60)
            const said = left.left()
            if (said === undefined) continue
            expect(said.amount).toBeGreaterThanOrEqual(0)
            expect(Number.isFinite(said.amount) && Number.isFinite(said.error)).toBe(true)
          }
          expect(left.journal.length).toBeLessThanOrEqual(65)
        },
      ),
    )
  })

  test('keeps at most 65 moments of a discharge of a month', () => {
    const left = new ChargeLeft({ unit: 'J', full: 1e6, reserve: 0, curves: [] })
    for (let minute = 0; minute < 43_200; minute++) {
      left.draw(20)
      left.look({ share: 1 - minute / 43_200, volts: undefined }, 60)
    }
    expect(left.journal.length).toBeLessThanOrEqual(65)
    expect(left.journal[0]!.share).toBe(1)
    expect(left.journal.at(-1)!.drawn).toBeGreaterThan(0.9 * left.drawn)
  })

  test('is not read from a voltage that may be of another chemistry', () => {
    expect(emptyingShare(3.8)).toBeCloseTo(0.53)
    expect(emptyingShare(7.6)).toBeCloseTo(0.53)
    expect(emptyingShare(12.6)).toBeUndefined()
    expect(emptyingShare(1.5)).toBeUndefined()
  })
})

describe('habits of the load', () => {
  test('are those of the day, once they have foretold better than a mean', () => {
    const pattern = new LoadPattern()
    const watts = (hour: number) => (hour % 24 < 8 ? 3 : 9)
    for (let hour = 0; hour < 24 * 5; hour++) {
      for (let minute = 0; minute < 60; minute++) pattern.add((hour * 60 + minute) * 60_000, watts(hour), 60)
    }
    expect(pattern.ratio(4 * 3_600_000)).toBeCloseTo(3 / 7, 1)
    expect(pattern.ratio(20 * 3_600_000)).toBeCloseTo(9 / 7, 1)
    const kept = new LoadPattern(JSON.parse(JSON.stringify(pattern)))
    expect(kept.ratio(4 * 3_600_000)).toBeCloseTo(pattern.ratio(4 * 3_600_000), 2)
  })

  test('are none where the load has none', () => {
    const pattern = new LoadPattern()
    let state = 1
    for (let hour = 0; hour < 24 * 20; hour++) {
      state = (state * 48_271) % 2_147_483_647
      for (let minute = 0; minute < 60; minute++) pattern.add((hour * 60 + minute) * 60_000, 3 + (state % 7), 60)
    }
    for (let hour = 0; hour < 24; hour++) expect(Math.abs(pattern.ratio(hour * 3_600_000) - 1)).toBeLessThan(0.15)
  })

  test('are not learned from a clock that is set back and forth', () => {
    const pattern = new LoadPattern()
    for (let i = 0; i < 20_000; i++) pattern.add((i % 2) * 9 * 3_600_000, i % 2 === 0 ? 3 : 9, 60)
    expect(pattern.ratio(0)).toBe(1)
  })

  test('that cannot be read are forgotten', () => {
    for (const kept of [null, 1, {}, { watts: [1], seen: [1] }, { mean: -1 }]) {
      expect(new LoadPattern(kept).ratio(0)).toBe(1)
      expect(new LoadHistory(kept).habit).toBeUndefined()
    }
  })
})
