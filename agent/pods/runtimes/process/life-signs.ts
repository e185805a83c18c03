import { readdirSync, readFileSync } from 'node:fs'

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
