import type { Clock, Timer } from './clock.ts'

/**
 * A clock for tests: time stands still until `advance` moves it. Timers fire in due order, and every microtask that a
 * timer starts is drained before the next one fires, so code under test sees the same order as in real time.
 */
export class VirtualClock implements Clock {
  #monotonicMs = 0
  #wallOffsetMs: number
  #sequence = 0
  readonly #timers = new Map<number, { dueMs: number; fn: () => void }>()

  constructor(wallStartMs = Date.UTC(2026, 0, 1)) {
    this.#wallOffsetMs = wallStartMs
  }

  now(): number {
    return this.#wallOffsetMs + this.#monotonicMs
  }

  monotonic(): number {
    return this.#monotonicMs
  }

  after(delayMs: number, fn: () => void): Timer {
    const id = ++this.#sequence
    this.#timers.set(id, { dueMs: this.#monotonicMs + Math.max(0, delayMs), fn })
    return { cancel: () => void this.#timers.delete(id) }
  }

  /** Moves the wall clock only, as an operator or NTP would. */
  jumpWall(deltaMs: number): void {
    this.#wallOffsetMs += deltaMs
  }

  /** Time passes and nothing runs, as on a machine that stands still: what fell due fires late, at the next `advance`. */
  standStill(durationMs: number): void {
    this.#monotonicMs += durationMs
  }

  get pendingTimers(): number {
    return this.#timers.size
  }

  /** Moves time forward by `durationMs`, firing what falls due. */
  async advance(durationMs: number): Promise<void> {
    const end = this.#monotonicMs + durationMs
    await settle()
    for (;;) {
      const next = this.#earliest()
      if (next === undefined || next.dueMs > end) break
      this.#monotonicMs = Math.max(this.#monotonicMs, next.dueMs)
      this.#timers.delete(next.id)
      next.fn()
      await settle()
    }
    this.#monotonicMs = end
  }

  #earliest(): { id: number; dueMs: number; fn: () => void } | undefined {
    let best: { id: number; dueMs: number; fn: () => void } | undefined
    for (const [id, timer] of this.#timers) {
      if (best === undefined || timer.dueMs < best.dueMs) best = { id, ...timer }
    }
    return best
  }
}

/** Lets pending promise reactions run: one turn of the event loop's check phase drains every microtask before it. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
