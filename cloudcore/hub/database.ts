import { renameSync, statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { SluiceError } from '../../api/errors.ts'

/** A larger file is checked by SQLite page by page as it is used; checking it whole would delay the start too long. */
const CHECK_UP_TO_BYTES = 256 * 1024 * 1024

export interface OpenedDatabase {
  readonly db: DatabaseSync
  /** Where a damaged predecessor was put, if there was one. */
  readonly setAside?: string
}

/**
 * Opens a SQLite file for durable use (WAL, synchronous FULL). A file that is no sound database is set aside beside
 * itself and replaced by an empty one: what it held is lost, but the process runs and says so.
 */
export function openDurable(path: string, schema: string, nowMs: number): OpenedDatabase {
  try {
    return { db: open(path, schema) }
  } catch (thrown) {
    const code = (thrown as { errcode?: number }).errcode
    const damaged =
      code === 11 || code === 26 || (thrown instanceof SluiceError && thrown.code === 'SLUICE_HUB_DB_DAMAGED')
    if (!damaged) {
      const busy = code === 5
      throw new SluiceError(
        'SLUICE_HUB_DB_UNUSABLE',
        `cannot open ${path}${busy ? ': another process has it in use' : ''}`,
        {
          cause: thrown,
          hint: busy
            ? 'Stop the other cloud core, or give this one a folder of its own: --data DIR'
            : 'Check that the folder exists, that this user may write to it and that the disk is not full.',
        },
      )
    }
    const setAside = `${path}.damaged-${nowMs}`
    renameSync(path, setAside)
    for (const suffix of ['-wal', '-shm']) renameIfThere(path + suffix, setAside + suffix)
    return { db: open(path, schema), setAside }
  }
}

function open(path: string, schema: string): DatabaseSync {
  const db = new DatabaseSync(path)
  try {
    // Two cloud cores on one folder would acknowledge past each other: the first to come has the file alone.
    db.exec('PRAGMA busy_timeout=2000; PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;')
    db.exec('PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=2000; BEGIN IMMEDIATE; COMMIT')
    if (path !== ':memory:' && statSync(path).size <= CHECK_UP_TO_BYTES) {
      const verdict = db.prepare('PRAGMA quick_check(1)').get() as { quick_check?: string } | undefined
      if (verdict?.quick_check !== 'ok') throw new SluiceError('SLUICE_HUB_DB_DAMAGED', `${path} is damaged`)
    }
    db.exec(schema)
    return db
  } catch (thrown) {
    db.close()
    throw thrown
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch {
    // Without a log there is nothing to put aside.
  }
}
