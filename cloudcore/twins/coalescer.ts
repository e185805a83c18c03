import type { Clock, Timer } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import { isPassing } from '../kube/errors.ts'

export interface CoalescerOptions {
  readonly clock: Clock
  readonly signal: AbortSignal
  /**
   * Writes the newest state of `key`; called again after `intervalMs` at the earliest. `false` says
   * that there was nothing to write: then the next change need not wait.
   */
  readonly write: (key: string) => Promise<unknown>
  /** A write failed for good (not worth trying again as it is). */
  readonly onRefused: (key: string, error: SluiceError) => void
  readonly intervalMs: number
  readonly parallel: number
  readonly random?: () => number
}

interface Entry {
  dirty: boolean
  writing: boolean
  /** Monotonic time before which it may not be written again. */
  notBeforeMs: number
  queued: boolean
}

const MAX_PAUSE_MS = 10_000

/**
 * Turns any number of changes of a key into few writes: the first at once, then at most one an interval, each with
 * the newest state. At most `parallel` writes run at a time. While the far side is away everything pauses with growing
 * jittered delays and nothing is forgotten, because what is remembered is only which keys are behind.
 */
export class Coalescer {
  readonly #options: CoalescerOptions
  readonly #entries = new Map<string, Entry>()
  #ready: string[] = []
  /** Keys in the order in which they become due; the interval is the same for all. */
  #waiting: string[] = []
  #timer: Timer | undefined
  #running = 0
  #failures = 0
  #pausedUntilMs = 0
  #idle: (() => void)[] = []

  constructor(options: CoalescerOptions) {
    this.#options = options
    options.signal.addEventListener('abort', () => this.#timer?.cancel(), { once: true })
  }

  /** Keys whose newest state is not written yet. */
  get behind(): number {
    let count = 0
    for (const entry of this.#entries.values()) if (entry.dirty || entry.writing) count++
    return count
  }

  markDirty(key: string): void {
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      entry = { dirty: false, writing: false, notBeforeMs: 0, queued: false }
      this.#entries.set(key, entry)
    }
    if (entry.dirty) return
    entry.dirty = true
    if (!entry.queued && !entry.writing) this.#enqueue(key, entry)
    this.#pump()
  }

  /** Like markDirty, but does not wait for the interval. */
  hurry(key: string): void {
    const entry = this.#entries.get(key)
    if (entry !== undefined) {
      entry.notBeforeMs = 0
      if (entry.queued) {
        this.#waiting = this.#waiting.filter((waiting) => waiting !== key)
        if (!this.#ready.includes(key)) this.#ready.push(key)
      }
    }
    this.markDirty(key)
    this.#pump()
  }

  forget(key: string): void {
    this.#entries.delete(key)
  }

  /** Resolves once nothing is behind; for an orderly stop. */
  async drained(signal: AbortSignal): Promise<void> {
    while (this.behind > 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#idle.push(resolve)
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }

  #enqueue(key: string, entry: Entry): void {
    entry.queued = true
    if (entry.notBeforeMs <= this.#options.clock.monotonic()) this.#ready.push(key)
    else this.#waiting.push(key)
  }

  #pump(): void {
    if (this.#options.signal.aborted) return
    const nowMs = this.#options.clock.monotonic()
    this.#promote(nowMs)
    if (nowMs >= this.#pausedUntilMs) {
      let taken = 0
      while (this.#running < this.#allowed() && taken < this.#ready.length) {
        const key = this.#ready[taken++]!
        const entry = this.#entries.get(key)
        if (entry?.queued === true && !entry.writing) void this.#run(key, entry)
      }
      if (taken > 0) this.#ready = taken === this.#ready.length ? [] : this.#ready.slice(taken)
    }
    this.#arm(nowMs)
    if (this.#ready.length === 0 && this.#waiting.length === 0 && this.#running === 0) {
      for (const resolve of this.#idle.splice(0)) resolve()
    }
  }

  /** After a failure one write at a time finds out whether the far side is back. */
  #allowed(): number {
    return this.#failures > 0 ? 1 : this.#options.parallel
  }

  #promote(nowMs: number): void {
    let due = 0
    while (due < this.#waiting.length) {
      const key = this.#waiting[due]!
      const entry = this.#entries.get(key)
      if (entry !== undefined && entry.notBeforeMs > nowMs) break
      if (entry !== undefined) this.#ready.push(key)
      due++
    }
    if (due > 0) this.#waiting = this.#waiting.slice(due)
  }

  #arm(nowMs: number): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const first = this.#waiting[0]
    let dueMs = first === undefined ? Number.POSITIVE_INFINITY : (this.#entries.get(first)?.notBeforeMs ?? nowMs)
    if (this.#ready.length > 0 && this.#running < this.#allowed()) dueMs = Math.min(dueMs, this.#pausedUntilMs)
    if (dueMs === Number.POSITIVE_INFINITY) return
    this.#timer = this.#options.clock.after(Math.max(0, dueMs - nowMs), () => this.#pump())
  }

  async #run(key: string, entry: Entry): Promise<void> {
    const { clock, intervalMs, write, onRefused } = this.#options
    this.#running++
    entry.queued = false
    entry.writing = true
    entry.dirty = false
    entry.notBeforeMs = clock.monotonic() + intervalMs
    try {
      if ((await write(key)) === false) entry.notBeforeMs = 0
      else this.#recovered()
    } catch (thrown) {
      const error = toSluiceError(thrown)
      if (!isPassing(error)) onRefused(key, error)
      else {
        entry.dirty = true
        if (error.code !== 'SLUICE_KUBE_CONFLICT') this.#pause()
      }
    } finally {
      this.#running--
      entry.writing = false
      if (this.#entries.get(key) === entry) {
        if (entry.dirty) this.#enqueue(key, entry)
      } else if (this.#entries.get(key)?.dirty === true) {
        const renewed = this.#entries.get(key)!
        if (!renewed.queued && !renewed.writing) this.#enqueue(key, renewed)
      }
      this.#pump()
    }
  }

  #recovered(): void {
    this.#failures = 0
    this.#pausedUntilMs = 0
  }

  #pause(): void {
    // Writes that were under way together fail together: that is one failure, not many.
    if (this.#pausedUntilMs > this.#options.clock.monotonic()) return
    const ceiling = Math.min(MAX_PAUSE_MS, 250 * 2 ** Math.min(this.#failures++, 10))
    const pauseMs = ceiling * (0.5 + 0.5 * (this.#options.random ?? Math.random)())
    this.#pausedUntilMs = this.#options.clock.monotonic() + pauseMs
  }
}
