import type { DeviceModelSpec, DeviceSpec, GatewaySpec, GatewayStatus, Json, ObjectKey } from '../resources.ts'
import type { Quality } from '../twin/quality.ts'
import type { FirmwareFrame, LinkFirmwareUpdate } from './firmware.ts'
import type { MachineFacts } from './machine.ts'
import type { NoticeItem } from './notices.ts'
import type { LinkConfigMap, LinkPod, LinkSecret, PodStatusItem } from './pods.ts'
import type { SightedItem } from './sighted.ts'
import type { StaticPod } from './static-pods.ts'
import type { DialFrame, DialRefusedFrame } from './streams.ts'

/**
 * The words between an agent and the hub: JSON text frames over one WebSocket with mutual TLS.
 *
 *     agent                                   hub
 *     hello (what I hold, where I stand)  ->
 *                                         <-  welcome (what you may delete, how much may be in flight)
 *                                         <-  objects (the difference)          objectsAck ->
 *     snapshot (every twin, in parts)     ->
 *     batch live | batch backfill         ->                                    <- ack
 *     status, sighted, events, heard, ping ->                                   <- pong
 *     dialRefused, or one more WebSocket  ->                                    <- dial
 *     pods (what became of each pod)      ->
 *     firmware (what became of updates)   ->
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

/** Longest `carry`, characters. */
export const MAX_CARRY = 2048

/** What the radio and the battery say, as far as the protocol knows. */
/** One receiver that heard a device: a LoRaWAN gateway by its EUI or by the name that its network server gives it. */
export interface HeardBy {
  readonly id: string
  readonly rssiDbm?: number
  readonly snrDb?: number
}

/** Receivers named at most, the best. */
export const MAX_HEARD_BY = 8

export interface ReachFacts {
  readonly rssiDbm?: number
  readonly snrDb?: number
  readonly spreadingFactor?: number
  readonly marginDb?: number
  /** Who heard it last, best first. */
  readonly gateways?: readonly HeardBy[]
  readonly batteryPercent?: number
  /** Frames and answers that could not be used, since the gateway's agent began to serve the device. */
  readonly unusable?: number
  /** What the next gateway needs to go on with the device; only its mapper can read it. */
  readonly carry?: string
}

/** `[device index, online, time in ms, reason, share of failed requests, latency in ms, signal and battery]`. */
export type ReachRow = readonly [
  device: number,
  online: 0 | 1,
  atMs: number,
  reason?: string | null,
  errorRate?: number | null,
  latencyMs?: number | null,
  facts?: ReachFacts,
]

/** `[device index, property, desired version, time in ms, reason, local count]`: why a write is still pending. */
export type NewsRow = readonly [
  device: number,
  property: string,
  version: number,
  atMs: number,
  reason: string,
  local?: number,
]

/**
 * A device named once in a batch: `namespace/name`, uid, and the term under which what follows was taken (absent: the
 * device does not roam). Rows of a term that is over are history at most and never the state.
 */
export type BatchDevice = readonly [key: ObjectKey, uid: string, term?: number]

/** One transaction of the agent's outbox. */
export interface BatchBody {
  readonly d: readonly BatchDevice[]
  readonly r?: readonly ReportRow[]
  readonly w?: readonly WriteRow[]
  readonly s?: readonly ReachRow[]
  readonly n?: readonly NewsRow[]
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
  /** Of a device that several gateways can hear: what this gateway is to it. Absent: it alone serves the device. */
  readonly roaming?: RoamingRole
}

/** See docs/roaming.md. */
export interface RoamingRole {
  readonly role: 'active' | 'standby'
  /** Grows with every change of hands; what a gateway says of a device counts only for the term in force. */
  readonly term: number
  /**
   * Of the active one: the newest value that was accepted from the terms before, by property, with its source time in ms
   * of the hub's clock. An understudy that takes over shows it, and tells what it overheard since.
   */
  readonly since?: Readonly<Record<string, readonly [value: Json, atMs: number]>>
  /** Of the active one: how desired versions ended that another gateway wrote; they are not written again. */
  readonly ended?: Readonly<Record<string, HandedEnd>>
  /** Of the active one: what the mapper of the gateway before left for it. */
  readonly carry?: string
  /** Of the active one: nothing may be written to the device before so much time passed since this was received. */
  readonly writeAfterMs?: number
}

export type HandedEnd = readonly [
  version: number,
  state: 'applied' | 'rejected' | 'timedOut',
  atMs: number,
  reason?: string,
]

export interface LinkModel {
  readonly uid: string
  readonly generation: number
  readonly spec: DeviceModelSpec
}

