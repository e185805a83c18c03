import {
  accessSync,
  appendFileSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Resources, Use } from '../runtime.ts'

/** Period of the processor quota, microseconds; the kernel's default. */
const PERIOD_US = 100_000
const MIN_QUOTA_US = 1000
/** Processes and threads of a container that did not say how many: a fork bomb ends here. */
export const DEFAULT_PIDS = 1024

const V1 = ['cpu', 'cpuacct', 'memory', 'pids', 'freezer', 'cpuset', 'devices', 'blkio', 'systemd'] as const

/**
 * The control groups of this machine, v2, v1, or v1 with an empty v2 beside it. Groups are named as the kubelet names
 * them (`kubepods/podUID/ID`), so that whoever attributes energy or draws graphs by them finds pods.
 */
export class ControlGroups {
  readonly version: 1 | 2 | undefined
  /** Mounted and writable v1 controllers, or the root of v2. */
  readonly #roots: ReadonlyMap<string, string>
  readonly #base: string

  constructor(root = '/sys/fs/cgroup', base = 'kubepods') {
    this.#base = base
    const roots = new Map<string, string>()
    if (existsSync(join(root, 'cgroup.controllers'))) {
      roots.set('unified', root)
      this.version = makeGroup(join(root, base)) ? 2 : undefined
      if (this.version === 2) enable(root, root, join(root, base))
    } else {
      for (const controller of V1) {
        const at = join(root, controller)
        if (existsSync(join(at, 'cgroup.procs')) && makeGroup(join(at, base))) roots.set(controller, at)
      }
      this.version = roots.size === 0 ? undefined : 1
    }
    this.#roots = this.version === undefined ? new Map() : roots
  }

