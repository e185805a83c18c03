import { POLICIES, type Policy, type Weights } from '../../api/intents/intents.ts'
import type { Place } from './cluster.ts'
import type { Question } from './filter.ts'
import { checkIntent, runsOnMains, span } from './intent-check.ts'
import { preferenceWeight, tolerates } from './node-match.ts'

/** One part of a score: points out of 100, what they weigh, and why. */
export interface ScorePart {
  readonly of: string
  readonly points: number
  readonly weight: number
  /** In words; made when somebody reads it. */
  readonly why: () => string
}

/** What a pod gets that asks for no policy: the one of the default scheduler's users. */
export const DEFAULT_WEIGHTS: Weights = { 'workload-balance': 1 }
const SOFT_WEIGHT = 2
const GRAVITY_WEIGHT = 3
/** A soft wish of everybody's pods, next to what our intents weigh. */
const COMMON_WEIGHT = 1

export function scoreOf(parts: readonly ScorePart[]): number {
  const weight = parts.reduce((sum, part) => sum + part.weight, 0)
  return weight === 0 ? 0 : parts.reduce((sum, part) => sum + part.points * part.weight, 0) / weight
}

/** How good a place is, part by part. Every score is absolute: it does not hang on who else stands for choice. */
export function scoreParts(question: Question, place: Place): ScorePart[] {
  const { pod } = question
  const weights = Object.keys(pod.meaning.weights).length === 0 ? DEFAULT_WEIGHTS : pod.meaning.weights
  const parts: ScorePart[] = []
  for (const policy of POLICIES) {
    const weight = weights[policy]
    if (weight !== undefined) parts.push({ of: policy, weight, ...POLICY[policy](question, place) })
  }
  for (const intent of pod.meaning.intents) {
    const { fit, why, keeps } = checkIntent(intent, place, false)
    if (intent.hard && intent.name !== 'battery') continue
    const points = 100 * (intent.hard || keeps ? fit : fit / 2)
    parts.push({ of: `${intent.hard ? '' : 'prefer '}${intent.name}`, points, weight: SOFT_WEIGHT, why })
  }
  parts.push(...gravity(question, place), ...common(question, place))
  return parts
}

type Judge = (question: Question, place: Place) => { readonly points: number; readonly why: () => string }

/** Share of a resource that is asked for with this pod, 0 to 1. */
function used(question: Question, { node, requested, pods }: Place, name: string): number {
  const all = node.allocatable[name] ?? 0
  if (all <= 0) return 1
  const here = pods.has(question.pod.uid)
  return Math.min(1, ((requested[name] ?? 0) + (here ? 0 : (question.pod.requests[name] ?? 0))) / all)
}

const percent = (share: number) => `${Math.round(share * 100)} %`

const POLICY: Readonly<Record<Policy, Judge>> = {
  'workload-balance': (question, place) => {
    const mean = (used(question, place, 'cpu') + used(question, place, 'memory') + used(question, place, 'pods')) / 3
    return { points: 100 * (1 - mean), why: () => `${percent(mean)} taken` }
  },
  'cpu-balance': (question, place) => {
    const share = used(question, place, 'cpu')
    return { points: 100 * (1 - share), why: () => `${percent(share)} of its CPU asked for` }
  },
  consolidation: (question, place) => {
    const share = (used(question, place, 'cpu') + used(question, place, 'memory')) / 2
    return { points: 100 * share, why: () => `${percent(share)} taken, fuller is better` }
  },
  'thermal-balance': (_question, { gateway }) => {
    if (gateway?.throttled === true) return { points: 0, why: () => 'slowed down by heat' }
    const celsius = gateway?.celsius
    if (celsius === undefined) return { points: 50, why: () => 'nobody told its temperature' }
    // 40 C is cool, at 85 C a Raspberry Pi throttles.
    const points = Math.max(0, Math.min(100, ((85 - celsius) / 45) * 100))
    return { points, why: () => `${Math.round(celsius)} °C` }
  },
  energy: (_question, { gateway, node }) => {
    if (gateway?.watts === undefined) return { points: 50, why: () => 'nobody told its power' }
    const cores = Math.max(0.1, (node.allocatable['cpu'] ?? 1000) / 1000)
    const perCore = gateway.watts / cores
    return {
      points: 100 / (1 + perCore / 4),
      why: () => `${Number(perCore.toPrecision(3))} W a core, ${gateway.wattsSource ?? 'told'}`,
    }
  },
  carbon: (_question, { gateway }) => {
    const grams = gateway?.carbonGPerKWh
    if (grams === undefined) return { points: 50, why: () => 'nobody told the carbon of its power' }
    return { points: Math.max(0, 100 * (1 - grams / 800)), why: () => `${Math.round(grams)} g CO2 a kWh` }
  },
  battery: (_question, place) => {
    const held = place.gateway?.battery
    if (held === undefined) {
      return runsOnMains(place)
        ? { points: 100, why: () => 'runs on mains' }
        : { points: 50, why: () => 'nobody told its battery' }
    }
    const charge = held.percent ?? 50
    if (held.state === 'charging' || held.state === 'full') {
      return { points: 60 + charge * 0.4, why: () => `battery ${Math.round(charge)} %, ${held.state}` }
    }
    const leftS = held.leftLowS ?? held.leftS
    // A day or longer is as good as it gets on a battery.
    const lasts = leftS === undefined ? charge / 100 : Math.min(1, leftS / 86_400)
    const points = 80 * (0.5 * (charge / 100) + 0.5 * lasts)
    return { points, why: () => `battery ${Math.round(charge)} %${leftS === undefined ? '' : `, for ${span(leftS)}`}` }
  },
  cost: (_question, { node }) => {
    const told = Number(node.labels['sluice.dev/price'] ?? node.annotations['sluice.dev/price'] ?? Number.NaN)
    if (!Number.isFinite(told) || told < 0) return { points: 50, why: () => 'nobody told its price' }
    return { points: 100 / (1 + told), why: () => `price ${told}` }
  },
}

