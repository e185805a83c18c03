import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly child: ChildProcess
  readonly finished: Promise<Finished>
  /** Resolves as soon as what was printed so far contains the text; rejects when the process ends without it. */
  printed(text: string): Promise<void>
}

export const repository = fileURLToPath(new URL('../..', import.meta.url))

/** Starts the real command from its sources, in a process of its own. */
export function startSluice(
  args: readonly string[],
  options: { input?: string; env?: NodeJS.ProcessEnv } = {},
): Running {
  const child = spawn(process.execPath, [`${repository}cli/main.ts`, ...args], {
    cwd: repository,
    env: { ...process.env, NO_COLOR: '1', ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  const waiting: { text: string; resolve: () => void; reject: (error: Error) => void }[] = []
  const look = () => {
    for (const each of waiting) if (`${stdout}${stderr}`.includes(each.text)) each.resolve()
  }
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk
    look()
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk
    look()
  })
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      for (const each of waiting) each.reject(new Error(`ended without '${each.text}': ${stdout}${stderr}`))
      resolve({ code, stdout, stderr })
    })
  })
  const printed = (text: string) =>
    new Promise<void>((resolve, reject) => {
      waiting.push({ text, resolve, reject })
      look()
    })
  return { child, finished, printed }
}

export const runSluice = (...args: string[]): Promise<Finished> => startSluice(args).finished
