import type { Clock, Timer } from '../../api/clock.ts'
import { systemClock } from '../../api/clock.ts'

const cell = new Int32Array(new SharedArrayBuffer(4))
/** Turns of the event loop shorter than this are slept through instead of spun, to spare the processor. */
const napMs = 0.1

/**
 * The system clock with timers exact to about 0.1 ms instead of 1 ms, for silences of a serial line: t3.5 is 1.75 ms at
 * 115 200 baud, and half a millisecond too much is a tenth of a short cycle. It waits all but the last millisecond on an
 * ordinary timer and the rest in turns of the event loop, so other work goes on.
 */
export const preciseClock: Clock = {
  now: systemClock.now,
  monotonic: systemClock.monotonic,
  after(delayMs, fn, unref) {
    const dueMs = systemClock.monotonic() + delayMs
    let timer: Timer | undefined
    let immediate: NodeJS.Immediate | undefined
    const turn = () => {
      const leftMs = dueMs - systemClock.monotonic()
      if (leftMs <= 0) return fn()
      if (leftMs > 2 * napMs) Atomics.wait(cell, 0, 0, napMs)
      immediate = setImmediate(turn)
    }
    const coarseMs = Math.floor(delayMs - 0.1)
    if (coarseMs >= 1) timer = systemClock.after(coarseMs, turn, unref)
    else immediate = setImmediate(turn)
    return {
      cancel: () => {
        timer?.cancel()
        if (immediate !== undefined) clearImmediate(immediate)
      },
    }
  },
}
