/** A cancellable timer handle. */
export interface Timer {
  cancel(): void
}

/**
 * Time, injected everywhere so that tests run in virtual time.
 * `now` is wall-clock milliseconds since 1970 (it may jump); `monotonic` is milliseconds from an arbitrary origin
 * that never goes back and is the only clock used to measure durations and deadlines.
 */
export interface Clock {
  now(): number
  monotonic(): number
  /** Calls `fn` once after `delayMs` (≥ 0). The timer keeps the process alive unless `unref` is true. */
  after(delayMs: number, fn: () => void, unref?: boolean): Timer
}

const MAX_TIMEOUT_MS = 2_147_483_647

/** More than timers are late on a busy machine; then the process stood still: asleep, stopped, or at one long computation. */
const STOOD_STILL_MS = 20
/** Late timers that still let the sockets be read. */
let late = 0

/**
 * Timers of the event loop come before what can be read. After a standstill, time-outs would so give up whoever answered
 * in time: a late timer lets everything that lies there be read first, and those after it keep their place behind it.
 */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, fn, unref = false) {
    const waitMs = Math.min(Math.max(delayMs, 0), MAX_TIMEOUT_MS)
    const lateMs = performance.now() + waitMs + STOOD_STILL_MS
    let yielding: NodeJS.Immediate | undefined
    const fire = () => {
      late--
      yielding = undefined
      fn()
    }
    const handle = setTimeout(() => {
      if (late === 0 && performance.now() < lateMs) return fn()
      late++
      yielding = setImmediate(fire)
    }, waitMs)
    if (unref) handle.unref()
    return {
      cancel() {
        clearTimeout(handle)
        if (yielding === undefined) return
        clearImmediate(yielding)
        yielding = undefined
        late--
      },
    }
  },
}

/** Resolves after `delayMs`, or rejects with the signal's reason as soon as it aborts. */
export function delay(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const onAbort = () => {
      timer.cancel()
      reject(signal?.reason)
    }
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
