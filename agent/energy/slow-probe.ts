import type { Clock, Timer } from '../../api/clock.ts'

/** Runs a program to its end and gives what it printed. Rejects when it fails, is missing or takes too long. */
export type RunTool = (command: string, args: readonly string[], options: RunToolOptions) => Promise<string>

export interface RunToolOptions {
  readonly signal: AbortSignal
  readonly timeoutMs: number
}

const MAX_OUTPUT_BYTES = 65_536

export const runTool: RunTool = async (command, args, { signal, timeoutMs }) => {
  // Most gateways have nothing to ask this way, and the module takes 1.5 MiB.
  const { execFile } = await import('node:child_process')
  return new Promise((resolve, reject) => {
    const options = { signal, timeout: timeoutMs, maxBuffer: MAX_OUTPUT_BYTES, env: { ...process.env, LC_ALL: 'C' } }
    execFile(command, [...args], options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new ToolFailure(command, error, stderr))
    })
  })
}

/** Why a program gave nothing, in the words that `SourceHealth` uses. */
export class ToolFailure extends Error {
  readonly missing: boolean
  readonly forbidden: boolean

  constructor(command: string, cause: Error & { code?: unknown }, stderr: string) {
    const line = stderr.trim().split('\n').at(-1) ?? ''
    super(line === '' ? `${command} failed` : `${command}: ${line.slice(0, 200)}`, { cause })
    this.missing = cause.code === 'ENOENT'
    this.forbidden = cause.code === 'EACCES' || /permission denied|not permitted|can't open device file/i.test(stderr)
  }
}

export interface SlowProbeOptions<T> {
  readonly clock: Clock
  readonly everyMs: number
  /** One reading, as slow as it likes within `everyMs`. */
  readonly probe: (signal: AbortSignal) => Promise<T>
}

/** After so many failures in a row it is asked ten times less often: what is missing rarely comes back. */
const PATIENCE = 3

/**
 * Asks what cannot be asked on the sampling path, because it takes a process: at its own slow pace, one at a time, never
 * waited for. Whoever samples takes the newest answer and its age.
 */
export class SlowProbe<T> implements Disposable {
  readonly #options: SlowProbeOptions<T>
  /** Made when it starts: most probes never do, and the first one of a process costs 2 MiB. */
  #running: AbortController | undefined
  #timer: Timer | undefined
  #newest: { readonly value: T; readonly atMs: number } | undefined
  #failures = 0
  #error: unknown

  constructor(options: SlowProbeOptions<T>) {
    this.#options = options
  }

  /** Asks at once and then again and again; further calls do nothing. */
  start(): void {
    if (this.#running !== undefined) return
    this.#running = new AbortController()
    void this.#turn(this.#running.signal)
  }

  /** The newest answer that is not older than three turns. */
  newest(): { readonly value: T; readonly atMs: number } | undefined {
    const { clock, everyMs } = this.#options
    const newest = this.#newest
    return newest === undefined || clock.monotonic() - newest.atMs > 3 * everyMs ? undefined : newest
  }

  /** What the last turn failed with; undefined while all is well. */
  get error(): unknown {
    return this.#error
  }

  get answered(): boolean {
    return this.#newest !== undefined
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const { clock, everyMs, probe } = this.#options
    try {
      const value = await probe(signal)
      this.#newest = { value, atMs: clock.monotonic() }
      this.#failures = 0
      this.#error = undefined
    } catch (error) {
      this.#failures++
      this.#error = error
    }
    if (signal.aborted) return
    const waitMs = this.#failures >= PATIENCE ? everyMs * 10 : everyMs
    this.#timer = clock.after(waitMs, () => void this.#turn(signal), true)
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel()
    this.#running?.abort()
  }
}
