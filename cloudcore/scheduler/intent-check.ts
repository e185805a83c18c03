import type { Comparison, Intent } from '../../api/intents/intents.ts'
import type { NodeView, Place } from './cluster.ts'

/** Whether a place keeps an intent, how well (0 to 1), and why, in words. */
export interface Verdict {
  readonly keeps: boolean
  readonly fit: number
  /** In words; made when somebody reads it, because most verdicts are never read. */
  readonly why: () => string
  /** Nobody told what it takes to judge. */
  readonly unknown?: boolean
}

/**
 * Judges one place. With `strict` a place must keep the intent with something to spare: what is chosen anew is not to be
 * left again at once. Without, it is the intent as it was written.
 */
export function checkIntent(intent: Intent, place: Place, strict: boolean): Verdict {
  const { gateway, node } = place
  switch (intent.name) {
    case 'battery':
      return battery(intent, place, strict)
    case 'energy': {
      const watts = gateway?.watts
      if (watts === undefined) return nothingKnown('its power', intent.maxWatts === undefined || !intent.hard)
      const bound = intent.maxWatts
      if (bound === undefined) return { keeps: true, fit: 1 / (1 + watts / 10), why: () => `takes ${round(watts)} W` }
      return atMost(
        watts,
        bound,
        strict,
        0.95,
        () => `takes ${round(watts)} W`,
        () => `${bound} W`,
      )
    }
    case 'carbon-aware': {
      const grams = gateway?.carbonGPerKWh
      if (grams === undefined)
        return nothingKnown(
          'the carbon of its power (energy.carbon of the Gateway)',
          intent.maxGPerKWh === undefined || !intent.hard,
        )
      const bound = intent.maxGPerKWh
      const why = () => `power of ${round(grams)} g CO2 a kWh`
      if (bound === undefined) return { keeps: true, fit: Math.max(0, 1 - grams / 800), why }
      return atMost(grams, bound, strict, 1, why, () => `${bound} g`)
    }
    case 'latency': {
      // As FLUIDOS: a place that does not say is taken at its word later, when it is measured.
      const roundTripMs = gateway?.roundTripMs
      if (roundTripMs === undefined) return nothingKnown('its round trip', true)
      return atMost(
        roundTripMs,
        intent.maxMs,
        strict,
        0.8,
        () => `round trip ${round(roundTripMs)} ms`,
        () => `${intent.maxMs} ms`,
      )
    }
    case 'throughput': {
      const bps = gateway?.bitrateBps
      if (bps === undefined) return nothingKnown('its bit rate', true)
      const keeps = bps >= intent.minBps * (strict ? 1.2 : 1)
      return verdict(
        keeps,
        Math.min(1, bps / (4 * intent.minBps)),
        () => `${round(bps / 1e6)} Mbit/s`,
        () => `needs ${intent.minBps / 1e6} Mbit/s`,
      )
    }
    case 'bandwidth-against':
      return against(intent, place)
    case 'robot-status': {
      const robots = [...place.devices.values()].filter((device) => device.robotStatus !== undefined)
      // What a robot said before it was gone says nothing of now.
      const said = robots.flatMap((robot) => (robot.online ? (robot.robotStatus ?? []) : []))
      if (robots.length > 0 && said.length === 0)
        return nothingKnown(`its robot's status since ${robots[0]?.key} is offline`, !intent.hard)
      const label = node.labels['sluice.dev/robot-status']
      const all = said.length > 0 ? said : label === undefined ? [] : [label]
      const found = all.find((status) => intent.anyOf.includes(status.toLowerCase()))
      if (all.length === 0) return { keeps: false, fit: 0, why: () => 'has no robot that tells its status' }
      return verdict(
        found !== undefined,
        found === undefined ? 0 : 1,
        () => `the robot is ${found ?? all.join(', ')}`,
        () => `wanted is ${intent.anyOf.join(' or ')}`,
      )
    }
    case 'robot-preferred': {
      const robot =
        node.labels['sluice.dev/robot'] === 'true' ||
        [...place.devices.values()].some((each) => each.robotStatus !== undefined)
      return { keeps: true, fit: robot ? 1 : 0, why: () => (robot ? 'is a robot' : 'is no robot') }
    }
    case 'cpu':
      return amount('cpu', intent.minMillis, place, (value) => `${value / 1000} cores`)
    case 'memory':
      return amount('memory', intent.minBytes, place, (value) => `${Math.round(value / 2 ** 20)} MiB`)
    case 'gpu': {
      const gpus = Object.entries(node.allocatable).reduce(
        (sum, [name, value]) => sum + (/\/.*gpu/i.test(name) ? value : 0),
        0,
      )
      return verdict(
        gpus >= intent.min,
        gpus > 0 ? 1 : 0,
        () => `${gpus} GPU`,
        () => `needs ${intent.min}`,
      )
    }
    case 'tee-readiness': {
      const has = wordsOf(place, 'tee').includes('true')
      return verdict(
        has,
        has ? 1 : 0,
        () => (has ? 'has a trusted execution environment' : 'says of no trusted execution environment'),
        () => 'needs one',
      )
    }
    default: {
      const words = wordsFor(intent.name, place)
      const found = intent.anyOf.find((word) => words.includes(word))
      const has = () =>
        words.length === 0
          ? `says nothing of its ${intent.name}${remedyOf(intent.name)}`
          : `${intent.name} ${words.slice(0, 6).join(', ')}`
      return verdict(
        found !== undefined,
        found === undefined ? 0 : 1,
        found === undefined ? has : () => `${intent.name} ${found}`,
        () => `wanted is ${intent.anyOf.join(' or ')}`,
      )
    }
  }
}

