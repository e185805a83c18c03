import type { Clock } from '../../api/clock.ts'
import { type HeardItem, MAX_HEARD_ITEMS } from '../../api/link/messages.ts'
import type { ObjectKey } from '../../api/resources.ts'

/** The hub hears of one device again after this when its signal moved by the step, */
const MOVED_EVERY_MS = 1000
const STEP_DB = 2
/** and after this as long as it is heard at all. */
const ALIVE_EVERY_MS = 3000

interface Entry {
  readonly uid: string
  rssiDbm: number
  heardMs: number
  toldRssiDbm: number
  toldMs: number
}

/** How well this gateway hears the devices that it shares with others, for the hub to choose who serves them. */
export class HeardBoard {
  readonly #clock: Clock
  readonly #onDue: () => void
  readonly #entries = new Map<ObjectKey, Entry>()

  constructor(clock: Clock, onDue: () => void) {
    this.#clock = clock
    this.#onDue = onDue
  }

  heard(key: ObjectKey, uid: string, rssiDbm: number): void {
    const heardMs = this.#clock.monotonic()
    const held = this.#entries.get(key)
    if (held?.uid === uid) {
      held.rssiDbm = rssiDbm
      held.heardMs = heardMs
      if (!isDue(held, heardMs)) return
    } else {
      const toldMs = Number.NEGATIVE_INFINITY
      this.#entries.set(key, { uid, rssiDbm, heardMs, toldRssiDbm: 0, toldMs })
    }
    this.#onDue()
  }

  forget(key: ObjectKey): void {
    this.#entries.delete(key)
  }

  /** What is worth telling now; with `all` everything that was ever heard, after a welcome. */
  take(all = false): HeardItem[] {
    const nowMs = this.#clock.monotonic()
    const items: HeardItem[] = []
    for (const [key, entry] of this.#entries) {
      if (!all && !isDue(entry, nowMs)) continue
      if (items.length === MAX_HEARD_ITEMS) break
      entry.toldMs = nowMs
      entry.toldRssiDbm = entry.rssiDbm
      const ageMs = Math.min(Math.round(nowMs - entry.heardMs), 86_400_000)
      items.push([key, entry.uid, Math.min(50, Math.max(-200, Math.round(entry.rssiDbm * 10) / 10)), ageMs])
    }
    return items
  }
}

function isDue({ rssiDbm, heardMs, toldRssiDbm, toldMs }: Entry, nowMs: number): boolean {
  if (heardMs <= toldMs) return false
  return nowMs - toldMs >= (Math.abs(rssiDbm - toldRssiDbm) >= STEP_DB ? MOVED_EVERY_MS : ALIVE_EVERY_MS)
}
