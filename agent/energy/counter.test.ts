import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { WrappingCounter } from './counter.ts'

describe('an energy counter', () => {
  test('counts exactly through every wrap, whatever the power and the pace', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 20_000, max: 300_000, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.array(
          fc.record({ watts: fc.double({ min: 0, max: 1400, noNaN: true }), seconds: fc.integer({ min: 1, max: 10 }) }),
          {
            minLength: 1,
            maxLength: 500,
          },
        ),
        (rangeJ, start, steps) => {
          const counter = new WrappingCounter(rangeJ)
          let trueJ = start * rangeJ
          counter.advance(trueJ % rangeJ, 1)
          const startJ = trueJ
          let countedJ = 0
          for (const { watts, seconds } of steps) {
            trueJ += watts * seconds
            const step = counter.advance(trueJ % rangeJ, seconds)
            expect(step?.bridged).toBe(false)
            countedJ += step!.joules
          }
          expect(Math.abs(countedJ - (trueJ - startJ))).toBeLessThan(1e-6 * Math.max(1, trueJ))
        },
      ),
    )
  })

  test('says nothing at its first reading', () => {
    expect(new WrappingCounter(1000).advance(17, 1)).toBeUndefined()
  })

  test('that started anew is bridged with the power before, and says so', () => {
    const counter = new WrappingCounter(262_143)
    counter.advance(100_000, 1)
    counter.advance(100_020, 1)
    expect(counter.advance(3, 1)).toEqual({ joules: 20, bridged: true, doubt: 'The counter started anew' })
    expect(counter.advance(25, 1)).toMatchObject({ joules: 22, bridged: false })
  })

  test('without a known range takes a smaller reading for a fresh start, never for a wrap', () => {
    const counter = new WrappingCounter(0)
    counter.advance(500, 1)
    counter.advance(510, 1)
    expect(counter.advance(4, 1)).toMatchObject({ joules: 10, bridged: true })
  })

  test('that leaps further than any processor can go is not believed', () => {
    const counter = new WrappingCounter(262_143)
    counter.advance(0, 1)
    counter.advance(10, 1)
    expect(counter.advance(90_000, 1)).toMatchObject({ joules: 10, bridged: true })
  })

  test('that nobody read for an hour is completed by the wraps the power before implies, as an estimate', () => {
    const counter = new WrappingCounter(262_143)
    counter.advance(0, 1)
    counter.advance(100, 1)
    const trueJ = 100 * 3 * 3600
    const step = counter.advance((100 + trueJ) % 262_143, 3 * 3600)
    expect(step?.bridged).toBe(true)
    expect(step?.joules).toBeCloseTo(trueJ, 3)
    expect(step?.doubt).toMatch(/may have wrapped/)
  })

  test('that was lost before its first power is known says nothing of a long time', () => {
    const counter = new WrappingCounter(262_143)
    counter.advance(0, 1)
    expect(counter.advance(500, 3600)).toBeUndefined()
  })
})