/** A machine in a rack tells of no battery, and often of no mains either: then a person says so. */
export const runsOnMains = ({ gateway, node }: Place): boolean =>
  gateway === undefined || gateway.supply === 'mains' || node.labels['sluice.dev/supply'] === 'mains'

function battery(intent: Intent & { name: 'battery' }, place: Place, strict: boolean): Verdict {
  const { gateway } = place
  const held = gateway?.battery
  if (held === undefined) {
    if (!runsOnMains(place))
      return nothingKnown(
        'its battery (one that runs on mains: label sluice.dev/supply=mains of the Node)',
        !intent.hard,
      )
    return { keeps: true, fit: 1, why: () => 'runs on mains' }
  }
  const { minLeftMs } = intent
  if (minLeftMs !== undefined) {
    if (held.state === 'charging' || held.state === 'full')
      return { keeps: true, fit: 1, why: () => `battery ${held.state}` }
    const leftS = held.leftLowS ?? held.leftS
    if (leftS === undefined) return nothingKnown('how long its battery lasts', !intent.hard)
    const keeps = leftS * 1000 >= minLeftMs * (strict ? 1.2 : 1)
    return verdict(
      keeps,
      Math.min(1, (leftS * 1000) / (4 * minLeftMs)),
      () => `battery for ${span(leftS)}`,
      () => `needs ${span(minLeftMs / 1000)}`,
    )
  }
  const { percent } = held
  if (percent === undefined) return nothingKnown('its charge', !intent.hard)
  const least = intent.minPercent ?? 0
  // Five points to spare; where so much cannot be had, half of the way to full.
  const spare = strict && held.state !== 'charging' && held.state !== 'full' ? Math.min(5, (100 - least) / 2) : 0
  const fit = least >= 100 ? 1 : Math.max(0, Math.min(1, (percent - least) / (100 - least)))
  return verdict(
    percent >= least + spare,
    fit,
    () => `battery ${round(percent)} %, ${held.state}`,
    () => `needs ${least} %`,
  )
}

/** When a battery that empties at this pace will break the intent, in seconds; undefined when it does not. */
export function breachInS(intent: Intent, place: Place): number | undefined {
  const held = place.gateway?.battery
  if (intent.name !== 'battery' || held?.state !== 'discharging') return undefined
  const leftS = held.leftLowS ?? held.leftS
  if (leftS === undefined) return undefined
  if (intent.minLeftMs !== undefined) return leftS - intent.minLeftMs / 1000
  const { percent } = held
  if (percent === undefined || percent <= 0) return 0
  return Math.max(0, (leftS * (percent - (intent.minPercent ?? 0))) / percent)
}

/** FLUIDOS compares whole milliseconds. */
const HOLDS: Readonly<Record<Comparison, (measured: number, wanted: number) => boolean>> = {
  '<': (measured, wanted) => measured < wanted,
  '<=': (measured, wanted) => measured <= wanted,
  '>': (measured, wanted) => measured > wanted,
  '>=': (measured, wanted) => measured >= wanted,
  '=': (measured, wanted) => Math.round(measured) === Math.round(wanted),
}

