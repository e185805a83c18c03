import type { Clock } from '../../api/clock.ts'
import type { PodView } from './pod-view.ts'

/** A pod without a place. */
export interface Waiting {
  pod: PodView
  /** When a place was last looked for, monotonic ms; minus infinity for one that came just now. */
  triedMs: number
  /** Why it waits, as it was told last, without the figures. */
  told: string
  /** Where others go for it: it counts there already, so that nobody less important takes the room. */
  nominated?: string
}

/** A pod that nobody took is not tried again sooner, whatever changed. */
const AGAIN_MS = 1_000
/** Pods that could not be placed are tried again when something changed, and after this long in any case. */
const RETRY_MS = 30_000
/** So long pods are placed in one piece; then whatever else the cloud core has to do has its turn. */
const SLICE_MS = 20
/** Of each tick at most so much goes to pods that found no place before: there may be thousands, and each asks every node. */
const RETRIES_MS = 50

export const NEVER = Number.NEGATIVE_INFINITY

/**
 * Pods that wait for a place, and whose turn it is. The more important first, then those that came just now, then who
 * waited longest. Whatever waits, the event loop is given back every few milliseconds: leases are renewed on it.
 */
export class WaitingPods {
  readonly #pods = new Map<string, Waiting>()
  readonly #clock: Clock
  #retryLeftMs = RETRIES_MS

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get(uid: string): Waiting | undefined {
    return this.#pods.get(uid)
  }

  set(waiting: Waiting): void {
    this.#pods.set(waiting.pod.uid, waiting)
  }

  delete(uid: string): void {
    this.#pods.delete(uid)
  }

  /** A new tick: those that found no place before may be tried again for a while. */
  refill(): void {
    this.#retryLeftMs = RETRIES_MS
  }

  /** Pods that came just now, and were not tried yet. */
  *fresh(): Generator<PodView> {
    for (const { pod, triedMs } of this.#pods.values()) if (triedMs === NEVER) yield pod
  }

  /**
   * Gives each pod whose turn it is to `place`, until this slice of time is over. `soon`: some that came just now are
   * left, go on as soon as others had their turn. `later`: others are left, go on with the next tick.
   */
  run(changed: boolean, place: (waiting: Waiting) => void): { readonly soon: boolean; readonly later: boolean } {
    const startMs = this.#clock.monotonic()
    let nowMs = startMs
    let later = false
    for (const waiting of this.#due(changed, startMs)) {
      const again = waiting.triedMs !== NEVER
      if (nowMs - startMs >= SLICE_MS) {
        if (!again) return { soon: true, later }
        later = true
        continue
      }
      if (again && this.#retryLeftMs <= 0) {
        later = true
        continue
      }
      waiting.triedMs = nowMs
      place(waiting)
      const doneMs = this.#clock.monotonic()
      if (again) this.#retryLeftMs -= doneMs - nowMs
      nowMs = doneMs
    }
    return { soon: false, later }
  }

  #due(changed: boolean, nowMs: number): Waiting[] {
    const due: Waiting[] = []
    for (const waiting of this.#pods.values()) {
      const sinceMs = nowMs - waiting.triedMs
      if (waiting.triedMs === NEVER || (changed && sinceMs >= AGAIN_MS) || sinceMs >= RETRY_MS) due.push(waiting)
    }
    return due.sort(
      (a, b) =>
        b.pod.priority - a.pod.priority ||
        (a.triedMs === b.triedMs ? 0 : a.triedMs - b.triedMs) ||
        a.pod.createdMs - b.pod.createdMs,
    )
  }
}
