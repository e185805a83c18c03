import type {
  FirmwareReleaseSpec,
  FirmwareReleaseStatus,
  FirmwareRolloutSpec,
  FirmwareRolloutStatus,
} from '../resources.ts'

/** One intent of a pod, as it was written. */
export interface IntentView {
  readonly name: string
  readonly text: string
  /** A place that does not keep it is no place; else it is a wish. */
  readonly hard: boolean
}

/** A pod as the console's map of work shows it. Processor in thousandths of a core, memory in bytes. */
export interface PodCard {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly node?: string
  readonly phase: string
  /** It is being ended. */
  readonly leaving: boolean
  /** `Deployment web`: who makes another one when it goes. */
  readonly owner?: string
  readonly intents: readonly IntentView[]
  /** Annotations that cannot be read: until they are corrected the pod waits. */
  readonly problems: readonly { readonly message: string; readonly hint?: string }[]
  /** Where a person asked it to go. */
  readonly offloadTo?: string
  readonly cpuMilli: number
  readonly memoryBytes: number
}

/** A node with what the scheduler weighs. Figures that nobody told are absent. */
export interface PlaceCard {
  readonly name: string
  readonly ready: boolean
  /** Behind it stands a gateway of ours. */
  readonly gateway: boolean
  readonly closed: boolean
  readonly batteryPercent?: number
  readonly supply?: 'mains' | 'battery' | 'unknown'
  readonly watts?: number
  readonly wattsSource?: string
  readonly roundTripMs?: number
  readonly celsius?: number
  readonly location?: string
  readonly cpuMilli: { readonly requested: number; readonly allocatable: number }
  readonly memoryBytes: { readonly requested: number; readonly allocatable: number }
  /** Devices behind the gateway that are online. */
  readonly devices: number
}

/** `GET /v1/work`: what runs where. */
export interface WorkView {
  readonly pods: readonly PodCard[]
  readonly places: readonly PlaceCard[]
}

/** What the scheduler would make of one node now. */
export interface CandidateView {
  readonly node: string
  /** Why it cannot be; empty when it can. */
  readonly obstacles: readonly string[]
  /** 0 to 100. */
  readonly score: number
  readonly parts: readonly {
    readonly of: string
    readonly points: number
    readonly weight: number
    readonly why: string
  }[]
}

/** `GET /v1/pods/{namespace}/{name}/explain`: why a pod is where it is, decided once more. Nothing is changed. */
export interface ExplanationView {
  readonly pod: PodCard
  /** Why the scheduler chose the node when it did. */
  readonly because?: string
  /** Where it would go now; absent when nowhere. */
  readonly wouldGo?: string
  readonly why: string
  /** The pod waits of its own will until then. RFC 3339. */
  readonly waitUntil?: string
  readonly candidates: readonly CandidateView[]
}

/** One container, as the pod's status says it. */
export interface ContainerCard {
  readonly name: string
  readonly image: string
  readonly ready: boolean
  readonly restarts: number
  readonly state: 'waiting' | 'running' | 'terminated' | 'unknown'
  readonly reason?: string
  readonly message?: string
}

/** `GET /v1/pods?node=`: the pods of one gateway, with their containers. */
export interface PodDetail {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly phase: string
  readonly leaving: boolean
  readonly message?: string
  /** RFC 3339. */
  readonly startedAt?: string
  readonly containers: readonly ContainerCard[]
}

/** `GET /v1/firmware`. */
export interface FirmwareView {
  readonly releases: readonly {
    readonly namespace: string
    readonly name: string
    readonly createdAt: string
    readonly spec: FirmwareReleaseSpec
    readonly status: FirmwareReleaseStatus
  }[]
  readonly rollouts: readonly {
    readonly namespace: string
    readonly name: string
    readonly createdAt: string
    readonly spec: FirmwareRolloutSpec
    readonly status: FirmwareRolloutStatus
  }[]
}
