import type { DatabaseSync } from 'node:sqlite'
import type { Json } from '../../api/resources.ts'
import { sameValue } from '../../api/twin/twin.ts'

/** A term that is over, and what of it may still come. */
export interface ClosedTerm {
  readonly gateway: string
  readonly term: number
  /**
   * By property, the first values that were told under a later term, the oldest first: what the gateway of this term recorded before that
   * and could not tell is welcome as history, what it recorded later is there already.
   */
  readonly firsts: Map<string, FirstValue[]>
}

export interface FirstValue {
  /** Undefined for one too large to be kept; then the time alone decides. */
  readonly value: Json | undefined
  /** Source time by the hub's clock. */
  readonly atMs: number
}

/** A value as a gateway told it, its source time brought to the hub's clock. */
export interface ToldValue {
  readonly property: string
  readonly value: Json
  readonly atMs: number
}

/** Who serves a device under which term, and the terms before. */
export interface Tenancy {
  term: number
  gateway: string
  readonly closed: ClosedTerm[]
}

export const TERMS_SCHEMA = `
CREATE TABLE IF NOT EXISTS tenancy(
  uid TEXT PRIMARY KEY, term INTEGER NOT NULL, gateway TEXT NOT NULL, since_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS closed_term(
  uid TEXT NOT NULL, term INTEGER NOT NULL, gateway TEXT NOT NULL, firsts TEXT NOT NULL, closed_ms INTEGER NOT NULL,
  PRIMARY KEY(uid, term)
) STRICT, WITHOUT ROWID;
`

/** Terms of one device that are remembered; a gateway that was away for more changes of hands tells history in vain. */
const MAX_CLOSED = 256
/** As long as an agent keeps its outbox. */
const KEEP_MS = 30 * 86_400_000

/** All rows, none, or of the values those that the function accepts. */
export type Admission = 'all' | 'none' | ((told: ToldValue) => boolean)

/**
 * Offsets between clocks are known to the time a message takes. An equal value within this is the same transmission,
 * heard twice.
 */
const SAME_TRANSMISSION_MS = 500
const MAX_KEPT_CHARACTERS = 64
/** Values remembered of the beginning of a term. */
const MAX_FIRSTS = 8

/**
 * The fence: which rows of which gateway count. Every change is on the disk before anybody acts by it, so that a cloud
 * core that was killed never gives one term to two gateways.
 */
export class TermBook {
  readonly #db: DatabaseSync
  readonly #tenancies = new Map<string, Tenancy>()

  constructor(db: DatabaseSync, nowMs: number) {
    this.#db = db
    db.exec(TERMS_SCHEMA)
    db.prepare('DELETE FROM closed_term WHERE closed_ms < ?').run(nowMs - KEEP_MS)
    const closed = Map.groupBy(
      db.prepare('SELECT uid, term, gateway, firsts FROM closed_term ORDER BY uid, term').all(),
      (row) => String(row['uid']),
    )
    for (const row of db.prepare('SELECT uid, term, gateway FROM tenancy').all()) {
      const uid = String(row['uid'])
      this.#tenancies.set(uid, {
        term: Number(row['term']),
        gateway: String(row['gateway']),
        closed: (closed.get(uid) ?? []).map((each) => ({
          gateway: String(each['gateway']),
          term: Number(each['term']),
          firsts: new Map(JSON.parse(String(each['firsts'])) as [string, FirstValue[]][]),
        })),
      })
    }
  }

  of(uid: string): Tenancy | undefined {
    return this.#tenancies.get(uid)
  }

  /** Begins a term; `before` is who served until now without a term of its own. Durable when it returns. */
  begin(uid: string, gateway: string, term: number, nowMs: number, before?: string): Tenancy {
    const held = this.#tenancies.get(uid)
    const from = held?.gateway ?? before
    const closed =
      from === undefined ? undefined : { gateway: from, term: held?.term ?? 0, firsts: new Map<string, FirstValue[]>() }
    this.#transact(() => {
      this.#db
        .prepare('INSERT OR REPLACE INTO tenancy(uid, term, gateway, since_ms) VALUES(?, ?, ?, ?)')
        .run(uid, term, gateway, nowMs)
      if (closed === undefined) return
      this.#db
        .prepare("INSERT OR REPLACE INTO closed_term(uid, term, gateway, firsts, closed_ms) VALUES(?, ?, ?, '[]', ?)")
        .run(uid, closed.term, closed.gateway, nowMs)
      this.#db
        .prepare(
          `DELETE FROM closed_term WHERE uid = ?1 AND term <=
           (SELECT term FROM closed_term WHERE uid = ?1 ORDER BY term DESC LIMIT 1 OFFSET ${MAX_CLOSED})`,
        )
        .run(uid)
    })
    const tenancy = held ?? { term, gateway, closed: [] }
    tenancy.term = term
    tenancy.gateway = gateway
    if (closed !== undefined) tenancy.closed.push(closed)
    if (tenancy.closed.length > MAX_CLOSED) tenancy.closed.shift()
    this.#tenancies.set(uid, tenancy)
    return tenancy
  }

  forget(uid: string): void {
    if (!this.#tenancies.delete(uid)) return
    this.#db.prepare('DELETE FROM tenancy WHERE uid = ?').run(uid)
    this.#db.prepare('DELETE FROM closed_term WHERE uid = ?').run(uid)
  }

  /** What of a gateway's rows under a term counts. */
  admits(uid: string, gateway: string, term: number): Admission {
    const tenancy = this.#tenancies.get(uid)
    if (tenancy === undefined) return 'all'
    if (tenancy.term === term && tenancy.gateway === gateway) return 'all'
    const closed = tenancy.closed.find((each) => each.term === term && each.gateway === gateway)
    return closed === undefined ? 'none' : (told) => isNews(closed, told)
  }

  /**
   * Values were told under the term in force: from the first of each property on, the terms before have nothing new to
   * tell. Durable when it returns.
   */
  covered(uid: string, values: readonly ToldValue[]): void {
    const tenancy = this.#tenancies.get(uid)
    if (tenancy === undefined) return
    const moved = tenancy.closed.filter(({ firsts }) => {
      let changed = false
      for (const { property, value, atMs } of values) {
        const held = firsts.get(property) ?? []
        const oldest = held[0]
        const older = oldest === undefined || atMs < oldest.atMs
        if (!older && (held.length >= MAX_FIRSTS || atMs - oldest.atMs > SAME_TRANSMISSION_MS)) continue
        const kept = { value: JSON.stringify(value).length > MAX_KEPT_CHARACTERS ? undefined : value, atMs }
        firsts.set(property, (older ? [kept, ...held] : [...held, kept]).slice(0, MAX_FIRSTS))
        changed = true
      }
      return changed
    })
    if (moved.length === 0) return
    const save = this.#db.prepare('UPDATE closed_term SET firsts = ? WHERE uid = ? AND term = ?')
    this.#transact(() => {
      for (const { term, firsts } of moved) save.run(JSON.stringify([...firsts]), uid, term)
    })
  }

  #transact(work: () => void): void {
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      work()
      this.#db.exec('COMMIT')
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw error
    }
  }
}

function isNews({ firsts }: ClosedTerm, { property, value, atMs }: ToldValue): boolean {
  const held = firsts.get(property)
  const oldest = held?.[0]
  if (held === undefined || oldest === undefined) return true
  if (atMs >= oldest.atMs) return false
  return oldest.atMs - atMs > SAME_TRANSMISSION_MS || !held.some((first) => sameValue(first.value, value))
}
