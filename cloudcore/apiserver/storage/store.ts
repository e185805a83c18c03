import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Clock } from '../../../api/clock.ts'
import type { KubeObject } from '../objects.ts'
import { withMetadata } from '../objects.ts'
import { History } from './history.ts'
import { ObjectCache } from './object-cache.ts'
import type { ObjectKey, RevisionType } from './revision.ts'
import { Revision, StoredObject } from './revision.ts'

export interface CompactionOptions {
  /** How many revisions a watch may lag behind. Default 20 000. */
  readonly keepRevisions?: number
  /** How old a revision may get before it is forgotten, whatever their number. Default 10 minutes. */
  readonly keepForMs?: number
}

export interface Listed {
  readonly key: ObjectKey
  readonly stored: StoredObject
}

/** Where a page of a list begins: after this key. */
export interface ListPosition {
  readonly namespace: string
  readonly name: string
}

const COMPACT_EVERY_REVISIONS = 1000
const COMPACT_CHUNK = 500

interface Batch {
  readonly revisions: Revision[]
  readonly firstRv: number
  readonly done: Promise<void>
  resolve(): void
  reject(error: unknown): void
}

/**
 * All objects, one revision counter for everything, kept in SQLite. Writes are synchronous and visible to the next
 * read at once; what happens in one turn of the event loop shares one commit, and `committed()` says when it is safe
 * to answer. Nothing, not even a read, may be answered before.
 */
export class ObjectStore {
  readonly history: History
  readonly #database: DatabaseSync
  readonly #clock: Clock
  readonly #keepRevisions: number
  readonly #keepForMs: number
  readonly #cache = new ObjectCache()
  readonly #sql: ReturnType<typeof prepare>
  #rv: number
  #compactedRv: number
  #compactedAtRv: number
  #batch: Batch | undefined
  #closed = false
  /** Which revision was the newest when, in monotonic time: a wall clock that jumps must not forget anything early. */
  #marks: { readonly rv: number; readonly atMs: number }[]

