import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { SluiceError } from '../../../api/errors.ts'

const FORMAT = 1

/**
 * `revisions` is the log of everything that was ever answered as written, bounded by compaction: the row of a
 * revision holds the whole object as it was afterwards. `previous` is the revision it replaced (0: none), which is
 * how compaction finds what nobody can ask for any more without a search. `objects` points at the newest revision of
 * what exists.
 */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS revisions (
    rv INTEGER PRIMARY KEY, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    type TEXT NOT NULL, previous INTEGER NOT NULL, body TEXT NOT NULL);
  CREATE INDEX IF NOT EXISTS revisions_by_key ON revisions (resource, namespace, name, rv);
  CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, rv INTEGER NOT NULL,
    PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID;
`

export interface OpenedDatabase {
  readonly database: DatabaseSync
  /** Where a damaged file was moved to; undefined when the file was sound or new. */
  readonly setAside: string | undefined
}

/**
 * Opens `api.db` in `dataDir` (created if missing). A file that SQLite finds damaged is moved aside, never deleted,
 * and a new one is begun; `onDamage` is told so.
 *
 * Durability: WAL with synchronous=NORMAL. A commit is in the operating system's hands before it is answered, so
 * killing this process at any moment loses nothing that was answered. A power cut may cost what was answered since the
 * last flush of the log, about a second (storage/log-flush.ts); the file itself stays consistent.
 *
 * Throws SLUICE_API_STORAGE_OPEN when the folder or file cannot be used, SLUICE_API_STORAGE_FORMAT when it was
 * written by a newer Sluice.
 */
export function openDatabase(
  dataDir: string,
  nowMs: number,
  onDamage: (error: SluiceError) => void = () => {},
): OpenedDatabase {
  const file = databaseFile(dataDir)
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    return { database: open(file), setAside: undefined }
  } catch (error) {
    if (!isDamage(error)) throw openError(file, error)
    const setAside = `${file}.damaged-${nowMs}`
    try {
      for (const suffix of ['', '-wal', '-shm']) {
        if (existsSync(file + suffix)) renameSync(file + suffix, setAside + suffix)
      }
      onDamage(
        new SluiceError('SLUICE_API_STORAGE_DAMAGED', `${file} is damaged and was moved to ${setAside}`, {
          hint: 'The API started empty. Gateways and manifests fill it again; keep the old file for `sqlite3 .recover`.',
          cause: error,
        }),
      )
      return { database: open(file), setAside }
    } catch (second) {
      throw openError(file, second)
    }
  }
}

export const databaseFile = (dataDir: string): string => join(dataDir, 'api.db')

function open(file: string): DatabaseSync {
  const database = new DatabaseSync(file)
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 2000')
    // One process owns the file: an exclusive lock turns a second server on the same folder into a clear error.
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 4000')
    database.exec('BEGIN IMMEDIATE; COMMIT')
    const verdict = database.prepare('PRAGMA quick_check(1)').get()?.['quick_check']
    if (verdict !== 'ok') throw new DamageError(String(verdict))
    const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version'])
    if (version > FORMAT) {
      throw new SluiceError(
        'SLUICE_API_STORAGE_FORMAT',
        `${file} has format ${version}, this version reads ${FORMAT}`,
        {
          hint: 'Start the newer Sluice that wrote it, or another --data folder.',
        },
      )
    }
    database.exec(SCHEMA)
    database.exec(`PRAGMA user_version = ${FORMAT}`)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

class DamageError extends Error {}

/** SQLITE_CORRUPT (11) and SQLITE_NOTADB (26), primary result codes of sqlite.org/rescode.html. */
function isDamage(error: unknown): boolean {
  if (error instanceof DamageError) return true
  if (!(error instanceof Error) || !('errcode' in error)) return false
  const primary = Number(error.errcode) & 0xff
  return primary === 11 || primary === 26
}

function openError(file: string, error: unknown): SluiceError {
  if (error instanceof SluiceError) return error
  const busy = error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === 5
  return new SluiceError(
    'SLUICE_API_STORAGE_OPEN',
    busy ? `${file} is in use by another process` : `cannot open ${file}: ${String(error)}`,
    {
      hint: busy
        ? 'Stop the other API server or use another --data folder.'
        : 'Check the folder, its owner and free space.',
      cause: error,
    },
  )
}
