import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import type { LinkObject, LinkObjectKind, SeqRange } from '../../api/link/messages.ts'
import type { ObjectKey } from '../../api/resources.ts'
import type { Seal } from './seal.ts'

/** A batch on its way into the outbox; `body` is the JSON text of a `BatchBody`. */
export interface NewBatch {
  readonly body: string
  readonly values: number
  readonly atMs: number
}

/** What the outbox holds, kept beside the rows so that a start never has to count them. */
export interface OutboxTotals {
  readonly batches: number
  readonly bytes: number
  readonly values: number
  readonly droppedValues: number
}

/** A range of numbers that will never come, and how many values it cost. */
export interface Gap {
  readonly range: SeqRange
  readonly values: number
}

/** Numbers that change with a transaction; they count only once it is committed. */
export interface Progress {
  lastSeq: number
  totals: OutboxTotals
  dropped: boolean
}

/** The statements of one connection. Used only inside `Store.transact`. */
export class Writer {
  readonly #database: DatabaseSync
  readonly #seal: Seal
  readonly #statements = new Map<string, StatementSync>()
  #progress: Progress = { lastSeq: 0, totals: { batches: 0, bytes: 0, values: 0, droppedValues: 0 }, dropped: false }

  constructor(database: DatabaseSync, seal: Seal) {
    this.#database = database
    this.#seal = seal
  }

  begin(progress: Progress): void {
    this.#progress = progress
    this.#run('BEGIN IMMEDIATE')
  }

  commit(): void {
    const { batches, bytes, values, droppedValues } = this.#progress.totals
    this.#run(
      'UPDATE outbox_totals SET batches=?, bytes=?, vals=?, dropped_vals=?',
      batches,
      bytes,
      values,
      droppedValues,
    )
    this.#run('COMMIT')
  }

  rollback(): void {
    // A full disk ends the transaction by itself.
    if (this.#database.isTransaction) this.#run('ROLLBACK')
  }

  /** Adds a batch under the next number and returns it. */
  appendBatch(batch: NewBatch): number {
    const seq = this.#progress.lastSeq + 1
    const bytes = Buffer.byteLength(batch.body)
    this.#run('INSERT INTO outbox VALUES (?, ?, ?, ?, ?)', seq, bytes, batch.values, batch.atMs, batch.body)
    this.#progress.lastSeq = seq
    this.#count(1, bytes, batch.values, 0)
    return seq
  }

  /** Uses up a number for values that were lost before they could be numbered. */
  appendGap(values: number): void {
    const seq = this.#progress.lastSeq + 1
    this.#progress.lastSeq = seq
    this.addGap({ range: [seq, seq], values })
    this.#count(0, 0, 0, values)
  }

  addGap({ range: [first, last], values }: Gap): void {
    const before = this.#get('SELECT first, vals FROM gaps WHERE last = ?', first - 1)
    if (before === undefined) this.#run('INSERT INTO gaps VALUES (?, ?, ?)', first, last, values)
    else
      this.#run('UPDATE gaps SET last=?, vals=? WHERE first=?', last, Number(before['vals']) + values, before['first']!)
    this.#progress.dropped = true
  }

  /** Drops the oldest batches for as long as `tooMuch` says so; tells how many values that cost. */
  dropOldest(tooMuch: (totals: OutboxTotals, oldestAtMs: number) => boolean): number {
    let dropped = 0
    for (;;) {
      const row = this.#get('SELECT seq, bytes, vals, at_ms FROM outbox ORDER BY seq LIMIT 1')
      if (row === undefined || !tooMuch(this.#progress.totals, Number(row['at_ms']))) return dropped
      const [seq, values] = [Number(row['seq']), Number(row['vals'])]
      this.#run('DELETE FROM outbox WHERE seq = ?', seq)
      this.addGap({ range: [seq, seq], values })
      this.#count(-1, -Number(row['bytes']), -values, values)
      dropped += values
    }
  }

  /** Deletes what the hub holds durably. */
  acknowledge([first, last]: SeqRange): void {
    const sums = this.#get(
      'SELECT count(*) AS n, total(bytes) AS bytes, total(vals) AS vals FROM outbox WHERE seq BETWEEN ? AND ?',
      first,
      last,
    )!
    if (Number(sums['n']) > 0) {
      this.#run('DELETE FROM outbox WHERE seq BETWEEN ? AND ?', first, last)
      this.#count(-Number(sums['n']), -Number(sums['bytes']), -Number(sums['vals']), 0)
    }
    this.#run('DELETE FROM gaps WHERE first >= ? AND last <= ?', first, last)
  }

  putMeta(name: string, value: string | number): void {
    this.#run('INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2', name, value)
  }

  putObject(object: LinkObject): void {
    const { kind, key, rev } = object
    this.#run(
      'INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)',
      kind,
      key,
      object.object.uid,
      rev,
      kind === 'Secret' ? this.#seal.close(JSON.stringify(object), `Secret ${key}`) : JSON.stringify(object),
    )
  }

  deleteObject(kind: LinkObjectKind, key: ObjectKey): void {
    this.#run('DELETE FROM objects WHERE kind = ? AND key = ?', kind, key)
  }

  putTwinState(uid: string, property: string, state: string): void {
    this.#run(
      'INSERT INTO twins (uid, property, state) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET state = ?3',
      uid,
      property,
      state,
    )
  }

  putTwinKnown(uid: string, property: string, known: string): void {
    this.#run(
      'INSERT INTO twins (uid, property, known) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET known = ?3',
      uid,
      property,
      known,
    )
  }

  deleteTwins(uid: string): void {
    this.#run('DELETE FROM twins WHERE uid = ?', uid)
  }

  putMapperValue(protocol: string, key: string, value: string | undefined): void {
    if (value === undefined) this.#run('DELETE FROM mapper_storage WHERE protocol = ? AND key = ?', protocol, key)
    else this.#run('INSERT OR REPLACE INTO mapper_storage VALUES (?, ?, ?)', protocol, key, value)
  }

  putDesire(id: string, body: string): void {
    this.#run('INSERT OR REPLACE INTO desires VALUES (?, ?)', id, body)
  }

  deleteDesire(id: string): void {
    this.#run('DELETE FROM desires WHERE id = ?', id)
  }

  #count(batches: number, bytes: number, values: number, droppedValues: number): void {
    const totals = this.#progress.totals
    this.#progress.totals = {
      batches: totals.batches + batches,
      bytes: totals.bytes + bytes,
      values: totals.values + values,
      droppedValues: totals.droppedValues + droppedValues,
    }
  }

  #get(sql: string, ...parameters: SQLInputValue[]): Record<string, SQLInputValue> | undefined {
    return this.#statement(sql).get(...parameters)
  }

  #run(sql: string, ...parameters: SQLInputValue[]): void {
    this.#statement(sql).run(...parameters)
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#database.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }
}
