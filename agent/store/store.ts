import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock, Timer } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import type { LinkObject, SeqRange } from '../../api/link/messages.ts'
import type { Log } from '../log.ts'
import { type Connections, openConnections, storeError, suspect } from './database.ts'
import { Seal } from './seal.ts'
import { type Gap, type NewBatch, type OutboxTotals, type Progress, Writer } from './writer.ts'

export interface StoreOptions {
  /** Directory of `agent.db`; it exists. */
  readonly directory: string
  readonly clock: Clock
  readonly log: Log
  /** Called when a statement meets damage; the next start sets the file aside, so the process had better start again. */
  readonly onDamage?: () => void
  /** Most bytes of reports to keep for the hub. Default 512 MiB: a day and a half of 100 values a second, at 34 bytes each. */
  readonly maxOutboxBytes?: number
  /** Longest time to keep a report for the hub, milliseconds. Default 30 days. */
  readonly maxOutboxAgeMs?: number
}

export interface OutboxRow {
  readonly seq: number
  readonly bytes: number
  /** JSON text of a `BatchBody`. */
  readonly body: string
}

export interface StoredTwin {
  readonly uid: string
  readonly property: string
  readonly state: string | null
  readonly known: string | null
}

/** Numbers are reserved ahead in durable steps of this size, so that a power cut never lets one be used twice. */
const RESERVE = 10_000
const SYNC_MS = 1000
const DEFAULT_MAX_BYTES = 512 * 1024 * 1024
const DEFAULT_MAX_AGE_MS = 30 * 86_400_000
/** When the outbox is full, this share is freed at once, so that dropping is not done batch by batch. */
const FREE_SHARE = 0.01

/**
 * Everything the agent remembers. Methods throw `SLUICE_STORE_FULL`, `SLUICE_STORE_CORRUPT` or `SLUICE_STORE_FAILED`
 * and then have changed nothing.
 */
export class Store implements Disposable {
  /** Identity of this file's history; a lost store starts a new one. */
  readonly epoch: string
  /** Where a damaged file was put at this start, if there was one. */
  readonly setAside: string | undefined
  readonly #path: string
  readonly #options: StoreOptions
  readonly #connections: Connections
  readonly #seal: Seal
  readonly #writers: { readonly state: Writer; readonly telemetry: Writer }
  readonly #reads
  #lastSeq: number
  #reserved: number
  #syncedSeq: number
  #totals: OutboxTotals
  #timer: Timer | undefined
  #failure: SluiceError | undefined
  #closed = false
  /** Called after a commit that added gaps, for the link to tell them. */
  onGap: () => void = () => {}

