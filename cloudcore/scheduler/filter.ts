import { OFFLOAD_ANNOTATION } from '../../api/intents/intents.ts'
import { selects } from '../apiserver/registry/kinds/pod-template.ts'
import type { Cluster, Place } from './cluster.ts'
import { breachInS, checkIntent, span } from './intent-check.ts'
import { tolerates, wantsNode } from './node-match.ts'
import type { PodTerm, PodView } from './pod-view.ts'

/** What a decision looks up once, and not for each place. */
export interface Question {
  readonly pod: PodView
  readonly cluster: Cluster
  /** Hard intents have to be kept with something to spare. */
  readonly strict: boolean
  /** Places that are not asked. */
  readonly avoid: ReadonlyMap<string, string>
  readonly near: readonly Spots[]
  readonly apart: readonly Spots[]
  /** Topology values where a pod is that does not want this one near. */
  readonly repelled: readonly Spots[]
  readonly spread: readonly SpreadCount[]
  readonly requests: readonly (readonly [name: string, amount: number])[]
}

/** How many pods a term selects, by the topology value of their node. */
interface Spots {
  readonly topologyKey: string
  readonly counts: ReadonlyMap<string, number>
  readonly selfMatches: boolean
}

interface SpreadCount extends Spots {
  readonly maxSkew: number
  readonly hard: boolean
  readonly least: number
}

export function ask(
  pod: PodView,
  cluster: Cluster,
  strict: boolean,
  avoid: ReadonlyMap<string, string> = new Map(),
): Question {
  return {
    ...{ pod, cluster, strict, avoid },
    near: pod.near.map((term) => spotsOf(term, pod, cluster)),
    apart: pod.apart.map((term) => spotsOf(term, pod, cluster)),
    repelled: repelled(pod, cluster),
    requests: Object.entries(pod.requests).filter(([, amount]) => amount > 0),
    spread: pod.spread.map((each) => {
      const spots = spotsOf({ ...each, namespaces: [pod.namespace], weight: 1 }, pod, cluster)
      let least = Number.POSITIVE_INFINITY
      const domains = new Set<string>()
      for (const { node } of cluster.places.values()) {
        const value = node.labels[each.topologyKey]
        if (value !== undefined && wantsNode(pod.wish, node.name, node.labels)) domains.add(value)
      }
      for (const domain of domains) least = Math.min(least, spots.counts.get(domain) ?? 0)
      return { ...spots, maxSkew: each.maxSkew, hard: each.hard, least: Number.isFinite(least) ? least : 0 }
    }),
  }
}

export function spotsOf(term: PodTerm, pod: PodView, cluster: Cluster): Spots {
  const counts = new Map<string, number>()
  for (const other of cluster.pods.values()) {
    if (other.node === undefined || other.uid === pod.uid || other.leaving) continue
    if (!term.namespaces.includes(other.namespace) || !selects(term.selector, other.labels)) continue
    const value = cluster.places.get(other.node)?.node.labels[term.topologyKey]
    if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + 1)
  }
  const selfMatches = term.namespaces.includes(pod.namespace) && selects(term.selector, pod.labels)
  return { topologyKey: term.topologyKey, counts, selfMatches }
}

function repelled(pod: PodView, cluster: Cluster): Spots[] {
  const found: Spots[] = []
  for (const other of cluster.loners.values()) {
    if (other.uid === pod.uid || other.node === undefined) continue
    const { labels } = cluster.places.get(other.node)?.node ?? {}
    for (const { selector, topologyKey, namespaces } of other.apart) {
      const value = labels?.[topologyKey]
      if (value === undefined || !namespaces.includes(pod.namespace) || !selects(selector, pod.labels)) continue
      found.push({ topologyKey, counts: new Map([[value, 1]]), selfMatches: false })
    }
  }
  return found
}

const RESOURCE_WORDS: Readonly<Record<string, string>> = { pods: 'Too many pods' }

/** Every reason why a pod cannot be at a place; none when it can. Words are those of kube-scheduler where it has some. */
export function obstacles(question: Question, place: Place): string[] {
  return [...each(question, place)]
}

/** Whether anything speaks against a place: as soon as one thing does, and without saying what. */
export function isBlocked(question: Question, place: Place): boolean {
  return each(question, place).next().done !== true
}