/** The gateway's own object; its key is `/<name>`, as the kind has no namespace. */
export interface LinkGateway {
  readonly uid: string
  readonly generation: number
  readonly spec: GatewaySpec
  readonly labels?: Readonly<Record<string, string>>
}

export const gatewayKey = (name: string): ObjectKey => `/${name}`

/** Kinds that the link carries. An agent that does not say which it takes takes the first two. */
export const LINK_KINDS = ['DeviceModel', 'Device', 'Gateway', 'Pod', 'ConfigMap', 'Secret', 'FirmwareUpdate'] as const
/** Kinds for which an agent must have a container runtime; one that runs no pods does not take them. */
export const POD_KINDS: readonly LinkObjectKind[] = ['Pod', 'ConfigMap', 'Secret']
export const FIRST_KINDS: readonly LinkObjectKind[] = ['DeviceModel', 'Device']

/** Objects the hub replicates. `rev` names the content: the same rev is the same object. */
export type LinkObject =
  | { readonly kind: 'Device'; readonly key: ObjectKey; readonly rev: string; readonly object: LinkDevice }
  | { readonly kind: 'DeviceModel'; readonly key: ObjectKey; readonly rev: string; readonly object: LinkModel }
  | { readonly kind: 'Gateway'; readonly key: ObjectKey; readonly rev: string; readonly object: LinkGateway }
  | {
      readonly kind: 'FirmwareUpdate'
      readonly key: ObjectKey
      readonly rev: string
      readonly object: LinkFirmwareUpdate
    }
  | PodLinkObject

/** What runs on a gateway, and what it reads. */
export type PodLinkObject =
  | { readonly kind: 'Pod'; readonly key: ObjectKey; readonly rev: string; readonly object: LinkPod }
  | { readonly kind: 'ConfigMap'; readonly key: ObjectKey; readonly rev: string; readonly object: LinkConfigMap }
  | { readonly kind: 'Secret'; readonly key: ObjectKey; readonly rev: string; readonly object: LinkSecret }

export type LinkObjectKind = (typeof LINK_KINDS)[number]

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
  /** Kinds of objects this agent takes. Default `FIRST_KINDS`. Others are not sent, so that a hub may be newer. */
  readonly kinds?: readonly string[]
  /** Version of streams this agent opens when it is asked to (streams.ts). Absent: it must not be asked. */
  readonly streams?: number
  /** What pods can be placed on. Absent: no pods run there. */
  readonly machine?: MachineFacts
  /** The agent's clock, so that source times of several gateways can be compared. */
  readonly nowMs?: number
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

/**
 * Things that happened and are worth a person's attention. After a welcome all that were not confirmed, then those that
 * changed; `count` is the whole of each, so that hearing one twice changes nothing. A pong for a ping that came after
 * this frame confirms it.
 */
export interface EventsFrame {
  readonly t: 'events'
  readonly items: readonly NoticeItem[]
}

/** How well roaming devices are heard here, at most every `HEARD_EVERY_MS` for each and not kept. */
export interface HeardFrame {
  readonly t: 'heard'
  readonly items: readonly HeardItem[]
}

/** `[namespace/name, uid, smoothed signal in dBm, age of the newest sign of life in ms]`. */
export type HeardItem = readonly [key: ObjectKey, uid: string, rssiDbm: number, ageMs: number]

export const MAX_HEARD_ITEMS = 1000

/** What became of pods: all of them after the welcome, then those that changed; each item is the whole of its pod. */
export interface PodsFrame {
  readonly t: 'pods'
  readonly items: readonly PodStatusItem[]
  /** All static pods there are: after the welcome, and whenever that has changed. */
  readonly statics?: readonly StaticPod[]
}

export interface PingFrame {
  readonly t: 'ping'
  readonly id: number
  /** The hub's clock minus the agent's, milliseconds, as the agent measured it. */
  readonly offsetMs?: number
}

export interface PongFrame {
  readonly t: 'pong'
  readonly id: number
  /** The hub's clock. */
  readonly nowMs?: number
  /** Of a tethered gateway: it is led for so long from when it sent the ping. See docs/tether.md. */
  readonly lease?: { readonly term: number; readonly spanMs: number }
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
  | EventsFrame
  | HeardFrame
  | PodsFrame
  | FirmwareFrame
  | PingFrame
  | DialRefusedFrame
  | ErrorFrame

export type HubFrame = WelcomeFrame | ObjectsFrame | AckFrame | DesireResultFrame | PongFrame | DialFrame | ErrorFrame