  constructor(options: StoreOptions) {
    this.#options = options
    this.#path = join(options.directory, 'agent.db')
    this.#connections = openConnections(this.#path, options.clock.now())
    this.setAside = this.#connections.setAside
    if (this.setAside !== undefined) {
      options.log('warn', 'The store was damaged and has been set aside', {
        code: 'SLUICE_STORE_CORRUPT',
        file: this.setAside,
      })
    }
    const { state, telemetry } = this.#connections
    this.#seal = new Seal(options.directory)
    this.#writers = { state: new Writer(state, this.#seal), telemetry: new Writer(telemetry, this.#seal) }
    this.#reads = {
      batches: telemetry.prepare('SELECT seq, bytes, body FROM outbox WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?'),
      first: telemetry.prepare('SELECT seq, at_ms FROM outbox ORDER BY seq LIMIT 1'),
      gaps: telemetry.prepare('SELECT first, last, vals FROM gaps ORDER BY first'),
    }
    this.#totals = this.#readTotals()
    const meta = this.#readMeta()
    this.epoch = meta.epoch ?? randomUUID()
    const newestHeld = Number(telemetry.prepare('SELECT max(seq) AS seq FROM outbox').get()?.['seq'] ?? 0)
    this.#syncedSeq = Math.max(meta.syncedSeq, newestHeld)
    const jump = !meta.clean && meta.reserved > this.#syncedSeq
    this.#lastSeq = jump ? meta.reserved : this.#syncedSeq
    this.#reserved = meta.reserved
    this.transact('state', (writer) => {
      writer.putMeta('epoch', this.epoch)
      writer.putMeta('clean', 0)
      // What was numbered and then lost by a power cut may already be at the hub: those numbers are not used again.
      if (jump) writer.addGap({ range: [this.#syncedSeq + 1, meta.reserved], values: 0 })
      writer.putMeta('syncedSeq', this.#lastSeq)
    })
    this.#syncedSeq = this.#lastSeq
    this.#reserve()
    rmSync(`${this.#path}.suspect`, { force: true })
    this.#armSync()
  }

  /** Highest number ever used, 0 at first. */
  get lastSeq(): number {
    return this.#lastSeq
  }

  /** Lowest number still held; `lastSeq + 1` when the outbox is empty. */
  get firstSeq(): number {
    return Number(this.#reads.first.get()?.['seq'] ?? this.#lastSeq + 1)
  }

  get oldestAtMs(): number | undefined {
    const row = this.#reads.first.get()
    return row === undefined ? undefined : Number(row['at_ms'])
  }

  get totals(): OutboxTotals {
    return this.#totals
  }

  /** What the last transaction failed with; cleared by the next one that commits. */
  get failure(): SluiceError | undefined {
    return this.#failure
  }

  /**
   * Runs `work` as one transaction: on `state` what must survive a power cut, on `telemetry` everything else. Either
   * both the file and the numbers change, or nothing does.
   */
  transact<T>(connection: 'state' | 'telemetry', work: (writer: Writer) => T): T {
    const writer = this.#writers[connection]
    const progress: Progress = { lastSeq: this.#lastSeq, totals: this.#totals, dropped: false }
    let result: T
    try {
      writer.begin(progress)
      try {
        result = work(writer)
        this.#boundBytes(writer, progress)
        writer.commit()
      } catch (error) {
        writer.rollback()
        throw error
      }
    } catch (error) {
      throw this.#failed(error)
    }
    this.#failure = undefined
    this.#lastSeq = progress.lastSeq
    this.#totals = progress.totals
    if (connection === 'state') this.#syncedSeq = progress.lastSeq
    if (progress.dropped) this.onGap()
    return result
  }

  /** Appends batches in one transaction; `durable` adds what must be on disk together with them. */
  append(batches: readonly NewBatch[], durable?: (writer: Writer) => void): void {
    if (this.#lastSeq + batches.length + 1 > this.#reserved) this.#reserve(batches.length)
    this.transact(durable === undefined ? 'telemetry' : 'state', (writer) => {
      for (const batch of batches) writer.appendBatch(batch)
      durable?.(writer)
    })
  }

  /** Uses one number to tell that `values` values were lost before they could be stored. */
  appendLost(values: number): void {
    if (this.#lastSeq + 2 > this.#reserved) this.#reserve()
    this.transact('telemetry', (writer) => writer.appendGap(values))
  }

  /** Batches after `after` up to `through`, oldest first: at most `limit`, and no more once they have `maxBytes`. */
  batches(after: number, through: number, limit: number, maxBytes = Number.POSITIVE_INFINITY): OutboxRow[] {
    return this.#read(() => {
      const rows: OutboxRow[] = []
      let total = 0
      for (const row of this.#reads.batches.iterate(after, through, limit)) {
        const bytes = Number(row['bytes'])
        rows.push({ seq: Number(row['seq']), bytes, body: String(row['body']) })
        total += bytes
        if (total >= maxBytes) break
      }
      return rows
    })
  }

  acknowledge(ranges: readonly SeqRange[]): void {
    this.transact('telemetry', (writer) => {
      for (const range of ranges) writer.acknowledge(range)
    })
  }

  gaps(): Gap[] {
    return this.#read(() =>
      this.#reads.gaps
        .all()
        .map((row) => ({ range: [Number(row['first']), Number(row['last'])] as const, values: Number(row['vals']) })),
    )
  }

  objects(): LinkObject[] {
    return this.#rows('SELECT kind, key, body FROM objects ORDER BY kind, key').flatMap((row) => {
      try {
        const body = String(row['body'])
        const text = row['kind'] === 'Secret' ? this.#seal.open(body, `Secret ${String(row['key'])}`) : body
        return [JSON.parse(text) as LinkObject]
      } catch (thrown) {
        // Not held, so the hub sends it again.
        const { code, message, hint } = toSluiceError(thrown)
        this.#options.log('error', message, { code, hint: hint ?? '' })
        return []
      }
    })
  }

  twins(): StoredTwin[] {
    return this.#rows('SELECT uid, property, state, known FROM twins').map((row) => ({
      uid: String(row['uid']),
      property: String(row['property']),
      state: row['state'] === null ? null : String(row['state']),
      known: row['known'] === null ? null : String(row['known']),
    }))
  }

  mapperValues(protocol: string): Map<string, string> {
    const rows = this.#read(() =>
      this.#connections.state.prepare('SELECT key, value FROM mapper_storage WHERE protocol = ?').all(protocol),
    )
    return new Map(rows.map((row) => [String(row['key']), String(row['value'])]))
  }

  desires(): string[] {
    return this.#rows('SELECT body FROM desires').map((row) => String(row['body']))
  }

  /** Flushes the log to the disk if anything was written since, drops what is too old, gives free pages back. */
  sync(): void {
    if (this.#lastSeq > this.#syncedSeq) {
      this.transact('state', (writer) => writer.putMeta('syncedSeq', this.#lastSeq))
    }
    if (this.#reserved - this.#lastSeq < RESERVE / 2) this.#reserve()
    const cutoffMs = this.#options.clock.now() - (this.#options.maxOutboxAgeMs ?? DEFAULT_MAX_AGE_MS)
    if ((this.oldestAtMs ?? cutoffMs) < cutoffMs) {
      this.transact('telemetry', (writer) => writer.dropOldest((_, oldestAtMs) => oldestAtMs < cutoffMs))
    }
    const free = Number(this.#connections.telemetry.prepare('PRAGMA freelist_count').get()?.['freelist_count'] ?? 0)
    if (free > 1024) this.#connections.telemetry.exec('PRAGMA incremental_vacuum(512)')
  }

  /** Lets the file grow to this many pages of 4 KiB, never below what it has; for tests of a full disk. */
  limitPages(pages: number): void {
    for (const connection of [this.#connections.state, this.#connections.telemetry]) {
      connection.exec(`PRAGMA max_page_count=${pages}`)
    }
  }

  [Symbol.dispose](): void {
    if (this.#closed) return
    this.#closed = true
    this.#timer?.cancel()
    try {
      this.transact('state', (writer) => {
        writer.putMeta('syncedSeq', this.#lastSeq)
        writer.putMeta('clean', 1)
      })
    } catch {
      // A full disk must not keep the agent from stopping; the next start takes it for an unclean end, which is safe.
    }
    this.#connections.telemetry.close()
    this.#connections.state.close()
  }

  #boundBytes(writer: Writer, progress: Progress): void {
    const most = this.#options.maxOutboxBytes ?? DEFAULT_MAX_BYTES
    if (progress.totals.bytes <= most) return
    const goal = most * (1 - FREE_SHARE)
    writer.dropOldest((totals) => totals.bytes > goal)
  }

  #reserve(extra = 0): void {
    const upTo = this.#lastSeq + extra + RESERVE
    this.transact('state', (writer) => writer.putMeta('seqReserved', upTo))
    this.#reserved = upTo
  }

  #armSync(): void {
    this.#timer = this.#options.clock.after(
      SYNC_MS,
      () => {
        try {
          this.sync()
        } catch (error) {
          this.#failed(error)
        }
        this.#armSync()
      },
      true,
    )
  }

  #failed(thrown: unknown): SluiceError {
    const error = storeError(thrown)
    if (this.#failure?.code !== error.code) {
      this.#options.log('error', error.message, { code: error.code, hint: error.hint ?? '' })
    }
    this.#failure = error
    if (error.code === 'SLUICE_STORE_CORRUPT') {
      suspect(this.#path)
      this.#options.onDamage?.()
    }
    return error
  }

  #read<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw this.#failed(error)
    }
  }

  #rows(sql: string) {
    return this.#read(() => this.#connections.state.prepare(sql).all())
  }

  #readTotals(): OutboxTotals {
    const row = this.#rows('SELECT batches, bytes, vals, dropped_vals FROM outbox_totals')[0]!
    return {
      batches: Number(row['batches']),
      bytes: Number(row['bytes']),
      values: Number(row['vals']),
      droppedValues: Number(row['dropped_vals']),
    }
  }

  #readMeta(): { epoch: string | undefined; clean: boolean; reserved: number; syncedSeq: number } {
    const meta = new Map(this.#rows('SELECT name, value FROM meta').map((row) => [String(row['name']), row['value']]))
    const epoch = meta.get('epoch')
    return {
      epoch: typeof epoch === 'string' ? epoch : undefined,
      clean: meta.get('clean') === 1,
      reserved: Number(meta.get('seqReserved') ?? 0),
      syncedSeq: Number(meta.get('syncedSeq') ?? 0),
    }
  }
}
