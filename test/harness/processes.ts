import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export interface StartedProcess extends AsyncDisposable {
  readonly pid: number
  /** The JSON object of the line `{"event":"ready",...}`. */
  readonly ready: Readonly<Record<string, unknown>>
  /** Everything the process wrote to stderr so far (the last 256 KiB). */
  log(): string
  /** Resolves with the exit code, or the signal's name. */
  readonly ended: Promise<number | string>
  /** `kill -9`: resolves when the process is gone. */
  kill(): Promise<void>
  /** SIGTERM: resolves with the exit code. */
  stop(): Promise<number | string>
}

const MAX_LOG_BYTES = 256 * 1024
/** A part that loses its standard input ends: whatever happens to the tests, nothing is left behind. */
const END_WITH_PARENT =
  "data:text/javascript,import{isMainThread}from'node:worker_threads';isMainThread&&process.stdin.once('close',()=>process.kill(process.pid,'SIGKILL')).resume()"

/**
 * Starts one of our own programs with the Node that runs the tests and waits until it says that it is ready.
 * Rejects with its log when it ends before.
 */
export async function startProcess(
  file: string,
  argv: readonly string[],
  options: {
    readonly env?: NodeJS.ProcessEnv
    readonly nodeFlags?: readonly string[]
    /** Command line to put before it, such as `['prlimit', '--fsize=1000000']`. */
    readonly wrapper?: readonly string[]
  } = {},
): Promise<StartedProcess> {
  const flags = ['--import', END_WITH_PARENT, ...(options.nodeFlags ?? [])]
  const [command, ...rest] = [...(options.wrapper ?? []), process.execPath, ...flags, file, ...argv]
  const child = spawn(command!, rest, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...options.env } })
  child.stdin.on('error', () => {})
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log = (log + text).slice(-MAX_LOG_BYTES)
  })
  const ended = exit(child)
  const ready = await Promise.race([
    firstReadyLine(child),
    ended.then((end) => Promise.reject(new Error(`${file} ended with ${end} before it was ready:\n${log}`))),
  ])
  const kill = async () => {
    child.kill('SIGKILL')
    await ended
  }
  return {
    pid: child.pid!,
    ready,
    log: () => log,
    ended,
    kill,
    stop() {
      child.kill('SIGTERM')
      return ended
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) await kill()
    },
  }
}

async function exit(child: ChildProcess): Promise<number | string> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  return code ?? signal ?? 'unknown'
}

async function firstReadyLine(child: ChildProcess): Promise<Readonly<Record<string, unknown>>> {
  for await (const line of createInterface({ input: child.stdout! })) {
    if (!line.startsWith('{')) continue
    const value: unknown = JSON.parse(line)
    if (typeof value === 'object' && value !== null && 'event' in value && value.event === 'ready') {
      child.stdout!.resume()
      return { ...value }
    }
  }
  // The process is about to end: that is told with its log.
  return new Promise(() => {})
}
