import { type Clock, systemClock, type Timer } from '../../api/clock.ts'

/** How long a caller may take to close a connection that has nothing more for it. */
const CLOSE_WITHIN_MS = 2_000
/** A caller who takes nothing of what is left for so long is not waited for. */
const STALLED_MS = 30_000

/** Cuts a connection that was ended and is not closed, but not while its last bytes (`queuedBytes`) go to a slow caller. */
export function cutWhenStuck(queuedBytes: () => number, cut: () => void, clock: Clock = systemClock): Disposable {
  let before = queuedBytes()
  let movedMs = clock.monotonic()
  let timer: Timer
  const look = () => {
    const queued = queuedBytes()
    const nowMs = clock.monotonic()
    // The last of them left since the look before, so the other side has its time to close from here.
    if (queued < before) movedMs = nowMs
    before = queued
    if (nowMs - movedMs >= (queued === 0 ? CLOSE_WITHIN_MS : STALLED_MS)) cut()
    else arm()
  }
  const arm = () => {
    timer = clock.after(CLOSE_WITHIN_MS, look)
  }
  arm()
  return { [Symbol.dispose]: () => timer.cancel() }
}
