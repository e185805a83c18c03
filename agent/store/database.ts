import { closeSync, existsSync, openSync, readSync, renameSync, statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { SluiceError } from '../../api/errors.ts'
import { migrate } from './schema.ts'

/**
 * The agent's one SQLite file, opened twice in write-ahead-log mode:
 *
 * - `state` commits with `synchronous=FULL`: desired objects, ends of writes, local desired values. What it has
 *   committed survives a power cut.
 * - `telemetry` commits with `synchronous=NORMAL`: reports on their way to the hub. What it has committed survives
 *   `kill -9`. A power cut can take what was committed since the last flush of the log to the disk; both connections
 *   share one log and `Store.sync` commits with FULL at least once a second, so that is at most one second.
 *
 * Both belong to one process and SQLite's calls block, so the two never wait for one another.
 */
export interface Connections {
  readonly state: DatabaseSync
  readonly telemetry: DatabaseSync
  /** Where a damaged file went, when there was one. */
  readonly setAside: string | undefined
}

/** Files up to this size are checked page by page at every start; larger ones only after a sign of damage. */
const FULL_CHECK_BYTES = 64 * 1024 * 1024
const HEADER = 'SQLite format 3\0'

/** Opens the file, creating or migrating it. A damaged file is renamed and an empty one takes its place. */
export function openConnections(path: string, nowMs: number): Connections {
  try {
    return { ...open(path, 'cautious'), setAside: undefined }
  } catch (error) {
    if (storeError(error).code !== 'SLUICE_STORE_CORRUPT') throw storeError(error)
    const setAside = moveAside(path, nowMs)
    return { ...open(path, 'fresh'), setAside }
  }
}

/** Next start checks every page: called when a statement met damage. */
export function suspect(path: string): void {
  closeSync(openSync(`${path}.suspect`, 'a'))
}

function open(path: string, mode: 'cautious' | 'fresh'): { state: DatabaseSync; telemetry: DatabaseSync } {
  if (mode === 'cautious') checkHeader(path)
  // The log and its index get the mode of the file: other users have no business with readings. Only before the first
  // connection: closing any descriptor of a file drops every POSIX lock this process has on it, SQLite's among them, and
  // then the next program that looks into the file takes the log away from under us (sqlite.org/howtocorrupt.html 2.2).
  closeSync(openSync(path, 'a', 0o600))
  const state = connect(path, 'FULL')
  try {
    if (mode === 'cautious') check(state, path)
    migrate(state)
    return { state, telemetry: connect(path, 'NORMAL') }
  } catch (error) {
    state.close()
    throw error
  }
}

function connect(path: string, synchronous: 'FULL' | 'NORMAL'): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 5000 })
  try {
    // auto_vacuum has to be chosen before the first table exists; it gives space back after a long outage.
    database.exec('PRAGMA auto_vacuum=INCREMENTAL')
    database.exec('PRAGMA journal_mode=WAL')
    database.exec(`PRAGMA synchronous=${synchronous}`)
    database.exec('PRAGMA cache_size=-512')
    database.exec('PRAGMA journal_size_limit=4194304')
    database.exec('PRAGMA temp_store=MEMORY')
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** SQLite takes a file of foreign content that is shorter than a page for an empty database: look first. */
function checkHeader(path: string): void {
  if (!existsSync(path) || statSync(path).size === 0) return
  const start = Buffer.alloc(HEADER.length)
  const file = openSync(path, 'r')
  try {
    readSync(file, start, 0, HEADER.length, 0)
  } finally {
    closeSync(file)
  }
  if (start.toString('latin1') !== HEADER) throw corrupt('it is not an SQLite file')
}

function check(database: DatabaseSync, path: string): void {
  const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all()
  const whole = statSync(path).size <= FULL_CHECK_BYTES || existsSync(`${path}.suspect`)
  for (const { name } of tables) {
    if (!whole && name === 'outbox') continue
    const findings = database.prepare(`PRAGMA quick_check("${String(name)}")`).all()
    const first = findings[0]?.['quick_check']
    if (first !== 'ok') throw corrupt(`table ${String(name)}: ${String(first)}`)
  }
}

function moveAside(path: string, nowMs: number): string {
  const target = `${path}.corrupt-${new Date(nowMs).toISOString().replaceAll(':', '')}`
  for (const suffix of ['', '-wal', '-shm', '.suspect']) {
    if (existsSync(path + suffix)) renameSync(path + suffix, target + suffix)
  }
  return target
}

function corrupt(what: string, cause?: unknown): SluiceError {
  return new SluiceError('SLUICE_STORE_CORRUPT', `The store agent.db is damaged: ${what}`, {
    hint: 'The agent sets the file aside and starts with an empty one; check the disk or SD card.',
    cause,
  })
}

const SQLITE_CORRUPT = 11
const SQLITE_FULL = 13
const SQLITE_NOTADB = 26

/** The typed error of whatever SQLite threw. */
export function storeError(error: unknown): SluiceError {
  if (error instanceof SluiceError) return error
  const message = error instanceof Error ? error.message : String(error)
  const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : 0
  if (code === SQLITE_FULL) {
    return new SluiceError('SLUICE_STORE_FULL', `The store agent.db cannot grow: ${message}`, {
      hint: 'Free space on the disk of the data directory; the agent goes on by itself.',
      cause: error,
    })
  }
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) return corrupt(message, error)
  return new SluiceError('SLUICE_STORE_FAILED', `The store agent.db failed: ${message}`, {
    hint: 'Check that the data directory exists, belongs to this user and is on a healthy disk.',
    cause: error,
  })
}
