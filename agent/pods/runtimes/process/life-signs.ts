import { readdirSync, readFileSync, statSync } from 'node:fs'
import { constants } from 'node:os'

/** A process that cannot be taken for a later one with the same number. */
export interface ProcessMark {
  readonly pid: number
  /** Since the machine started, in clock ticks (proc(5), `stat` field 22). */
  readonly startTicks: number
  readonly boot: string
}

let bootId: string | undefined

const boot = (): string => {
  bootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  return bootId
}

/** The mark of a process that runs now; undefined when there is none. */
export function markOf(pid: number): ProcessMark | undefined {
  const stat = readStat(pid)
  return stat === undefined ? undefined : { pid, startTicks: stat.startTicks, boot: boot() }
}

export function isAlive(mark: ProcessMark): boolean {
  if (mark.boot !== boot()) return false
  const stat = readStat(mark.pid)
  return stat !== undefined && stat.startTicks === mark.startTicks && stat.state !== 'Z' && stat.state !== 'X'
}

/** Sends a signal to that process and to no other; whether it was there. */
export function signalProcess(mark: ProcessMark, signal: NodeJS.Signals): boolean {
  if (!isAlive(mark)) return false
  try {
    process.kill(mark.pid, signal)
    return true
  } catch {
    return false
  }
}

/** Ends whatever has this number now; for what was just read from a group. */
export function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

/** What a process would do with a signal (proc(5), `status`): as the kernel does by itself, or something of its own. */
export function takesSignal(pid: number, signal: NodeJS.Signals): boolean {
  const bit = 1n << BigInt((constants.signals[signal] ?? constants.signals.SIGTERM) - 1)
  try {
    const text = readFileSync(`/proc/${pid}/status`, 'latin1')
    const mask = (name: string) => BigInt(`0x${new RegExp(`^${name}:\\s+([0-9a-f]+)`, 'm').exec(text)?.[1] ?? '0'}`)
    return ((mask('SigCgt') | mask('SigIgn') | mask('SigBlk')) & bit) !== 0n
  } catch {
    return true
  }
}

/** Whether a process has become another program than that; false while nobody can say. */
export function hasLeft(pid: number, program: string): boolean {
  try {
    // By what it is and not by its path: that is another one where its files are others.
    const [now, before] = [statSync(`/proc/${pid}/exe`), statSync(program)]
    return now.ino !== before.ino || now.dev !== before.dev
  } catch {
    return false
  }
}

export const parentOf = (pid: number): number | undefined => readStat(pid)?.parent

/** What the first process of a container started: the program itself. */
export function childrenOf(pid: number): number[] {
  try {
    return numbers(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'))
  } catch {
    // Kernels without CONFIG_PROC_CHILDREN.
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && readStat(Number(name))?.parent === pid)
      .map(Number)
  }
}

const numbers = (text: string): number[] =>
  text
    .split(/\s+/)
    .filter((word) => word !== '')
    .map(Number)

function readStat(pid: number): { state: string; parent: number; startTicks: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name in brackets may hold anything, also brackets.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0] ?? '', parent: Number(fields[1]), startTicks: Number(fields[19]) }
  } catch {
    return undefined
  }
}
