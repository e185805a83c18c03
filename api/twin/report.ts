import type { Json, ReportPolicy } from '../resources.ts'
import { durationMs } from './duration.ts'
import type { Quality } from './quality.ts'
import { sameValue } from './twin.ts'

/** A report policy with its defaults filled in; durations in milliseconds. */
export interface CompiledReportPolicy {
  readonly deadband: number
  readonly deadbandRatio: number
  readonly heartbeatMs: number
  readonly minIntervalMs: number
}

export const DEFAULT_HEARTBEAT_MS = 600_000

/** Later policies win field by field: pass the model's, then the property's, then the device's. */
export function compileReportPolicy(...policies: readonly (ReportPolicy | undefined)[]): CompiledReportPolicy {
  const merged: ReportPolicy = Object.assign({}, ...policies)
  return {
    deadband: merged.deadband ?? 0,
    deadbandRatio: (merged.deadbandPercent ?? 0) / 100,
    heartbeatMs: merged.heartbeat === undefined ? DEFAULT_HEARTBEAT_MS : durationMs(merged.heartbeat),
    minIntervalMs: merged.minInterval === undefined ? 0 : durationMs(merged.minInterval),
  }
}

/** What was last reported of a property; times are monotonic milliseconds. */
export interface LastReport {
  readonly value: Json | undefined
  readonly quality: Quality
  readonly atMonotonicMs: number
}

/**
 * Decides what to do with a reading: `report` it, `skip` it, or `hold` it because the same property reported less than
 * `minInterval` ago (the newest held reading is due when the interval ends).
 */
export function decideReport(
  policy: CompiledReportPolicy,
  last: LastReport | undefined,
  value: Json | undefined,
  quality: Quality,
  nowMonotonicMs: number,
): 'report' | 'skip' | 'hold' {
  if (last === undefined) return 'report'
  const sinceMs = nowMonotonicMs - last.atMonotonicMs
  const due = sinceMs >= policy.heartbeatMs || quality !== last.quality || differs(policy, last.value, value)
  if (!due) return 'skip'
  return sinceMs < policy.minIntervalMs ? 'hold' : 'report'
}

function differs(policy: CompiledReportPolicy, last: Json | undefined, value: Json | undefined): boolean {
  if (value === undefined) return false
  if (typeof value === 'number' && typeof last === 'number') {
    const change = Math.abs(value - last)
    return change > 0 && change >= policy.deadband && change >= policy.deadbandRatio * Math.abs(last)
  }
  return !sameValue(value, last)
}
