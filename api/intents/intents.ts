/**
 * What a person means by a pod: intents, written as annotations with FLUIDOS's names (`fluidos-intent-battery: "40%"`)
 * or together in one block (`sluice.dev/intent`). A hard intent forbids places, a soft one makes them better or worse.
 * docs/scheduling.md has every name with its values.
 */

export const INTENT_PREFIX = 'fluidos-intent-'
export const INTENT_BLOCK = 'sluice.dev/intent'
/** Devices whose twins a pod is given, as `namespace/name, ...`: it runs only at the gateway that serves them. */
export const DEVICE_ANNOTATION = 'sluice.dev/device'
/** Devices a pod reads from afar: it is drawn to the gateway that serves them, and may run elsewhere. */
export const NEAR_ANNOTATION = 'sluice.dev/near'
/** Where a person wants a pod to be; set by `sluice offload`. */
export const OFFLOAD_ANNOTATION = 'sluice.dev/offload-to'
/** `move`: the pod begins elsewhere when its gateway is silent, also where that one would keep it running. `stay`: as without. */
export const SILENCE_ANNOTATION = 'sluice.dev/on-silence'
/** Why the scheduler chose the node, in one line. */
export const PLACED_ANNOTATION = 'sluice.dev/placed-because'
/** `never`: the pod stays at a gateway whose policy hands its work back. `allow`: as without. */
export const HAND_BACK_ANNOTATION = 'sluice.dev/hand-back'
/** `deferrable`, `normal` or `critical`: whether a stage of the gateway's policy may have the pod stand still. */
export const IMPORTANCE_ANNOTATION = 'sluice.dev/importance'
/** Set on a pod that was made anew, so that it is known whose successor it is. */
export const SUCCESSOR_ANNOTATION = 'sluice.dev/successor-of'
/** Every annotation of ours that a pod may have. */
export const POD_ANNOTATIONS = [
  INTENT_BLOCK,
  DEVICE_ANNOTATION,
  NEAR_ANNOTATION,
  OFFLOAD_ANNOTATION,
  SILENCE_ANNOTATION,
  PLACED_ANNOTATION,
  HAND_BACK_ANNOTATION,
  IMPORTANCE_ANNOTATION,
  SUCCESSOR_ANNOTATION,
] as const

/** Those that a Deployment, or whatever else makes pods, may have in place of its template. */
export const ANNOTATIONS_OF_A_WORKLOAD = [
  INTENT_BLOCK,
  DEVICE_ANNOTATION,
  NEAR_ANNOTATION,
  SILENCE_ANNOTATION,
  HAND_BACK_ANNOTATION,
  IMPORTANCE_ANNOTATION,
] as const

export const POLICIES = [
  'workload-balance',
  'cpu-balance',
  'consolidation',
  'thermal-balance',
  'energy',
  'carbon',
  'battery',
  'cost',
] as const
export type Policy = (typeof POLICIES)[number]

/** What each policy wants of a place, for whoever reads an explanation. */
export type Weights = Readonly<Partial<Record<Policy, number>>>

export type Comparison = '<' | '<=' | '>' | '>=' | '='

interface Common {
  /** Hard: a place that does not keep it is no place. */
  readonly hard: boolean
  /** As it was written. */
  readonly text: string
}

export type Intent = Common &
  (
    | { readonly name: 'battery'; readonly minPercent?: number; readonly minLeftMs?: number }
    | { readonly name: 'energy'; readonly maxWatts?: number }
    | { readonly name: 'carbon-aware'; readonly maxGPerKWh?: number }
    | { readonly name: 'latency'; readonly maxMs: number }
    | { readonly name: 'throughput'; readonly minBps: number }
    | { readonly name: 'bandwidth-against'; readonly point: string; readonly compare: Comparison; readonly ms: number }
    | { readonly name: 'robot-status'; readonly anyOf: readonly string[] }
    | { readonly name: 'cpu'; readonly minMillis: number }
    | { readonly name: 'memory'; readonly minBytes: number }
    | { readonly name: 'gpu'; readonly min: number }
    | { readonly name: WordIntent; readonly anyOf: readonly string[] }
    | { readonly name: 'robot-preferred' | 'tee-readiness' }
  )

/** Intents that are a word, or several of which one has to hold, compared without case. */
export const WORD_INTENTS = [
  'architecture',
  'location',
  'compliance',
  'sensor',
  'hardware',
  'vm-type',
  'cyber-deception',
  'magi',
] as const
export type WordIntent = (typeof WORD_INTENTS)[number]

/** Known to FLUIDOS, and about services outside of the supernode: accepted, and nothing is decided by them. */
export const OUTSIDE_INTENTS = ['service', 'mspl'] as const

export const INTENT_NAMES = [
  ...WORD_INTENTS,
  'battery',
  'energy',
  'carbon-aware',
  'latency',
  'throughput',
  'bandwidth-against',
  'robot-status',
  'robot-preferred',
  'cpu',
  'memory',
  'gpu',
  'tee-readiness',
  'max-delay',
  ...OUTSIDE_INTENTS,
] as const

/** Everything a pod's annotations mean. */
export interface Meaning {
  readonly intents: readonly Intent[]
  readonly weights: Weights
  /** How long the pod may wait for clean power. */
  readonly maxDelayMs: number
  /** `stay`: a breach at run time is told and nothing is moved. */
  readonly onBreach: 'move' | 'stay'
}

export const NO_MEANING: Meaning = { intents: [], weights: {}, maxDelayMs: 0, onBreach: 'move' }
