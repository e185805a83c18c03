import { choose } from './choose.ts'
import type { Cluster, Place } from './cluster.ts'
import { dyingInS, EVACUATE_BEFORE_S } from './filter.ts'
import { breachInS, checkIntent, span } from './intent-check.ts'
import { hasEnded, type PodView } from './pod-view.ts'

/** A pod that is to run elsewhere. */
export interface Move {
  readonly pod: PodView
  readonly from: string
  readonly to: string
  readonly why: string
}

/** A pod that ought to run elsewhere, and why it does not. */
export interface Stuck {
  readonly pod: PodView
  readonly why: string
}

/** Since when something is wrong with a pod where it runs, and when it was last found to have nowhere to go; by uid. */
export type Troubles = Map<string, { readonly sinceMs: number; readonly why: string; readonly stuckMs?: number }>

export interface PlannedMoves {
  readonly moves: Move[]
  readonly stuck: Stuck[]
  /** Not all were looked at that have to leave: the next look goes on with them. */
  readonly more: boolean
}

/** A breach that is over sooner is none. */
const HOLD_MS = 30_000
/** A pod stays this long before it is moved again, unless its gateway is dying. */
const RESIDENCE_MS = 300_000
const URGENT_RESIDENCE_MS = 60_000
/** A pod follows its device so soon: that a device does not flap is its roaming's matter. */
const FOLLOW_HOLD_MS = 500
const FOLLOW_RESIDENCE_MS = 5_000
/** Moves begun in one pass at most; the rest comes in the next. */
const MOST_AT_ONCE = 50
/** A pod with nowhere to go is not asked for a place again before this: where one is stuck, thousands may be. */
const STUCK_MS = 30_000
const URGENT_STUCK_MS = 10_000
/** Of one workload at a time, unless the gateway dies: a quarter, one at least. */
const SHARE = 0.25

/**
 * Which pods have to leave where they run: because a hard intent is broken there, because it will be within twenty
 * minutes at this pace, or because the gateway's battery is empty then. Each goes only where it may stay: a place that
 * keeps its intents with something to spare. Pure but for `troubles`, which it keeps.
 *
 * `mayGoOn` is asked before each search for a place once one was in vain: when the power of a whole site turns dirty,
 * every pod of a large cluster is in trouble at once, and whoever calls has other things to do as well.
 */
export function planMoves(
  cluster: Cluster,
  troubles: Troubles,
  nowMs: number,
  mayGoOn: () => boolean = () => true,
): PlannedMoves {
  const moves: Move[] = []
  const stuck: Stuck[] = []
  const seen = new Set<string>()
  const away = awayByOwner(cluster)
  const assumed: PodView[] = []
  const wanting = findTroubles(cluster, troubles, seen, nowMs)
  for (const uid of troubles.keys()) if (!seen.has(uid)) troubles.delete(uid)
  let more = false
  for (const { pod, place, why, urgent } of wanting) {
    more = moves.length >= MOST_AT_ONCE || (stuck.length > 0 && !mayGoOn())
    if (more) break
    const workload = pod.owner?.uid ?? pod.uid
    const group = away.get(workload) ?? { all: 1, away: 0 }
    // A gateway that dies takes all of them with it: there is nothing to wait for.
    if (!urgent && group.away >= Math.max(1, Math.floor(group.all * SHARE))) continue
    const decision = choose(pod, cluster, { nowMs, avoid: new Map([[place.node.name, why]]), onlyStrict: true })
    if (decision.node === undefined) {
      stuck.push({ pod, why: `${why}; ${decision.why}` })
      const held = troubles.get(pod.uid)
      if (held !== undefined) troubles.set(pod.uid, { ...held, stuckMs: nowMs })
      continue
    }
    moves.push({ pod, from: place.node.name, to: decision.node, why })
    away.set(workload, { ...group, away: group.away + 1 })
    // The next one sees what this one will take.
    cluster.setPod({ ...pod, node: decision.node })
    assumed.push(pod)
  }
  for (const pod of assumed) cluster.setPod(pod)
  return { moves, stuck, more }
}

interface Wanting {
  readonly pod: PodView
  readonly place: Place
  readonly why: string
  readonly urgent: boolean
  /** When it was last found to have nowhere to go. */
  readonly stuckMs: number
}

