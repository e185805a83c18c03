import { existsSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { GroupUse } from './cgroups.ts'
import { textOf } from './folder.ts'
import type { Roots } from './source.ts'

const EVERY_MS = 10_000
const MAX_PODS = 256

/**
 * Bytes that pods moved, read in the network namespace of one of their processes. Three files a pod, so every 10 s and
 * given as a rate meanwhile. A pod on the host's network has no traffic of its own that could be told apart.
 */
export class PodNetwork {
  readonly #roots: Roots
  readonly #totals = new Map<string, { readonly bytes: number; readonly atMs: number }>()
  readonly #rates = new Map<string, number>()
  #readMs = Number.NEGATIVE_INFINITY

  constructor(roots: Roots) {
    this.#roots = roots
  }

  /** Bytes a second of each pod, by its path; `cgroupRoot` is where `cgroup.procs` files are. */
  rates(pods: readonly GroupUse[], cgroupRoots: readonly string[], nowMs: number): ReadonlyMap<string, number> {
    if (nowMs - this.#readMs < EVERY_MS) return this.#rates
    this.#readMs = nowMs
    this.#rates.clear()
    const host = namespaceOf(this.#roots.procRoot, 'self')
    const seen = new Set<string>()
    for (const { path, containers, id } of pods.slice(0, MAX_PODS)) {
      const bytes =
        host === undefined ? undefined : this.#bytes(path, [...containers.map((c) => c.id), id], cgroupRoots, host)
      if (bytes === undefined) continue
      seen.add(path)
      const last = this.#totals.get(path)
      if (last !== undefined && bytes >= last.bytes && nowMs > last.atMs) {
        this.#rates.set(path, ((bytes - last.bytes) * 1000) / (nowMs - last.atMs))
      }
      this.#totals.set(path, { bytes, atMs: nowMs })
    }
    for (const path of this.#totals.keys()) if (!seen.has(path)) this.#totals.delete(path)
    return this.#rates
  }

  #bytes(path: string, ids: readonly string[], cgroupRoots: readonly string[], host: string): number | undefined {
    const folders = ['', ...ids, ...ids.flatMap((id) => [`cri-containerd-${id}.scope`, `crio-${id}.scope`])]
    for (const root of cgroupRoots) {
      for (const folder of folders) {
        const file = join(root, path, folder, 'cgroup.procs')
        const pid = existsSync(file) ? textOf(file)?.split('\n')[0] : undefined
        if (pid === undefined) continue
        const namespace = namespaceOf(this.#roots.procRoot, pid)
        if (namespace === undefined || namespace === host) return undefined
        return interfaceBytes(textOf(join(this.#roots.procRoot, pid, 'net/dev')))
      }
    }
    return undefined
  }
}

function namespaceOf(procRoot: string, pid: string): string | undefined {
  try {
    return readlinkSync(join(procRoot, pid, 'ns/net'))
  } catch {
    return undefined
  }
}

/** Sum of received and sent bytes of `/proc/PID/net/dev`, without the loopback. */
function interfaceBytes(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  let total = 0
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    if (colon < 0 || line.slice(0, colon).trim() === 'lo') continue
    const fields = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
    const bytes = Number(fields[0]) + Number(fields[8])
    if (Number.isFinite(bytes)) total += bytes
  }
  return total
}
