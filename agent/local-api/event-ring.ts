import type { StreamEvent } from '../../api/views.ts'

export interface NumberedEvent {
  readonly id: string
  readonly event: StreamEvent
}

/** What happened lately, for subscribers that come back. Bounded; kept only while somebody is interested. */
export class EventRing {
  readonly #origin: string
  readonly #capacity: number
  readonly #events: NumberedEvent[] = []
  #next = 1

  /** `origin` names this run of the agent: a cursor of another run cannot be resumed. */
  constructor(origin: string, capacity = 4096) {
    this.#origin = origin
    this.#capacity = capacity
  }

  /** Cursor of the newest event. */
  get cursor(): string {
    return `${this.#origin}-${this.#next - 1}`
  }

  push(event: StreamEvent): NumberedEvent {
    const numbered = { id: `${this.#origin}-${this.#next++}`, event }
    this.#events.push(numbered)
    // Dropped in blocks, so that a push stays cheap.
    if (this.#events.length > this.#capacity * 1.25) this.#events.splice(0, this.#events.length - this.#capacity)
    return numbered
  }

  /** Events after a cursor, or undefined when some of them are gone. */
  after(cursor: string): readonly NumberedEvent[] | undefined {
    const [origin, number] = splitCursor(cursor)
    const oldest = this.#next - this.#events.length
    if (origin !== this.#origin || number === undefined || number + 1 < oldest || number >= this.#next) return undefined
    return this.#events.slice(number + 1 - oldest)
  }

  clear(): void {
    this.#events.length = 0
  }
}

function splitCursor(cursor: string): [origin: string, number: number | undefined] {
  const match = /^(.{1,64})-(\d{1,15})$/.exec(cursor)
  return match === null ? ['', undefined] : [match[1]!, Number(match[2])]
}
