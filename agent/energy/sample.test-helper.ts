import { expect } from 'vitest'
import type { Sample, SampleTime, SourceHealth } from './source.ts'

/** A load between 3 and 9 W that never repeats, for second `s`. */
export const load = (s: number): number => 6 + 2 * Math.sin(s / 37) + Math.sin(s / 5.3)

export const within = (actual: number, truth: number, percent = 0.5): void => {
  expect(Math.abs(actual - truth) / truth).toBeLessThan(percent / 100)
}

export const stateOf = (sources: readonly SourceHealth[], name: string) => sources.find(({ source }) => source === name)

export function emptySample(time: Partial<SampleTime> = {}): Sample {
  return {
    time: { monotonicMs: 0, wallMs: Date.UTC(2026, 5, 15, 10), elapsedS: 1, suspendedS: 0, ...time },
    meters: [],
    packs: [],
    temperatures: [],
    throttles: [],
    mains: undefined,
    activity: undefined,
  }
}
