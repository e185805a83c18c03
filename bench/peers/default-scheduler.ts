import type { Cluster, Place } from '../../cloudcore/scheduler/cluster.ts'
import { tolerates, wantsNode } from '../../cloudcore/scheduler/node-match.ts'
import type { PodView } from '../../cloudcore/scheduler/pod-view.ts'

/**
 * The rules of kube-scheduler's default profile as far as they tell equal nodes apart, written down here as the peer:
 * NodeResourcesFit (score LeastAllocated) and NodeResourcesBalancedAllocation, cpu and memory with equal weights, after
 * the filters for readiness, selectors, taints and resources. It knows no batteries, and never moves what it has placed.
 */
export function chooseByDefault(pod: PodView, cluster: Cluster): string | undefined {
  let best: { node: string; score: number } | undefined
  for (const place of cluster.places.values()) {
    if (!fits(pod, place)) continue
    const score = (leastAllocated(pod, place) + balancedAllocation(pod, place)) / 2
    if (best === undefined || score > best.score || (score === best.score && place.node.name < best.node)) {
      best = { node: place.node.name, score }
    }
  }
  return best?.node
}

function fits(pod: PodView, { node, requested }: Place): boolean {
  if (node.ready !== 'True' || node.unschedulable || !wantsNode(pod.wish, node.name, node.labels)) return false
  if (node.taints.some((taint) => taint.effect !== 'PreferNoSchedule' && !tolerates(pod.tolerations, taint)))
    return false
  return Object.entries(pod.requests).every(
    ([name, amount]) => amount <= (node.allocatable[name] ?? 0) - (requested[name] ?? 0),
  )
}

const share = (pod: PodView, { node, requested }: Place, name: string) =>
  Math.min(1, ((requested[name] ?? 0) + (pod.requests[name] ?? 0)) / (node.allocatable[name] ?? 1))

const leastAllocated = (pod: PodView, place: Place) =>
  50 * (1 - share(pod, place, 'cpu')) + 50 * (1 - share(pod, place, 'memory'))

/** 100 minus the standard deviation of the shares, in hundredths; of two it is half their distance. */
const balancedAllocation = (pod: PodView, place: Place) =>
  100 * (1 - Math.abs(share(pod, place, 'cpu') - share(pod, place, 'memory')) / 2)
