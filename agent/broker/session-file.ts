import { closeSync, existsSync, openSync, renameSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { toSluiceError } from '../../api/errors.ts'
import type { Log } from '../log.ts'

export interface StoredSubscription {
  readonly client: string
  readonly topic: string
  readonly qos: 0 | 1 | 2
}

export interface StoredMessage {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1 | 2
}

export interface StoredOutgoing extends StoredMessage {
  readonly id: number
  readonly client: string
  /** A `pubrel` has an identifier and neither topic nor payload. */
  readonly cmd: 'publish' | 'pubrel'
  readonly messageId: number | undefined
  readonly retain: boolean
}

const TABLES = `
CREATE TABLE IF NOT EXISTS retained(topic TEXT PRIMARY KEY, payload BLOB NOT NULL, qos INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subscription(client TEXT NOT NULL, topic TEXT NOT NULL, qos INTEGER NOT NULL,
  PRIMARY KEY(client, topic)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outgoing(id INTEGER PRIMARY KEY, client TEXT NOT NULL, cmd TEXT NOT NULL, message_id INTEGER,
  topic TEXT NOT NULL, payload BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL);
PRAGMA user_version=1;`

const STATEMENTS = {
  retain:
    'INSERT INTO retained VALUES(?, ?, ?) ON CONFLICT(topic) DO UPDATE SET payload=excluded.payload, qos=excluded.qos',
  forget: 'DELETE FROM retained WHERE topic=?',
  subscribe: 'INSERT INTO subscription VALUES(?, ?, ?) ON CONFLICT(client, topic) DO UPDATE SET qos=excluded.qos',
  unsubscribe: 'DELETE FROM subscription WHERE client=? AND topic=?',
  enqueue: 'INSERT INTO outgoing VALUES(?, ?, ?, ?, ?, ?, ?, ?)',
  release: "UPDATE outgoing SET cmd='pubrel', message_id=?, topic='', payload=x'' WHERE id=?",
  acknowledge: 'DELETE FROM outgoing WHERE id=?',
} as const

type Parameters = (string | number | Uint8Array | null)[]

/**
 * Retained messages and sessions on the disk, in a file of their own so that a flood of messages never costs the
 * twins' store anything. Commits once a turn of the event loop; what is committed survives `kill -9`
 * (`synchronous=NORMAL`), a power cut can take the last moments.
 */
export class SessionFile implements Disposable {
  readonly #database: DatabaseSync
  readonly #log: Log
  readonly #statements = new Map<keyof typeof STATEMENTS, StatementSync>()
  #open = false
  #afterCommit: (() => void)[] = []
  #failed = false

  constructor(path: string, log: Log, nowMs: number) {
    this.#log = log
    this.#database = openFile(path, log, nowMs)
  }

  get failed(): boolean {
    return this.#failed
  }

  retained(): StoredMessage[] {
    return this.#database
      .prepare('SELECT topic, payload, qos FROM retained')
      .all()
      .map((row) => ({ topic: String(row['topic']), payload: bytesOf(row['payload']), qos: qosOf(row['qos']) }))
  }

  subscriptions(): StoredSubscription[] {
    return this.#database
      .prepare('SELECT client, topic, qos FROM subscription')
      .all()
      .map((row) => ({ client: String(row['client']), topic: String(row['topic']), qos: qosOf(row['qos']) }))
  }

  outgoing(): StoredOutgoing[] {
    return this.#database
      .prepare('SELECT * FROM outgoing ORDER BY id')
      .all()
      .map((row) => ({
        id: Number(row['id']),
        client: String(row['client']),
        cmd: row['cmd'] === 'pubrel' ? 'pubrel' : 'publish',
        messageId: row['message_id'] === null ? undefined : Number(row['message_id']),
        topic: String(row['topic']),
        payload: bytesOf(row['payload']),
        qos: qosOf(row['qos']),
        retain: row['retain'] === 1,
      }))
  }

  /** Part of the transaction that ends with this turn of the event loop. */
  write(statement: keyof typeof STATEMENTS, ...parameters: Parameters): void {
    try {
      if (!this.#open) {
        this.#database.exec('BEGIN')
        this.#open = true
        setImmediate(() => this.commit())
      }
      let prepared = this.#statements.get(statement)
      if (prepared === undefined) {
        this.#statements.set(statement, (prepared = this.#database.prepare(STATEMENTS[statement])))
      }
      prepared.run(...parameters)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Calls back when everything written so far is on the disk; at once when it is. */
  afterCommit(done: () => void): void {
    if (this.#open) this.#afterCommit.push(done)
    else done()
  }

  commit(): void {
    if (this.#open) {
      this.#open = false
      try {
        this.#database.exec('COMMIT')
        this.#failed = false
      } catch (error) {
        this.#fail(error)
      }
    }
    const waiting = this.#afterCommit
    this.#afterCommit = []
    for (const done of waiting) done()
  }

  [Symbol.dispose](): void {
    this.commit()
    this.#database.close()
  }

  /** The broker goes on with what is in memory: a full disk must not take the devices off the air. */
  #fail(error: unknown): void {
    if (!this.#failed) {
      const reason = toSluiceError(error).message
      this.#log('error', `The broker cannot store sessions and retained messages: ${reason}`, {
        code: 'SLUICE_BROKER_STORE',
      })
    }
    this.#failed = true
    if (!this.#database.isTransaction) this.#open = false
  }
}

function openFile(path: string, log: Log, nowMs: number): DatabaseSync {
  try {
    return connect(path)
  } catch (error) {
    const target = `${path}.corrupt-${new Date(nowMs).toISOString().replaceAll(':', '')}`
    for (const suffix of ['', '-wal', '-shm']) {
      if (existsSync(path + suffix)) renameSync(path + suffix, target + suffix)
    }
    log('error', `The broker's file was damaged and is set aside as ${target}: ${toSluiceError(error).message}`, {
      code: 'SLUICE_BROKER_STORE',
    })
    return connect(path)
  }
}

function connect(path: string): DatabaseSync {
  closeSync(openSync(path, 'a', 0o600))
  const database = new DatabaseSync(path, { timeout: 2000 })
  try {
    database.exec('PRAGMA journal_mode=WAL')
    database.exec('PRAGMA synchronous=NORMAL')
    database.exec('PRAGMA cache_size=-512')
    database.exec('PRAGMA journal_size_limit=4194304')
    const first = database.prepare('PRAGMA quick_check').get()
    if (first?.['quick_check'] !== 'ok') throw new Error(String(first?.['quick_check']))
    database.exec(TABLES)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

const qosOf = (value: unknown): 0 | 1 | 2 => (value === 2 ? 2 : value === 1 ? 1 : 0)
const bytesOf = (value: unknown): Uint8Array => (value instanceof Uint8Array ? value : new Uint8Array())