function* each(question: Question, place: Place): Generator<string, undefined> {
  const { pod, avoid, cluster, strict } = question
  const { node, gateway } = place
  const kept = avoid.get(node.name)
  if (kept !== undefined) yield kept
  if (pod.offloadTo !== undefined && pod.offloadTo !== node.name) yield `${OFFLOAD_ANNOTATION} names ${pod.offloadTo}`
  if (!wantsNode(pod.wish, node.name, node.labels)) yield "node(s) didn't match Pod's node affinity/selector"
  if (node.unschedulable && !tolerates(pod.tolerations, UNSCHEDULABLE)) yield 'node(s) were unschedulable'
  for (const taint of node.taints) {
    if (taint.effect === 'PreferNoSchedule' || tolerates(pod.tolerations, taint)) continue
    yield `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`
  }
  if (gateway?.online === false) yield 'the gateway is silent'
  if (gateway?.refuses !== undefined && pod.node !== node.name && pod.owner?.kind !== 'DaemonSet')
    yield `the gateway takes no more pods: ${gateway.refuses}`
  for (const [name, amount] of question.requests) {
    const had = pod.node === node.name && place.pods.has(pod.uid) ? amount : 0
    const free = (node.allocatable[name] ?? 0) - (place.requested[name] ?? 0) + had
    if (amount > free) yield RESOURCE_WORDS[name] ?? `Insufficient ${name}`
  }
  if (pod.hostPorts.length > 0 && portsTaken(pod, place)) {
    yield "node(s) didn't have free ports for the requested pod ports"
  }
  const at = ({ topologyKey, counts }: Spots) => counts.get(node.labels[topologyKey] ?? '') ?? 0
  // The first of a group that wants to be together has nobody to be with.
  if (question.near.some((term) => at(term) === 0 && !(term.counts.size === 0 && term.selfMatches))) {
    yield "node(s) didn't match pod affinity rules"
  }
  if (question.apart.some((term) => at(term) > 0)) yield "node(s) didn't match pod anti-affinity rules"
  if (question.repelled.some((term) => at(term) > 0)) {
    yield "node(s) didn't satisfy existing pods anti-affinity rules"
  }
  for (const term of question.spread) {
    if (!term.hard) continue
    const here = node.labels[term.topologyKey]
    if (here === undefined) yield "node(s) didn't match pod topology spread constraints (missing required label)"
    else if (at(term) + (term.selfMatches ? 1 : 0) - term.least > term.maxSkew) {
      yield "node(s) didn't match pod topology spread constraints"
    }
  }
  for (const key of pod.devices) {
    const device = cluster.device(key)
    if (device === undefined) yield `no gateway serves the device ${key}`
    else if (device.gateway !== node.name) yield `the device ${key} is behind ${device.gateway}`
  }
  for (const intent of pod.meaning.intents) {
    // One that may wait for clean power begins in its time, however clean it is by then: see `cleanerLater`.
    const waits = intent.name === 'carbon-aware' && pod.node === undefined && pod.meaning.maxDelayMs > 0
    if (!intent.hard || waits) continue
    const verdict = checkIntent(intent, place, strict)
    if (!verdict.keeps) yield `intent ${intent.name}: ${verdict.why()}`
    const inS = strict && pod.node !== node.name ? breachInS(intent, place) : undefined
    // What is chosen anew is not to be left again at once.
    if (verdict.keeps && inS !== undefined && inS < 2 * EVACUATE_BEFORE_S) {
      yield `intent ${intent.name}: kept for ${span(inS)} only`
    }
  }
  const leftS = dyingInS(place)
  if (leftS !== undefined && pod.node !== node.name) yield `its battery is empty in ${span(leftS)}`
  return undefined
}

const UNSCHEDULABLE = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' }

/** A gateway whose battery is empty within this time is left, and not chosen. */
export const EVACUATE_BEFORE_S = 1200

/** How long a dying gateway has left; undefined for one that lives. */
export function dyingInS({ gateway }: Place): number | undefined {
  const held = gateway?.battery
  if (held?.state !== 'discharging') return undefined
  const leftS = held.leftLowS ?? held.leftS
  return leftS !== undefined && leftS <= EVACUATE_BEFORE_S ? leftS : undefined
}

function portsTaken(pod: PodView, place: Place): boolean {
  for (const other of place.pods.values()) {
    if (other.uid !== pod.uid && other.hostPorts.some((port) => pod.hostPorts.includes(port))) return true
  }
  return false
}