/** Near what the pod reads: devices behind the gateway, and volumes that other pods have there. */
function gravity({ pod, cluster }: Question, place: Place): ScorePart[] {
  const parts: ScorePart[] = []
  if (pod.nearDevices.length > 0) {
    const here = pod.nearDevices.filter((key) => cluster.device(key)?.gateway === place.node.name)
    const points = (100 * here.length) / pod.nearDevices.length
    parts.push({
      of: 'near devices',
      points,
      weight: GRAVITY_WEIGHT,
      why: () => `${here.length} of ${pod.nearDevices.length} are here`,
    })
  }
  if (pod.claims.length > 0) {
    const held = new Set<string>()
    for (const other of place.pods.values()) {
      if (other.namespace === pod.namespace && other.uid !== pod.uid) for (const claim of other.claims) held.add(claim)
    }
    const here = pod.claims.filter((claim) => held.has(claim)).length
    if (here > 0)
      parts.push({
        of: 'near volumes',
        points: (100 * here) / pod.claims.length,
        weight: GRAVITY_WEIGHT,
        why: () => `${here} of ${pod.claims.length} are in use here`,
      })
  }
  return parts
}

/** What the default scheduler's users expect: preferred affinity, soft taints, soft spread, images that are there. */
function common(question: Question, place: Place): ScorePart[] {
  const { pod } = question
  const { node } = place
  const parts: ScorePart[] = []
  const preferred = pod.wish.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []
  if (preferred.length > 0) {
    const most = preferred.reduce((sum, { weight = 1 }) => sum + weight, 0)
    const points = (100 * preferenceWeight(pod.wish, node.name, node.labels)) / Math.max(1, most)
    parts.push({
      of: 'node affinity',
      points,
      weight: COMMON_WEIGHT,
      why: () => `${Math.round(points)} % of what is preferred`,
    })
  }
  const soft = node.taints.filter((taint) => taint.effect === 'PreferNoSchedule' && !tolerates(pod.tolerations, taint))
  if (soft.length > 0) {
    parts.push({
      of: 'taints',
      points: 0,
      weight: COMMON_WEIGHT,
      why: () => `rather not: ${soft.map(({ key }) => key).join(', ')}`,
    })
  }
  for (const { hard, counts, topologyKey } of question.spread) {
    if (hard) continue
    const here = counts.get(node.labels[topologyKey] ?? '') ?? 0
    parts.push({
      of: 'spread',
      points: 100 / (1 + here),
      weight: COMMON_WEIGHT,
      why: () => `${here} of its kind are here`,
    })
  }
  const there = pod.images.filter((image) => node.images.has(image)).length
  if (there > 0) {
    parts.push({ of: 'images', points: 100, weight: COMMON_WEIGHT / 4, why: () => 'its image is there' })
  }
  return parts
}
