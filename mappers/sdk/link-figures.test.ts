import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { LinkMeter } from './link-meter.ts'
import { ProbeBudget } from './probe-budget.ts'
import { Reachability } from './reachability.ts'

describe('the meter of a link', () => {
  it('gives the share of the last minute that answered requests took', async () => {
    const clock = new VirtualClock()
    const meter = new LinkMeter(clock)
    for (let second = 0; second < 120; second++) {
      await clock.advance(1000)
      meter.answered(second < 60 ? 900 : 250, 3)
    }
    expect(meter.use()).toBeCloseTo(0.25, 1)
    expect(meter.use(2)).toBeCloseTo(0.125, 1)
    expect(meter.propertiesRead).toBe(360)
    await clock.advance(120_000)
    expect(meter.use()).toBe(0)
  })

  it('books the time to the device it was for', () => {
    const meter = new LinkMeter(new VirtualClock())
    meter.answered(30, 1, 'plant/a')
    meter.answered(20, 2, 'plant/b')
    meter.answered(12, 1, 'plant/a')
    meter.answered(5, 1)
    expect([...meter.deviceMs]).toEqual([
      ['plant/a', 42],
      ['plant/b', 20],
    ])
  })

  it('counts errors by kind', () => {
    const meter = new LinkMeter(new VirtualClock())
    for (const kind of ['timeout', 'timeout', 'crc']) meter.failed(kind)
    expect(meter.errors).toEqual({ timeout: 2, crc: 1 })
  })
})

describe('the budget for probes', () => {
  it('never gives a busy link more than its share, beyond what was saved up', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5000), fc.integer({ min: 1, max: 3000 })), { maxLength: 200 }), (asks) => {
        const budget = new ProbeBudget(0)
        let nowMs = 0
        let spentMs = 0
        for (const [waitMs, costMs] of asks) {
          nowMs += waitMs
          if (budget.take(costMs, 1, nowMs) === 0) spentMs += costMs
        }
        expect(spentMs).toBeLessThanOrEqual(1500 + 0.02 * nowMs + 3000)
      }),
    )
  })

  it('says how long to wait, and keeps its word', () => {
    const budget = new ProbeBudget(0)
    expect(budget.take(1500, 1, 0)).toBe(0)
    const waitMs = budget.take(500, 1, 0)
    expect(waitMs).toBe(25_000)
    expect(budget.take(500, 1, waitMs)).toBe(0)
  })
})

describe('reachability', () => {
  it('makes news of changes only', () => {
    const device = new Reachability('ns/a')
    expect(device.answered(10, 0)).toMatchObject({ online: true, latencyMs: 10 })
    expect(device.answered(10, 1000)).toBeUndefined()
    expect(device.failed(2000)).toBeUndefined()
    expect(device.offline('no answer', 3000)).toMatchObject({ online: false, reason: 'no answer', errorRate: 0.063 })
    expect(device.offline('no answer', 4000)).toBeUndefined()
    expect(device.answered(10, 5000)).toEqual({
      device: 'ns/a',
      online: true,
      atMs: 5000,
      errorRate: 0.059,
      latencyMs: 10,
    })
  })

  it('tells when the figures moved, now and then', () => {
    const device = new Reachability('ns/a')
    device.answered(10, 0)
    for (let i = 0; i < 20; i++) device.failed(i)
    expect(device.answered(10, 29_000)).toBeUndefined()
    expect(device.answered(10, 31_000)).toMatchObject({ online: true, errorRate: expect.closeTo(0.64, 1) })
  })
})
