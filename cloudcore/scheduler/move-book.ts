import type { DatabaseSync } from 'node:sqlite'

/** A move that is under way: written before anything is taken away, so that no kill in between loses a pod. */
export interface BookedMove {
  readonly uid: string
  /** Who makes the successor; empty when the scheduler has to. */
  readonly owner: string
  readonly namespace: string
  readonly name: string
  readonly from: string
  readonly to: string
  readonly why: string
  /** The pod to create anew, as JSON, when nobody else does. */
  readonly body: string | undefined
  readonly atMs: number
}

/** Moves under way, on the disk of the cloud core. */
export class MoveBook {
  readonly #db: DatabaseSync

  constructor(db: DatabaseSync) {
    this.#db = db
    db.exec(`CREATE TABLE IF NOT EXISTS pod_moves (
      uid TEXT PRIMARY KEY, owner TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
      source TEXT NOT NULL, target TEXT NOT NULL, why TEXT NOT NULL, body TEXT, at_ms INTEGER NOT NULL) STRICT`)
  }

  add({ uid, owner, namespace, name, from, to, why, body, atMs }: BookedMove): void {
    this.#db
      .prepare('INSERT OR REPLACE INTO pod_moves VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)')
      .run(uid, owner, namespace, name, from, to, why, body ?? null, atMs)
  }

  remove(uid: string): void {
    this.#db.prepare('DELETE FROM pod_moves WHERE uid = ?').run(uid)
  }

  all(): BookedMove[] {
    return this.#db
      .prepare('SELECT * FROM pod_moves ORDER BY at_ms')
      .all()
      .map((row) => ({
        ...{ uid: String(row['uid']), owner: String(row['owner']), namespace: String(row['namespace']) },
        ...{
          name: String(row['name']),
          from: String(row['source']),
          to: String(row['target']),
          why: String(row['why']),
        },
        body: typeof row['body'] === 'string' ? row['body'] : undefined,
        atMs: Number(row['at_ms']),
      }))
  }
}
