import { OFFLOAD_ANNOTATION } from '../../api/intents/intents.ts'
import type { Cluster, Place } from './cluster.ts'
import { ask, isBlocked, obstacles, type Question, spotsOf } from './filter.ts'
import type { PodTerm, PodView } from './pod-view.ts'
import { type ScorePart, scoreOf, scoreParts } from './score.ts'

/** What was made of one node. */
export interface Candidate {
  readonly node: string
  /** Why it cannot be; empty when it can. */
  readonly obstacles: readonly string[]
  readonly score: number
  readonly parts: readonly ScorePart[]
}

export interface Decision {
  readonly node: string | undefined
  readonly candidates: readonly Candidate[]
  /** In one line: why this node, or why none. */
  readonly why: string
  /** The pod waits of its own will until then, ms since 1970. */
  readonly waitUntilMs?: number
}

export interface ChooseOptions {
  readonly nowMs: number
  readonly avoid?: ReadonlyMap<string, string>
  /** Only places that keep hard intents with something to spare: for a pod that is moved from a place where it runs. */
  readonly onlyStrict?: boolean
  /** Look at every place to its end, for whoever wants to read what was made of each. */
  readonly detailed?: boolean
}

/** A place that is not better by this much is not better: it saves nothing, and choosing by name is steady. */
const TIE = 0.5

/**
 * Where a pod goes. Pure: the same cluster gives the same answer. Places that keep hard intents with something to spare
 * come first; when there is none, those that keep them as they were written; never any other.
 */
export function choose(pod: PodView, cluster: Cluster, options: ChooseOptions): Decision {
  const strict = decide(ask(pod, cluster, true, options.avoid), options)
  if (strict.node !== undefined || options.onlyStrict === true || pod.meaning.intents.every(({ hard }) => !hard))
    return strict
  return decide(ask(pod, cluster, false, options.avoid), options)
}

function decide(question: Question, { nowMs, detailed = false }: ChooseOptions): Decision {
  const { pod, cluster } = question
  const candidates: Candidate[] = []
  const preferred = preferences(pod, cluster)
  let best: Candidate | undefined
  const free: Place[] = []
  for (const place of cluster.places.values()) {
    if (!detailed && isBlocked(question, place)) continue
    const candidate = judge(question, place, preferred, detailed)
    if (detailed) candidates.push(candidate)
    if (candidate.obstacles.length > 0) continue
    if (pod.meaning.maxDelayMs > 0) free.push(place)
    if (best === undefined || beats(candidate, best)) best = candidate
  }
  // Nobody took it: what speaks against each place has to be said.
  if (best === undefined && !detailed) return decide(question, { nowMs, detailed: true })
  if (best === undefined) return { node: undefined, candidates, why: missing(pod, cluster) ?? nowhere(candidates) }
  const wait = cleanerLater(pod, cluster.places.get(best.node), free, nowMs)
  if (wait !== undefined) return { node: undefined, candidates, why: wait.why, waitUntilMs: wait.untilMs }
  return { node: best.node, candidates, why: reasons(best) }
}

function judge(question: Question, place: Place, preferred: readonly Preference[], detailed: boolean): Candidate {
  const { name } = place.node
  const against = detailed ? obstacles(question, place) : []
  if (against.length > 0) return { node: name, obstacles: against, score: 0, parts: [] }
  const parts = scoreParts(question, place)
  for (const { counts, topologyKey, sign, weight } of preferred) {
    const here = counts.get(place.node.labels[topologyKey] ?? '') ?? 0
    const points = sign > 0 ? (here > 0 ? 100 : 0) : here > 0 ? 0 : 100
    parts.push({
      of: sign > 0 ? 'pod affinity' : 'pod anti-affinity',
      points,
      weight: weight / 50,
      why: () => `${here} of them are here`,
    })
  }
  return { node: name, obstacles: [], score: scoreOf(parts), parts }
}

interface Preference {
  readonly counts: ReadonlyMap<string, number>
  readonly topologyKey: string
  readonly sign: 1 | -1
  readonly weight: number
}

function preferences(pod: PodView, cluster: Cluster): Preference[] {
  const read = (terms: readonly PodTerm[], sign: 1 | -1) =>
    terms.map((term): Preference => {
      const { counts, topologyKey } = spotsOf(term, pod, cluster)
      return { counts, topologyKey, sign, weight: term.weight }
    })
  return [...read(pod.preferNear, 1), ...read(pod.preferApart, -1)]
}

const beats = (one: Candidate, other: Candidate) =>
  one.score > other.score + TIE || (Math.abs(one.score - other.score) <= TIE && one.node < other.node)

