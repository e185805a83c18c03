import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Clock, Timer } from '../../../../api/clock.ts'

const run = promisify(execFile)

/** Enough for two pods of three containers. */
const STOCK = 18
/** Made while nothing else is being started. */
const REFILL_MS = 500

/**
 * Named pipes made ahead: Node cannot make them, and a program that does costs a pod that begins milliseconds it is not worth.
 * A pipe is taken by renaming it.
 */
export class PipeStock implements Disposable {
  readonly #mkfifo: string
  readonly #folder: string
  readonly #clock: Clock
  readonly #ready: string[]
  #timer: Timer | undefined
  #filling: Promise<unknown> | undefined

  constructor(mkfifo: string, folder: string, clock: Clock) {
    this.#mkfifo = mkfifo
    this.#folder = folder
    this.#clock = clock
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    this.#ready = readdirSync(folder)
    this.#refillSoon()
  }

  /** Puts a pipe at each of these paths. */
  async take(paths: readonly string[], signal: AbortSignal): Promise<void> {
    const lacking = paths.length - this.#ready.length
    if (lacking > 0) await this.#make(lacking, signal)
    for (const path of paths) renameSync(join(this.#folder, this.#ready.pop()!), path)
    this.#refillSoon()
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel()
  }

  #refillSoon(): void {
    if (this.#ready.length >= STOCK || this.#timer !== undefined || this.#filling !== undefined) return
    this.#timer = this.#clock.after(
      REFILL_MS,
      () => {
        this.#timer = undefined
        // What cannot be made ahead is made when it is wanted, and complained of then.
        this.#filling = this.#make(STOCK - this.#ready.length)
          .catch(() => undefined)
          .finally(() => (this.#filling = undefined))
      },
      true,
    )
  }

  async #make(count: number, signal?: AbortSignal): Promise<void> {
    const names = Array.from({ length: Math.max(0, count) }, () => randomBytes(9).toString('base64url'))
    if (names.length === 0) return
    const paths = names.map((name) => join(this.#folder, name))
    await run(this.#mkfifo, ['-m', '600', '--', ...paths], signal === undefined ? {} : { signal })
    this.#ready.push(...names)
  }
}
