import type { Cluster, Place } from './cluster.ts'
import { ask, isBlocked } from './filter.ts'
import { hasEnded, type PodView } from './pod-view.ts'

/** Room for a pod where less important ones have to go. */
export interface Preemption {
  readonly node: string
  readonly victims: readonly PodView[]
}

/** Places that are looked at for one pod: among so many there is one that is good enough. */
const MOST_PLACES = 100

/**
 * Where a pod could be if pods of lower priority went: the place where the most important of them is the least important,
 * then where the fewest go. Undefined where that helps nowhere. The cluster is the same afterwards.
 */
export function preempt(pod: PodView, cluster: Cluster): Preemption | undefined {
  if (pod.neverPreempts) return undefined
  let best: Preemption | undefined
  let looked = 0
  for (const place of cluster.places.values()) {
    const lower = [...place.pods.values()].filter((each) => each.priority < pod.priority && !hasEnded(each))
    if (lower.length === 0) continue
    if (++looked > MOST_PLACES && best !== undefined) break
    const victims = victimsAt(pod, cluster, place, lower)
    if (victims === undefined) continue
    const found = { node: place.node.name, victims }
    if (best === undefined || compare(found, best) < 0) best = found
  }
  return best
}

function victimsAt(
  pod: PodView,
  cluster: Cluster,
  place: Place,
  lower: readonly PodView[],
): readonly PodView[] | undefined {
  const fits = () => !isBlocked(ask(pod, cluster, false), place)
  for (const { uid } of lower) cluster.removePod(uid)
  try {
    if (!fits()) return undefined
    const victims: PodView[] = []
    // The most important ones come back first, as long as the pod still has room.
    for (const each of lower.toSorted((a, b) => b.priority - a.priority || a.createdMs - b.createdMs)) {
      cluster.setPod(each)
      if (fits()) continue
      cluster.removePod(each.uid)
      victims.push(each)
    }
    return victims
  } finally {
    for (const each of lower) cluster.setPod(each)
  }
}

function compare(left: Preemption, right: Preemption): number {
  const top = ({ victims }: Preemption) =>
    Math.max(Number.NEGATIVE_INFINITY, ...victims.map(({ priority }) => priority))
  return top(left) - top(right) || left.victims.length - right.victims.length || left.node.localeCompare(right.node)
}
