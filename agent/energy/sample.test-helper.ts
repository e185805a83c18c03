import type { Sample, SampleTime } from './source.ts'

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
