import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { SluiceError } from '../../../../api/errors.ts'
import type { Tools } from './tools.ts'

/**
 * Enters control groups, then becomes the next program. A fixed text; everything that varies is an argument. The sandbox
 * is inside of its limits from its first instruction on, since the shell turns into it.
 */
const ENTER = `
echo "$1" > /proc/self/oom_score_adj 2>/dev/null
ulimit -c 0
[ "$2" = 0 ] || ulimit -p "$2" 2>/dev/null || ulimit -u "$2"
claim=$3; n=$4; shift 4
while [ "$n" -gt 0 ]; do echo $$ > "$1" || exit 125; shift; n=$((n-1)); done
set -C
[ -z "$claim" ] || : > "$claim" || exit 125
exec "$@"
`

/** What comes before bubblewrap on the way into a sandbox. */
export interface Way {
  /** User outside, who owns the sandbox's namespaces; undefined: the agent's own. */
  readonly hostUser: number | undefined
  /** Groups outside that own the device nodes it was given. */
  readonly groups?: readonly number[]
  /** First process of the sandbox whose network, host name and messages are shared. */
  readonly holderPid: number | undefined
  /** Namespaces of its own that it has, as options of nsenter: those of the machine nobody may enter, nor needs to. */
  readonly namespaces?: readonly string[]
  readonly joinFiles: readonly string[]
  readonly oomScoreAdj: number
  /**
   * A file that whoever goes in makes, once it is in its groups; when it is there already it does not go in. An agent that
   * takes over makes it first, and so can say that what another had begun never will be. Absent: nobody takes over.
   */
  readonly claim?: string
  /** Limit of processes of this user where the kernel has no pids controller. */
  readonly maxProcesses: number | undefined
}

export function wayIn(tools: Tools, way: Way): string[] {
  const { hostUser, groups = [], holderPid, namespaces = [], joinFiles, maxProcesses } = way
  return [
    ...[tools.sh, '-c', ENTER, 'sh', String(way.oomScoreAdj), String(maxProcesses ?? 0)],
    ...[way.claim ?? '', String(joinFiles.length), ...joinFiles],
    // Of all programs that change the user this one begins fastest; its root stays what it is.
    ...(hostUser === undefined
      ? []
      : [
          tools.chroot,
          `--userspec=+${hostUser}:+${hostUser}`,
          `--groups=${groups.map((one) => `+${one}`).join(',')}`,
          '/',
        ]),
    ...(holderPid === undefined
      ? []
      : [tools.nsenter, '-t', String(holderPid), '-U', '--preserve-credentials', ...namespaces, '--']),
  ]
}

/** The agent's own variables are nobody's business. */
export const CLEAN_ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }

/** Numbers of the files that a sandbox is started with, after the three standard ones. */
export const FD = { status: 3, info: 4, args: 5, seccomp: 6, userNamespace: 7, pidNamespace: 8 } as const

export interface Launch {
  readonly command: readonly string[]
  readonly stdio: readonly (number | 'ignore' | 'pipe')[]
}

/** Starts it in a session of its own: what ends the agent does not end it. */
export function launch({ command, stdio }: Launch): ChildProcess {
  const [program, ...args] = command
  return spawn(program!, args, { detached: true, env: CLEAN_ENVIRONMENT, cwd: '/', stdio: [...stdio] })
}

/** Resolves to the number of the sandbox's first process as soon as it is set up. */
export function started(child: ChildProcess, signal: AbortSignal): Promise<number> {
  const info = child.stdio[FD.info] as Readable
  return new Promise((resolve, reject) => {
    let text = ''
    const end = (error: unknown) => {
      signal.removeEventListener('abort', onAbort)
      reject(error)
    }
    const onAbort = () => end(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    info.setEncoding('utf8')
    info.on('data', (part: string) => {
      text += part
      const pid = /"child-pid":\s*(\d+)/.exec(text)?.[1]
      if (pid === undefined) return
      signal.removeEventListener('abort', onAbort)
      resolve(Number(pid))
    })
    info.on('error', end)
    info.on('end', () => end(notStarted('it ended before it was set up')))
    child.once('error', (cause) => end(notStarted(cause.message)))
  })
}

const notStarted = (why: string): SluiceError =>
  new SluiceError('SLUICE_POD_START', `A sandbox did not start: ${why}`, {
    hint: 'Look at the log of the container; `bwrap` says there what it lacks.',
  })

/** An open file with this content that nobody else can open: secrets pass through it. */
export function handedOver(
  folder: string,
  name: string,
  content: string | Buffer,
): Disposable & { readonly fd: number } {
  const path = join(folder, `.sluice-${process.pid}-${name}`)
  writeFileSync(path, content, { mode: 0o600, flag: 'wx' })
  const fd = openSync(path, 'r')
  unlinkSync(path)
  return { fd, [Symbol.dispose]: () => closeSync(fd) }
}

/** Whether what was on its way in will never be there: nobody else made this file before. See `Way.claim`. */
export function claimed(path: string): boolean {
  try {
    closeSync(openSync(path, 'wx', 0o600))
    return true
  } catch {
    return false
  }
}
