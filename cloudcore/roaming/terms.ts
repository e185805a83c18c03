import type { DatabaseSync } from 'node:sqlite'

/** A term that is over, and what of it may still come. */
export interface ClosedTerm {
  readonly gateway: string
  readonly term: number
  /**
   * Source time, by the hub's clock, of the first value that was told under a later term: what the gateway of this term
   * recorded before that and could not tell is welcome as history, what it recorded later is there already.
   */
  untilMs: number | undefined
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
  uid TEXT NOT NULL, term INTEGER NOT NULL, gateway TEXT NOT NULL, until_ms REAL, closed_ms INTEGER NOT NULL,
  PRIMARY KEY(uid, term)
) STRICT, WITHOUT ROWID;
`

/** Terms of one device that are remembered; a gateway that was away for more changes of hands tells history in vain. */
const MAX_CLOSED = 256
/** As long as an agent keeps its outbox. */
const KEEP_MS = 30 * 86_400_000

export type Admission = 'all' | 'none' | { readonly beforeMs: number }

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
      db.prepare('SELECT uid, term, gateway, until_ms FROM closed_term ORDER BY uid, term').all(),
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
          untilMs: each['until_ms'] === null ? undefined : Number(each['until_ms']),
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
    const closed = from === undefined ? undefined : { gateway: from, term: held?.term ?? 0, untilMs: undefined }
    this.#transact(() => {
      this.#db
        .prepare('INSERT OR REPLACE INTO tenancy(uid, term, gateway, since_ms) VALUES(?, ?, ?, ?)')
        .run(uid, term, gateway, nowMs)
      if (closed === undefined) return
      this.#db
        .prepare('INSERT OR REPLACE INTO closed_term(uid, term, gateway, until_ms, closed_ms) VALUES(?, ?, ?, NULL, ?)')
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
    return closed === undefined ? 'none' : { beforeMs: closed.untilMs ?? Number.POSITIVE_INFINITY }
  }

  /** A value was told under the term in force; durable when it returns: from its source time on, the terms before have nothing new to tell. */
  covered(uid: string, atHubMs: number): void {
    const tenancy = this.#tenancies.get(uid)
    if (tenancy === undefined) return
    const moved: ClosedTerm[] = []
    for (let index = tenancy.closed.length - 1; index >= 0; index--) {
      const closed = tenancy.closed[index]!
      if (closed.untilMs !== undefined && closed.untilMs <= atHubMs) break
      closed.untilMs = atHubMs
      moved.push(closed)
    }
    if (moved.length === 0) return
    const save = this.#db.prepare('UPDATE closed_term SET until_ms = ? WHERE uid = ? AND term = ?')
    this.#transact(() => {
      for (const { term, untilMs } of moved) save.run(untilMs ?? null, uid, term)
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
