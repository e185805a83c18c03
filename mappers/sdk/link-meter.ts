import type { Clock } from '../../api/clock.ts'
import type { ObjectKey } from '../../api/resources.ts'

const BUCKETS = 12
const BUCKET_MS = 5000

/** Counts what happens on one link and what share of its time was well spent over the last minute. */
export class LinkMeter {
  readonly #clock: Clock
  readonly #startMs: number
  readonly #busyMs = new Float64Array(BUCKETS)
  readonly #stamp = new Float64Array(BUCKETS).fill(-1)
  readonly #errors = new Map<string, number>()
  readonly #deviceMs = new Map<ObjectKey, number>()
  #requests = 0
  #propertiesRead = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#startMs = clock.monotonic()
  }

  /**
   * A request was answered after taking `linkMs` of the link's time and served `properties` readings; of `device`, where
   * the time is to be booked to one.
   */
  answered(linkMs: number, properties: number, device?: ObjectKey): void {
    if (device !== undefined) this.#deviceMs.set(device, (this.#deviceMs.get(device) ?? 0) + linkMs)
    this.#requests++
    this.#propertiesRead += properties
    const slot = Math.floor(this.#clock.monotonic() / BUCKET_MS)
    const bucket = slot % BUCKETS
    if (this.#stamp[bucket] !== slot) {
      this.#stamp[bucket] = slot
      this.#busyMs[bucket] = 0
    }
    this.#busyMs[bucket]! += linkMs
  }

  failed(kind: string): void {
    this.#requests++
    this.#errors.set(kind, (this.#errors.get(kind) ?? 0) + 1)
  }

  /** Link time that each device took, milliseconds; only grows. */
  get deviceMs(): ReadonlyMap<ObjectKey, number> {
    return this.#deviceMs
  }

  get requests(): number {
    return this.#requests
  }

  get propertiesRead(): number {
    return this.#propertiesRead
  }

  get errors(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#errors)
  }

  /** Share of the last minute's link time that answered requests took; `lanes` requests fit on the link at once. */
  use(lanes = 1): number {
    const nowMs = this.#clock.monotonic()
    const slot = Math.floor(nowMs / BUCKET_MS)
    const oldest = slot - BUCKETS + 1
    let busyMs = 0
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      if (this.#stamp[bucket]! >= oldest) busyMs += this.#busyMs[bucket]!
    }
    const elapsedMs = Math.min(nowMs - this.#startMs, nowMs - oldest * BUCKET_MS)
    return elapsedMs <= 0 ? 0 : Math.min(1, busyMs / (elapsedMs * Math.max(1, lanes)))
  }
}
