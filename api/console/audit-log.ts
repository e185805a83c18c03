import { closeSync, existsSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs'
import type { Role } from './roles.ts'

/** One write, or one sign-in: who, from where, what, why if they said, and how it ended. */
export interface AuditEntry {
  /** RFC 3339. */
  readonly at: string
  readonly who: string
  readonly role?: Role
  readonly from: string
  readonly action: string
  readonly target: string
  readonly why?: string
  readonly value?: string
  /** HTTP status. */
  readonly status: number
  readonly answer?: string
}

export interface AuditLogOptions {
  readonly path: string
  /** A file is put aside as `.1` when it is this large; the one before that is gone. Default 4 MiB. */
  readonly maxBytes?: number
  readonly onTrouble: (message: string) => void
}

const NEWEST = 500
const MAX_TEXT = 256

/** Writes down what people change: one JSON line each, only ever appended, at most two files. */
export class AuditLog implements Disposable {
  readonly #options: AuditLogOptions
  readonly #newest: AuditEntry[] = []
  #fd: number | undefined
  #bytes = 0

  constructor(options: AuditLogOptions) {
    this.#options = options
    for (const file of [`${options.path}.1`, options.path]) this.#read(file)
  }

  /** The newest first, at most 500. */
  list(): readonly AuditEntry[] {
    return this.#newest.toReversed()
  }

  append(entry: AuditEntry): void {
    const { who, from, target, why, value, answer } = entry
    const short: AuditEntry = {
      ...entry,
      who: cut(who),
      from: cut(from),
      target: cut(target),
      ...(why === undefined ? {} : { why: cut(why) }),
      ...(value === undefined ? {} : { value: cut(value) }),
      ...(answer === undefined ? {} : { answer: cut(answer) }),
    }
    this.#keep(short)
    try {
      const line = Buffer.from(`${JSON.stringify(short)}\n`)
      const { path, maxBytes = 4 * 1024 * 1024 } = this.#options
      if (this.#fd !== undefined && this.#bytes + line.length > maxBytes) {
        closeSync(this.#fd)
        this.#fd = undefined
        renameSync(path, `${path}.1`)
      }
      if (this.#fd === undefined) {
        this.#fd = openSync(path, 'a', 0o600)
        this.#bytes = statSync(path).size
      }
      writeSync(this.#fd, line)
      this.#bytes += line.length
    } catch (cause) {
      this.#options.onTrouble(`the audit log cannot be written: ${cause instanceof Error ? cause.message : cause}`)
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  #keep(entry: AuditEntry): void {
    this.#newest.push(entry)
    if (this.#newest.length > NEWEST) this.#newest.shift()
  }

  #read(file: string): void {
    if (!existsSync(file)) return
    // A line that a power cut left half written is no entry.
    for (const line of readFileSync(file, 'utf8')
      .split('\n')
      .slice(-NEWEST - 1)) {
      try {
        if (line !== '') this.#keep(JSON.parse(line) as AuditEntry)
      } catch {}
    }
  }
}

const cut = (text: string): string => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 1)}…` : text)
