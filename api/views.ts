import type { DeviceModelSpec, DeviceStatus, GatewayStatus, Json, ObjectKey, WriteState } from './resources.ts'
import type { Quality } from './twin/quality.ts'
import type { DeviceBattery, DeviceLink } from './twin/signal.ts'

/**
 * What the local API of a gateway and the API of the cloud core both answer, so that one command and one web page
 * work against either. Times are RFC 3339 in UTC.
 *
 *     GET  /v1/devices                                  {items: DeviceView[]}; in the cloud core ?namespace=, ?gateway=, and
 *                                                       ?twins=4 for the first four properties of each, ?limit= for the first
 *                                                       devices; `total` says how many there are
 *     GET  /v1/devices/{namespace}/{name}               DeviceView
 *     PUT  /v1/devices/{namespace}/{name}/desired/{property}   {value, by?}  -> DesiredAnswer; ?wait=10s waits for the end
 *     GET  /v1/models                                   {items: ModelView[]}: those that devices use
 *     GET  /v1/gateways                                 {items: GatewayView[]}; a gateway answers with itself
 *     GET  /v1/gateways/{gateway}                       GatewayView (cloud core only)
 *     GET  /v1/plan/{namespace}/{name}                  PlanExplanation (gateway only)
 *     GET  /v1/notices                                 {items: NoticeView[]}, the newest first, at most 200 (gateway only)
 *     GET  /v1/links                                    {items: LinkStats[]} (gateway only)
 *     GET  /v1/events?device=&property=&kind=           text/event-stream of StreamEvent[]; `id:` is the cursor,
 *                                                       `Last-Event-ID` resumes after it, `event: open` says that from
 *                                                       here on it is live, any other name that something was missed
 *     GET  /v1/history/{namespace}/{name}/{property}?from=  HistoryView; `from` in milliseconds since 1970 (console only on
 *                                                       a gateway)
 *     GET  /v1/audit                                    {items: AuditEntry[]}, the newest first
 *     GET  /healthz   /metrics
 *
 * An error is answered as `{code, message, hint}` with a fitting HTTP status.
 */
export interface TwinView {
  readonly name: string
  readonly value?: Json
  readonly unit?: string
  readonly at?: string
  readonly quality?: Quality
  readonly reason?: string
  readonly access: 'read' | 'readwrite' | 'write'
  readonly desired?: { readonly value: Json; readonly version: number; readonly at: string; readonly by?: string }
  readonly state?: WriteState
  readonly stateReason?: string
}

export interface DeviceView {
  readonly namespace: string
  readonly name: string
  readonly model: string
  readonly gateway?: string
  readonly state: NonNullable<DeviceStatus['state']>
  readonly reason?: string
  readonly lastSeen?: string
  readonly staleSince?: string
  readonly link?: DeviceLink
  readonly battery?: DeviceBattery
  readonly twins: readonly TwinView[]
}

/** Something that happened at a gateway and that a person should know; the same things are counted, not repeated. */
export interface NoticeView {
  readonly about: ObjectKey | 'gateway'
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
  readonly count: number
  readonly firstAt: string
  readonly lastAt: string
}

/** Milliseconds since 1970, the value (null: nothing good was read), and 1 for one that was recorded while the link was down. */
export type HistoryPoint = readonly [atMs: number, value: number | null, backfill?: 1]

/** What a numeric or boolean property reported, oldest first. */
export interface HistoryView {
  readonly device: ObjectKey
  readonly property: string
  /** In order of time; the first may be the newest from before the time in question, which stood when it began. */
  readonly points: readonly HistoryPoint[]
  /** How far back this reaches: before it nothing is kept, or there was too much to read. */
  readonly since: string
}

export interface DesiredAnswer {
  readonly device: ObjectKey
  readonly property: string
  readonly value: Json
  readonly state: WriteState
  readonly reason?: string
}

/** A model as pickers and widgets need it: types, units, limits. */
export interface ModelView {
  readonly namespace: string
  readonly name: string
  readonly spec: DeviceModelSpec
}

export interface GatewayView {
  readonly name: string
  readonly state: NonNullable<GatewayStatus['state']>
  readonly status: GatewayStatus
}

/**
 * How things stand now: told while it happens and not kept, so a reader that was away reads the state anew. In the cloud
 * core's stream these come without an `id:` of their own.
 */
export type NoteEvent =
  | {
      readonly kind: 'desired'
      readonly device: ObjectKey
      readonly property: string
      /** Absent when nothing is desired any more. */
      readonly value?: Json
      readonly version: number
      readonly at: string
      readonly by?: string
    }
  | { readonly kind: 'gateway'; readonly gateway: GatewayView; readonly at: string }

/** What a device did. Kept in order, and resumed by cursor. */
export type DeviceEvent =
  | {
      readonly kind: 'reported'
      readonly device: ObjectKey
      readonly property: string
      readonly value: Json
      readonly at: string
      readonly quality: Quality
      readonly reason?: string
      /** Present and true for a value that was recorded while the link was down. */
      readonly backfill?: boolean
    }
  | {
      readonly kind: 'write'
      readonly device: ObjectKey
      readonly property: string
      readonly version: number
      readonly state: 'applied' | 'rejected' | 'timedOut'
      readonly at: string
      readonly reason?: string
    }
  | {
      readonly kind: 'reach'
      readonly device: ObjectKey
      readonly online: boolean
      readonly at: string
      readonly reason?: string
    }

/** One change, as subscribers see it. */
export type StreamEvent = DeviceEvent | NoteEvent

/** Statistics of one link (a serial line, a socket, a radio). Times in milliseconds, rates per second. */
export interface LinkStats {
  readonly link: string
  readonly protocol: string
  readonly state: 'up' | 'down' | 'idle'
  readonly reason?: string
  readonly devices: number
  /** Share of wall time the link was busy with useful traffic since the last minute, 0 to 1. */
  readonly use: number
  /** Bus time of the ideal plan ÷ bus time of the plan in force, 0 to 1. */
  readonly planEfficiency: number
  readonly requests: number
  readonly propertiesRead: number
  readonly errors: Readonly<Record<string, number>>
  readonly turnaroundMs?: number
}

/** One request of a read plan, as shown by `sluice plan`. */
export interface PlannedRequest {
  /** What goes over the wire, in the protocol's words: `FC4 input 0x0000..0x0011 (18 registers)`. */
  readonly request: string
  readonly everyMs: number
  readonly properties: readonly string[]
  /** Time on the link, milliseconds. */
  readonly busMs: number
  readonly why: string
  /** Start and length in the protocol's address space, for drawing. */
  readonly table?: string
  readonly start?: number
  readonly length?: number
  /** Addresses read although nobody asked for them. */
  readonly filler?: number
}

export interface PlanExplanation {
  readonly device: ObjectKey
  readonly link: string
  readonly requests: readonly PlannedRequest[]
  /** Share of the link's time this device's plan takes, 0 to 1 and beyond when it cannot be carried. */
  readonly load: number
  /** Bus time per second with one request a property, for comparison. */
  readonly naiveLoad: number
  readonly notes: readonly string[]
  /** Addresses of which it was learnt that the device refuses them; none of a length of 0, a border that no read may cross. */
  readonly holes?: readonly PlanHole[]
}

export interface PlanHole {
  readonly table: string
  readonly start: number
  readonly length: number
}