  constructor(database: DatabaseSync, clock: Clock, compaction: CompactionOptions = {}) {
    this.#database = database
    this.#clock = clock
    this.#keepRevisions = compaction.keepRevisions ?? 20_000
    this.#keepForMs = compaction.keepForMs ?? 600_000
    this.#sql = prepare(database)
    const newest = Number(this.#sql.newest.get()?.['rv'] ?? 0)
    this.#rv = Math.max(newest, this.#meta('rv'))
    this.#compactedRv = this.#meta('compactedRv')
    this.#compactedAtRv = this.#rv
    this.#marks = [{ rv: this.#rv, atMs: clock.monotonic() }]
    this.history = new History(database, () => this.#compactedRv)
  }

  /** The newest revision; also what a list without a version answers with. */
  get revision(): number {
    return this.#rv
  }

  /** The newest revision that is safely committed; lists and watches start from here. */
  get committedRevision(): number {
    return this.#batch?.firstRv ?? this.#rv
  }

  /** Watches may start after this revision; everything older is forgotten. */
  get compactedRevision(): number {
    return this.#compactedRv
  }

  get(key: ObjectKey): StoredObject | undefined {
    const cached = this.#cache.get(key)
    if (cached !== undefined) return cached
    const row = this.#sql.get.get(key.resource, key.namespace, key.name)
    if (row === undefined) return undefined
    const stored = new StoredObject(Number(row['rv']), String(row['body']))
    this.#cache.set(key, stored)
    return stored
  }

  create(key: ObjectKey, object: KubeObject): StoredObject {
    return this.#write(key, 'ADDED', object, undefined)
  }

  update(key: ObjectKey, object: KubeObject, previous: StoredObject): StoredObject {
    return this.#write(key, 'MODIFIED', object, previous)
  }

  /** Removes the object; `object` is what watchers see as its last state. */
  delete(key: ObjectKey, object: KubeObject, previous: StoredObject): StoredObject {
    return this.#write(key, 'DELETED', object, previous)
  }

  /** Resolves when everything written so far is committed; rejects if that commit failed and was undone. */
  committed(): Promise<void> {
    return this.#batch?.done ?? Promise.resolve()
  }

  /**
   * Objects of a resource in key order, as they were at revision `atRv` (default: now), at most `limit` of them.
   * `namespace` undefined lists all namespaces.
   */
  page(
    resource: string,
    namespace: string | undefined,
    after: ListPosition | undefined,
    limit: number,
    atRv?: number,
  ): Listed[] {
    const from = after ?? { namespace: namespace ?? '', name: '' }
    const past = atRv !== undefined && atRv < this.#rv
    const sql = this.#sql
    let rows: Record<string, unknown>[]
    if (past) {
      rows =
        namespace === undefined
          ? sql.pageAllPast.all(resource, from.namespace, from.name, atRv, limit)
          : sql.pageOnePast.all(resource, namespace, from.name, atRv, limit)
    } else {
      rows =
        namespace === undefined
          ? sql.pageAll.all(resource, from.namespace, from.name, limit)
          : sql.pageOne.all(resource, namespace, from.name, limit)
    }
    return rows.map((row) => ({
      key: { resource, namespace: String(row['namespace']), name: String(row['name']) },
      stored: new StoredObject(Number(row['rv']), String(row['body'])),
    }))
  }

  /** How many objects come after a position. */
  countAfter(resource: string, namespace: string | undefined, after: ListPosition): number {
    const row =
      namespace === undefined
        ? this.#sql.countAll.get(resource, after.namespace, after.name)
        : this.#sql.countOne.get(resource, namespace, after.name)
    return Number(row?.['n'] ?? 0)
  }

  /** Walks objects page by page; safe against writes in between. */
  *all(resource: string, namespace?: string): Generator<Listed> {
    let after: ListPosition | undefined
    for (;;) {
      const rows = this.page(resource, namespace, after, 200)
      yield* rows
      const last = rows.at(-1)
      if (last === undefined || rows.length < 200) return
      after = last.key
    }
  }

  /** Names of every resource that has objects. */
  resources(): string[] {
    return this.#sql.resources.all().map((row) => String(row['resource']))
  }

  /** Forgets revisions beyond the bounds. Called by itself while writing, and by the server's timer for the age bound. */
  compact(): void {
    if (this.#batch !== undefined || this.#closed) return
    const nowMs = this.#clock.monotonic()
    const expired = this.#marks.findLast((mark) => mark.atMs <= nowMs - this.#keepForMs)
    this.#marks = this.#marks.filter((mark) => mark.rv >= (expired?.rv ?? 0))
    if (this.#marks.at(-1)?.rv !== this.#rv) this.#marks.push({ rv: this.#rv, atMs: nowMs })
    this.compactTo(Math.max(this.#rv - this.#keepRevisions, expired?.rv ?? 0))
  }

  /** Forgets everything up to and including `rv` that is not the newest state of an object. */
  compactTo(rv: number): void {
    const target = Math.min(rv, this.#rv)
    this.#compactedAtRv = this.#rv
    if (target <= this.#compactedRv) return
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      for (let from = this.#compactedRv; from < target; from += COMPACT_CHUNK) {
        const to = Math.min(from + COMPACT_CHUNK, target)
        this.#sql.forgetReplaced.run(from, to)
        this.#sql.forgetDeleted.run(from, to)
      }
      this.#sql.setMeta.run('compactedRv', target)
      this.#sql.setMeta.run('rv', this.#rv)
      this.#database.exec('COMMIT')
      this.#compactedRv = target
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw error
    }
  }

  /** Commits what is pending and closes the file. */
  close(): void {
    if (this.#closed) return
    this.#flush()
    this.#closed = true
    this.#database.close()
  }

  #meta(key: string): number {
    return Number(this.#sql.meta.get(key)?.['value'] ?? 0)
  }

  #write(key: ObjectKey, type: RevisionType, object: KubeObject, previous: StoredObject | undefined): StoredObject {
    const batch = this.#openBatch()
    const rv = this.#rv + 1
    const versioned = withMetadata(object, { resourceVersion: String(rv) })
    const stored = new StoredObject(rv, JSON.stringify(versioned), versioned)
    const { resource, namespace, name } = key
    try {
      this.#sql.insert.run(rv, resource, namespace, name, type, previous?.rv ?? 0, stored.body)
      if (type === 'DELETED') this.#sql.remove.run(resource, namespace, name)
      else this.#sql.point.run(resource, namespace, name, rv)
    } catch (error) {
      this.#abandon(error)
      throw error
    }
    this.#rv = rv
    if (type === 'DELETED') this.#cache.delete(key)
    else this.#cache.set(key, stored)
    batch.revisions.push(new Revision(key, type, stored, previous))
    return stored
  }

  #openBatch(): Batch {
    if (this.#batch !== undefined) return this.#batch
    this.#database.exec('BEGIN IMMEDIATE')
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    // Somebody may write and never ask; that must not end the process when the commit fails.
    promise.catch(() => {})
    this.#batch = { revisions: [], firstRv: this.#rv, done: promise, resolve, reject }
    // setImmediate runs after all sockets that are readable now were served: their writes share this commit.
    setImmediate(() => this.#flush())
    return this.#batch
  }

  #flush(): void {
    const batch = this.#batch
    if (batch === undefined || this.#closed) return
    try {
      this.#database.exec('COMMIT')
    } catch (error) {
      this.#abandon(error)
      return
    }
    this.#batch = undefined
    this.history.append(batch.revisions)
    batch.resolve()
    if (this.#rv - this.#compactedAtRv >= COMPACT_EVERY_REVISIONS) this.compact()
  }

  /** Undoes a batch whose write or commit failed (a full disk, an I/O error): nobody has been told of it yet. */
  #abandon(error: unknown): void {
    const batch = this.#batch
    if (batch === undefined) return
    this.#batch = undefined
    if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
    this.#rv = batch.firstRv
    for (const revision of batch.revisions) this.#cache.delete(revision.key)
    batch.reject(error)
  }
}

function prepare(database: DatabaseSync) {
  const sql = (text: string): StatementSync => database.prepare(text)
  const current = 'SELECT o.namespace, o.name, r.rv, r.body FROM objects o JOIN revisions r ON r.rv = o.rv'
  const past = `SELECT r.namespace, r.name, r.rv, r.body FROM revisions r WHERE r.type <> 'DELETED' AND r.resource = ?`
  const newestThen = `r.rv = (SELECT MAX(x.rv) FROM revisions x
    WHERE x.resource = r.resource AND x.namespace = r.namespace AND x.name = r.name AND x.rv <= ?)`
  return {
    newest: sql('SELECT MAX(rv) AS rv FROM revisions'),
    meta: sql('SELECT value FROM meta WHERE key = ?'),
    setMeta: sql('INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value'),
    get: sql(`${current} WHERE o.resource = ? AND o.namespace = ? AND o.name = ?`),
    insert: sql('INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?)'),
    point: sql('INSERT INTO objects VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET rv = excluded.rv'),
    remove: sql('DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?'),
    resources: sql('SELECT DISTINCT resource FROM objects'),
    pageAll: sql(
      `${current} WHERE o.resource = ? AND (o.namespace, o.name) > (?, ?) ORDER BY o.namespace, o.name LIMIT ?`,
    ),
    pageOne: sql(`${current} WHERE o.resource = ? AND o.namespace = ? AND o.name > ? ORDER BY o.name LIMIT ?`),
    pageAllPast: sql(
      `${past} AND (r.namespace, r.name) > (?, ?) AND ${newestThen} ORDER BY r.namespace, r.name LIMIT ?`,
    ),
    pageOnePast: sql(`${past} AND r.namespace = ? AND r.name > ? AND ${newestThen} ORDER BY r.name LIMIT ?`),
    countAll: sql('SELECT COUNT(*) AS n FROM objects WHERE resource = ? AND (namespace, name) > (?, ?)'),
    countOne: sql('SELECT COUNT(*) AS n FROM objects WHERE resource = ? AND namespace = ? AND name > ?'),
    forgetReplaced: sql(
      'DELETE FROM revisions WHERE rv IN (SELECT previous FROM revisions WHERE rv > ? AND rv <= ? AND previous > 0)',
    ),
    forgetDeleted: sql(`DELETE FROM revisions WHERE rv > ? AND rv <= ? AND type = 'DELETED'`),
  }
}
