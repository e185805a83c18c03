import type { DeviceModelSpec, DeviceSpec, GatewayStatus, Json, ObjectKey } from '../resources.ts'
import type { Quality } from '../twin/quality.ts'
import type { SightedItem } from './sighted.ts'

/**
 * The words between an agent and the hub: JSON text frames over one WebSocket with mutual TLS.
 *
 *     agent                                   hub
 *     hello (what I hold, where I stand)  ->
 *                                         <-  welcome (what you may delete, how much may be in flight)
 *                                         <-  objects (the difference)          objectsAck ->
 *     snapshot (every twin, in parts)     ->
 *     batch live | batch backfill         ->                                    <- ack
 *     status, ping                        ->                                    <- pong
 *
 * Batches carry the outbox's own sequence number. After a cut there are two lanes: `backfill` drains what was written
 * before this connection, `live` carries what is written after it; within a lane the numbers grow. The hub stores what
 * it received as ranges and acknowledges them, so either lane can be cut at any frame and resumes without loss or
 * doubling.
 */
export const LINK_VERSION = 1
export const LINK_SUBPROTOCOL = 'sluice.link.v1'
export const LINK_PATH = '/link'
/** A frame larger than this is refused by both sides. */
export const MAX_FRAME_BYTES = 4 * 1024 * 1024
export const DEFAULT_HEARTBEAT_S = 15

/** Inclusive range of sequence numbers. */
export type SeqRange = readonly [first: number, last: number]

/** `[device index, property, value, source time in ms, quality unless good, reason]`; value null with a bad quality. */
export type ReportRow = readonly [
  device: number,
  property: string,
  value: Json,
  atMs: number,
  quality?: Quality,
  reason?: string,
]

/** `[device index, property, desired version, state, time in ms, reason, local count]`. */
export type WriteRow = readonly [
  device: number,
  property: string,
  version: number,
  state: 'applied' | 'rejected' | 'timedOut',
  atMs: number,
  reason?: string | null,
  local?: number,
]

/** `[device index, online, time in ms, reason, share of failed requests, latency in ms]`. */
export type ReachRow = readonly [
  device: number,
  online: 0 | 1,
  atMs: number,
  reason?: string | null,
  errorRate?: number,
  latencyMs?: number,
]

/** One transaction of the agent's outbox. Devices are named once: `[namespace/name, uid]`. */
export interface BatchBody {
  readonly d: readonly (readonly [key: ObjectKey, uid: string])[]
  readonly r?: readonly ReportRow[]
  readonly w?: readonly WriteRow[]
  readonly s?: readonly ReachRow[]
}

/** Number of values a batch carries, for every counter that speaks of values. */
export const valuesIn = (body: BatchBody): number => (body.r?.length ?? 0) + (body.w?.length ?? 0)

/** A Device as it is replicated to its gateway: the spec, and each desired value with the version it carries. */
export interface LinkDevice {
  readonly uid: string
  readonly generation: number
  readonly spec: DeviceSpec
  readonly desired: Readonly<
    Record<string, { readonly value: Json; readonly version: number; readonly atMs: number; readonly by?: string }>
  >
  /** Desired versions that were removed, by property. */
  readonly removed?: Readonly<Record<string, number>>
}

export interface LinkModel {
  readonly uid: string
  readonly generation: number
  readonly spec: DeviceModelSpec
}

/** Objects the hub replicates. `rev` names the content: the same rev is the same object. */
export type LinkObject =
  | { readonly kind: 'Device'; readonly key: ObjectKey; readonly rev: string; readonly object: LinkDevice }
  | { readonly kind: 'DeviceModel'; readonly key: ObjectKey; readonly rev: string; readonly object: LinkModel }

export type LinkObjectKind = LinkObject['kind']

export interface HelloFrame {
  readonly t: 'hello'
  readonly v: number
  readonly gateway: string
  /** Identity of the agent's store. */
  readonly epoch: string
  readonly agentVersion: string
  /** Highest sequence number ever written in this epoch; 0 when none. */
  readonly lastSeq: number
  /** Lowest sequence number still held; `lastSeq + 1` when the outbox is empty. */
  readonly firstSeq: number
  readonly holds: readonly (readonly [kind: LinkObjectKind, key: ObjectKey, rev: string])[]
}

export interface WelcomeFrame {
  readonly t: 'welcome'
  readonly v: number
  readonly session: string
  /** The hub's time, for the agent to notice a wrong clock. */
  readonly nowMs: number
  readonly heartbeatMs: number
  /** What the hub holds durably of this epoch. */
  readonly received: readonly SeqRange[]
  /** Batches and bytes that may be unacknowledged at a time. */
  readonly window: { readonly batches: number; readonly bytes: number }
}

export interface ObjectsFrame {
  readonly t: 'objects'
  readonly upserts: readonly LinkObject[]
  readonly deletes: readonly { readonly kind: LinkObjectKind; readonly key: ObjectKey; readonly uid?: string }[]
}

export interface ObjectsAckFrame {
  readonly t: 'objectsAck'
  readonly items: readonly {
    readonly kind: LinkObjectKind
    readonly key: ObjectKey
    readonly rev: string
    readonly ok: boolean
    readonly code?: string
    readonly message?: string
  }[]
}

/** Part of the state of every twin as of `seq`; sent before any batch. It updates twins and is not history. */
export interface SnapshotFrame {
  readonly t: 'snapshot'
  readonly seq: number
  readonly last: boolean
  readonly body: BatchBody
}

export interface BatchFrame {
  readonly t: 'batch'
  readonly seq: number
  readonly lane: 'live' | 'backfill'
  readonly body: BatchBody
}

/** Says that the numbers of this range will never come: the agent had to drop them. */
export interface GapFrame {
  readonly t: 'gap'
  readonly range: SeqRange
  readonly values: number
}

/** Everything in these ranges is stored durably by the hub; the agent deletes it. */
export interface AckFrame {
  readonly t: 'ack'
  readonly received: readonly SeqRange[]
}

/** A desired value set at the gateway, offered to the cloud. `version` and `local` say what it was based on. */
export interface DesireFrame {
  readonly t: 'desire'
  readonly id: string
  readonly device: ObjectKey
  readonly property: string
  readonly value: Json
  readonly version: number
  readonly local: number
  readonly atMs: number
  readonly by?: string
}

export interface DesireResultFrame {
  readonly t: 'desireResult'
  readonly id: string
  readonly ok: boolean
  readonly code?: string
  readonly message?: string
}

export interface StatusFrame {
  readonly t: 'status'
  readonly status: GatewayStatus
}

/** Devices that were seen and are nobody's: all of them after the welcome, then those that changed. */
export interface SightedFrame {
  readonly t: 'sighted'
  readonly items: readonly SightedItem[]
}

export interface PingFrame {
  readonly t: 'ping'
  readonly id: number
}

export interface PongFrame {
  readonly t: 'pong'
  readonly id: number
}

/** The last frame before the sender closes. */
export interface ErrorFrame {
  readonly t: 'error'
  readonly code: string
  readonly message: string
  readonly hint?: string
}

export type AgentFrame =
  | HelloFrame
  | ObjectsAckFrame
  | SnapshotFrame
  | BatchFrame
  | GapFrame
  | DesireFrame
  | StatusFrame
  | SightedFrame
  | PingFrame
  | ErrorFrame

export type HubFrame = WelcomeFrame | ObjectsFrame | AckFrame | DesireResultFrame | PongFrame | ErrorFrame
