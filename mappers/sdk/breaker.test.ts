import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Breaker } from './breaker.ts'

describe('the breaker', () => {
  it('opens after three failures in a row and not before', () => {
    const breaker = new Breaker(() => 0)
    expect([breaker.failed(0), breaker.failed(1)]).toEqual([false, false])
    expect(breaker.succeeded()).toBe(false)
    expect([breaker.failed(2), breaker.failed(3), breaker.closed, breaker.failed(4)]).toEqual([
      false,
      false,
      true,
      true,
    ])
    expect(breaker.state).toEqual({ phase: 'open', failures: 3, retryAtMs: 1004, backoffMs: 1000 })
  })

  it('doubles its wait up to a minute with every failed probe', () => {
    const breaker = new Breaker(() => 0)
    let nowMs = 0
    for (let i = 0; i < 3; i++) breaker.failed(nowMs)
    const waits: number[] = []
    for (let i = 0; i < 9; i++) {
      const { state } = breaker
      if (state.phase !== 'open') throw new Error(state.phase)
      waits.push(state.retryAtMs - nowMs)
      nowMs = state.retryAtMs
      expect(breaker.takeProbe(nowMs)).toBe(true)
      breaker.failed(nowMs)
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000])
  })

  it('shortens its waits by up to a fifth, by chance', () => {
    const breaker = new Breaker(() => 0.999)
    for (let i = 0; i < 3; i++) breaker.failed(0)
    expect(breaker.state).toMatchObject({ retryAtMs: expect.closeTo(800, 0) })
  })

  it('gives out one probe at a time, and again when it was given up', () => {
    const breaker = new Breaker(() => 0)
    for (let i = 0; i < 3; i++) breaker.failed(0)
    expect(breaker.takeProbe(999)).toBe(false)
    expect([breaker.takeProbe(1000), breaker.takeProbe(1000)]).toEqual([true, false])
    breaker.abandoned(1000)
    expect(breaker.takeProbe(2000)).toBe(true)
    expect(breaker.succeeded()).toBe(true)
    expect(breaker.closed).toBe(true)
  })

  it('can be hurried', () => {
    const breaker = new Breaker(() => 0)
    for (let i = 0; i < 3; i++) breaker.failed(0)
    breaker.hurry(10)
    expect(breaker.takeProbe(10)).toBe(true)
  })

  it('keeps its promises whatever happens in whatever order', () => {
    const step = fc.constantFrom('succeeded', 'failed', 'takeProbe', 'hurry', 'abandoned', 'wait')
    fc.assert(
      fc.property(fc.array(fc.tuple(step, fc.nat(70_000)), { maxLength: 100 }), fc.nat(999), (steps, luck) => {
        const breaker = new Breaker(() => luck / 1000)
        let nowMs = 0
        let inRow = 0
        for (const [what, waitMs] of steps) {
          const before = breaker.state
          if (what === 'wait') nowMs += waitMs
          if (what === 'succeeded') {
            inRow = 0
            expect(breaker.succeeded()).toBe(before.phase !== 'closed')
          }
          if (what === 'failed') {
            inRow++
            const opens = breaker.failed(nowMs)
            expect(opens).toBe(before.phase === 'closed' && inRow >= 3)
          }
          if (what === 'takeProbe') {
            const allowed = before.phase === 'open' && before.retryAtMs <= nowMs
            expect(breaker.takeProbe(nowMs)).toBe(allowed)
          }
          if (what === 'hurry') breaker.hurry(nowMs)
          if (what === 'abandoned') breaker.abandoned(nowMs)
          const { state } = breaker
          // Closed exactly while fewer than three failures in a row were seen.
          expect(state.phase === 'closed').toBe(inRow < 3)
          if (state.phase === 'open') {
            // It is always tried again within a minute.
            expect(state.retryAtMs - nowMs).toBeLessThanOrEqual(60_000)
            expect(state.backoffMs).toBeGreaterThanOrEqual(1000)
          }
        }
      }),
    )
  })
})
