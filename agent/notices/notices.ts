import { randomBytes } from 'node:crypto'
import type { Clock, Timer } from '../../api/clock.ts'
import { isNoticeItem, NOTICE_LIMITS, type NoticeItem, noticeReason } from '../../api/link/notices.ts'
import type { HostEvent } from '../../mappers/sdk/mapper.ts'

/** Items remembered; the one that happened longest ago is forgotten first. */
export const MAX_NOTICES = 200
/** After a pause of this long the same thing is news again and gets an item of its own. */
const SERIES_MS = 600_000
/** An item whose count grows is told again after this. */
const TELL_EVERY_MS = 10_000

interface Entry {
  item: NoticeItem
  /** Number of the change that listeners were told of last; 0 while it was never told. */
  change: number
  toldMs: number
  toldCount: number
}

export interface NoticesOptions {
  readonly clock: Clock
  /** There is something new for `since`. */
  readonly onChange: () => void
}

/**
 * What happened at this gateway that a person should know. However often the same thing happens, it is one item a
 * device and reason with a count, told at once and then every ten seconds; a hostile device costs one entry.
 */
export class Notices implements Disposable {
  readonly #options: NoticesOptions
  /** By device and reason, the one that happened last at the end. */
  readonly #entries = new Map<string, Entry>()
  readonly #origin = randomBytes(6).toString('hex')
  #number = 0
  #changes = 0
  #confirmed = 0
  #timer: Timer | undefined
  /** Everything told by mappers, and items that were forgotten before the hub had them. */
  readonly counters = { happened: 0, forgotten: 0 }

  constructor(options: NoticesOptions) {
    this.#options = options
  }

  record({ about, pod, type, reason: given, message: told }: HostEvent & Pick<NoticeItem, 'pod'>): void {
    const { clock } = this.#options
    const nowMs = clock.now()
    const reason = noticeReason(given)
    const message = cut(told === '' ? reason : told)
    const key = `${pod === true ? 'pod ' : ''}${about}\n${type}\n${reason}`
    this.counters.happened++
    let entry = this.#entries.get(key)
    // A clock that was set back must not glue what happened before it to what happens now.
    const goesOn = entry !== undefined && Math.abs(nowMs - entry.item.lastMs) < SERIES_MS
    if (entry !== undefined && goesOn) {
      entry.item = { ...entry.item, message, count: entry.item.count + 1, lastMs: nowMs }
    } else {
      const id = `${this.#origin}-${++this.#number}`
      const item: NoticeItem = {
        ...{ id, about, type, reason, message, count: 1, firstMs: nowMs, lastMs: nowMs },
        ...(pod === true ? { pod } : {}),
      }
      if (!isNoticeItem(item)) return
      entry = { item, change: 0, toldMs: Number.NEGATIVE_INFINITY, toldCount: 0 }
    }
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    if (this.#entries.size > MAX_NOTICES) this.#forgetOldest()
    if (clock.monotonic() - entry.toldMs >= TELL_EVERY_MS) {
      this.#tell(entry)
      this.#options.onChange()
    } else this.#armLater()
  }

  /** Everything remembered, the newest first. */
  list(): readonly NoticeItem[] {
    return [...this.#entries.values()].map(({ item }) => item).reverse()
  }

  /** What changed after `change` and the number to ask with the next time; without one, all that nobody confirmed. */
  since(change = this.#confirmed): { readonly change: number; readonly items: readonly NoticeItem[] } {
    const items = [...this.#entries.values()].filter((entry) => entry.change > change).map(({ item }) => item)
    return { change: this.#changes, items }
  }

  /** The hub has everything up to this change. */
  confirmed(change: number): void {
    this.#confirmed = Math.max(this.#confirmed, Math.min(change, this.#changes))
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel()
  }

  #tell(entry: Entry): void {
    entry.change = ++this.#changes
    entry.toldMs = this.#options.clock.monotonic()
    entry.toldCount = entry.item.count
  }

  #forgetOldest(): void {
    const [key, entry] = this.#entries.entries().next().value!
    this.#entries.delete(key)
    if (entry.change > this.#confirmed || entry.toldCount < entry.item.count) this.counters.forgotten++
  }

  /** What grew too soon after it was told is told a little later, although it may not happen again. */
  #armLater(): void {
    this.#timer ??= this.#options.clock.after(
      TELL_EVERY_MS,
      () => {
        this.#timer = undefined
        const before = this.#changes
        for (const entry of this.#entries.values()) {
          if (entry.toldCount === entry.item.count) continue
          if (this.#options.clock.monotonic() - entry.toldMs >= TELL_EVERY_MS) this.#tell(entry)
          else this.#armLater()
        }
        if (this.#changes > before) this.#options.onChange()
      },
      true,
    )
  }
}

const cut = (text: string): string =>
  text.length <= NOTICE_LIMITS.message
    ? text
    : `${text.slice(0, NOTICE_LIMITS.message - 1).replace(/[\ud800-\udbff]$/, '')}…`
