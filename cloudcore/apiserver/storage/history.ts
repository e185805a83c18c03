import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { RevisionType } from './revision.ts'
import { Revision, StoredObject } from './revision.ts'

const RECENT_MAX = 128
const RECENT_MAX_CHARS = 1024 * 1024

/** The newest revisions of one resource, kept decoded; everything up to `completeAfter` has to come from the file. */
interface Recent {
  completeAfter: number
  chars: number
  revisions: Revision[]
}

type Listener = () => void

/**
 * What happened, for watchers. A watcher is no queue: it holds the revision it has got to and asks for what comes
 * next, so a slow one costs nothing while it lags. Recent revisions come from memory, older ones from the file.
 */
export class History {
  readonly #recent = new Map<string, Recent>()
  readonly #listeners = new Map<string, Set<Listener>>()
  readonly #everything = new Set<(revisions: readonly Revision[]) => void>()
  readonly #compactedRv: () => number
  readonly #read: StatementSync
  readonly #one: StatementSync
  #newestRv: number

  constructor(database: DatabaseSync, compactedRv: () => number) {
    this.#compactedRv = compactedRv
    this.#read = database.prepare(
      'SELECT rv, namespace, name, type, previous, body FROM revisions WHERE rv > ? AND resource = ? ORDER BY rv LIMIT ?',
    )
    this.#one = database.prepare('SELECT rv, body FROM revisions WHERE rv = ?')
    this.#newestRv = Number(database.prepare('SELECT MAX(rv) AS rv FROM revisions').get()?.['rv'] ?? 0)
  }

  /** Called once per commit, with its revisions in order. */
  append(revisions: readonly Revision[]): void {
    const touched = new Set<string>()
    for (const revision of revisions) {
      touched.add(revision.key.resource)
      remember(this.#recentOf(revision.key.resource), revision)
      this.#newestRv = revision.rv
    }
    for (const resource of touched) {
      for (const listener of this.#listeners.get(resource) ?? []) listener()
    }
    for (const listener of this.#everything) listener(revisions)
  }

  /** Calls `listener` after every commit that touched the resource, until the returned function is called. */
  subscribe(resource: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(resource) ?? new Set()
    this.#listeners.set(resource, listeners)
    listeners.add(listener)
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0) this.#listeners.delete(resource)
    }
  }

  /** For the server's own controllers: every committed revision, of whatever resource. */
  onCommit(listener: (revisions: readonly Revision[]) => void): () => void {
    this.#everything.add(listener)
    return () => this.#everything.delete(listener)
  }

  /** Whether all revisions after `rv` can still be told. */
  reaches(rv: number): boolean {
    return rv >= this.#compactedRv()
  }

  /** The next committed revisions of a resource after `rv`, at most `limit`; empty when there is none yet. */
  after(resource: string, rv: number, limit: number): readonly Revision[] {
    const recent = this.#recentOf(resource)
    if (rv >= recent.completeAfter) {
      const start = firstAfter(recent.revisions, rv)
      return start >= recent.revisions.length ? [] : recent.revisions.slice(start, start + limit)
    }
    return this.#read
      .all(rv, resource, limit)
      .filter((row) => Number(row['rv']) <= this.#newestRv)
      .map((row) => {
        const key = { resource, namespace: String(row['namespace']), name: String(row['name']) }
        const stored = new StoredObject(Number(row['rv']), String(row['body']))
        return new Revision(key, revisionType(row['type']), stored, this.#previous(Number(row['previous'])))
      })
  }

  #previous(rv: number): StoredObject | undefined {
    if (rv === 0) return undefined
    const row = this.#one.get(rv)
    return row === undefined ? undefined : new StoredObject(Number(row['rv']), String(row['body']))
  }

  #recentOf(resource: string): Recent {
    let recent = this.#recent.get(resource)
    if (recent === undefined) {
      recent = { completeAfter: this.#newestRv, chars: 0, revisions: [] }
      this.#recent.set(resource, recent)
    }
    return recent
  }
}

function remember(recent: Recent, revision: Revision): void {
  recent.revisions.push(revision)
  recent.chars += revision.stored.body.length
  if (recent.revisions.length < 2 * RECENT_MAX && recent.chars <= 2 * RECENT_MAX_CHARS) return
  // Halved at once rather than shifted one by one, so that remembering stays cheap.
  let keepFrom = recent.revisions.length
  let chars = 0
  while (keepFrom > 0 && recent.revisions.length - keepFrom < RECENT_MAX && chars <= RECENT_MAX_CHARS) {
    keepFrom--
    chars += recent.revisions[keepFrom]?.stored.body.length ?? 0
  }
  recent.completeAfter = recent.revisions[keepFrom - 1]?.rv ?? recent.completeAfter
  recent.revisions = recent.revisions.slice(keepFrom)
  recent.chars = chars
}

function firstAfter(revisions: readonly Revision[], rv: number): number {
  let low = 0
  let high = revisions.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((revisions[middle]?.rv ?? 0) <= rv) low = middle + 1
    else high = middle
  }
  return low
}

function revisionType(text: unknown): RevisionType {
  return text === 'DELETED' || text === 'MODIFIED' ? text : 'ADDED'
}
