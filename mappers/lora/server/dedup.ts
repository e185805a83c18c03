import type { Clock, Timer } from '../../../api/clock.ts'
import type { Heard } from './gateway.ts'

/** Frames under collection at once; beyond that the oldest are handed on before their time. */
const MAX_OPEN = 4096

/** The same frame as all gateways heard it, best first. */
export type Copies = readonly [Heard, ...Heard[]]

/** Best first: signal to noise, then signal strength. */
export const bySignal = (a: Heard, b: Heard): number => b.snrDb - a.snrDb || b.rssiDbm - a.rssiDbm

interface Open {
  readonly copies: Heard[]
  readonly dueMs: number
}

/**
 * Collects what several gateways heard of one transmission. Windows are all equally long, so frames come due in the
 * order they came, and one timer serves all. Whatever is due together is handed on together.
 */
export class Deduplicator {
  readonly #clock: Clock
  readonly #windowMs: () => number
  readonly #due: (frames: readonly Copies[]) => void
  readonly #open = new Map<string, Open>()
  #timer: Timer | undefined

  /** @param windowMs how long to wait for more copies; asked for every frame. */
  constructor(clock: Clock, windowMs: () => number, due: (frames: readonly Copies[]) => void) {
    this.#clock = clock
    this.#windowMs = windowMs
    this.#due = due
  }

  add(frames: readonly Heard[]): void {
    const dueMs = this.#clock.monotonic() + this.#windowMs()
    for (const heard of frames) {
      const id = Buffer.from(heard.phy.buffer, heard.phy.byteOffset, heard.phy.byteLength).toString('latin1')
      const open = this.#open.get(id)
      if (open === undefined) this.#open.set(id, { copies: [heard], dueMs })
      else if (!open.copies.some(({ gateway }) => gateway === heard.gateway)) open.copies.push(heard)
    }
    if (this.#open.size > MAX_OPEN) this.#flush(Number.POSITIVE_INFINITY)
    this.#arm()
  }

  dispose(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#open.clear()
  }

  #arm(): void {
    if (this.#timer !== undefined) return
    const first = this.#open.values().next().value
    if (first === undefined) return
    this.#timer = this.#clock.after(Math.max(0, first.dueMs - this.#clock.monotonic()), () => {
      this.#timer = undefined
      this.#flush(this.#clock.monotonic())
      this.#arm()
    })
  }

  #flush(nowMs: number): void {
    const ready: Copies[] = []
    for (const [id, { copies, dueMs }] of this.#open) {
      // A window that became shorter meanwhile must not keep what came after it.
      if (dueMs > nowMs) break
      this.#open.delete(id)
      const [best, ...others] = copies.length === 1 ? copies : copies.sort(bySignal)
      ready.push([best!, ...others])
    }
    if (ready.length > 0) this.#due(ready)
  }
}
