import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { namesIn, textOf } from './folder.ts'
import { KeptFile } from './kept-file.ts'
import type { Roots } from './source.ts'

const MAX_GROUPS = 512
const MAX_CONTAINERS = 16
const SLOW_MS = 10_000
/** Folders of a pod are listed when their number has changed or one has gone, and at least this often. */
const LIST_MS = 60_000

export interface GroupUse {
  /** `pod`: a Kubernetes pod or a container of podman or docker; `slice`: any other group at the top. */
  readonly kind: 'pod' | 'slice'
  /** The pod's UID, the container's id, or the slice's name. */
  readonly id: string
  /** Path below the hierarchy's root: `kubepods/burstable/pod…`. */
  readonly path: string
  /** Since the reading before, seconds. */
  readonly cpuS: number
  readonly memoryBytes: number | undefined
  /** Bytes a second from and to disks. */
  readonly storageBps: number | undefined
  readonly containers: readonly { readonly id: string; readonly cpuS: number }[]
}

interface Hierarchy {
  readonly version: 1 | 2
  readonly cpu: string
  readonly memory: string | undefined
  readonly blkio: string | undefined
}

interface Group {
  readonly kind: GroupUse['kind']
  readonly id: string
  readonly path: string
  readonly cpu: CpuCounter
  readonly memory: KeptFile | undefined
  readonly storage: KeptFile | undefined
  readonly containers: Map<string, CpuCounter>
  memoryBytes: number | undefined
  storageBps: number | undefined
  lastStorage: { readonly bytes: number; readonly atMs: number } | undefined
  /** When memory and disk traffic were read, which change slowly and weigh little. */
  slowMs: number
  /** What the pod's folder looked like when its containers were listed, and when; empty to list them at the next look. */
  shape: string
  listedMs: number
}

const KUBEPODS = /^kubepods(\.slice)?$/
const POD = /^(?:kubepods(?:-besteffort|-burstable)?-)?pod([0-9a-f][0-9a-f_-]{7,63})(?:\.slice)?$/
const QOS = /^(kubepods-)?(besteffort|burstable)(\.slice)?$/
/** Containers outside of Kubernetes: podman's and docker's scopes. `conmon` scopes are their supervisors. */
const CONTAINER = /^(?:libpod|docker|crio|cri-containerd|nerdctl)-([0-9a-f]{12,64})(?:\.scope)?$/
const PLAIN_ID = /^[0-9a-f]{64}$/

/** Processor time, memory and disk traffic of pods and slices, from cgroup v2, v1, or both mounted side by side. */
export class Cgroups implements Disposable {
  readonly #root: string
  #hierarchy: Hierarchy | undefined
  readonly #groups = new Map<string, Group>()
  #scanned = false

  constructor({ sysRoot }: Roots) {
    this.#root = join(sysRoot, 'fs/cgroup')
  }

  /** Why nothing is read; undefined while there is something. */
  get problem(): string | undefined {
    return this.#hierarchy === undefined ? `${this.#root} has no control groups this user can read` : undefined
  }

  /** Where `cgroup.procs` of a group may be found. */
  get roots(): readonly string[] {
    return this.#hierarchy === undefined ? [] : [this.#hierarchy.cpu]
  }

  /** Path of the group this process is in, below the same root as `GroupUse.path`; undefined when unknown. */
  ownPath(procRoot: string): string | undefined {
    const lines = textOf(join(procRoot, 'self/cgroup'))?.split('\n') ?? []
    const wanted = this.#hierarchy?.version === 1 ? /^\d+:(?:[\w=,]+,)?cpuacct(?:,[\w=,]+)?:\/(.*)$/ : /^0::\/(.*)$/
    return lines.map((line) => wanted.exec(line)?.[1]).find((path) => path !== undefined)
  }

