import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { SluiceError } from '../../api/errors.ts'

/** A process that never outlives this one, however this one ends. */
export interface OwnedChild extends AsyncDisposable {
  readonly pid: number
  readonly exited: Promise<void>
  /** The last it said on standard error. */
  said(): string
  kill(): Promise<void>
}

const setpriv = '/usr/bin/setpriv'
const owned = new Set<ChildProcess>()

process.once('exit', () => {
  for (const child of owned) child.kill('SIGKILL')
})

/** Starts a program; the kernel kills it when this process is gone, a crash included. Linux with util-linux. */
export function startOwned(program: string, args: readonly string[]): OwnedChild {
  const bound = available(setpriv) ? [setpriv, '--pdeathsig', 'KILL', '--', program] : [program]
  const child = spawn(bound[0]!, [...bound.slice(1), ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
  if (child.pid === undefined) {
    throw new SluiceError('SLUICE_HIL_RIG_FAILED', `cannot start ${program}`, { hint: 'Is it installed?' })
  }
  owned.add(child)
  let tail = ''
  child.stderr.on('data', (chunk: Buffer) => void (tail = `${tail}${chunk.toString()}`.slice(-2000)))
  const exited = once(child, 'exit').then(() => void owned.delete(child))
  const kill = async () => {
    child.kill('SIGKILL')
    await exited
  }
  return { pid: child.pid, exited, said: () => tail, kill, [Symbol.asyncDispose]: kill }
}

function available(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
