import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { LinkPod } from '../../../api/link/pods.ts'
import { type ObjectKey, splitKey } from '../../../api/resources.ts'
import { containersOf } from './pod-parts.ts'
import { quantity } from './quantity.ts'

export interface PodDiskUse {
  readonly bytes: number
  /** By the name of the volume. */
  readonly volumes: ReadonlyMap<string, number>
}

export interface PodDisk {
  use(key: ObjectKey, pod: LinkPod, signal: AbortSignal): Promise<PodDiskUse>
}

/** Files and folders that are looked at of one tree; one with more of them is as large as those. */
const MAX_ENTRIES = 200_000

/** What pods have written: scratch volumes and logs. */
export function podDisk(folders: { readonly disk: string; readonly memory: string; readonly logs: string }): PodDisk {
  return {
    async use(key, pod, signal) {
      const volumes = new Map<string, number>()
      for (const { name, emptyDir } of pod.spec.volumes ?? []) {
        if (emptyDir === undefined) continue
        const folder = emptyDir.medium === 'Memory' ? folders.memory : folders.disk
        volumes.set(name, await sizeOf(join(folder, pod.uid, 'volumes', name), signal))
      }
      const { namespace, name } = splitKey(key)
      const logs = await sizeOf(join(folders.logs, `${namespace}_${name}_${pod.uid}`), signal)
      const onDisk = (pod.spec.volumes ?? [])
        .filter(({ emptyDir }) => emptyDir?.medium !== 'Memory')
        .reduce((all, volume) => all + (volumes.get(volume.name) ?? 0), 0)
      return { bytes: logs + onDisk, volumes }
    },
  }
}

/** Why a pod has to go for what it has written, in the kubelet's words; pods that named no limit are not even measured. */
export async function overLimit(
  disk: PodDisk,
  key: ObjectKey,
  pod: LinkPod,
  signal: AbortSignal,
): Promise<string | undefined> {
  const sized = (pod.spec.volumes ?? []).filter(({ emptyDir }) => emptyDir?.sizeLimit !== undefined)
  const limits = containersOf(pod).map(({ resources }) => quantity(resources?.limits?.['ephemeral-storage']))
  const limit = limits.every((one) => one !== undefined)
    ? limits.reduce<number>((all, one) => all + (one ?? 0), 0)
    : undefined
  if (sized.length === 0 && limit === undefined) return undefined
  const { bytes, volumes } = await disk.use(key, pod, signal)
  for (const { name, emptyDir } of sized) {
    const most = quantity(emptyDir?.sizeLimit)
    if (most !== undefined && (volumes.get(name) ?? 0) > most)
      return `Usage of EmptyDir volume "${name}" exceeds the limit "${emptyDir?.sizeLimit}".`
  }
  return limit !== undefined && bytes > limit
    ? `Pod ephemeral local storage usage exceeds the total limit of containers ${Math.floor(limit)}.`
    : undefined
}

/** Bytes on the disk of everything below a folder; links are not followed. */
async function sizeOf(folder: string, signal: AbortSignal): Promise<number> {
  const waiting = [folder]
  let bytes = 0
  for (let seen = 0; waiting.length > 0 && seen < MAX_ENTRIES; seen++) {
    signal.throwIfAborted()
    const at = waiting.pop()!
    const stat = await lstat(at).catch(() => undefined)
    if (stat === undefined) continue
    bytes += stat.blocks * 512
    if (!stat.isDirectory()) continue
    for (const name of await readdir(at).catch(() => [])) waiting.push(join(at, name))
  }
  return bytes
}
