import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, delay } from '../../../../api/clock.ts'
import type { Resources } from '../runtime.ts'
import type { ControlGroups } from './control-group.ts'

const LOOK_MS = 10
/** How long the kernel may take to let go of what was killed. */
const LEAVING_MS = 2000

/**
 * Control groups of pods that this gateway made, remembered in a folder until they are gone: others on the machine have theirs in
 * the same place, and an empty one of theirs may be about to be used.
 */
export class OwnGroups {
  readonly #folder: string
  readonly #groups: ControlGroups
  readonly #clock: Clock
  /** Grows with every making of a group: what is being removed may be wanted again. */
  readonly #made = new Map<string, number>()

  constructor(folder: string, groups: ControlGroups, clock: Clock) {
    this.#folder = folder
    this.#groups = groups
    this.#clock = clock
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  }

  /** See `ControlGroups.make`; remembered before it is there. */
  make(group: string, resources: Resources): void {
    this.#made.set(group, (this.#made.get(group) ?? 0) + 1)
    mkdirSync(this.#marker(group), { recursive: true, mode: 0o700 })
    this.#groups.make(group, resources)
  }

  /**
   * Removes one that nobody uses, at once or when the last that was killed in it has left. One that is in use after that stays, and
   * is tried again by `sweep`.
   */
  async remove(group: string, signal: AbortSignal): Promise<void> {
    const made = this.#made.get(group)
    const endMs = this.#clock.monotonic() + LEAVING_MS
    while (this.#made.get(group) === made && !this.#removed(group) && this.#clock.monotonic() < endMs) {
      if (signal.aborted) return
      await delay(this.#clock, LOOK_MS, signal).catch(() => undefined)
    }
  }

  /** Removes all but these and those made since, where they are empty: what an agent left that was ended at the wrong moment. */
  sweep(known: ReadonlySet<string>): void {
    for (const name of readdirSync(this.#folder)) {
      const group = decodeURIComponent(name)
      if (!known.has(group) && !this.#made.has(group)) this.#removed(group)
    }
  }

  #removed(group: string): boolean {
    if (!this.#groups.remove(group)) return false
    rmSync(this.#marker(group), { recursive: true, force: true })
    this.#made.delete(group)
    return true
  }

  #marker(group: string): string {
    return join(this.#folder, encodeURIComponent(group))
  }
}
