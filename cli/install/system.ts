import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../api/clock.ts'

/** The machine that is installed on; tests bring a folder and a record of commands. */
export interface System {
  /** Prefix of every path; `/` for the machine itself. */
  readonly root: string
  /** Whether systemd is in charge of this very machine, so that services can be started. */
  readonly booted: boolean
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Exit code and what was said; a program that cannot be started is code 127. */
  run(argv: readonly string[]): Promise<{ code: number; text: string }>
  /** Changes the owner; without effect where this user may not. */
  chown(path: string, uid: number, gid: number): void
  /** Whether the agent answers on its socket. */
  answers(): Promise<boolean>
}

export const below = (system: Pick<System, 'root'>, path: string): string => join(system.root, path)

const RUN_TIMEOUT_MS = 60_000

export const runProgram = (argv: readonly string[], signal: AbortSignal): Promise<{ code: number; text: string }> =>
  new Promise((resolve) => {
    const [command = '', ...args] = argv
    execFile(command, args, { signal, timeout: RUN_TIMEOUT_MS }, (error, stdout, stderr) => {
      const text = `${stdout}${stderr}`.trim().slice(0, 1000)
      if (error === null) resolve({ code: 0, text })
      else
        resolve({ code: typeof error.code === 'number' ? error.code : 127, text: text === '' ? error.message : text })
    })
  })

export interface Account {
  readonly uid: number
  readonly gid: number
}

/** Of the root's own /etc/passwd: that of this machine means nothing there. */
export function accountOf(system: System, user: string): Account | undefined {
  const line = lines(system, '/etc/passwd').find((each) => each.startsWith(`${user}:`))
  const [, , uid, gid] = line?.split(':') ?? []
  return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) }
}

/** Members of a group, or undefined where there is no such group. */
export function membersOf(system: System, group: string): readonly string[] | undefined {
  const line = lines(system, '/etc/group').find((each) => each.startsWith(`${group}:`))
  return line
    ?.split(':')[3]
    ?.split(',')
    .filter((name) => name !== '')
}

function lines(system: System, path: string): readonly string[] {
  try {
    return readFileSync(below(system, path), 'utf8').split('\n')
  } catch {
    return []
  }
}
