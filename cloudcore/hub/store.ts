import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Clock, Timer } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { BatchBody, SeqRange } from '../../api/link/messages.ts'
import { addRange, contains } from '../../api/link/ranges.ts'
import { openDurable } from './database.ts'
import { HUB_SCHEMA, rawRow } from './store-schema.ts'

export interface EpochState {
  readonly id: number
  readonly gateway: string
  readonly epoch: string
  readonly ordinal: number
  /** What is durable. */
  received: readonly SeqRange[]
  /** Accepted, not yet durable. */
  readonly pending: Set<number>
}

export interface GatewayCounters {
  batches: number
  duplicates: number
  gaps: number
  lostValues: number
  /** Numbers that were skipped within a lane without a word. */
  unexplained: number
  refusedRows: number
  /** Of roaming devices, told by whoever served them since; counted since the start. */
  fencedRows: number
}

/** Something to make durable before it is acknowledged. */
export interface Pending {
  readonly epoch: EpochState
  readonly range: SeqRange
  readonly backfill: boolean
  readonly receivedMs: number
  /** The frame as it came; absent for a gap. */
  readonly frame?: string
  readonly body?: BatchBody
  /** Called when it is durable, with its number in the stream (undefined for a gap), or with why it is not. */
  readonly done: (streamId: number | undefined, error?: SluiceError) => void
}

export interface StreamRow {
  readonly id: number
  readonly gateway: string
  readonly seq: number
  readonly backfill: boolean
  readonly receivedMs: number
  readonly body: BatchBody
}

export interface HubStoreOptions {
  readonly path: string
  readonly clock: Clock
  /** The stream log keeps at most this much; older rows are trimmed and counted. */
  readonly maxStreamBytes?: number
  readonly maxStreamAgeMs?: number
  /** Pause between two commits, so that many gateways share one flush of the disk. */
  readonly commitEveryMs?: number
  readonly onStreamRow?: (row: StreamRow) => void
  readonly onTrouble?: (error: SluiceError) => void
}

const zeroCounters = (): GatewayCounters => ({
  batches: 0,
  duplicates: 0,
  gaps: 0,
  lostValues: 0,
  unexplained: 0,
  refusedRows: 0,
  fencedRows: 0,
})

/**
 * What the hub may never forget: which batches it has, and the log of them that subscribers resume from. A batch and
 * the range that says it is here are one transaction; nothing is acknowledged before that is on the disk.
 */
export class HubStore implements Disposable {
  readonly db: DatabaseSync
  readonly setAside: string | undefined
  readonly #clock: Clock
  readonly #options: HubStoreOptions
  readonly #counters = new Map<string, GatewayCounters>()
  readonly #dirtyCounters = new Set<string>()
  readonly #epochs = new Map<string, EpochState>()
  #pending: Pending[] = []
  #newAssignments: [gateway: string, uid: string, key: string][] = []
  #timer: Timer | undefined
  #lastCommitMs = Number.NEGATIVE_INFINITY
  #lastCommitTookMs = 0
  #nextId: number
  #streamBytes: number
  #firstId: number
  #trimmedRows: number
  readonly #insert: StatementSync
  readonly #saveRanges: StatementSync
  readonly #saveCounters: StatementSync
  readonly #saveAssignment: StatementSync
  readonly #page: StatementSync
  #closed = false

