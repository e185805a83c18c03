import type { Json, WriteState } from '../resources.ts'
import type { Quality } from './quality.ts'

/**
 * The twin of one property as pure data, and the only functions that may change it. The agent and the cloud core both
 * use them, so that whatever order reports, writes, replays and restarts arrive in, both end in the same state.
 * Every function returns the same object when nothing changed.
 */

/**
 * Position of a report in its gateway's history. `epoch` counts the gateway's stores (a lost store starts a new one),
 * `seq` the batches within. Clocks jump, this order does not: it alone decides which of two reports is newer.
 */
export interface Order {
  readonly epoch: number
  readonly seq: number
}

export interface Desired {
  readonly value: Json
  /**
   * Grows with every change, also across deleting and creating the device again: it is the Kubernetes
   * resourceVersion at which the change was seen.
   */
  readonly version: number
  /** Counts changes made at the gateway on top of `version`; absent for a value that the cloud set. */
  readonly local?: number
  readonly atMs: number
  readonly by?: string
}

export interface Reported {
  /** Absent when this reading failed. */
  readonly value?: Json
  /** The source's time. */
  readonly atMs: number
  readonly quality: Quality
  readonly reason?: string
  readonly order: Order
}

/** How the write of one desired version ended. A desired version without an end is pending. */
export interface WriteEnd {
  readonly version: number
  readonly local?: number
  readonly state: 'applied' | 'rejected' | 'timedOut'
  readonly atMs: number
  readonly reason?: string
}

/** Why the write of one desired version has not ended yet. */
export interface WriteWait {
  readonly version: number
  readonly local?: number
  readonly reason: string
  readonly atMs: number
  readonly order: Order
}

export interface Twin {
  readonly desired?: Desired
  /** The newest report, be it a failed reading. */
  readonly reported?: Reported
  /** The newest report that carried a value; what a person still sees while readings fail. */
  readonly known?: Reported
  readonly write?: WriteEnd
  readonly wait?: WriteWait
  /** Highest desired version ever removed: nothing at or below it can come back (see `isRemoved`). */
  readonly removedVersion?: number
}

export const emptyTwin: Twin = Object.freeze({})

export function compareOrder(a: Order, b: Order): number {
  return a.epoch - b.epoch || a.seq - b.seq
}

/** Orders desired values: by version first, then by the changes made at the gateway on top of it. */
export function compareDesired(
  a: { readonly version: number; readonly local?: number },
  b: { readonly version: number; readonly local?: number },
): number {
  return a.version - b.version || (a.local ?? 0) - (b.local ?? 0)
}

/**
 * Whether a removal at `removedVersion` covers this version. A change made at the gateway on top of that very removal
 * came after it: it stays, and whatever the cloud decides next is newer than both.
 */
export function isRemoved(
  item: { readonly version: number; readonly local?: number },
  removedVersion: number | undefined,
): boolean {
  return removedVersion !== undefined && compareDesired(item, { version: removedVersion }) <= 0
}

/** Takes a report if it is newer than the one held. */
export function mergeReported(twin: Twin, report: Reported): Twin {
  const newest = twin.reported === undefined || compareOrder(report.order, twin.reported.order) > 0
  const known =
    report.value !== undefined && (twin.known === undefined || compareOrder(report.order, twin.known.order) > 0)
  if (!newest && !known) return twin
  const merged: { -readonly [K in keyof Twin]: Twin[K] } = { ...twin }
  if (newest) merged.reported = report
  if (known) merged.known = report
  return merged
}

/** Takes a desired value if it is newer than the one held and than the last one removed. */
export function mergeDesired(twin: Twin, desired: Desired): Twin {
  if (isRemoved(desired, twin.removedVersion)) return twin
  if (twin.desired !== undefined && compareDesired(desired, twin.desired) <= 0) return twin
  return { ...twin, desired }
}

