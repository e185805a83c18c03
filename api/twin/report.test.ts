import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileReportPolicy, DEFAULT_HEARTBEAT_MS, decideReport, type LastReport } from './report.ts'

const last = (value: number, atMonotonicMs = 0): LastReport => ({ value, quality: 'good', atMonotonicMs })

describe('the decision to report a reading', () => {
  it('reports the first reading whatever the policy', () => {
    const policy = compileReportPolicy({ deadband: 100, minInterval: '1h' })
    expect(decideReport(policy, undefined, 1, 'good', 0)).toBe('report')
  })

  it('skips what did not change until the heartbeat is due', () => {
    const policy = compileReportPolicy()
    expect(decideReport(policy, last(5), 5, 'good', DEFAULT_HEARTBEAT_MS - 1)).toBe('skip')
    expect(decideReport(policy, last(5), 5, 'good', DEFAULT_HEARTBEAT_MS)).toBe('report')
  })

  it('skips changes inside the deadband and reports those at its edge', () => {
    const policy = compileReportPolicy({ deadband: 0.5 })
    expect(decideReport(policy, last(10), 10.49, 'good', 1)).toBe('skip')
    expect(decideReport(policy, last(10), 10.5, 'good', 1)).toBe('report')
  })

  it('measures a deadband in per cent against the last report', () => {
    const policy = compileReportPolicy({ deadbandPercent: 10 })
    expect(decideReport(policy, last(200), 219, 'good', 1)).toBe('skip')
    expect(decideReport(policy, last(-200), -220, 'good', 1)).toBe('report')
  })

  it('reports every change of quality at once', () => {
    const policy = compileReportPolicy({ deadband: 1000 })
    expect(decideReport(policy, last(5), undefined, 'bad(timeout)', 1)).toBe('report')
  })

  it('holds a change that comes too early, and only then', () => {
    const policy = compileReportPolicy({ minInterval: '2s' })
    expect(decideReport(policy, last(5), 6, 'good', 1999)).toBe('hold')
    expect(decideReport(policy, last(5), 6, 'good', 2000)).toBe('report')
    expect(decideReport(policy, last(5), 5, 'good', 1999)).toBe('skip')
  })

  it('lets the device override the property field by field', () => {
    const policy = compileReportPolicy({ deadband: 5, heartbeat: '1m' }, { deadband: 1 })
    expect(policy).toMatchObject({ deadband: 1, heartbeatMs: 60_000 })
  })

  it('never lets the value that subscribers hold drift by more than the deadband', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1 }), (readings) => {
        const policy = compileReportPolicy({ deadband: 3, heartbeat: '1d' })
        let held: LastReport | undefined
        readings.forEach((value, index) => {
          if (decideReport(policy, held, value, 'good', index) === 'report') {
            held = { value, quality: 'good', atMonotonicMs: index }
          }
          expect(Math.abs(Number(held?.value) - value)).toBeLessThan(3 + 1e-9)
        })
      }),
    )
  })
})