  constructor(options: HubStoreOptions) {
    this.#options = options
    this.#clock = options.clock
    const opened = openDurable(options.path, HUB_SCHEMA, options.clock.now())
    this.db = opened.db
    this.setAside = opened.setAside
    const db = this.db
    const state = db.prepare('SELECT first_id, trimmed_rows FROM stream_state').get() as
      | { first_id: number; trimmed_rows: number }
      | undefined
    const sums = db.prepare('SELECT max(id) AS last, coalesce(sum(bytes), 0) AS bytes FROM stream').get() as {
      last: number | null
      bytes: number
    }
    // Numbers of a new log start above those of any log that this machine may have had before.
    this.#firstId = state?.first_id ?? options.clock.now() * 1000
    this.#trimmedRows = state?.trimmed_rows ?? 0
    this.#nextId = Math.max(this.#firstId, (sums.last ?? 0) + 1)
    this.#streamBytes = sums.bytes
    if (state === undefined) db.prepare('INSERT INTO stream_state VALUES(1, ?, 0)').run(this.#firstId)
    this.#insert = db.prepare(
      'INSERT INTO stream(id, gateway, seq, backfill, received_ms, bytes, frame) VALUES(?, ?, ?, ?, ?, ?, ?)',
    )
    this.#saveRanges = db.prepare('UPDATE epoch SET received = ? WHERE id = ?')
    this.#saveCounters = db.prepare(
      'INSERT OR REPLACE INTO counters(gateway, batches, duplicates, gaps, lost_values, unexplained, refused_rows) VALUES(?, ?, ?, ?, ?, ?, ?)',
    )
    this.#saveAssignment = db.prepare('INSERT OR REPLACE INTO assigned(gateway, uid, key, since_ms) VALUES(?, ?, ?, ?)')
    this.#page = db.prepare(
      'SELECT id, gateway, seq, backfill, received_ms, frame FROM stream WHERE id > ? ORDER BY id LIMIT ?',
    )
    this.#loadCounters()
  }

  get streamBytes(): number {
    return this.#streamBytes
  }

  get trimmedRows(): number {
    return this.#trimmedRows
  }

  /** The oldest number a subscriber can still resume from, exclusive. */
  get oldestCursor(): number {
    return this.#firstId - 1
  }

  /** The number of the newest durable row. */
  get newestCursor(): number {
    return this.#nextId - 1
  }

  get pendingCount(): number {
    return this.#pending.length
  }

  /** The history of one store of a gateway; a store never seen before gets the next ordinal (from 1). */
  openEpoch(gateway: string, epoch: string): EpochState {
    const name = `${gateway}/${epoch}`
    const held = this.#epochs.get(name)
    if (held !== undefined) return held
    this.db
      .prepare(
        `INSERT OR IGNORE INTO epoch(gateway, epoch, ordinal)
         VALUES(?, ?, (SELECT coalesce(max(ordinal), 0) + 1 FROM epoch WHERE gateway = ?))`,
      )
      .run(gateway, epoch, gateway)
    const row = this.db
      .prepare('SELECT id, ordinal, received FROM epoch WHERE gateway = ? AND epoch = ?')
      .get(gateway, epoch) as { id: number; ordinal: number; received: string }
    const state: EpochState = {
      id: row.id,
      gateway,
      epoch,
      ordinal: row.ordinal,
      received: JSON.parse(row.received) as SeqRange[],
      pending: new Set(),
    }
    this.#epochs.set(name, state)
    return state
  }

  has(epoch: EpochState, seq: number): 'durable' | 'pending' | undefined {
    if (contains(epoch.received, seq)) return 'durable'
    return epoch.pending.has(seq) ? 'pending' : undefined
  }

  /** Takes something to be made durable with the next commit. */
  add(item: Pending): void {
    if (item.range[0] === item.range[1]) item.epoch.pending.add(item.range[0])
    this.#pending.push(item)
    this.#schedule()
  }

  counters(gateway: string): GatewayCounters {
    let held = this.#counters.get(gateway)
    if (held === undefined) this.#counters.set(gateway, (held = zeroCounters()))
    return held
  }

  count(gateway: string, what: keyof GatewayCounters, by = 1): void {
    this.counters(gateway)[what] += by
    this.#dirtyCounters.add(gateway)
  }

  allCounters(): ReadonlyMap<string, GatewayCounters> {
    return this.#counters
  }

  /** Every device that was ever given to a gateway: its late history is still welcome after it moved or went. */
  assignmentsOf(gateway: string): Map<string, string> {
    const rows = this.db.prepare('SELECT uid, key FROM assigned WHERE gateway = ?').all(gateway) as {
      uid: string
      key: string
    }[]
    return new Map(rows.map((row) => [row.uid, row.key]))
  }

  assign(gateway: string, uid: string, key: string): void {
    this.#newAssignments.push([gateway, uid, key])
    this.#schedule()
  }

  /** Rows after a cursor, oldest first. */
  read(after: number, limit: number): StreamRow[] {
    const rows = this.#page.all(after, limit).map(rawRow)
    return rows.map((row) => ({
      id: row.id,
      gateway: row.gateway,
      seq: row.seq,
      backfill: row.backfill === 1,
      receivedMs: row.received_ms,
      body: (JSON.parse(row.frame) as { body: BatchBody }).body,
    }))
  }

  /** Makes everything added so far durable now. */
  commit(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const items = this.#pending
    const assignments = this.#newAssignments
    if (items.length === 0 && assignments.length === 0 && this.#dirtyCounters.size === 0) return
    this.#pending = []
    this.#newAssignments = []
    const startedMs = this.#clock.monotonic()
    const firstId = this.#nextId
    const ranges = new Map<EpochState, readonly SeqRange[]>()
    let bytes = 0
    try {
      this.db.exec('BEGIN IMMEDIATE')
      for (const item of items) {
        ranges.set(item.epoch, addRange(ranges.get(item.epoch) ?? item.epoch.received, item.range))
        if (item.frame === undefined) continue
        const id = this.#nextId++
        const { gateway } = item.epoch
        this.#insert.run(
          id,
          gateway,
          item.range[0],
          item.backfill ? 1 : 0,
          item.receivedMs,
          item.frame.length,
          item.frame,
        )
        bytes += item.frame.length
      }
      for (const [epoch, received] of ranges) this.#saveRanges.run(JSON.stringify(received), epoch.id)
      for (const [gateway, uid, key] of assignments) this.#saveAssignment.run(gateway, uid, key, this.#clock.now())
      for (const gateway of this.#dirtyCounters) {
        const c = this.counters(gateway)
        this.#saveCounters.run(gateway, c.batches, c.duplicates, c.gaps, c.lostValues, c.unexplained, c.refusedRows)
      }
      this.#trim(bytes)
      this.db.exec('COMMIT')
    } catch (cause) {
      this.#nextId = firstId
      this.#undo(items, assignments, cause)
      return
    }
    this.#dirtyCounters.clear()
    this.#lastCommitMs = this.#clock.monotonic()
    this.#lastCommitTookMs = this.#lastCommitMs - startedMs
    this.#streamBytes += bytes
    for (const [epoch, received] of ranges) epoch.received = received
    let id = firstId
    for (const item of items) {
      item.epoch.pending.delete(item.range[0])
      item.done(item.frame === undefined ? undefined : id++)
    }
    if (this.#options.onStreamRow === undefined) return
    id = firstId
    for (const { frame, body, epoch, range, backfill, receivedMs } of items) {
      if (frame === undefined) continue
      const row = { id: id++, gateway: epoch.gateway, seq: range[0], backfill, receivedMs }
      if (body !== undefined) this.#options.onStreamRow({ ...row, body })
    }
  }

  [Symbol.dispose](): void {
    if (this.#closed) return
    this.commit()
    this.#closed = true
    this.#timer?.cancel()
    this.db.close()
  }

  /** The disk refused: nothing is acknowledged, the gateways keep what they have and come back. */
  #undo(items: readonly Pending[], assignments: readonly [string, string, string][], cause: unknown): void {
    try {
      this.db.exec('ROLLBACK')
    } catch {
      // SQLite rolled back by itself.
    }
    this.#newAssignments.push(...assignments)
    const why = cause instanceof Error ? cause.message : String(cause)
    const error = new SluiceError('SLUICE_HUB_STORE_FAILED', `the hub cannot write its database: ${why}`, {
      cause,
      hint: 'Free disk space under the data folder. Gateways keep their data until this works again.',
    })
    this.#options.onTrouble?.(error)
    for (const item of items) {
      item.epoch.pending.delete(item.range[0])
      item.done(undefined, error)
    }
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#closed) return
    // A slow disk gets proportionally fewer, larger commits, so that flushing never takes more than a third of the time.
    const gapMs = Math.max(this.#options.commitEveryMs ?? 4, 2 * this.#lastCommitTookMs)
    const waitMs = Math.max(0, this.#lastCommitMs + gapMs - this.#clock.monotonic())
    this.#timer = this.#clock.after(waitMs, () => this.commit())
  }

  #trim(addedBytes: number): void {
    const { maxStreamBytes = 512 * 1024 * 1024, maxStreamAgeMs = 86_400_000 } = this.#options
    const oldestMs = this.#clock.now() - maxStreamAgeMs
    const first = this.db.prepare('SELECT received_ms FROM stream ORDER BY id LIMIT 1').get() as
      | { received_ms: number }
      | undefined
    let over = this.#streamBytes + addedBytes - maxStreamBytes
    if (over <= 0 && (first === undefined || first.received_ms >= oldestMs)) return
    const rows = this.db.prepare('SELECT id, bytes, received_ms FROM stream ORDER BY id LIMIT 2000').all() as {
      id: number
      bytes: number
      received_ms: number
    }[]
    let lastId = 0
    let count = 0
    let freed = 0
    for (const row of rows) {
      if (over <= 0 && row.received_ms >= oldestMs) break
      over -= row.bytes
      freed += row.bytes
      lastId = row.id
      count++
    }
    if (count === 0) return
    this.db.prepare('DELETE FROM stream WHERE id <= ?').run(lastId)
    this.#firstId = lastId + 1
    this.#trimmedRows += count
    this.#streamBytes -= freed
    this.db.prepare('UPDATE stream_state SET first_id = ?, trimmed_rows = ?').run(this.#firstId, this.#trimmedRows)
  }

  #loadCounters(): void {
    for (const row of this.db.prepare('SELECT * FROM counters').all() as Record<string, number | string>[]) {
      this.#counters.set(String(row['gateway']), {
        batches: Number(row['batches']),
        duplicates: Number(row['duplicates']),
        gaps: Number(row['gaps']),
        lostValues: Number(row['lost_values']),
        unexplained: Number(row['unexplained']),
        refusedRows: Number(row['refused_rows']),
        fencedRows: 0,
      })
    }
  }
}
