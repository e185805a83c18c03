import type { MachineFacts } from '../../../api/link/machine.ts'
import type { LinkPod } from '../../../api/link/pods.ts'
import { requested } from './eviction.ts'
import { containersOf } from './pod-parts.ts'
import type { PressureBoard } from './pressure.ts'
import { quantity } from './quantity.ts'
import { qosClass } from './status.ts'

/** What this gateway is, as far as it matters to whether a pod can run here. */
export interface Capacity {
  readonly machine: Pick<MachineFacts, 'cpuMillis' | 'allocatableMemoryBytes' | 'pods' | 'architecture'>
  readonly gateway: string
}

/**
 * Why a pod that was bound here cannot run here: `Reason: words`, in the kubelet's words, with the remedy. A scheduler keeps to
 * what a Node says; who names a Node himself does not. `others` are the pods that run or are about to.
 */
export function capacityRefusal(
  pod: LinkPod,
  others: readonly LinkPod[],
  { machine, gateway }: Capacity,
): string | undefined {
  const amounts = [
    ['pods', 1, others.length, machine.pods],
    ['cpu', ...milli(pod, others), machine.cpuMillis],
    ['memory', Math.ceil(requested(pod, 'memory')), Math.ceil(sum(others, 'memory')), machine.allocatableMemoryBytes],
  ] as const
  for (const [name, asked, used, capacity] of amounts) {
    if (asked === 0 || used + asked <= capacity) continue
    return `OutOf${name}: Node didn't have enough resource: ${name}, requested: ${asked}, used: ${used}, capacity: ${capacity}. Ask for less, or take other pods away from this gateway`
  }
  const strange = strangeResource(pod)
  if (strange !== undefined) return strange
  const wanted = {
    'kubernetes.io/arch': machine.architecture,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/hostname': gateway,
  }
  for (const [label, here] of Object.entries(wanted)) {
    const asked = pod.spec.nodeSelector?.[label]
    if (asked === undefined || asked === here) continue
    return `NodeAffinity: Predicate NodeAffinity failed: ${label} is ${here} here, and the pod wants ${asked}. Bind it to another gateway, or correct its nodeSelector`
  }
  const taken = hostPorts(pod).find((port) => others.some((other) => hostPorts(other).includes(port)))
  return taken === undefined
    ? undefined
    : `NodePorts: Predicate NodePorts failed: another pod of this gateway has host port ${taken}. Choose another hostPort`
}

/** Pods that may not begin while the gateway is short of something, as the kubelet has it. */
export function pressureRefusal(pod: LinkPod, board: PressureBoard): string | undefined {
  const memory = qosClass(pod) === 'BestEffort' ? board.get('MemoryPressure') : undefined
  const shortage = board.get('DiskPressure') ?? board.get('PIDPressure') ?? memory
  return shortage === undefined
    ? undefined
    : `Evicted: The node had condition: [${shortage.kind}]. ${shortage.words}. Free some on this gateway, or bind the pod to another`
}

const sum = (pods: readonly LinkPod[], name: string) => pods.reduce((all, pod) => all + requested(pod, name), 0)

const milli = (pod: LinkPod, others: readonly LinkPod[]): [asked: number, used: number] => [
  Math.ceil(requested(pod, 'cpu') * 1000),
  Math.ceil(sum(others, 'cpu') * 1000),
]

const PLAIN = new Set(['cpu', 'memory', 'ephemeral-storage', 'pods'])

function strangeResource(pod: LinkPod): string | undefined {
  for (const { resources } of containersOf(pod)) {
    for (const [name, amount] of Object.entries({ ...resources?.requests, ...resources?.limits })) {
      if (PLAIN.has(name) || (quantity(amount) ?? 0) === 0) continue
      const remedy = name.startsWith('sluice.dev/')
        ? 'Devices are asked for by annotation, by name: sluice.dev/device, sluice.dev/serial, sluice.dev/radio'
        : 'Bind the pod to a machine that has it, or leave it out'
      return `OutOf${name}: Node didn't have enough resource: ${name}, requested: ${amount}, used: 0, capacity: 0. ${remedy}`
    }
  }
  return undefined
}

const hostPorts = (pod: LinkPod): string[] =>
  containersOf(pod).flatMap(({ ports = [] }) =>
    ports.flatMap(({ hostPort, containerPort, protocol = 'TCP' }) => {
      const port = hostPort ?? (pod.spec.hostNetwork === true ? containerPort : undefined)
      return port === undefined || port === 0 ? [] : [`${port}/${protocol}`]
    }),
  )
