import type { Clock } from '../../api/clock.ts'

/** A reading that is wrong is told at once, then this often while it stays wrong. */
const REPEAT_MS = 10_000

/** Keeps a device that sends nonsense a thousand times a second from saying so a thousand times a second. */
export class Complaints {
  readonly #clock: Clock
  #code: string | undefined
  #count = 0
  #toldMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @returns the words to tell, with how often it happened, or undefined when it was told just now. */
  wrong(code: string, reason: string): string | undefined {
    const nowMs = this.#clock.monotonic()
    this.#count++
    if (code === this.#code && nowMs - this.#toldMs < REPEAT_MS) return undefined
    this.#code = code
    this.#toldMs = nowMs
    return this.#count === 1 ? reason : `${reason} (${this.#count} in a row)`
  }

  right(): void {
    this.#code = undefined
    this.#count = 0
  }
}
