import type { MachineFacts } from '../../api/link/machine.ts'
import type { Gateway } from '../../api/resources.ts'
import type { NodeView } from '../../cloudcore/scheduler/cluster.ts'
import { hasEnded, type PodView } from '../../cloudcore/scheduler/pod-view.ts'

/** On pods that came from above: the uid of the pod there. */
export const PARENT_UID = 'sluice.dev/parent-uid'
/** On everything that came from above. */
export const FROM_ABOVE = 'sluice.dev/from-above'

/**
 * Gateways as one machine: what is ready and takes work, less what pods of this supernode's own already ask for. Pods from
 * above count there, so they are not taken away here.
 */
export function asOneMachine(
  nodes: Iterable<NodeView>,
  pods: Iterable<PodView>,
  supernodes: readonly string[],
  version: string,
): MachineFacts {
  const open = new Map<string, NodeView>()
  for (const node of nodes) {
    const closed = node.unschedulable || node.taints.some(({ effect }) => effect !== 'PreferNoSchedule')
    if (node.ready === 'True' && !closed) open.set(node.name, node)
  }
  const free = { cpu: 0, memory: 0, pods: 0 }
  const add = (amounts: Readonly<Record<string, number>>, sign: 1 | -1) => {
    for (const name of ['cpu', 'memory', 'pods'] as const) free[name] += sign * (amounts[name] ?? 0)
  }
  for (const { allocatable } of open.values()) add(allocatable, 1)
  for (const pod of pods) {
    const here = pod.node !== undefined && open.has(pod.node) && !hasEnded(pod)
    if (here && pod.labels[FROM_ABOVE] === undefined) add(pod.requests, -1)
  }
  const architectures = new Set([...open.values()].map(({ architecture }) => architecture).filter(Boolean))
  const memoryBytes = Math.max(0, Math.floor(free.memory))
  return {
    runtime: `supernode://${version}`,
    ...{ cpuMillis: Math.max(0, Math.floor(free.cpu)), memoryBytes, allocatableMemoryBytes: memoryBytes },
    pods: Math.max(0, Math.floor(free.pods)),
    // A pod that needs one has to say so; which gateway has it, the supernode beneath knows.
    architecture: architectures.size === 1 ? [...architectures][0]! : 'mixed',
    ...{ kernel: '', osImage: `${open.size} gateways`, hostIp: '127.0.0.1' },
    supernodes,
  }
}

/** Its own id, and those of every supernode beneath it: what somebody above has to know so that nothing goes round. */
export function subtree(own: string, gateways: Iterable<Gateway>): string[] {
  const ids = new Set([own])
  for (const { status } of gateways) for (const id of status?.supernodes ?? []) ids.add(id)
  return [...ids]
}
