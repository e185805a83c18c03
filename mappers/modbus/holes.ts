import type { AddressRange } from './device-config.ts'

const DAY_MS = 86_400_000

interface Hole extends AddressRange {
  /** The exception that taught it. */
  readonly exception: number
  readonly untilMs: number
}

/** Addresses a device refused, remembered for a day: firmware gets updated, so every one is tried again then. */
export class Holes {
  #holes: Hole[] = []

  /** An empty range is a border that no read may cross. */
  learn(range: AddressRange, exception: number, nowMs: number): void {
    this.#holes.push({ ...range, exception, untilMs: nowMs + DAY_MS })
  }

  get ranges(): readonly AddressRange[] {
    return this.#holes
  }

  /** The exception with which the device refused this place; undefined when it did not. */
  exceptionAt(table: string, start: number, size: number): number | undefined {
    return this.#holes.find((hole) => hole.table === table && hole.start < start + size && hole.end > start)?.exception
  }

  /** When the next of them is forgotten, monotonic milliseconds; undefined when there are none. */
  get nextExpiryMs(): number | undefined {
    return this.#holes.length === 0 ? undefined : Math.min(...this.#holes.map((hole) => hole.untilMs))
  }

  /** Forgets what is a day old. True when there was something. */
  expire(nowMs: number): boolean {
    const kept = this.#holes.filter((hole) => hole.untilMs > nowMs)
    const expired = kept.length < this.#holes.length
    this.#holes = kept
    return expired
  }
}
