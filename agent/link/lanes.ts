import type { AckFrame, GapFrame, SeqRange } from '../../api/link/messages.ts'
import { addRange, contains, missing } from '../../api/link/ranges.ts'
import type { OutboxRow, Store } from '../store/store.ts'
import type { Transport } from './transport.ts'

export interface Window {
  readonly batches: number
  readonly bytes: number
}

/**
 * The backlog may have this much under way, and never more than this share of the window. It is little, because what
 * happens now queues behind it everywhere downstream: at the hub, in its log, at every subscriber. A day of 100 values
 * a second still drains several hundred times as fast on a local network, and 30 times with 100 ms to the hub.
 */
const BACKFILL_BATCHES = 16
const BACKFILL_BYTES = 64 * 1024
const BACKFILL_SHARE = 0.75
/** More than this unsent in the socket and the backlog waits; more than four times this, everything does. */
const SOCKET_BYTES = 256 * 1024
const READ_ROWS = 128
const READ_BYTES = 512 * 1024
const ACK_BATCH = 256

interface Lane {
  readonly name: 'live' | 'backfill'
  /** Highest number this lane has sent. */
  cursor: number
  readonly end: number
  /** Rows read and not yet sent, the next one last. */
  ahead: OutboxRow[]
}

/**
 * Sends the outbox over one connection in two lanes. What is written during the connection goes first; what was
 * written before uses what is left of the window. Nothing is deleted here before the hub says that it holds it.
 */
export class Lanes {
  readonly #store: Store
  readonly #transport: Transport
  readonly #window: Window
  readonly #live: Lane
  readonly #backfill: Lane
  #received: readonly SeqRange[]
  readonly #inFlight = new Map<number, { readonly bytes: number; readonly lane: Lane }>()
  #bytes = 0
  #backfillBatches = 0
  #backfillBytes = 0
  readonly #toldGaps = new Map<number, { readonly last: number; readonly values: number }>()
  #acked: SeqRange[] = []
  sentBytes = 0
  ackedBatches = 0

  /** `boundary` is the last number written before this connection; `received` what the hub holds already. */
  constructor(store: Store, transport: Transport, window: Window, boundary: number, received: readonly SeqRange[]) {
    this.#store = store
    this.#transport = transport
    this.#window = window
    this.#received = received
    this.#live = { name: 'live', cursor: boundary, end: Number.MAX_SAFE_INTEGER, ahead: [] }
    this.#backfill = { name: 'backfill', cursor: 0, end: boundary, ahead: [] }
  }

  /** Whether everything written before this connection has been sent. */
  get caughtUp(): boolean {
    return this.#backfill.cursor >= this.#backfill.end
  }

  /** Whether everything written during this connection up to `seq` has been sent. */
  sentThrough(seq: number): boolean {
    return this.#live.cursor >= seq
  }

  /** First deletes what the hub holds already and tells which numbers will never come. */
  begin(): void {
    if (this.#received.length > 0) this.#store.acknowledge(this.#received)
    // Below the lowest number still held nothing can come any more, whatever the reason.
    let never: readonly SeqRange[] = this.#store.firstSeq > 1 ? [[1, this.#store.firstSeq - 1]] : []
    const gaps = this.#store.gaps()
    for (const { range } of gaps) never = addRange(never, range)
    for (const whole of never) {
      for (const range of missing(this.#received, whole)) {
        const inside = gaps.filter(({ range: [first, last] }) => first <= range[1] && last >= range[0])
        this.#tellGap({ range, values: inside.reduce((sum, { values }) => sum + values, 0) })
      }
    }
    for (const { range, values } of gaps) this.#toldGaps.set(range[0], { last: range[1], values })
  }

  /** Tells the gaps that arose since; called after the store dropped something. */
  tellGaps(): void {
    for (const { range, values } of this.#store.gaps()) {
      const told = this.#toldGaps.get(range[0]) ?? { last: range[0] - 1, values: 0 }
      if (told.last === range[1]) continue
      this.#tellGap({ range: [told.last + 1, range[1]], values: values - told.values })
      this.#toldGaps.set(range[0], { last: range[1], values })
    }
  }

  /** Sends as much as the window, the socket and the outbox allow. */
  pump(): void {
    this.#drain(this.#live)
    this.#drain(this.#backfill)
  }

  /** Takes an acknowledgement; deletes in batches. */
  acknowledge({ received }: AckFrame): void {
    for (const range of received) {
      this.#received = addRange(this.#received, range)
      this.#acked.push(range)
    }
    for (const [seq, { bytes, lane }] of this.#inFlight) {
      if (!contains(received, seq)) continue
      this.#inFlight.delete(seq)
      this.ackedBatches++
      this.#bytes -= bytes
      if (lane !== this.#backfill) continue
      this.#backfillBatches--
      this.#backfillBytes -= bytes
    }
    if (this.#acked.length >= ACK_BATCH) this.deleteAcknowledged()
  }

  /** Deletes what was acknowledged since the last call. */
  deleteAcknowledged(): void {
    if (this.#acked.length === 0) return
    let ranges: readonly SeqRange[] = []
    for (const range of this.#acked) ranges = addRange(ranges, range)
    this.#store.acknowledge(ranges)
    this.#acked = []
  }

  #drain(lane: Lane): void {
    while (this.#free(lane)) {
      const row = this.#next(lane)
      if (row === undefined) return
      const { seq, bytes, body } = row
      lane.cursor = seq
      if (contains(this.#received, seq)) continue
      this.#send(`{"t":"batch","seq":${seq},"lane":"${lane.name}","body":${body}}`)
      this.#inFlight.set(seq, { bytes, lane })
      this.#bytes += bytes
      if (lane !== this.#backfill) continue
      this.#backfillBatches++
      this.#backfillBytes += bytes
    }
  }

  #next(lane: Lane): OutboxRow | undefined {
    const through = Math.min(lane.end, this.#store.lastSeq)
    if (lane.ahead.length === 0 && lane.cursor < through) {
      // Newest first, so that taking one from the end is cheap.
      lane.ahead = this.#store.batches(lane.cursor, through, READ_ROWS, READ_BYTES).reverse()
      if (lane.ahead.length === 0) lane.cursor = through
    }
    return lane.ahead.pop()
  }

  #free(lane: Lane): boolean {
    const { batches, bytes } = this.#window
    if (this.#inFlight.size >= batches || (this.#bytes >= bytes && this.#inFlight.size > 0)) return false
    const unsent = this.#transport.bufferedBytes
    if (lane !== this.#backfill) return unsent < 4 * SOCKET_BYTES
    if (unsent >= SOCKET_BYTES) return false
    return (
      this.#backfillBatches < Math.max(1, Math.min(BACKFILL_BATCHES, Math.floor(batches * BACKFILL_SHARE))) &&
      (this.#backfillBytes < Math.min(BACKFILL_BYTES, bytes * BACKFILL_SHARE) || this.#backfillBatches === 0)
    )
  }

  #tellGap({ range, values }: { range: SeqRange; values: number }): void {
    const frame: GapFrame = { t: 'gap', range, values }
    this.#send(JSON.stringify(frame))
  }

  #send(text: string): void {
    this.sentBytes += text.length
    this.#transport.send(text)
  }
}