/** Forgets the desired value up to `version`; later versions stay. */
export function removeDesired(twin: Twin, version: number): Twin {
  if (twin.removedVersion !== undefined && version <= twin.removedVersion) return twin
  const { desired, write, ...rest } = twin
  const kept: { -readonly [K in keyof Twin]: Twin[K] } = { ...rest, removedVersion: version }
  if (desired !== undefined && !isRemoved(desired, version)) kept.desired = desired
  if (write !== undefined && !isRemoved(write, version)) kept.write = write
  return kept
}

/**
 * Records how a write ended. An older version than the one held changes nothing, and an end is final: should two ends
 * of one version ever meet, the earlier one stands.
 */
export function mergeWrite(twin: Twin, end: WriteEnd): Twin {
  if (isRemoved(end, twin.removedVersion)) return twin
  const held = twin.write
  if (held !== undefined) {
    const newer = compareDesired(end, held) || held.atMs - end.atMs || END_RANK[held.state] - END_RANK[end.state]
    if (newer <= 0) return twin
  }
  return { ...twin, write: end }
}

/** Takes what is said about a write that has not ended; of an older version, or older news of the same, changes nothing. */
export function mergeWait(twin: Twin, wait: WriteWait): Twin {
  const held = twin.wait
  if (held !== undefined) {
    const newer = compareDesired(wait, held) || compareOrder(wait.order, held.order)
    if (newer <= 0) return twin
  }
  return { ...twin, wait }
}

/** Why the desired value in force is still pending, where its gateway said so. */
export function waitReason({ desired, wait }: Twin): string | undefined {
  return desired !== undefined && wait !== undefined && compareDesired(wait, desired) === 0 ? wait.reason : undefined
}

const END_RANK = { applied: 0, rejected: 1, timedOut: 2 } as const

/** Merges two replicas of one twin; commutative, associative, idempotent. */
export function mergeTwins(a: Twin, b: Twin): Twin {
  let merged = a
  if (b.removedVersion !== undefined) merged = removeDesired(merged, b.removedVersion)
  if (b.known !== undefined) merged = mergeReported(merged, b.known)
  if (b.reported !== undefined) merged = mergeReported(merged, b.reported)
  if (b.desired !== undefined) merged = mergeDesired(merged, b.desired)
  if (b.write !== undefined) merged = mergeWrite(merged, b.write)
  if (b.wait !== undefined) merged = mergeWait(merged, b.wait)
  return merged
}

/** Structural equality of JSON values; object key order does not count. */
export function sameValue(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false
    return a.every((item, index) => sameValue(item, b[index]))
  }
  const left = a as { readonly [key: string]: Json }
  const right = b as { readonly [key: string]: Json }
  const keys = Object.keys(left)
  if (keys.length !== Object.keys(right).length) return false
  return keys.every((key) => Object.hasOwn(right, key) && sameValue(left[key], right[key]))
}

/** Whether a reading confirms a desired value; numbers may differ by `tolerance`. */
export function matchesDesired(desired: Json, reported: Json | undefined, tolerance = 0): boolean {
  if (typeof desired === 'number' && typeof reported === 'number') {
    return Math.abs(desired - reported) <= tolerance + Number.EPSILON * Math.abs(desired)
  }
  return sameValue(desired, reported)
}

/**
 * The state a person sees. `undefined` when nothing is desired; `pending` while the end of the version in force is unknown.
 * `sourceSilent` is true when the gateway or the device is away: then only an end that is already known is shown as it
 * was reached, and everything that would need a fresh reading is `stale`.
 */
export function writeState(twin: Twin, sourceSilent: boolean, tolerance = 0): WriteState | undefined {
  const { desired, reported, known, write } = twin
  if (desired === undefined) return undefined
  if (write === undefined || compareDesired(write, desired) !== 0) return 'pending'
  if (write.state !== 'applied') return write.state
  if (sourceSilent || reported === undefined || reported.quality === 'stale') return 'stale'
  return matchesDesired(desired.value, known?.value, tolerance) ? 'synced' : 'applied'
}
