import { closeSync, openSync, readSync } from 'node:fs'

const MAX_BYTES = 128 * 1024
/** Read and used up within one call, so one buffer serves all tables. */
const buffer = Buffer.allocUnsafe(MAX_BYTES)

/**
 * A table under `/proc/net` that stays open and is read again from its start. The kernel gives such a table a page at a
 * time, so it is read until its end; at most 128 KiB, which is a thousand interfaces.
 */
export class ProcTable implements Disposable {
  readonly #path: string
  #descriptor: number | undefined

  constructor(path: string) {
    this.#path = path
  }

  /** The table; empty where there is none or it cannot be read. */
  read(): string {
    try {
      this.#descriptor ??= openSync(this.#path, 'r')
      let length = 0
      while (length < MAX_BYTES) {
        const read = readSync(this.#descriptor, buffer, length, MAX_BYTES - length, length)
        if (read === 0) break
        length += read
      }
      return buffer.toString('latin1', 0, length)
    } catch {
      this[Symbol.dispose]()
      return ''
    }
  }

  [Symbol.dispose](): void {
    const descriptor = this.#descriptor
    this.#descriptor = undefined
    if (descriptor !== undefined) closeSync(descriptor)
  }
}
