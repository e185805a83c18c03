import { type StartedProcess, startProcess } from './processes.ts'

type StartOptions = Parameters<typeof startProcess>[2]

/** A program of ours that tests kill and start again; its log goes on through all its lives. */
export class Part implements AsyncDisposable {
  readonly name: string
  readonly #file: string
  readonly #argv: () => readonly string[]
  readonly #options: StartOptions
  #process: StartedProcess | undefined
  #past = ''
  starts = 0

  /** `argv` is asked at every start, so that ports learnt from the first one can be kept. */
  constructor(name: string, file: string, argv: () => readonly string[], options: StartOptions = {}) {
    this.name = name
    this.#file = file
    this.#argv = argv
    this.#options = options
  }

  /** Resolves with the part's ready line. */
  async start(over: StartOptions = {}): Promise<Readonly<Record<string, unknown>>> {
    this.#process = await startProcess(this.#file, this.#argv(), { ...this.#options, ...over })
    this.starts++
    return this.#process.ready
  }

  get running(): boolean {
    return this.#process !== undefined
  }

  get pid(): number {
    return this.#process?.pid ?? 0
  }

  get ready(): Readonly<Record<string, unknown>> {
    return this.#process?.ready ?? {}
  }

  get ended(): Promise<number | string> {
    return this.#process?.ended ?? Promise.resolve('not running')
  }

  log(): string {
    return this.#past + (this.#process?.log() ?? '')
  }

  /** `kill -9`. */
  async kill(): Promise<void> {
    await this.#process?.kill()
    this.#gone()
  }

  /** SIGTERM; resolves with the exit code. */
  async stop(): Promise<number | string> {
    const code = (await this.#process?.stop()) ?? 'not running'
    this.#gone()
    return code
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process !== undefined) await this.kill()
  }

  #gone(): void {
    if (this.#process === undefined) return
    this.#past = `${this.#past}${this.#process.log()}--- ${this.name} ended ---\n`.slice(-512 * 1024)
    this.#process = undefined
  }
}
