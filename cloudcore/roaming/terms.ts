import type { DatabaseSync } from 'node:sqlite'
import { sameValue } from '../../api/twin/twin.ts'
import { addLate, type ToldLate, wasToldLate } from './told-late.ts'
import { type FirstValue, keptValue, SAME_TRANSMISSION_MS, type ToldValue } from './told-value.ts'

/** A term that is over, and what of it may still come. */
export interface ClosedTerm {
  readonly gateway: string
  readonly term: number
  /**
   * By property, the first values that were told under a later term, the oldest first: what the gateway of this term recorded before that
   * and could not tell is welcome as history, what it recorded later is there already.
   */
  readonly firsts: Map<string, FirstValue[]>
  /** By property, what its gateway recorded and told late: another one that recorded it, too, has nothing new to tell. */
  readonly late: Map<string, ToldLate>
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
CREATE TABLE IF NOT EXISTS told_late(
  uid TEXT NOT NULL, term INTEGER NOT NULL, told TEXT NOT NULL, PRIMARY KEY(uid, term)
) STRICT, WITHOUT ROWID;
`

/** Terms of one device that are remembered; a gateway that was away for more changes of hands tells history in vain. */
const MAX_CLOSED = 256
/** As long as an agent keeps its outbox. */
const KEEP_MS = 30 * 86_400_000

/** All rows, none, or of the values those that the function accepts. */
export type Admission = 'all' | 'none' | ((told: ToldValue) => boolean)

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
    db.exec(`DELETE FROM told_late WHERE NOT EXISTS
      (SELECT 1 FROM closed_term WHERE closed_term.uid = told_late.uid AND closed_term.term = told_late.term)`)
    const late = new Map(
      db
        .prepare('SELECT uid, term, told FROM told_late')
        .all()
        .map((row) => [`${row['uid']} ${row['term']}`, JSON.parse(String(row['told'])) as [string, ToldLate][]]),
    )
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
          late: new Map(late.get(`${uid} ${each['term']}`)),
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
    const closed: ClosedTerm | undefined =
      from === undefined ? undefined : { gateway: from, term: held?.term ?? 0, firsts: new Map(), late: new Map() }
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
      this.#db
        .prepare('DELETE FROM told_late WHERE uid = ?1 AND term NOT IN (SELECT term FROM closed_term WHERE uid = ?1)')
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
    this.#db.prepare('DELETE FROM told_late WHERE uid = ?').run(uid)
  }

  /** What of a gateway's rows under a term counts. */
  admits(uid: string, gateway: string, term: number): Admission {
    const tenancy = this.#tenancies.get(uid)
    if (tenancy === undefined) return 'all'
    if (tenancy.term === term && tenancy.gateway === gateway) return 'all'
    const closed = tenancy.closed.find((each) => each.term === term && each.gateway === gateway)
    if (closed === undefined) return 'none'
    const others = tenancy.closed.filter((each) => each !== closed && each.late.size > 0)
    return (told) => isNews(closed, told) && !others.some(({ late }) => wasToldLate(late.get(told.property), told))
  }

  /**
   * Values were told under a term. Of the one in force: from the first of each property on, the terms before have nothing new to
   * tell. Of one that is over: what it recorded is known now, whoever else recorded it. Durable when it returns.
   */
  covered(uid: string, term: number, values: readonly ToldValue[]): void {
    const tenancy = this.#tenancies.get(uid)
    if (tenancy === undefined) return
    if (tenancy.term !== term) {
      const closed = tenancy.closed.find((each) => each.term === term)
      if (closed === undefined) return
      for (const told of values) addLate(closed.late, told)
      this.#db
        .prepare('INSERT OR REPLACE INTO told_late(uid, term, told) VALUES(?, ?, ?)')
        .run(uid, term, JSON.stringify([...closed.late]))
      return
    }
    const moved = tenancy.closed.filter(({ firsts }) => {
      let changed = false
      for (const told of values) {
        const { property, atMs } = told
        const held = firsts.get(property) ?? []
        const oldest = held[0]
        const older = oldest === undefined || atMs < oldest.atMs
        if (!older && (held.length >= MAX_FIRSTS || atMs - oldest.atMs > SAME_TRANSMISSION_MS)) continue
        const kept = keptValue(told)
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
