import { describe, expect, test } from 'vitest'
import { live, playFrom, summary } from './recorded.ts'

/**
 * Recorded discharges of real machines, and simulated gateways with cells, gauges and loads of many kinds. What was set by
 * looking at discharges was set on the first of each pair and on seeds 1 to 10; these are the others.
 */
// Days of many gateways are played: a minute of processor time on a machine that has other work.
describe('time to empty over the last half of a discharge', { timeout: 180_000 }, () => {
  test('is within 10 % all the way on a telephone that lies on a table', () => {
    const { told, within, covered, meanError } = playFrom('librem5-2')
    expect([told, within]).toEqual([1, 1])
    expect(meanError).toBeLessThan(0.03)
    expect(covered).toBeGreaterThan(0.9)
  })

  test('is within 10 % on the mean on a Raspberry Pi with a UPS board, seen to run out before or not', () => {
    for (const outcome of [playFrom('pi-ups-2'), playFrom('pi-ups-2', 'pi-ups-1')]) {
      expect(outcome.told).toBe(1)
      expect(outcome.meanError).toBeLessThan(0.1)
      expect(outcome.covered).toBeGreaterThan(0.9)
    }
  })

  test('tells by its interval what it cannot know: a gauge that says 1 % for hours, a laptop with somebody before it', () => {
    expect(playFrom('pi-ups-1').covered).toBeGreaterThan(0.85)
    expect(playFrom('thinkpad-2', 'thinkpad-1').covered).toBeGreaterThan(0.85)
  })

  test('is within 10 % on the mean on simulated gateways with duty cycles and daily habits that ran out before', () => {
    for (const kind of ['duty', 'daily'] as const) {
      const { meanError, covered } = summary([11, 12, 13, 14].map((seed) => live(seed, kind, 4)))
      expect({ kind, within: meanError <= 0.1 }).toEqual({ kind, within: true })
      expect(covered).toBeGreaterThan(0.85)
    }
  })

  test('has an interval that holds the truth, also under loads that nobody can know', () => {
    for (const kind of ['bursty', 'restless'] as const) {
      const { covered } = summary([11, 12, 13, 14].map((seed) => live(seed, kind, 4)))
      expect(covered).toBeGreaterThan(0.8)
    }
  })
})
