import { type ChildProcess, spawn } from 'node:child_process'
import type { Clock, Timer } from '../../../api/clock.ts'
import { SANDBOX_PROGRAM } from './sandbox-program.ts'

/** Beyond the decoder's own limit: starting the process, a busy machine, further tries. After that the process is ended. */
const GRACE_MS = 5000
const MAX_ANSWER_BYTES = 1 << 20

export interface ProcessRequest {
  readonly key: string
  readonly source?: string
  /** JSON. */
  readonly call: string
  readonly timeLimitMs: number
}

export type ProcessAnswer =
  | { readonly kind: 'result'; readonly text: string }
  | { readonly kind: 'needSource' }
  | { readonly kind: 'timedOut' }
  /** The process is gone: out of memory, or it had to be ended. */
  | { readonly kind: 'died'; readonly reason: string }

interface Waiting {
  readonly id: number
  readonly end: (answer: ProcessAnswer) => void
  readonly timer: Timer
}

/**
 * Node in a process of its own, in which vendors' decoders run. Not a worker thread, although that would be lighter:
 * one allocation past a worker's heap limit (`new Array(3e8).fill(0)`) ends the whole process it lives in, which would
 * be the agent.
 *
 * What holds a decoder: no environment, no arguments, Node's permission model (no files, no child processes, no
 * workers, no native code), a small heap, a context without host objects, a time limit inside and a kill from outside.
 * What does not: it runs as the agent's own user, and Node's permission model leaves the network open; only the context
 * keeps a decoder from it. A hole in V8 would be one here too. Models are to be trusted as far as other programs are.
 */
export class DecoderProcess {
  readonly #clock: Clock
  readonly #child: ChildProcess
  #waiting: Waiting | undefined
  #answer = ''
  #id = 0
  #ended: string | undefined

  constructor(clock: Clock, heapMiB = 24) {
    this.#clock = clock
    // No code from strings in the outer realm either: an object of it that slips into a context is worth less then.
    const limits = [
      '--permission',
      '--disallow-code-generation-from-strings',
      `--max-old-space-size=${heapMiB}`,
      '--max-semi-space-size=1',
    ]
    this.#child = spawn(process.execPath, [...limits, '--no-warnings', '-e', SANDBOX_PROGRAM], {
      env: {},
      cwd: '/',
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => this.#read(text))
    this.#child.stdin!.on('error', () => {})
    this.#child.on('error', (error) => this.#over(error.message))
    this.#child.on('exit', (code, signal) =>
      this.#over(signal === null ? `it ended with code ${code}` : `it ended by ${signal}`),
    )
  }

  get alive(): boolean {
    return this.#ended === undefined
  }

  /** One request at a time; the caller queues. Never rejects. */
  ask(request: ProcessRequest): Promise<ProcessAnswer> {
    if (this.#ended !== undefined) return Promise.resolve({ kind: 'died', reason: this.#ended })
    return new Promise((resolve) => {
      const id = ++this.#id
      const end = (answer: ProcessAnswer) => {
        timer.cancel()
        this.#waiting = undefined
        resolve(answer)
      }
      const timer = this.#clock.after(request.timeLimitMs + GRACE_MS, () => this.kill('it did not answer in time'))
      this.#waiting = { id, end, timer }
      this.#child.stdin!.write(`${JSON.stringify({ id, ...request })}\n`)
    })
  }

  kill(reason: string): void {
    this.#child.kill('SIGKILL')
    this.#over(reason)
  }

  /** Resolves when the process is gone. */
  async close(): Promise<void> {
    const gone = this.#child.exitCode !== null || this.#child.signalCode !== null
    const exited = gone ? undefined : new Promise<void>((resolve) => this.#child.once('exit', () => resolve()))
    this.kill('the agent is stopping')
    await exited
  }

  #over(reason: string): void {
    this.#ended ??= reason
    this.#waiting?.end({ kind: 'died', reason: this.#ended })
  }

  #read(text: string): void {
    this.#answer += text
    if (this.#answer.length > MAX_ANSWER_BYTES) {
      this.kill('it answered too much')
      return
    }
    const end = this.#answer.indexOf('\n')
    if (end < 0) return
    const line = this.#answer.slice(0, end)
    this.#answer = this.#answer.slice(end + 1)
    const waiting = this.#waiting
    const answer = parseAnswer(line)
    if (waiting === undefined || answer?.id !== waiting.id) {
      this.kill('it answered what nobody asked')
      return
    }
    if (answer.result !== undefined) waiting.end({ kind: 'result', text: answer.result })
    else waiting.end(answer.needSource === true ? { kind: 'needSource' } : { kind: 'timedOut' })
  }
}

interface Line {
  readonly id: number
  readonly result?: string
  readonly needSource?: boolean
}

function parseAnswer(line: string): Line | undefined {
  try {
    return JSON.parse(line) as Line
  } catch {
    return undefined
  }
}
