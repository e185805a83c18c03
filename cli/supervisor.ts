import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Clock, Timer } from '../api/clock.ts'
import { SluiceError } from '../api/errors.ts'
import type { Launch } from './processes.ts'

export type Ready = Readonly<Record<string, unknown>>

export interface SupervisedOptions {
  readonly name: string
  /** How to start it: for the first time, and again after it ended. */
  readonly launch: (again: boolean) => Launch
  readonly env: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  readonly random: () => number
  /** Written to the child's standard input, which then stays open so that the child notices when this process dies. */
  readonly input?: string
  /** Every line of the child that is not its ready line. */
  readonly onLine: (line: string, stream: 'stdout' | 'stderr') => void
  readonly onRestart: (inMs: number, why: string) => void
  readonly onReady?: (ready: Ready) => void
}

const FIRST_DELAY_MS = 500
const LONGEST_DELAY_MS = 30_000
/** A child that ran this long had recovered; the next crash starts from the first delay again. */
const HEALTHY_MS = 60_000
const STOP_MS = 8_000
const KEPT_LINES = 30

/**
 * One child process that is kept running: started again with growing pauses when it ends by itself. A child says that
 * it is ready by one JSON line on stdout with `event: "ready"`. If the very first start fails, nothing is repeated:
 * the reason is the user's to see.
 */
export class Supervised {
  readonly name: string
  restarts = 0
  readonly #options: SupervisedOptions
  readonly #lines: string[] = []
  #child: ChildProcess | undefined
  #timer: Timer | undefined
  #delayMs = FIRST_DELAY_MS
  #stopping = false
  #wasReady = false
  #settleFirst: { resolve: (ready: Ready) => void; reject: (error: unknown) => void } | undefined

  constructor(options: SupervisedOptions) {
    this.name = options.name
    this.#options = options
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** Resolves with the first ready line; rejects with SLUICE_CLI_PART_FAILED or the child's own error. */
  start(signal: AbortSignal): Promise<Ready> {
    return new Promise((resolve, reject) => {
      this.#settleFirst = { resolve, reject }
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      this.#spawn()
    })
  }

  /** Writes to the child's standard input; lost when it is not running. */
  send(text: string): void {
    this.#child?.stdin?.write(text)
  }

  /** Asks the child to end, and ends it after 8 s. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#timer?.cancel()
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill('SIGTERM')
    const hard = this.#options.clock.after(STOP_MS, () => child.kill('SIGKILL'))
    await ended
    hard.cancel()
  }

  #spawn(): void {
    const { launch, env, clock, input } = this.#options
    const startedMs = clock.monotonic()
    const { command, args, env: added } = launch(this.#wasReady)
    const child = spawn(command, args, { env: { ...env, ...added }, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child = child
    child.stdin.on('error', () => {})
    if (input !== undefined) child.stdin.write(input)
    createInterface({ input: child.stdout }).on('line', (line) => this.#read(line, 'stdout'))
    createInterface({ input: child.stderr }).on('line', (line) => this.#read(line, 'stderr'))
    child.once('error', (error) => this.#ended(`could not be started: ${error.message}`, startedMs))
    // `close` comes after the last line was read, `exit` may come before.
    child.once('close', (code, signal) => {
      this.#ended(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`, startedMs)
    })
  }

  #read(line: string, stream: 'stdout' | 'stderr'): void {
    const ready = stream === 'stdout' ? readyLine(line) : undefined
    if (ready === undefined) {
      this.#lines.push(line)
      if (this.#lines.length > KEPT_LINES) this.#lines.shift()
      this.#options.onLine(line, stream)
      return
    }
    this.#wasReady = true
    this.#options.onReady?.(ready)
    this.#settleFirst?.resolve(ready)
    this.#settleFirst = undefined
  }

  #ended(why: string, startedMs: number): void {
    this.#child = undefined
    if (this.#stopping) return
    if (!this.#wasReady) {
      this.#stopping = true
      this.#settleFirst?.reject(childError(this.name, why, this.#lines))
      return
    }
    const { clock, random } = this.#options
    if (clock.monotonic() - startedMs > HEALTHY_MS) this.#delayMs = FIRST_DELAY_MS
    const inMs = Math.round(this.#delayMs * (0.75 + random() / 2))
    this.#delayMs = Math.min(this.#delayMs * 2, LONGEST_DELAY_MS)
    this.restarts++
    this.#options.onRestart(inMs, why)
    this.#timer = clock.after(inMs, () => this.#spawn())
  }
}

function parseObject(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function readyLine(line: string): Ready | undefined {
  const value = parseObject(line)
  return value?.['event'] === 'ready' ? value : undefined
}

/** The typed error a child printed before it ended, if it did; otherwise its last words. */
export function childError(name: string, why: string, lines: readonly string[]): SluiceError {
  for (const line of [...lines].reverse()) {
    const value = parseObject(line)
    const inner = value?.['error']
    const error = typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>) : value
    const { code, message, hint } = error ?? {}
    if (typeof code === 'string' && code.startsWith('SLUICE_') && typeof message === 'string') {
      return new SluiceError(code, message, typeof hint === 'string' ? { hint } : {})
    }
    const text = /(?:^|\s)(SLUICE_[A-Z_]+): (.+)$/.exec(line)
    if (text !== null) {
      const next = lines[lines.indexOf(line) + 1] ?? ''
      const said = /^\s*hint: (.+)$/.exec(next)?.[1]
      return new SluiceError(text[1]!, text[2]!, said === undefined ? {} : { hint: said })
    }
  }
  const last = lines.filter((line) => line.trim() !== '').at(-1)
  return new SluiceError(
    'SLUICE_CLI_PART_FAILED',
    `The ${name} ${why}${last === undefined ? '' : `; its last words: ${last}`}`,
    {
      hint: "'sluice doctor' checks ports, rights and disk.",
    },
  )
}
