import type { Clock, Timer } from '../../api/clock.ts'
import { boundedItem, type SightedItem } from '../../api/link/sighted.ts'
import type { Json } from '../../api/resources.ts'
import type { DeviceBinding, Sighting } from '../../mappers/sdk/mapper.ts'

/** Devices remembered; the one unseen for longest is forgotten first. */
export const MAX_SIGHTINGS = 1000
/** A device that nobody saw for so long is forgotten. */
const FORGET_MS = 86_400_000
/** The hub hears of one device again after this when something about it changed, */
const CHANGED_EVERY_MS = 30_000
/** and after this when it was only seen again. */
const SEEN_EVERY_MS = 120_000

interface Entry {
  item: SightedItem
  /** Number of the change that listeners were told of last. */
  change: number
  toldMs: number
  /** What was told, without the figures that move at every sighting. */
  told: string
  /** The same of what is known now. */
  known: string
}

export interface SightingsOptions {
  readonly clock: Clock
  /** There is something new for `since`. */
  readonly onChange: () => void
}

/**
 * What the protocols saw that nobody configured: the newest of each device, in memory only, because what is still there
 * is seen again after a restart.
 */
export class Sightings implements Disposable {
  readonly #options: SightingsOptions
  /** By protocol and id, the one seen last at the end. */
  readonly #entries = new Map<string, Entry>()
  #addresses: readonly (readonly [protocol: string, address: Json])[] = []
  #changes = 0
  #timer: Timer | undefined

  constructor(options: SightingsOptions) {
    this.#options = options
  }

  /** Takes what a protocol saw. What does not fit the limits of `SIGHTED_LIMITS` is cut, or left out. */
  sighted(protocol: string, sightings: readonly Sighting[]): void {
    const nowMs = this.#options.clock.monotonic()
    let changed = false
    for (const sighting of sightings) {
      const key = `${protocol}\n${sighting.id}`
      const held = this.#entries.get(key)
      const item = boundedItem(protocol, sighting, (held?.item.count ?? 0) + 1)
      if (item === undefined || this.#isConfigured(item)) continue
      const { atMs, count, rssiDbm, ...steady } = item
      const known = JSON.stringify(steady)
      const entry = held ?? { item, change: 0, toldMs: Number.NEGATIVE_INFINITY, told: '', known }
      entry.item = item
      entry.known = known
      this.#entries.delete(key)
      this.#entries.set(key, entry)
      if (this.#entries.size > MAX_SIGHTINGS) this.#entries.delete(this.#entries.keys().next().value!)
      if (this.#due(entry, nowMs)) {
        this.#tell(entry, nowMs)
        changed = true
      } else if (entry.told !== known) this.#armLater()
    }
    if (changed) this.#options.onChange()
  }

  /** What a source knows to be gone, or in use now. */
  withdrawn(protocol: string, ids: readonly string[]): void {
    for (const id of ids) this.#entries.delete(`${protocol}\n${id}`)
  }

  /** Addresses of the configured devices, as they stand under their protocol. */
  get addresses(): Iterable<Json> {
    return this.#addresses.map(([, address]) => address)
  }

  /** Which devices are configured now: those are no discoveries. */
  configured(bindings: Iterable<DeviceBinding>): void {
    const addresses: (readonly [string, Json])[] = []
    for (const { device } of bindings) {
      for (const [protocol, address] of Object.entries(device)) {
        if (typeof address === 'object' && address !== null) addresses.push([protocol, address as Json])
      }
    }
    this.#addresses = addresses
    for (const [key, { item }] of this.#entries) if (this.#isConfigured(item)) this.#entries.delete(key)
  }

  /** Everything known, the one seen last first. */
  list(): readonly SightedItem[] {
    this.#forgetOld()
    return [...this.#entries.values()].map(({ item }) => item).reverse()
  }

  /** What changed after `change`, and the number to ask with the next time; 0 gives everything. */
  since(change: number): { readonly change: number; readonly items: readonly SightedItem[] } {
    this.#forgetOld()
    const items = [...this.#entries.values()].filter((entry) => entry.change > change).map(({ item }) => item)
    return { change: this.#changes, items }
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel()
  }

  #due({ toldMs, told, known }: Entry, nowMs: number): boolean {
    return nowMs - toldMs >= (told === known ? SEEN_EVERY_MS : CHANGED_EVERY_MS)
  }

  #tell(entry: Entry, nowMs: number): void {
    entry.change = ++this.#changes
    entry.toldMs = nowMs
    entry.told = entry.known
  }

  /** A change that came too soon is told a little later, although nothing may be seen any more. */
  #armLater(): void {
    const { clock, onChange } = this.#options
    this.#timer ??= clock.after(
      CHANGED_EVERY_MS,
      () => {
        this.#timer = undefined
        const nowMs = clock.monotonic()
        let changed = false
        for (const entry of this.#entries.values()) {
          if (entry.told === entry.known) continue
          if (this.#due(entry, nowMs)) {
            this.#tell(entry, nowMs)
            changed = true
          } else this.#armLater()
        }
        if (changed) onChange()
      },
      true,
    )
  }

  #forgetOld(): void {
    const oldestMs = this.#options.clock.now() - FORGET_MS
    for (const [key, { item }] of this.#entries) if (item.atMs < oldestMs) this.#entries.delete(key)
  }

  #isConfigured({ protocol, address }: SightedItem): boolean {
    return this.#addresses.some(([name, configured]) => name === protocol && covers(configured, address))
  }
}

/** Whether a configured address says at least what the seen one says; words are compared without their case. */
function covers(configured: Json | undefined, seen: Json): boolean {
  if (typeof seen === 'string') {
    return typeof configured === 'string' && configured.toLowerCase() === seen.toLowerCase()
  }
  if (typeof seen !== 'object' || seen === null) return configured === seen
  if (typeof configured !== 'object' || configured === null) return false
  const known = new Map<string, Json>(Object.entries(configured))
  return Object.entries(seen).every(([key, value]) => covers(known.get(key), value as Json))
}
