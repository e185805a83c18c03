import type { LinkPod, PodContainer } from '../../../api/link/pods.ts'
import { isStatic } from '../../../api/link/static-pods.ts'
import type { SandboxStats } from '../runtimes/runtime.ts'
import type { Shortage } from './pressure.ts'
import { quantity } from './quantity.ts'
import { qosClass } from './status.ts'

/** A pod that may be evicted, and what it uses of what is short. */
export interface EvictionCandidate {
  readonly uid: string
  readonly pod: LinkPod
  readonly stats: SandboxStats | undefined
  /** Of its volumes on this disk and its logs. */
  readonly diskBytes: number
}

/**
 * Who has to go so that the others can stay, in the kubelet's order: first who uses more than it asked for, then by
 * priority, then who uses most. Of those that run for the machine itself (static pods, system priorities) none does.
 */
export function chooseVictim(
  { kind, resource }: Shortage,
  candidates: readonly EvictionCandidate[],
): EvictionCandidate | undefined {
  const rank = (one: EvictionCandidate) => {
    const used = useOf(one, kind)
    const asked =
      kind === 'MemoryPressure'
        ? requested(one.pod, 'memory')
        : kind === 'DiskPressure'
          ? requested(one.pod, 'ephemeral-storage')
          : 0
    return { over: used > asked ? 1 : 0, priority: one.pod.spec.priority ?? 0, excess: used - asked }
  }
  return candidates
    .filter(({ pod }) => !isCritical(pod) && (resource !== 'memory' || qosClass(pod) !== 'Guaranteed'))
    .map((one) => ({ one, ...rank(one) }))
    .filter(({ one }) => useOf(one, kind) > 0)
    .sort((a, b) => b.over - a.over || a.priority - b.priority || b.excess - a.excess)[0]?.one
}

/** As the kubelet words it. */
export const evictionWords = ({ resource, words }: Shortage): string =>
  `The node was low on resource: ${resource}. ${words}.`

function useOf({ stats, diskBytes }: EvictionCandidate, kind: Shortage['kind']): number {
  if (kind === 'MemoryPressure') return stats?.memoryBytes ?? 0
  return kind === 'PIDPressure' ? (stats?.pids ?? 0) : diskBytes
}

const SYSTEM_PRIORITY = 2_000_000_000

export const isCritical = ({ spec, metadata }: LinkPod): boolean =>
  (spec.priority ?? 0) >= SYSTEM_PRIORITY || isStatic(metadata)

/** What a pod asks for: its containers and sidecars together, or its hungriest init container. */
export function requested({ spec }: Pick<LinkPod, 'spec'>, name: string): number {
  const inits = spec.initContainers ?? []
  const lasting = [...spec.containers, ...inits.filter(({ restartPolicy }) => restartPolicy === 'Always')]
  const together = lasting.reduce((all, one) => all + asked(one, name), 0)
  return Math.max(together, ...inits.map((one) => asked(one, name)))
}

const asked = ({ resources }: PodContainer, name: string): number =>
  quantity(resources?.requests?.[name] ?? resources?.limits?.[name]) ?? 0