  /** Looks for groups that came and forgets those that went. */
  discover(nowMs: number): void {
    this.#hierarchy ??= findHierarchy(this.#root)
    const hierarchy = this.#hierarchy
    if (hierarchy === undefined) return
    const found = findGroups(hierarchy.cpu).slice(0, MAX_GROUPS)
    const paths = new Set(found.map(({ path }) => path))
    for (const [path, group] of this.#groups) if (!paths.has(path)) this.#forget(path, group)
    for (const { kind, id, path } of found) {
      let group = this.#groups.get(path)
      if (group === undefined) {
        group = openGroup(hierarchy, kind, id, path, this.#scanned)
        this.#groups.set(path, group)
      }
      if (kind === 'pod') this.#containers(hierarchy, group, nowMs)
    }
    this.#scanned = true
  }

  #containers(hierarchy: Hierarchy, group: Group, nowMs: number): void {
    const folder = `${hierarchy.cpu}/${group.path}`
    const shape = shapeOf(folder)
    // A pod's own folder has sixty files, of which none is a container.
    if (shape !== '' && shape === group.shape && nowMs - group.listedMs < LIST_MS) return
    group.shape = shape
    group.listedMs = nowMs
    const names = namesIn(folder)
    const ids = new Map<string, string>()
    for (const name of names) {
      const id = CONTAINER.exec(name)?.[1] ?? (PLAIN_ID.test(name) ? name : undefined)
      if (id !== undefined && ids.size < MAX_CONTAINERS) ids.set(id, name)
    }
    for (const [id, counter] of group.containers) {
      if (ids.has(id)) continue
      counter[Symbol.dispose]()
      group.containers.delete(id)
    }
    for (const [id, name] of ids) {
      if (!group.containers.has(id))
        group.containers.set(id, cpuCounter(hierarchy, `${group.path}/${name}`, this.#scanned))
    }
  }

  #forget(path: string, group: Group): void {
    closeGroup(group)
    this.#groups.delete(path)
  }

  read(nowMs: number): GroupUse[] {
    const uses: GroupUse[] = []
    for (const group of this.#groups.values()) {
      const cpuS = group.cpu.advance(nowMs)
      if (cpuS === undefined) continue
      if (nowMs - group.slowMs >= SLOW_MS) readSlow(group, nowMs)
      uses.push({
        kind: group.kind,
        id: group.id,
        path: group.path,
        cpuS,
        memoryBytes: group.memoryBytes,
        storageBps: group.storageBps,
        containers: containersOf(group, nowMs),
      })
    }
    return outermostOnly(uses)
  }

  [Symbol.dispose](): void {
    for (const [path, group] of this.#groups) this.#forget(path, group)
  }
}

function containersOf(group: Group, nowMs: number): { id: string; cpuS: number }[] {
  const uses: { id: string; cpuS: number }[] = []
  for (const [id, counter] of group.containers) {
    const cpuS = counter.advance(nowMs)
    // One that has ended may have been followed by another, and the number of folders be the same.
    if (cpuS === undefined) group.shape = ''
    uses.push({ id, cpuS: cpuS ?? 0 })
  }
  return uses
}

/** Each folder inside is one more link; where a file system does not count them, the time of change tells. */
function shapeOf(folder: string): string {
  const stat = statSync(folder, { throwIfNoEntry: false })
  return stat === undefined ? '' : `${stat.nlink} ${stat.mtimeMs}`
}

/** Processor time of one group, as differences. */
class CpuCounter implements Disposable {
  readonly #file: KeptFile
  readonly #version: 1 | 2
  #lastS: number | undefined

  /** `fresh`: the group began after the first look, so all it used is new. */
  constructor(file: KeptFile, version: 1 | 2, fresh: boolean) {
    this.#file = file
    this.#version = version
    this.#lastS = fresh ? 0 : undefined
  }

  advance(nowMs: number): number | undefined {
    const totalS = this.#total(nowMs)
    if (totalS === undefined) return undefined
    const last = this.#lastS
    this.#lastS = totalS
    return last === undefined ? 0 : Math.max(0, totalS - last)
  }

  #total(nowMs: number): number | undefined {
    if (this.#version === 1) {
      const nanoseconds = this.#file.readDecimal(nowMs)
      return nanoseconds === undefined ? undefined : nanoseconds / 1e9
    }
    const microseconds = this.#file.readLabelled('usage_usec ', nowMs)
    return microseconds === undefined ? undefined : microseconds / 1e6
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]()
  }
}

function findHierarchy(root: string): Hierarchy | undefined {
  if (existsSync(join(root, 'cgroup.controllers'))) return { version: 2, cpu: root, memory: root, blkio: root }
  const controller = (...names: string[]) => names.map((name) => join(root, name)).find((path) => existsSync(path))
  const cpu = [join(root, 'cpuacct'), join(root, 'cpu,cpuacct')].find((path) => existsSync(join(path, 'cpuacct.usage')))
  if (cpu !== undefined) return { version: 1, cpu, memory: controller('memory'), blkio: controller('blkio') }
  const unified = join(root, 'unified')
  const readable = existsSync(join(unified, 'cgroup.controllers'))
  return readable ? { version: 2, cpu: unified, memory: undefined, blkio: undefined } : undefined
}

interface FoundGroup {
  readonly kind: GroupUse['kind']
  readonly id: string
  readonly path: string
}

function findGroups(root: string): FoundGroup[] {
  const found: FoundGroup[] = []
  for (const top of foldersIn(root, '')) {
    if (KUBEPODS.test(top)) {
      found.push(...podsIn(root, top))
      for (const middle of foldersIn(root, top)) if (QOS.test(middle)) found.push(...podsIn(root, `${top}/${middle}`))
    } else if (CONTAINER.test(top) || top === 'docker' || top === 'libpod_parent') {
      found.push(...(CONTAINER.test(top) ? [containerAt(top)] : containersIn(root, top)))
    } else {
      found.push({ kind: 'slice', id: top, path: top })
      if (top === 'system.slice' || top === 'machine.slice' || top === 'user.slice')
        found.push(...containersIn(root, top))
    }
  }
  return found
}

const foldersIn = (root: string, path: string): string[] =>
  // Every other file of a group has a dot after its controller's name: `cpu.stat`, `cgroup.procs`, `memory.max`.
  namesIn(`${root}/${path}`).filter((name) => !isControlFile(name))

const isControlFile = (name: string): boolean =>
  /^(cgroup|cpu|cpuacct|cpuset|memory|io|blkio|pids|rdma|misc|hugetlb|irq|net_cls|net_prio|devices|freezer|perf_event|dmem|bpf)\./.test(
    name,
  ) || ['tasks', 'notify_on_release', 'release_agent'].includes(name)

function podsIn(root: string, path: string): FoundGroup[] {
  return foldersIn(root, path).flatMap((name) => {
    const uid = POD.exec(name)?.[1]
    return uid === undefined ? [] : [{ kind: 'pod', id: uid.replaceAll('_', '-'), path: `${path}/${name}` }]
  })
}

function containersIn(root: string, path: string): FoundGroup[] {
  return foldersIn(root, path).flatMap((name) =>
    CONTAINER.test(name) || (path === 'docker' && PLAIN_ID.test(name)) ? [containerAt(`${path}/${name}`)] : [],
  )
}

function containerAt(path: string): FoundGroup {
  const name = path.slice(path.lastIndexOf('/') + 1)
  return { kind: 'pod', id: CONTAINER.exec(name)?.[1] ?? name, path }
}

function cpuCounter({ version, cpu }: Hierarchy, path: string, fresh: boolean): CpuCounter {
  return new CpuCounter(new KeptFile(`${cpu}/${path}/${version === 1 ? 'cpuacct.usage' : 'cpu.stat'}`), version, fresh)
}

function openGroup(hierarchy: Hierarchy, kind: GroupUse['kind'], id: string, path: string, fresh: boolean): Group {
  const { version, memory, blkio } = hierarchy
  const at = (root: string | undefined, file: string) =>
    root !== undefined && existsSync(`${root}/${path}/${file}`) ? new KeptFile(`${root}/${path}/${file}`) : undefined
  return {
    kind,
    id,
    path,
    cpu: cpuCounter(hierarchy, path, fresh),
    memory: at(memory, version === 1 ? 'memory.usage_in_bytes' : 'memory.current'),
    storage: at(blkio, version === 1 ? 'blkio.throttle.io_service_bytes' : 'io.stat'),
    containers: new Map(),
    memoryBytes: undefined,
    storageBps: undefined,
    lastStorage: undefined,
    slowMs: Number.NEGATIVE_INFINITY,
    shape: '',
    listedMs: Number.NEGATIVE_INFINITY,
  }
}

function closeGroup({ cpu, memory, storage, containers }: Group): void {
  cpu[Symbol.dispose]()
  memory?.[Symbol.dispose]()
  storage?.[Symbol.dispose]()
  for (const counter of containers.values()) counter[Symbol.dispose]()
}

/** Of disks v1 ends with `Total 1234`; v2 has `8:0 rbytes=1 wbytes=2 …` a device. */
function readSlow(group: Group, nowMs: number): void {
  group.slowMs = nowMs
  group.memoryBytes = group.memory?.readInteger(nowMs)
  const text = group.storage?.readText(nowMs)
  if (text === undefined) return
  let bytes = Number(/^Total (\d+)/m.exec(text)?.[1] ?? 0)
  for (const [, moved] of text.matchAll(/\b[rw]bytes=(\d+)/g)) bytes += Number(moved)
  const last = group.lastStorage
  group.lastStorage = { bytes, atMs: nowMs }
  group.storageBps = last === undefined ? 0 : (Math.max(0, bytes - last.bytes) * 1000) / (nowMs - last.atMs)
}

/** A container inside of a slice is counted for itself, and taken out of the slice. */
function outermostOnly(uses: readonly GroupUse[]): GroupUse[] {
  return uses.map((use) => {
    if (use.kind !== 'slice') return use
    const inside = uses.filter(({ kind, path }) => kind === 'pod' && path.startsWith(`${use.path}/`))
    return inside.length === 0 ? use : without(use, inside)
  })
}

function without(use: GroupUse, inside: readonly GroupUse[]): GroupUse {
  const less = (value: number | undefined, part: (group: GroupUse) => number | undefined) =>
    value === undefined ? undefined : Math.max(0, value - inside.reduce((sum, group) => sum + (part(group) ?? 0), 0))
  return {
    ...use,
    cpuS: less(use.cpuS, ({ cpuS }) => cpuS) ?? 0,
    memoryBytes: less(use.memoryBytes, ({ memoryBytes }) => memoryBytes),
    storageBps: less(use.storageBps, ({ storageBps }) => storageBps),
  }
}
