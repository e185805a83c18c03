import type { KubeObject } from '../apiserver/objects.ts'
import { listAt, stringAt } from '../apiserver/objects.ts'

/** A pod that runs or may still run. */
export function isActive(pod: KubeObject): boolean {
  return pod.metadata.deletionTimestamp === undefined && !hasEnded(pod)
}

export const hasEnded = (pod: KubeObject) => ['Succeeded', 'Failed'].includes(stringAt(pod, 'status', 'phase'))

const readyCondition = (pod: KubeObject) =>
  listAt(pod, 'status', 'conditions').find((each) => stringAt(each, 'type') === 'Ready')

export const isReady = (pod: KubeObject) => stringAt(readyCondition(pod), 'status') === 'True'

/** When a ready pod counts as available, in ms since 1970; undefined when it is not ready. */
export function availableFromMs(pod: KubeObject, minReadySeconds: number): number | undefined {
  if (!isReady(pod)) return undefined
  if (minReadySeconds === 0) return 0
  const since = Date.parse(stringAt(readyCondition(pod), 'lastTransitionTime'))
  return Number.isNaN(since) ? undefined : since + minReadySeconds * 1000
}

/** Those that may go first come first (the order of kube-controller-manager's ActivePodsWithRanks). */
export function byDispensability(left: KubeObject, right: KubeObject): number {
  const rank = (pod: KubeObject) => [
    stringAt(pod, 'spec', 'nodeName') === '' ? 0 : 1,
    { Pending: 0, Unknown: 1 }[stringAt(pod, 'status', 'phase')] ?? 2,
    isReady(pod) ? 1 : 0,
    Number(pod.metadata.annotations?.['controller.kubernetes.io/pod-deletion-cost'] ?? 0) || 0,
    // Of equals the newest goes first.
    -Date.parse(pod.metadata.creationTimestamp ?? ''),
  ]
  const [a, b] = [rank(left), rank(right)]
  for (let index = 0; index < a.length; index++) {
    const order = (a[index] ?? 0) - (b[index] ?? 0)
    if (order !== 0) return order
  }
  return left.metadata.name.localeCompare(right.metadata.name)
}