function against(intent: Intent & { name: 'bandwidth-against' }, { gateway, node }: Place): Verdict {
  const { point, compare, ms } = intent
  const key = `sluice.dev/latency-to-${point}`
  const told = node.annotations[key]
  const isHub = point.toLowerCase() === 'hub'
  const match = told === undefined ? null : /^(\d+(?:\.\d+)?)\s*(ms|s)?$/.exec(told.trim())
  const measured = isHub
    ? gateway?.roundTripMs
    : match === null
      ? undefined
      : Number(match[1]) * (match[2] === 's' ? 1000 : 1)
  if (measured === undefined) {
    const remedy = told === undefined ? `annotation ${key} of the Node` : `${key} is no time: ${told.slice(0, 32)}`
    return nothingKnown(`how far ${point} is${isHub ? '' : ` (${remedy})`}`, !intent.hard)
  }
  const holds = HOLDS[compare](measured, ms)
  return verdict(
    holds,
    holds ? 1 : 0,
    () => `${point} is ${round(measured)} ms away`,
    () => `wanted is ${compare} ${ms} ms`,
  )
}

function amount(name: string, least: number, { node, requested }: Place, words: (value: number) => string): Verdict {
  const free = (node.allocatable[name] ?? 0) - (requested[name] ?? 0)
  return verdict(
    free >= least,
    Math.min(1, free / (4 * Math.max(1, least))),
    () => `${words(Math.max(0, free))} free`,
    () => `needs ${words(least)}`,
  )
}

/** What a Node says is read once: there are thousands of them, and each is asked for every decision. */
const read = new WeakMap<NodeView, Map<string, readonly string[]>>()

/** Words a place says of itself: labels or annotations `sluice.dev/<name>`, several with commas. */
function wordsOf({ node }: Place, name: string): readonly string[] {
  let words = read.get(node)
  if (words === undefined) read.set(node, (words = new Map()))
  let found = words.get(name)
  if (found === undefined) words.set(name, (found = wordsSaid(node, name)))
  return found
}

function wordsSaid(node: NodeView, name: string): readonly string[] {
  const key = `sluice.dev/${name}`
  return [node.labels[key], node.annotations[key]]
    .flatMap((text) => (text ?? '').split(','))
    .map((word) => word.trim().toLowerCase())
    .filter(Boolean)
}

/** Where a person writes the word. */
const remedyOf = (name: string) =>
  name === 'architecture'
    ? ''
    : ` (sluice.dev/${name === 'magi' || name === 'cyber-deception' ? 'security-features' : name} of the Node)`

function wordsFor(name: string, place: Place): readonly string[] {
  const { labels } = place.node
  switch (name) {
    case 'architecture':
      return [...new Set([place.node.architecture, labels['kubernetes.io/arch'] ?? ''])]
        .filter(Boolean)
        .map((each) => each.toLowerCase())
    case 'location': {
      const zones = ['zone', 'region'].map((each) => labels[`topology.kubernetes.io/${each}`]?.toLowerCase() ?? '')
      return [...wordsOf(place, 'location'), ...zones.filter(Boolean)]
    }
    case 'sensor':
      return [
        ...wordsOf(place, 'sensor'),
        ...[...place.devices.values()]
          .filter(({ online }) => online)
          .flatMap(({ key, model }) => [key, key.slice(key.indexOf('/') + 1), model])
          .map((each) => each.toLowerCase()),
      ]
    case 'hardware':
      return [
        ...wordsOf(place, 'hardware'),
        ...Object.keys(place.node.allocatable)
          .filter((each) => each.includes('/'))
          .map((each) => each.toLowerCase()),
      ]
    case 'cyber-deception':
    case 'magi':
      return wordsOf(place, 'security-features')
    default:
      return wordsOf(place, name)
  }
}

function atMost(
  value: number,
  bound: number,
  strict: boolean,
  share: number,
  why: () => string,
  wanted: () => string,
): Verdict {
  return verdict(
    value <= bound * (strict ? share : 1),
    Math.max(0, Math.min(1, 1 - value / (2 * Math.max(bound, 1e-9)))),
    why,
    () => `at most ${wanted()}`,
  )
}

const verdict = (keeps: boolean, fit: number, why: () => string, wanted: () => string): Verdict => ({
  ...{ keeps, fit, why: keeps ? why : () => `${why()}, ${wanted()}` },
})

const nothingKnown = (what: string, keeps: boolean): Verdict => ({
  ...{ keeps, fit: 0.5, why: () => `nobody told ${what}`, unknown: true },
})

const round = (value: number) => Number(value.toPrecision(3))

export function span(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${round(seconds / 3600)} h`
}
