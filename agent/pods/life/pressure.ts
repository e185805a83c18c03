import { readFileSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import type { NodePressure } from '../../../api/schema/node-conditions.ts'
import type { DiskUse } from '../images/collector.ts'

/** What is left of what pods share. */
export interface NodeSupplies {
  readonly memoryBytes: number
  readonly availableMemoryBytes: number
  readonly disk: DiskUse
  readonly inodes: number
  readonly freeInodes: number
  readonly maxPids: number
  readonly freePids: number
}

export interface Shortage {
  readonly kind: NodePressure
  /** As the kubelet names it: `memory`, `ephemeral-storage`, `inodes`, `pids`. */
  readonly resource: string
  /** `Threshold quantity: 100Mi, available: 12Mi`. */
  readonly words: string
}

/** `memory.available<100Mi, nodefs.available<10%, nodefs.inodesFree<5%` are the kubelet's own defaults; of pids it has none. */
const MIN_MEMORY_BYTES = 100 * 1024 * 1024
const MIN_DISK = 0.1
const MIN_INODES = 0.05
const MIN_PIDS = 0.05
/** A pressure that is over is told so this long after, as the kubelet does: it may be back at once. */
const CALM_MS = 300_000

/** What is short now. Pure. */
export function shortages(now: NodeSupplies): Shortage[] {
  const found: Shortage[] = []
  const look = (kind: NodePressure, resource: string, have: number, least: number, show: (value: number) => string) => {
    if (have >= least) return
    const words = `Threshold quantity: ${show(least)}, available: ${show(have)}`
    found.push({ kind, resource, words })
  }
  look('MemoryPressure', 'memory', now.availableMemoryBytes, Math.min(MIN_MEMORY_BYTES, now.memoryBytes * 0.1), mebi)
  look('DiskPressure', 'ephemeral-storage', now.disk.freeBytes, now.disk.bytes * MIN_DISK, mebi)
  look('DiskPressure', 'inodes', now.freeInodes, now.inodes * MIN_INODES, whole)
  look('PIDPressure', 'pids', now.freePids, now.maxPids * MIN_PIDS, whole)
  return found
}

const mebi = (bytes: number): string => `${Math.floor(bytes / 1024 ** 2)}Mi`
const whole = (value: number): string => String(Math.floor(value))

/** Which pressures are told, with a pause before they are told to be over. */
export class PressureBoard {
  readonly #seen = new Map<NodePressure, { readonly atMs: number; readonly shortage: Shortage }>()

  saw(now: readonly Shortage[], atMs: number): void {
    for (const shortage of now) this.#seen.set(shortage.kind, { atMs, shortage })
    for (const [kind, { atMs: seenMs }] of this.#seen) if (atMs - seenMs > CALM_MS) this.#seen.delete(kind)
  }

  get(kind: NodePressure): Shortage | undefined {
    return this.#seen.get(kind)?.shortage
  }

  get any(): readonly Shortage[] {
    return [...this.#seen.values()].map(({ shortage }) => shortage)
  }
}

/** Reads it from the system; `folder` is on the disk that pods fill. */
export function readSupplies(folder: string, proc = '/proc'): NodeSupplies {
  const { bsize, blocks, bavail, files, ffree } = statfsSync(folder)
  const memory = read(join(proc, 'meminfo'))
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(memory)?.[1] ?? 0)
  // Kernel tasks of all kinds, threads too: what is counted against pid_max.
  const tasks = Number(/\/(\d+)/.exec(read(join(proc, 'loadavg')))?.[1] ?? 0)
  const maxPids = Math.min(
    Number(read(join(proc, 'sys/kernel/pid_max'))) || Number.POSITIVE_INFINITY,
    Number(read(join(proc, 'sys/kernel/threads-max'))) || Number.POSITIVE_INFINITY,
  )
  return {
    memoryBytes: kib('MemTotal') * 1024,
    availableMemoryBytes: kib('MemAvailable') * 1024,
    disk: { bytes: blocks * bsize, freeBytes: bavail * bsize },
    inodes: files,
    freeInodes: ffree,
    maxPids: Number.isFinite(maxPids) ? maxPids : 0,
    freePids: Number.isFinite(maxPids) ? maxPids - tasks : 0,
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
