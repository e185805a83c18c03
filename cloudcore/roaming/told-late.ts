import { sameValue } from '../../api/twin/twin.ts'
import { type FirstValue, keptValue, SAME_TRANSMISSION_MS, type ToldValue } from './told-value.ts'

/** Values remembered at each end. */
const MAX_EDGE = 8

/** What a gateway recorded of one property under a term that is over, and told late; source times by the hub's clock. */
export interface ToldLate {
  fromMs: number
  toMs: number
  /** The oldest and the newest of it, in the order of their times. */
  oldest: FirstValue[]
  newest: FirstValue[]
}

/** Takes a value into what was told late. */
export function addLate(late: Map<string, ToldLate>, told: ToldValue): void {
  const { property, atMs } = told
  const kept = keptValue(told)
  const held = late.get(property)
  if (held === undefined) {
    late.set(property, { fromMs: atMs, toMs: atMs, oldest: [kept], newest: [kept] })
    return
  }
  held.fromMs = Math.min(held.fromMs, atMs)
  held.toMs = Math.max(held.toMs, atMs)
  held.oldest = [...held.oldest, kept].sort(byTime).slice(0, MAX_EDGE)
  held.newest = [...held.newest, kept].sort(byTime).slice(-MAX_EDGE)
}

/**
 * Whether a transmission was told late by another gateway. Inside of what that one recorded its time says so; near the ends
 * clocks are not exact enough, and its value decides.
 */
export function wasToldLate(late: ToldLate | undefined, { value, atMs }: ToldValue): boolean {
  if (late === undefined) return false
  const { fromMs, toMs } = late
  if (atMs >= fromMs + SAME_TRANSMISSION_MS && atMs <= toMs - SAME_TRANSMISSION_MS) return true
  if (atMs < fromMs - SAME_TRANSMISSION_MS || atMs > toMs + SAME_TRANSMISSION_MS) return false
  return [...late.oldest, ...late.newest].some((one) =>
    one.value === undefined
      ? atMs >= fromMs && atMs <= toMs
      : Math.abs(one.atMs - atMs) <= SAME_TRANSMISSION_MS && sameValue(one.value, value),
  )
}

const byTime = (a: FirstValue, b: FirstValue): number => a.atMs - b.atMs
