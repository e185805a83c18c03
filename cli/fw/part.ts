import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { SluiceError } from '../../api/errors.ts'
import { childLaunchOf, type Part } from '../processes.ts'

/** A process of ours that runs as long as this one wants it, and never longer than this one lives. */
export class OwnPart implements AsyncDisposable {
  readonly #part: Part
  readonly #child: ChildProcess
  readonly #said: string[] = []
  readonly #waiting = new Set<(line: Readonly<Record<string, unknown>>) => void>()
  readonly #ended = Promise.withResolvers<never>()

  constructor(part: Part, args: readonly string[], env: Readonly<Record<string, string | undefined>>) {
    this.#part = part
    const { command, args: all, env: added } = childLaunchOf(part, args)
    this.#child = spawn(command, all, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...env, ...added } })
    this.#child.stdin?.on('error', () => undefined)
    this.#ended.promise.catch(() => undefined)
    this.#child.once('error', (cause) => this.#ended.reject(this.#failed(String(cause))))
    this.#child.once('close', () => this.#ended.reject(this.#failed(this.#said.join('\n'))))
    createInterface({ input: this.#child.stderr! }).on('line', (line) => this.#keep(line))
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#heard(line))
  }

  /** The last it said to people. */
  #keep(line: string): void {
    this.#said.push(line)
    if (this.#said.length > 30) this.#said.shift()
  }

  #heard(line: string): void {
    let fields: unknown
    try {
      fields = JSON.parse(line)
    } catch {
      return
    }
    if (typeof fields !== 'object' || fields === null) return
    const event = { ...fields } as Readonly<Record<string, unknown>>
    if (event['event'] === 'failed') {
      const { code, message, hint } = event
      this.#ended.reject(
        new SluiceError(String(code), String(message), hint === undefined ? {} : { hint: String(hint) }),
      )
    }
    for (const listener of [...this.#waiting]) listener(event)
  }

  #failed(why: string): SluiceError {
    return new SluiceError(
      'SLUICE_FW_EMULATION',
      `the ${this.#part} ended by itself: ${why.trim() || 'it said nothing'}`,
      {
        hint: "'sluice doctor' looks for what is missing here.",
      },
    )
  }

  /** Says a line to it. */
  tell(line: string): void {
    this.#child.stdin?.write(`${line}\n`)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** The next event of this name; rejects when the process fails or ends, or the signal aborts. */
  next(event: string, signal: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
    signal.throwIfAborted()
    const heard = Promise.withResolvers<Readonly<Record<string, unknown>>>()
    const listener = (line: Readonly<Record<string, unknown>>): void =>
      void (line['event'] === event && heard.resolve(line))
    const onAbort = (): void => heard.reject(signal.reason)
    this.#waiting.add(listener)
    signal.addEventListener('abort', onAbort, { once: true })
    return Promise.race([heard.promise, this.#ended.promise]).finally(() => {
      this.#waiting.delete(listener)
      signal.removeEventListener('abort', onAbort)
    })
  }

  /** Rejects as soon as it has ended by itself. */
  get ended(): Promise<never> {
    return this.#ended.promise
  }

  /** Ends it at once. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'close')
    this.#child.kill('SIGKILL')
    await gone
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'close')
    this.#child.stdin?.end()
    const impatient = setTimeout(() => this.#child.kill('SIGKILL'), 4000)
    await gone
    clearTimeout(impatient)
  }
}
