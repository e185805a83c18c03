import { readFile } from 'node:fs/promises'
import { delay, systemClock } from '../../api/clock.ts'
import type { GatewayStats, PodUse, UseNow } from '../../api/link/pod-streams.ts'
import type { Json } from '../../api/resources.ts'
import type { SandboxStats, Use } from '../pods/runtimes/runtime.ts'
import type { Runtimes } from './pod-lookup.ts'

/** Readings this near to each other say little of a rate; the one before them is compared with. */
const MIN_APART_MS = 1000
/** A rate over more than this says little of now. */
const MAX_APART_MS = 60_000
/** All of it, for all who wait for it. */
const READ_MS = 5000
const TICKS_PER_S = 100

interface Counter {
  readonly atMs: number
  readonly cpuS: number
  readonly cores: number | undefined
}

/** What the gateway and its pods use, with rates between one reading and the next. */
export class PodStats {
  readonly #runtimes: Runtimes
  #counters = new Map<string, Counter>()
  #reading: Promise<GatewayStats> | undefined
  #readMs = Number.NEGATIVE_INFINITY

  constructor(runtimes: Runtimes) {
    this.#runtimes = runtimes
  }

  /** One reading at a time: who asks meanwhile shares it. */
  async read(): Promise<Json> {
    this.#reading ??= this.#rates(AbortSignal.timeout(READ_MS)).finally(() => {
      this.#reading = undefined
    })
    const told: unknown = await this.#reading
    return told as Json
  }

  /** The first of a time takes two readings: who asks wants a rate, not to be told to ask again. */
  async #rates(signal: AbortSignal): Promise<GatewayStats> {
    if (performance.now() - this.#readMs > MAX_APART_MS) {
      this.#counters.clear()
      await this.#read(signal)
      await delay(systemClock, MIN_APART_MS, signal)
    }
    const stats = await this.#read(signal)
    this.#readMs = performance.now()
    return stats
  }

  async #read(signal: AbortSignal): Promise<GatewayStats> {
    const next = new Map<string, Counter>()
    const pods: PodUse[] = []
    const node = this.#rated('node', await machineUse(), next)
    for (const runtime of await this.#runtimes()) {
      const names = new Map((await runtime.list(signal)).map((sandbox) => [sandbox.id, sandbox]))
      for (const stats of await runtime.stats(signal)) {
        const sandbox = names.get(stats.id)
        if (sandbox !== undefined) pods.push(this.#pod(stats, sandbox, next))
      }
    }
    this.#counters = next
    return { atMs: Date.now(), node, pods }
  }

  #pod(
    stats: SandboxStats,
    { namespace, name }: { namespace: string; name: string },
    next: Map<string, Counter>,
  ): PodUse {
    const containers = stats.containers.map(({ id, name, startedMs, ...use }) => ({
      name,
      ...this.#rated(id, use, next),
      startedMs,
    }))
    const startedMs = Math.min(...stats.containers.map((each) => each.startedMs))
    return {
      ...{ namespace, name, uid: stats.podUid, containers },
      ...this.#rated(stats.id, stats, next),
      ...(Number.isFinite(startedMs) ? { startedMs } : {}),
    }
  }

  #rated(id: string, { cpuS, memoryBytes }: Use, next: Map<string, Counter>): UseNow {
    const atMs = performance.now()
    const before = this.#counters.get(id)
    let counter: Counter = { atMs, cpuS, cores: undefined }
    if (before !== undefined) {
      const apartMs = atMs - before.atMs
      counter =
        apartMs < MIN_APART_MS ? before : { atMs, cpuS, cores: Math.max(0, (cpuS - before.cpuS) / (apartMs / 1000)) }
    }
    next.set(id, counter)
    return { cpuS, memoryBytes, ...(counter.cores === undefined ? {} : { cpuCores: counter.cores }) }
  }
}

/** Of the whole machine, from /proc: time not idle, and memory that is not available. */
async function machineUse(): Promise<Use> {
  const [stat, memory] = await Promise.all([readFile('/proc/stat', 'utf8'), readFile('/proc/meminfo', 'utf8')])
  const [, ...ticks] = stat.slice(0, stat.indexOf('\n')).trim().split(/\s+/).map(Number)
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = ticks
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(memory)?.[1] ?? 0)
  return {
    cpuS: (user + nice + system + irq + softirq + steal) / TICKS_PER_S,
    memoryBytes: (kib('MemTotal') - kib('MemAvailable')) * 1024,
  }
}