/**
 * When a pod that may wait begins later, because the power is cleaner then: in the cleanest hour that a place it could have
 * forecasts within its time. Where nobody forecasts, it waits for power below its bound.
 */
function cleanerLater(pod: PodView, best: Place | undefined, free: readonly Place[], nowMs: number): Wait | undefined {
  const { maxDelayMs, intents } = pod.meaning
  const untilMs = pod.createdMs + maxDelayMs
  const grams = best?.gateway?.carbonGPerKWh
  if (maxDelayMs === 0 || nowMs >= untilMs || grams === undefined) return undefined
  let cleanest: { readonly atMs: number; readonly grams: number; readonly node: string } | undefined
  for (const { gateway, node } of free) {
    const { fromMs = 0, gPerKWh = [] } = gateway?.carbonForecast ?? {}
    for (const [hour, each] of gPerKWh.entries()) {
      const atMs = fromMs + hour * HOUR_MS
      if (atMs <= nowMs || atMs > untilMs) continue
      if (cleanest === undefined || each < cleanest.grams) cleanest = { atMs, grams: each, node: node.name }
    }
  }
  if (cleanest !== undefined) {
    // A little cleaner is not worth any waiting: forecasts are not that good.
    if (cleanest.grams >= grams * WORTH_WAITING) return undefined
    const { atMs, node } = cleanest
    const figures = `${Math.round(cleanest.grams)} g a kWh on ${node}, now ${Math.round(grams)} g`
    return { untilMs: atMs, why: `waits for cleaner power until ${iso(atMs)}: ${figures}` }
  }
  // Without a number of its own, clean is what a third of a coal grid emits.
  const wanted = intents.find((each) => each.name === 'carbon-aware')
  const bound = wanted?.name === 'carbon-aware' ? (wanted.maxGPerKWh ?? CLEAN_G_PER_KWH) : CLEAN_G_PER_KWH
  if (grams <= bound) return undefined
  return { untilMs, why: `waits for cleaner power until ${iso(untilMs)} at the latest` }
}

interface Wait {
  readonly untilMs: number
  readonly why: string
}

const HOUR_MS = 3_600_000
const WORTH_WAITING = 0.9
const iso = (ms: number): string => new Date(ms).toISOString()
const CLEAN_G_PER_KWH = 250

function reasons({ parts, score }: Candidate): string {
  const told = [...parts].sort((a, b) => b.points * b.weight - a.points * a.weight).slice(0, 4)
  return `${Math.round(score)} points: ${told.map(({ of, why }) => `${of} (${why()})`).join(', ')}`
}

/** A name that nobody has says more than what every node has against it. */
function missing({ offloadTo }: PodView, { places }: Cluster): string | undefined {
  if (offloadTo === undefined || places.has(offloadTo)) return undefined
  return `${OFFLOAD_ANNOTATION} names ${offloadTo}, and there is no such node; see: kubectl get nodes`
}

/** `0/3 nodes are available: 1 Insufficient cpu, 2 ...`, as kube-scheduler says it. What differs in figures only is told once. */
export function nowhere(candidates: readonly Candidate[]): string {
  if (candidates.length === 0) return '0/0 nodes are available: there are no nodes'
  const groups = new Map<string, { count: number; readonly first: string; readonly figures: number[][] }>()
  for (const { obstacles: against } of candidates) {
    for (const reason of new Set(against)) {
      const key = gistOf(reason)
      const group = groups.get(key) ?? { count: 0, first: reason, figures: [] }
      groups.set(key, group)
      group.count++
      for (const [index, [figure]] of [...reason.matchAll(FIGURE)].entries())
        (group.figures[index] ??= []).push(Number(figure))
    }
  }
  const words = [...groups.values()]
    .sort((a, b) => b.count - a.count || (a.first < b.first ? -1 : 1))
    .slice(0, 12)
    .map(({ count, first, figures }) => `${count} ${ranged(first, figures)}`)
  return `0/${candidates.length} nodes are available: ${words.join(', ')}`
}

/** Figures stand alone; digits of a name are none. */
const FIGURE = /(?<![\w./-])\d+(?:\.\d+)?(?![\w./-]*[\w/])/g

/** What is said, whatever the figures are: they move all the time, and are no news. */
export const gistOf = (text: string): string => text.replace(FIGURE, '#').replaceAll('# to #', '#')

/** `battery 12 to 38 %` in place of one of them. */
function ranged(text: string, figures: readonly (readonly number[])[]): string {
  let index = 0
  return text.replace(FIGURE, (figure) => {
    const all = figures[index++] ?? []
    const [least, most] = all.reduce(
      ([low, high], each) => [Math.min(low, each), Math.max(high, each)],
      [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
    )
    return least < most ? `${least} to ${most}` : figure
  })
}
