import type { Json } from '../../api/resources.ts'

/** 2000-01-01: a clock that says less has never been set. */
const EARLIEST_MS = 946_684_800_000
/** A source may be ahead of the gateway by this much; beyond, its clock is wrong. */
const AHEAD_MS = 86_400_000

/** Milliseconds since 1970, or undefined when what the device says cannot be its time. */
export function sourceTimeMs(raw: Json | undefined, unit: 's' | 'ms' | 'iso', nowMs: number): number | undefined {
  const number = unit === 'iso' ? Date.parse(String(raw)) : Number(raw) * (unit === 's' ? 1000 : 1)
  if (raw === undefined || raw === null || !Number.isFinite(number)) return undefined
  const atMs = Math.round(number)
  return atMs >= EARLIEST_MS && atMs <= nowMs + AHEAD_MS ? atMs : undefined
}
