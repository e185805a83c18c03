/**
 * The newest events, for nodes that are being deployed anew: a node that left hears what came since. Bounded in number;
 * a node that stays away for longer than that starts like a new one.
 */
export class Replay<T> {
  readonly #capacity: number
  readonly #maxAway: number
  readonly #events: T[] = []
  readonly #away = new Map<string, number>()
  #next = 0

  constructor(capacity = 5000, maxAway = 1000) {
    this.#capacity = capacity
    this.#maxAway = maxAway
  }

  push(event: T): void {
    this.#events.push(event)
    this.#next++
    // Dropped in blocks, so that a push stays cheap.
    if (this.#events.length > this.#capacity * 1.25) this.#events.splice(0, this.#events.length - this.#capacity)
  }

  left(id: string): void {
    this.#away.delete(id)
    this.#away.set(id, this.#next)
    if (this.#away.size > this.#maxAway) this.#away.delete(this.#away.keys().next().value!)
  }

  /** Keeps a place from here on, unless `id` left earlier and has not come back. */
  arrives(id: string): void {
    if (!this.#away.has(id)) this.left(id)
  }

  /** What came since `id` left; nothing for one that was never there or whose place is gone. */
  missedBy(id: string): readonly T[] {
    const since = this.#away.get(id)
    this.#away.delete(id)
    const oldest = this.#next - this.#events.length
    if (since === undefined || since < oldest) return []
    return this.#events.slice(since - oldest)
  }
}
