import { OFFLOAD_ANNOTATION } from '../../api/intents/intents.ts'
import { at, isObject } from '../apiserver/objects.ts'
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
  for (const other of mayBeSelected(term.selector, cluster)) {
    if (other.node === undefined || other.uid === pod.uid || other.leaving) continue
    if (!term.namespaces.includes(other.namespace) || !selects(term.selector, other.labels)) continue
    const value = cluster.places.get(other.node)?.node.labels[term.topologyKey]
    if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + 1)
  }
  const selfMatches = term.namespaces.includes(pod.namespace) && selects(term.selector, pod.labels)
  return { topologyKey: term.topologyKey, counts, selfMatches }
}

/** Pods that have the first label of a selector: most have not, and need not be asked. */
function mayBeSelected(selector: unknown, cluster: Cluster): Iterable<PodView> {
  const equal = at(selector, 'matchLabels')
  const [first] = isObject(equal) ? Object.entries(equal) : []
  return first === undefined ? cluster.pods.values() : cluster.labelled(...first)
}

function repelled(pod: PodView, cluster: Cluster): Spots[] {
  // One for each topology: a thousand replicas that keep away from each other are one thing to look up.
  const found = new Map<string, Map<string, number>>()
  for (const other of cluster.loners.values()) {
    if (other.uid === pod.uid || other.node === undefined) continue
    const { labels } = cluster.places.get(other.node)?.node ?? {}
    for (const { selector, topologyKey, namespaces } of other.apart) {
      const value = labels?.[topologyKey]
      if (value === undefined || !namespaces.includes(pod.namespace) || !selects(selector, pod.labels)) continue
      const counts = found.get(topologyKey) ?? new Map<string, number>()
      found.set(topologyKey, counts.set(value, 1))
    }
  }
  return [...found].map(([topologyKey, counts]) => ({ topologyKey, counts, selfMatches: false }))
}

const RESOURCE_WORDS: Readonly<Record<string, string>> = { pods: 'Too many pods' }

/** Every reason why a pod cannot be at a place; none when it can. Words are those of kube-scheduler where it has some. */
export function obstacles(question: Question, place: Place): string[] {
  const found: string[] = []
  each(question, place, (why) => {
    found.push(why())
    return false
  })
  return found
}

/** Whether anything speaks against a place: as soon as one thing does, and without saying what. */
export function isBlocked(question: Question, place: Place): boolean {
  let blocked = false
  each(question, place, () => {
    blocked = true
    return true
  })
  return blocked
}

/**
 * Tells each reason, until it is told that one is enough. A thousand places are asked for one decision and few answers
 * read: words are made by whoever wants them.
 */
function each(question: Question, place: Place, tell: (why: () => string) => boolean): void {
  const { pod, avoid, cluster, strict } = question
  const { node, gateway } = place
  const kept = avoid.get(node.name)
  if (kept !== undefined && tell(() => kept)) return
  if (pod.offloadTo !== undefined && pod.offloadTo !== node.name) {
    if (tell(() => `${OFFLOAD_ANNOTATION} names ${pod.offloadTo}`)) return
  }
  if (!wantsNode(pod.wish, node.name, node.labels)) {
    if (tell(() => "node(s) didn't match Pod's node affinity/selector")) return
  }
  if (node.unschedulable && !tolerates(pod.tolerations, UNSCHEDULABLE)) {
    if (tell(() => 'node(s) were unschedulable')) return
  }
  for (const taint of node.taints) {
    if (taint.effect === 'PreferNoSchedule' || tolerates(pod.tolerations, taint)) continue
    if (tell(() => `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`)) return
  }
  if (gateway?.online === false && tell(() => 'the gateway is silent')) return
  if (gateway?.refuses !== undefined && pod.node !== node.name && pod.owner?.kind !== 'DaemonSet') {
    if (tell(() => `the gateway takes no more pods: ${gateway.refuses}`)) return
  }
  const here = pod.node === node.name && place.pods.has(pod.uid)
  for (const [name, amount] of question.requests) {
    const free = (node.allocatable[name] ?? 0) - (place.requested[name] ?? 0) + (here ? amount : 0)
    if (amount > free && tell(() => RESOURCE_WORDS[name] ?? `Insufficient ${name}`)) return
  }
  if (pod.hostPorts.length > 0 && portsTaken(pod, place)) {
    if (tell(() => "node(s) didn't have free ports for the requested pod ports")) return
  }
  if (eachByNeighbours(question, place, tell)) return
  for (const key of pod.devices) {
    const device = cluster.device(key)
    if (device?.gateway === node.name) continue
    const why = () =>
      device === undefined ? `no gateway serves the device ${key}` : `the device ${key} is behind ${device.gateway}`
    if (tell(why)) return
  }
  for (const intent of pod.meaning.intents) {
    // One that may wait for clean power begins in its time, however clean it is by then: see `cleanerLater`.
    const waits = intent.name === 'carbon-aware' && pod.node === undefined && pod.meaning.maxDelayMs > 0
    if (!intent.hard || waits) continue
    const verdict = checkIntent(intent, place, strict)
    if (!verdict.keeps && tell(() => `intent ${intent.name}: ${verdict.why()}`)) return
    const inS = strict && pod.node !== node.name ? breachInS(intent, place) : undefined
    // What is chosen anew is not to be left again at once.
    if (verdict.keeps && inS !== undefined && inS < 2 * EVACUATE_BEFORE_S) {
      if (tell(() => `intent ${intent.name}: kept for ${span(inS)} only`)) return
    }
  }
  const leftS = dyingInS(place)
  if (leftS !== undefined && pod.node !== node.name) tell(() => `its battery is empty in ${span(leftS)}`)
}

/** What other pods have against it, here or in the same part of the house; true when one reason was enough. */
function eachByNeighbours(question: Question, { node }: Place, tell: (why: () => string) => boolean): boolean {
  const { near, apart, repelled: unwelcome, spread } = question
  if (near.length + apart.length + unwelcome.length + spread.length === 0) return false
  const at = ({ topologyKey, counts }: Spots) => counts.get(node.labels[topologyKey] ?? '') ?? 0
  // The first of a group that wants to be together has nobody to be with.
  if (near.some((term) => at(term) === 0 && !(term.counts.size === 0 && term.selfMatches))) {
    if (tell(() => "node(s) didn't match pod affinity rules")) return true
  }
  if (apart.some((term) => at(term) > 0) && tell(() => "node(s) didn't match pod anti-affinity rules")) return true
  if (unwelcome.some((term) => at(term) > 0)) {
    if (tell(() => "node(s) didn't satisfy existing pods anti-affinity rules")) return true
  }
  for (const term of spread) {
    if (!term.hard) continue
    const labelled = node.labels[term.topologyKey] !== undefined
    if (labelled && at(term) + (term.selfMatches ? 1 : 0) - term.least <= term.maxSkew) continue
    const more = labelled ? '' : ' (missing required label)'
    if (tell(() => `node(s) didn't match pod topology spread constraints${more}`)) return true
  }
  return false
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
