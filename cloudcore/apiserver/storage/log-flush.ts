import { closeSync, existsSync, fdatasync, openSync } from 'node:fs'

type Sync = (descriptor: number, done: (error: Error | null) => void) => void

/**
 * Brings SQLite's write-ahead log to the disk now and then. Commits are made with synchronous=NORMAL, so that no answer
 * waits for a disk; with this, a power cut costs what was answered since the last flush and nothing older. The flush
 * runs beside the server: an SD card that takes 100 ms for it holds up nobody.
 */
export class LogFlush implements Disposable {
  readonly #path: string
  readonly #sync: Sync
  readonly #onError: (error: unknown) => void
  #descriptor: number | undefined
  #flushed = 0
  #busy = false
  #closed = false

  constructor(databasePath: string, onError: (error: unknown) => void, sync: Sync = fdatasync) {
    this.#path = `${databasePath}-wal`
    this.#onError = onError
    this.#sync = sync
  }

  /** Flushes unless `revision` is on the disk already or a flush is under way. */
  upTo(revision: number): void {
    if (this.#busy || this.#closed || revision === this.#flushed || !existsSync(this.#path)) return
    // The log stays one file for as long as the database is open, and SQLite keeps no locks on it.
    this.#descriptor ??= openSync(this.#path, 'r+')
    this.#busy = true
    this.#sync(this.#descriptor, (error) => {
      this.#busy = false
      if (error === null) this.#flushed = revision
      else this.#onError(error)
      if (this.#closed) this.#close()
    })
  }

  [Symbol.dispose](): void {
    this.#closed = true
    if (!this.#busy) this.#close()
  }

  #close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor)
    this.#descriptor = undefined
  }
}