  has(controller: 'cpu' | 'memory' | 'pids' | 'freezer'): boolean {
    if (this.version !== 2) return this.#roots.has(controller)
    if (controller === 'freezer') return true
    return read(join(this.#roots.get('unified')!, this.#base, 'cgroup.controllers'))
      .split(/\s/)
      .includes(controller)
  }

  /** Makes `kubepods/podUID` or a group below it with these limits; an existing one gets them. */
  make(path: string, resources: Resources): void {
    for (const [controller, root] of this.#roots) {
      const at = join(root, this.#base, path)
      mkdirSync(at, { recursive: true })
      if (this.version === 2) enable(root, join(root, this.#base), at)
      // What is empty here would keep every process out.
      if (controller === 'cpuset') inheritCpus(join(root, this.#base), at)
    }
    this.limit(path, resources)
  }

  limit(path: string, resources: Resources): void {
    const { cpuLimitMilli, cpuRequestMilli, memoryLimitBytes, pidsLimit } = resources
    const quotaUs =
      cpuLimitMilli === undefined ? undefined : Math.max(MIN_QUOTA_US, Math.round((cpuLimitMilli * PERIOD_US) / 1000))
    if (this.version === 2) {
      const at = this.#path('unified', path)!
      if (quotaUs !== undefined) put(at, 'cpu.max', `${quotaUs} ${PERIOD_US}`)
      if (cpuRequestMilli !== undefined) put(at, 'cpu.weight', String(weight(cpuRequestMilli)))
      if (memoryLimitBytes !== undefined) {
        put(at, 'memory.max', String(memoryLimitBytes))
        put(at, 'memory.swap.max', '0')
        // All of a container ends when it runs out of memory, not one process of it.
        put(at, 'memory.oom.group', '1')
      }
      if (pidsLimit !== undefined) put(at, 'pids.max', String(pidsLimit))
      return
    }
    if (quotaUs !== undefined) this.#put('cpu', path, 'cpu.cfs_quota_us', String(quotaUs))
    if (cpuRequestMilli !== undefined) this.#put('cpu', path, 'cpu.shares', String(shares(cpuRequestMilli)))
    if (memoryLimitBytes !== undefined) {
      const bytes = String(memoryLimitBytes)
      // Memory with swap may never be less than memory alone, so which comes first depends on which way it goes.
      this.#put('memory', path, 'memory.limit_in_bytes', bytes)
      this.#put('memory', path, 'memory.memsw.limit_in_bytes', bytes)
      this.#put('memory', path, 'memory.limit_in_bytes', bytes)
    }
    if (pidsLimit !== undefined) this.#put('pids', path, 'pids.max', String(pidsLimit))
  }

  /**
   * Says that a process will be put into a group in some milliseconds. The kernel waits for all processors before the first such
   * change (an RCU grace period, 7 to 12 ms; cgroup_threadgroup_rwsem) and is quick with those that follow within about 15 ms;
   * so that wait passes while what is to go in is still being made. Puts this process where it is already, which changes nothing.
   */
  expectChange(): void {
    const controller =
      this.version === 2 ? 'unified' : ['pids', ...this.#roots.keys()].find((one) => this.#roots.has(one))
    const root = controller === undefined ? undefined : this.#roots.get(controller)
    const own = root === undefined ? undefined : ownGroup(controller!)
    if (own === undefined) return
    // Where that cannot be (a group that is named from outside of a box), it is only slower.
    writeFile(join(root!, own, 'cgroup.procs'), String(process.pid), { flag: 'r+' }).catch(() => undefined)
  }

  /** Files a process writes its number into, to be inside from its first instruction on. */
  joinFiles(path: string): string[] {
    return [...this.#roots.keys()].map((controller) => join(this.#path(controller, path)!, 'cgroup.procs'))
  }

  processes(path: string): number[] {
    const controller = this.version === 2 ? 'unified' : [...this.#roots.keys()][0]
    const at = controller === undefined ? undefined : this.#path(controller, path)
    return at === undefined ? [] : lines(join(at, 'cgroup.procs')).map(Number)
  }

  /** How often the kernel ended something here because its memory was used up. */
  oomKills(path: string): number {
    const at = this.#path(this.version === 2 ? 'unified' : 'memory', path)
    if (at === undefined) return 0
    const text = read(join(at, this.version === 2 ? 'memory.events' : 'memory.oom_control'))
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0)
  }

  freeze(path: string, frozen: boolean): void {
    if (this.version === 2) put(this.#path('unified', path)!, 'cgroup.freeze', frozen ? '1' : '0')
    else this.#put('freezer', path, 'freezer.state', frozen ? 'FROZEN' : 'THAWED')
  }

  use(path: string): Use {
    const pidsAt = this.#path(this.version === 2 ? 'unified' : 'pids', path)
    const pids = pidsAt === undefined ? Number.NaN : Number(read(join(pidsAt, 'pids.current')) || Number.NaN)
    const withPids = Number.isFinite(pids) ? { pids } : {}
    if (this.version === 2) {
      const at = this.#path('unified', path)!
      const cpu = Number(/^usage_usec (\d+)/m.exec(read(join(at, 'cpu.stat')))?.[1] ?? 0) / 1e6
      const inactive = Number(/^inactive_file (\d+)/m.exec(read(join(at, 'memory.stat')))?.[1] ?? 0)
      return { cpuS: cpu, memoryBytes: Math.max(0, Number(read(join(at, 'memory.current'))) - inactive), ...withPids }
    }
    const [cpuAt, memoryAt] = [this.#path('cpuacct', path), this.#path('memory', path)]
    const used = memoryAt === undefined ? 0 : Number(read(join(memoryAt, 'memory.usage_in_bytes')))
    const stat = memoryAt === undefined ? '' : read(join(memoryAt, 'memory.stat'))
    const inactive = Number(/^total_inactive_file (\d+)/m.exec(stat)?.[1] ?? 0)
    const cpuS = cpuAt === undefined ? 0 : Number(read(join(cpuAt, 'cpuacct.usage'))) / 1e9
    return { cpuS, memoryBytes: Math.max(0, used - inactive), ...withPids }
  }

  /** Removes an empty group and what is below it; one that is still in use stays. Whether nothing of it is left. */
  remove(path: string): boolean {
    const at = [...this.#roots.keys()].map((controller) => this.#path(controller, path)!)
    for (const each of at) removeTree(each)
    return !at.some((each) => existsSync(each))
  }

  #path(controller: string, path: string): string | undefined {
    const root = this.#roots.get(controller)
    return root === undefined ? undefined : join(root, this.#base, path)
  }

  #put(controller: string, path: string, file: string, value: string): void {
    const at = this.#path(controller, path)
    if (at !== undefined) put(at, file, value)
  }
}

/** As the kubelet computes it: 1024 shares a processor, 2 at least. */
const shares = (milli: number): number => Math.max(2, Math.min(262_144, Math.round((milli * 1024) / 1000)))
/** The kubelet's mapping of shares to weights. */
const weight = (milli: number): number => 1 + Math.floor(((shares(milli) - 2) * 9999) / 262_142)

/** Whether groups can be made in it: another user's, whose agent ran here before, are not ours to add to. */
function makeGroup(path: string): boolean {
  try {
    mkdirSync(path, { recursive: true })
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Group of this process (cgroups(7), `/proc/PID/cgroup`): `hierarchy:controllers:path`. */
function ownGroup(controller: string): string | undefined {
  const wanted = controller === 'unified' ? '' : controller === 'systemd' ? 'name=systemd' : controller
  const fields = lines('/proc/self/cgroup').map((line) => line.split(':'))
  return fields
    .find(([, names = '']) => names.split(',').includes(wanted))
    ?.slice(2)
    .join(':')
}

/** Hands controllers down from `from` to the parent of `to`. */
function enable(root: string, from: string, to: string): void {
  const wanted = ['cpu', 'memory', 'pids', 'io']
  const there = new Set(read(join(root, 'cgroup.controllers')).split(/\s/))
  const text = wanted
    .filter((name) => there.has(name))
    .map((name) => `+${name}`)
    .join(' ')
  const parents: string[] = []
  for (let at = dirname(to); at.length >= from.length; at = dirname(at)) parents.unshift(at)
  for (const at of parents) put(at, 'cgroup.subtree_control', text)
}

function inheritCpus(base: string, at: string): void {
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    const outer = dirname(base)
    const value = read(join(outer, file)).trim()
    const steps = at
      .slice(base.length)
      .split('/')
      .filter((part) => part !== '')
    let path = base
    for (const step of ['', ...steps]) {
      path = step === '' ? path : join(path, step)
      if (read(join(path, file)).trim() === '') put(path, file, value)
    }
  }
}

function removeTree(path: string): void {
  if (!existsSync(path)) return
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(path, entry.name))
  }
  try {
    rmdirSync(path)
  } catch {
    // A process is on its way out.
  }
}

/** Kernels lack files (swap accounting, a controller that was not handed down): a limit that cannot be set is not set. */
function put(at: string, file: string, value: string): void {
  const path = join(at, file)
  if (!existsSync(path)) return
  try {
    if (file === 'cgroup.subtree_control') appendFileSync(path, value)
    else writeFileSync(path, value)
  } catch (error) {
    if (!['EBUSY', 'EINVAL', 'EACCES', 'EPERM', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? ''))
      throw error
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

const lines = (path: string): string[] =>
  read(path)
    .split('\n')
    .filter((line) => line !== '')
