import type { Cluster, NodeView } from './cluster.ts'
import { type NodeTaint, toleratedSeconds } from './node-match.ts'
import { hasEnded, type PodView } from './pod-view.ts'

/** What a node's state asks for: pure. On a real cluster this is the work of its node lifecycle controller. */

const NOT_READY = 'node.kubernetes.io/not-ready'
const UNREACHABLE = 'node.kubernetes.io/unreachable'
const UNSCHEDULABLE = 'node.kubernetes.io/unschedulable'
/** A person says that a node is dead for good (KEP-2268): its pods begin elsewhere at once. */
const OUT_OF_SERVICE = 'node.kubernetes.io/out-of-service'
const OWN_KEYS = new Set([NOT_READY, UNREACHABLE, UNSCHEDULABLE])

/** The taints a node is to have; undefined when it has them. Those of others stay. */
export function taintsFor(node: NodeView, nowMs: number): NodeTaint[] | undefined {
  const wanted: { key: string; effect: string }[] = []
  const state = node.ready === 'False' ? NOT_READY : node.ready === 'Unknown' ? UNREACHABLE : undefined
  if (state !== undefined) wanted.push({ key: state, effect: 'NoSchedule' }, { key: state, effect: 'NoExecute' })
  if (node.unschedulable) wanted.push({ key: UNSCHEDULABLE, effect: 'NoSchedule' })
  const same = (one: NodeTaint, other: NodeTaint) => one.key === other.key && one.effect === other.effect
  const own = node.taints.filter(({ key }) => OWN_KEYS.has(key))
  if (own.length === wanted.length && wanted.every((each) => own.some((held) => same(each, held)))) return undefined
  const timeAdded = `${new Date(nowMs).toISOString().slice(0, 19)}Z`
  return [
    ...node.taints.filter(({ key }) => !OWN_KEYS.has(key)),
    ...wanted.map((each) => own.find((held) => same(each, held)) ?? { ...each, timeAdded }),
  ]
}

export interface Eviction {
  readonly pod: PodView
  readonly why: string
  /** Nobody will answer for it any more: it is gone at once. */
  readonly force: boolean
}

/**
 * When the work of a silent gateway may begin elsewhere, ms since 1970. `never`: not by itself, because the gateway goes
 * on running it (docs/tether.md). Undefined: not a gateway, then only tolerations count.
 */
export type MayMoveFrom = (node: string) => number | 'never' | undefined

/**
 * Pods whose time on their node is over. A gateway that only lost its link keeps its pods, however long it takes, unless
 * the pod says `sluice.dev/on-silence: move`; a tethered one that ends them by itself gives them up when that is certain.
 */
export function evictions(cluster: Cluster, mayMoveFrom: MayMoveFrom, nowMs: number): Eviction[] {
  const found: Eviction[] = []
  for (const { node, pods } of cluster.places.values()) {
    const harsh = node.taints.filter(({ effect }) => effect === 'NoExecute')
    if (harsh.length === 0) continue
    const dead = harsh.find(({ key }) => key === OUT_OF_SERVICE)
    for (const pod of pods.values()) {
      if (hasEnded(pod) && dead === undefined) continue
      if (dead !== undefined && node.ready !== 'True') {
        found.push({ pod, why: `node ${node.name} is out of service`, force: true })
        continue
      }
      if (pod.leaving) continue
      const dueMs = dueAt(pod, node, harsh, mayMoveFrom)
      if (dueMs !== undefined && nowMs >= dueMs) {
        found.push({ pod, why: `taint ${harsh.map(({ key }) => key).join(', ')} of node ${node.name}`, force: false })
      }
    }
  }
  return found
}

function dueAt(
  pod: PodView,
  node: NodeView,
  harsh: readonly NodeTaint[],
  mayMoveFrom: MayMoveFrom,
): number | undefined {
  let due: number | undefined
  for (const taint of harsh) {
    const seconds = toleratedSeconds(pod.tolerations, taint)
    if (seconds === undefined) continue
    let taintDue = (Date.parse(taint.timeAdded ?? '') || 0) + seconds * 1000
    if (taint.key === UNREACHABLE) {
      const from = mayMoveFrom(node.name)
      if (from === 'never' && !pod.movesOnSilence) continue
      if (typeof from === 'number') taintDue = Math.max(taintDue, from)
    }
    due = Math.min(due ?? Number.POSITIVE_INFINITY, taintDue)
  }
  return due
}

/** Pods of nodes that are gone for good. */
export function orphans(cluster: Cluster): PodView[] {
  return [...cluster.pods.values()].filter(({ node }) => node !== undefined && !cluster.places.has(node))
}