function findTroubles(cluster: Cluster, troubles: Troubles, seen: Set<string>, nowMs: number): Wanting[] {
  const found: Wanting[] = []
  for (const place of cluster.places.values()) {
    // What a silent gateway told last says nothing of now; its pods are the tether's matter.
    if (place.gateway?.online !== true) continue
    const leftS = dyingInS(place)
    for (const pod of place.pods.values()) {
      if (!movable(pod)) continue
      const dying = leftS === undefined ? undefined : `the battery of ${place.node.name} is empty in ${span(leftS)}`
      const followed = movedDevice(pod, place, cluster)
      const why = dying ?? followed ?? trouble(pod, place)
      if (why === undefined) continue
      seen.add(pod.uid)
      const held = troubles.get(pod.uid) ?? { sinceMs: nowMs, why }
      troubles.set(pod.uid, { ...held, why })
      const urgent = dying !== undefined || followed !== undefined
      const follows = followed !== undefined
      const residence = follows ? FOLLOW_RESIDENCE_MS : urgent ? URGENT_RESIDENCE_MS : RESIDENCE_MS
      const hold = follows ? FOLLOW_HOLD_MS : HOLD_MS
      if (nowMs - held.sinceMs < hold || nowMs - pod.createdMs < residence) continue
      const { stuckMs = Number.NEGATIVE_INFINITY } = held
      if (nowMs - stuckMs < (urgent ? URGENT_STUCK_MS : STUCK_MS)) continue
      found.push({ pod, place, why, urgent, stuckMs })
    }
  }
  return found.sort(
    (a, b) =>
      b.pod.priority - a.pod.priority ||
      Number(b.urgent) - Number(a.urgent) ||
      // Who has waited longest since nobody took it: so that everybody's turn comes.
      (a.stuckMs === b.stuckMs ? 0 : a.stuckMs - b.stuckMs) ||
      (a.pod.key < b.pod.key ? -1 : 1),
  )
}

/** Pods that belong to their node, or are going anyway, stay. */
function movable(pod: PodView): boolean {
  if (pod.leaving || hasEnded(pod) || pod.meaning.onBreach === 'stay' || pod.problems.length > 0) return false
  return pod.owner?.kind !== 'DaemonSet' && pod.owner?.kind !== 'Node' && pod.offloadTo === undefined
}

/** A device that a pod cannot work without is served by another gateway now. */
function movedDevice({ devices }: PodView, place: Place, cluster: Cluster): string | undefined {
  for (const key of devices) {
    const gateway = cluster.device(key)?.gateway
    if (gateway !== undefined && gateway !== place.node.name) return `the device ${key} is behind ${gateway} now`
  }
  return undefined
}

/** What is wrong with a pod where it runs, or will soon be. Figures that nobody tells are no trouble. */
function trouble(pod: PodView, place: Place): string | undefined {
  for (const intent of pod.meaning.intents) {
    if (!intent.hard) continue
    // A pod brings its own request along; what is free besides is not its matter any more.
    if (intent.name === 'cpu' || intent.name === 'memory' || intent.name === 'gpu') continue
    const verdict = checkIntent(intent, place, false)
    if (!verdict.keeps && verdict.unknown !== true) return `intent ${intent.name} is broken: ${verdict.why()}`
    const inS = breachInS(intent, place)
    if (inS !== undefined && inS <= EVACUATE_BEFORE_S)
      return `intent ${intent.name} will be broken in ${span(inS)}: ${verdict.why()}`
    const link = intent.name === 'latency' || intent.name === 'throughput' || intent.name === 'bandwidth-against'
    const { linkTrend, linkQuality } = place.gateway ?? {}
    if (link && linkTrend === 'degrading' && linkQuality !== undefined && linkQuality < POOR_LINK) {
      return `intent ${intent.name} will be broken: the link is at ${Math.round(linkQuality * 100)} % and degrading`
    }
  }
  return undefined
}

const POOR_LINK = 0.3

function awayByOwner(cluster: Cluster): Map<string, { all: number; away: number }> {
  const groups = new Map<string, { all: number; away: number }>()
  for (const pod of cluster.pods.values()) {
    if (hasEnded(pod)) continue
    const key = pod.owner?.uid ?? pod.uid
    const group = groups.get(key) ?? { all: 0, away: 0 }
    const absent = pod.node === undefined || pod.leaving || pod.phase === 'Pending'
    groups.set(key, { all: group.all + (pod.leaving ? 0 : 1), away: group.away + (absent ? 1 : 0) })
  }
  return groups
}
