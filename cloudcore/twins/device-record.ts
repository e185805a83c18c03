import type { RoamingRole } from '../../api/link/messages.ts'
import type { DeviceModelSpec, DeviceSpec, DeviceStatus, ObjectKey } from '../../api/resources.ts'
import type { ReachFigures } from '../../api/twin/signal.ts'
import { emptyTwin, type Order, type Twin } from '../../api/twin/twin.ts'

/** Reach of a device as its gateway last told. */
export interface Reach extends ReachFigures {
  readonly online: boolean
  readonly order: Order
  readonly reason?: string
}

/** Of a device that changed hands, or may: who is what to it. See docs/roaming.md. */
export interface Tenure {
  /** The highest term that was given out. */
  readonly term: number
  /** The term whose values count: lower than `term` while nobody serves under it yet. */
  readonly accepts: number
  /** While `releasing`, the gateway that served is told to let go, and what it told before still counts. */
  readonly phase: 'serving' | 'releasing'
  /** Gateways that stand by. */
  readonly standbys: readonly string[]
  /** What the one that serves was given when it took over. */
  readonly handed: Pick<RoamingRole, 'since' | 'ended' | 'writeAfterMs'>
}

/** Why the gateway does not use an object, in its own words. */
export interface Refusal {
  readonly code: string
  readonly message: string
}

export interface PropertyState {
  twin: Twin
  /** When the hub received the newest report. */
  receivedMs: number
  backfill: boolean
  /** Whose clock the known value's time is of; undefined for one that is from before this process. */
  knownFrom?: string
}

/** Everything the cloud core keeps in memory of one Device. */
export interface DeviceRecord {
  readonly key: ObjectKey
  readonly namespace: string
  readonly name: string
  readonly uid: string
  generation: number
  resourceVersion: string
  spec: DeviceSpec
  modelKey: ObjectKey
  /** Who serves the device. */
  gateway: string | undefined
  tenure: Tenure | undefined
  /** Who served it when the status was written last, before this process started. */
  servedBefore: string | undefined
  /** Names the replicated content; computed when first asked for after a change. */
  rev: string | undefined
  readonly properties: Map<string, PropertyState>
  reach: Reach | undefined
  lastSeenMs: number | undefined
  staleSinceMs: number | undefined
  refusal: Refusal | undefined
  conditions: NonNullable<DeviceStatus['conditions']>
  /** Digest of each status field as the API has it. */
  readonly written: Map<string, string>
  /** The status found at the start, until it was compared with what this process makes of it. */
  restored: DeviceStatus | undefined
}

export interface ModelRecord {
  readonly key: ObjectKey
  readonly uid: string
  readonly generation: number
  readonly spec: DeviceModelSpec
  readonly rev: string
}

export function propertyOf(record: DeviceRecord, name: string): PropertyState {
  let state = record.properties.get(name)
  if (state === undefined) {
    state = { twin: emptyTwin, receivedMs: 0, backfill: false }
    record.properties.set(name, state)
  }
  return state
}
