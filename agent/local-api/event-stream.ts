import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock, Timer } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { StreamEvent } from '../../api/views.ts'
import { EventRing, type NumberedEvent } from './event-ring.ts'

/** A reader that leaves more than this unread is sent `reset` and closed: it can come back and read the state anew. */
const MAX_UNREAD_BYTES = 1024 * 1024
/** A reader that is sent away has this long to read why. */
const LAST_WORDS_MS = 15_000
const MAX_SUBSCRIBERS = 64
/** Readers find out by it that the other side froze: the console takes 8 s of silence for that, other clients 20 s. */
const KEEP_ALIVE_MS = 3_000
/** Events are kept this long after the last subscriber left, for it to resume. */
const LINGER_MS = 60_000

interface Subscriber {
  readonly response: ServerResponse
  readonly wants: (event: StreamEvent) => boolean
}

/** `GET /v1/events`: server-sent events with a cursor. Bounded in subscribers, memory a subscriber and history. */
export class EventStream {
  readonly #clock: Clock
  readonly #ring: EventRing
  readonly #subscribers = new Set<Subscriber>()
  #linger: Timer | undefined
  #keepAlive: Timer | undefined
  #listening = false

  constructor(clock: Clock, origin: string) {
    this.#clock = clock
    this.#ring = new EventRing(origin)
  }

  /** Whether events are worth building. */
  get listening(): boolean {
    return this.#listening
  }

  get subscribers(): number {
    return this.#subscribers.size
  }

  push(event: StreamEvent): void {
    const numbered = this.#ring.push(event)
    if (this.#subscribers.size === 0) return
    const text = textOf(numbered)
    for (const subscriber of this.#subscribers) if (subscriber.wants(event)) this.#send(subscriber, text)
  }

  open(request: IncomingMessage, response: ServerResponse, query: URLSearchParams): void {
    if (this.#subscribers.size >= MAX_SUBSCRIBERS) {
      throw new SluiceError('SLUICE_API_BUSY', `${MAX_SUBSCRIBERS} event streams are open already`, {
        hint: 'Close one that is no longer needed.',
      })
    }
    const subscriber: Subscriber = { response, wants: filterOf(query) }
    this.#listening = true
    this.#linger?.cancel()
    this.#linger = undefined
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    })
    response.write(`retry: 1000\n\n${this.#backlog(request.headers['last-event-id'], subscriber)}`)
    this.#subscribers.add(subscriber)
    if (this.#keepAlive === undefined) this.#armKeepAlive()
    response.on('close', () => this.#leave(subscriber))
  }

  close(): void {
    this.#keepAlive?.cancel()
    this.#linger?.cancel()
    for (const { response } of this.#subscribers) response.end()
    this.#subscribers.clear()
  }

  #backlog(cursor: string | string[] | undefined, { wants }: Subscriber): string {
    const open = `id: ${this.#ring.cursor}\nevent: open\ndata: {}\n\n`
    if (typeof cursor !== 'string') return open
    const missed = this.#ring.after(cursor)
    if (missed === undefined) return `id: ${this.#ring.cursor}\nevent: reset\ndata: {}\n\n${open}`
    return (
      missed
        .filter(({ event }) => wants(event))
        .map(textOf)
        .join('') + open
    )
  }

  #send(subscriber: Subscriber, text: string): void {
    const { response } = subscriber
    if (response.writableLength + text.length <= MAX_UNREAD_BYTES) {
      response.write(text)
      return
    }
    this.#subscribers.delete(subscriber)
    response.end('event: reset\ndata: {}\n\n')
    // A reader that reads nothing at all would keep the megabyte for ever.
    this.#clock.after(LAST_WORDS_MS, () => response.destroy(), true)
  }

  #leave(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber)
    if (this.#subscribers.size > 0) return
    this.#keepAlive?.cancel()
    this.#keepAlive = undefined
    this.#linger?.cancel()
    this.#linger = this.#clock.after(
      LINGER_MS,
      () => {
        this.#listening = false
        this.#ring.clear()
      },
      true,
    )
  }

  #armKeepAlive(): void {
    this.#keepAlive = this.#clock.after(
      KEEP_ALIVE_MS,
      () => {
        for (const subscriber of this.#subscribers) this.#send(subscriber, ':\n\n')
        this.#armKeepAlive()
      },
      true,
    )
  }
}

/** Named events are `open` (from here on it is live) and `reset`; changes come without a name, as an array, as the cloud core sends them too. */
const textOf = ({ id, event }: NumberedEvent): string => `id: ${id}\ndata: ${JSON.stringify([event])}\n\n`

/** `device` and `property` match exactly, `kind` takes a comma-separated list; several `device` parameters add up. */
function filterOf(query: URLSearchParams): (event: StreamEvent) => boolean {
  const devices = new Set(query.getAll('device'))
  const properties = new Set(query.getAll('property'))
  const kinds = new Set<string>(query.getAll('kind').flatMap((list) => list.split(',')))
  return (event) =>
    (devices.size === 0 || ('device' in event && devices.has(event.device))) &&
    (kinds.size === 0 || kinds.has(event.kind)) &&
    (properties.size === 0 || ('property' in event && properties.has(event.property)))
}
