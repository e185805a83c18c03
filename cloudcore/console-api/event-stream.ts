import type { ServerResponse } from 'node:http'
import type { Clock, Timer } from '../../api/clock.ts'
import type { NoteEvent } from '../../api/views.ts'
import type { HubStore, StreamRow } from '../hub/store.ts'
import {
  filteredText,
  passesFilter,
  type SharedRow,
  type StreamFilter,
  type StreamHub,
  sharedRow,
} from '../hub/stream.ts'

export interface EventStreamOptions {
  readonly response: ServerResponse
  readonly stream: StreamHub
  readonly store: Pick<HubStore, 'read' | 'oldestCursor' | 'newestCursor'>
  readonly clock: Clock
  readonly filter: StreamFilter
  /** Resume after this row; from now on when absent. */
  readonly after: number | undefined
  /** A reader that takes nothing for this long is disconnected. */
  readonly stallMs?: number
}

const PAGE = 200
/** Readers find out by it that the other side froze: the console takes 8 s of silence for that, other clients 20 s. */
const KEEPALIVE_MS = 3_000

/**
 * Serves one subscriber as server-sent events: `id:` the row's number, `data:` a JSON array of StreamEvent. A reader that
 * is too slow for the live stream costs no memory: it is read to from the log at its own pace until it has caught up.
 * One that does not read at all is disconnected and may resume with Last-Event-ID. Rows that the log has already
 * trimmed are told as `event: gap` with `{from, to}`; `event: open` says once that it has caught up.
 */
export function serveEventStream(options: EventStreamOptions): void {
  new EventStream(options).start()
}

class EventStream {
  readonly #options: EventStreamOptions
  readonly #response: ServerResponse
  #cursor: number
  #live = false
  #opened = false
  #closed = false
  #stall: Timer | undefined
  #keepalive: Timer | undefined
  #unlisten: () => void = () => {}

  constructor(options: EventStreamOptions) {
    this.#options = options
    this.#response = options.response
    this.#cursor = options.after ?? options.store.newestCursor
  }

  start(): void {
    this.#response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    this.#response.write(`retry: 1000\nid: ${this.#cursor}\n\n`)
    this.#response.on('close', () => this.#close())
    this.#response.on('error', () => this.#close())
    this.#unlisten = this.#options.stream.listen({
      row: (row, shared) => this.#row(row, shared),
      note: (note, gateway) => this.#note(note, gateway),
    })
    this.#armKeepalive()
    this.#catchUp()
  }

  #row(row: StreamRow, shared: SharedRow): void {
    if (this.#live && !this.#send(row, shared)) this.#wait()
  }

  /** A reader that is behind does without: it learns how things stand from the state. */
  #note(note: NoteEvent, gateway: string | undefined): void {
    if (!this.#live || !passesFilter(note, gateway, this.#options.filter)) return
    if (!this.#response.write(`data: ${JSON.stringify([note])}\n\n`)) this.#wait()
  }

  /** Returns whether the reader keeps up. */
  #send(row: StreamRow, shared: SharedRow): boolean {
    if (row.id <= this.#cursor) return true
    this.#cursor = row.id
    const text = filteredText(row, shared, this.#options.filter)
    return text === undefined || this.#response.write(`id: ${row.id}\ndata: ${text}\n\n`)
  }

  #catchUp(): void {
    const { store } = this.#options
    if (this.#cursor < store.oldestCursor) {
      const gap = JSON.stringify({ from: this.#cursor + 1, to: store.oldestCursor })
      this.#cursor = store.oldestCursor
      this.#response.write(`event: gap\nid: ${this.#cursor}\ndata: ${gap}\n\n`)
    }
    const rows = store.read(this.#cursor, PAGE)
    for (const row of rows)
      if (!this.#send(row, sharedRow(row))) {
        this.#wait()
        return
      }
    if (rows.length === 0) this.#goLive()
    // One page a turn: a long replay must not hold up the hub.
    else setImmediate(() => this.#closed || this.#catchUp())
  }

  /** The reader is told once that from here on it hears things as they happen. */
  #goLive(): void {
    this.#live = true
    if (this.#opened) return
    this.#opened = true
    this.#response.write(`event: open\nid: ${this.#cursor}\ndata: {}\n\n`)
  }

  #wait(): void {
    this.#live = false
    this.#stall = this.#options.clock.after(this.#options.stallMs ?? 30_000, () => {
      const resume = JSON.stringify({ code: 'SLUICE_API_SLOW_READER', resumeAfter: this.#cursor })
      this.#response.end(`event: slow\ndata: ${resume}\n\n`)
      this.#response.destroy()
      this.#close()
    })
    this.#response.once('drain', () => {
      this.#stall?.cancel()
      if (!this.#closed) this.#catchUp()
    })
  }

  #armKeepalive(): void {
    this.#keepalive = this.#options.clock.after(
      KEEPALIVE_MS,
      () => {
        if (this.#live) this.#response.write(`id: ${this.#cursor}\n\n`)
        this.#armKeepalive()
      },
      true,
    )
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stall?.cancel()
    this.#keepalive?.cancel()
    this.#unlisten()
  }
}
