import type { DeviceStatus, Json, ObjectKey, WriteState } from './resources.ts'
import type { Quality } from './twin/quality.ts'

/**
 * What the local API of a gateway and the API of the cloud core both answer, so that one command and one web page
 * work against either. Times are RFC 3339 in UTC.
 *
 *     GET  /v1/devices                                  {items: DeviceView[]}
 *     GET  /v1/devices/{namespace}/{name}               DeviceView
 *     PUT  /v1/devices/{namespace}/{name}/desired/{property}   {value, by?}  -> DesiredAnswer; ?wait=10s waits for the end
 *     GET  /v1/plan/{namespace}/{name}                  PlanExplanation (gateway only)
 *     GET  /v1/links                                    {items: LinkStats[]} (gateway only)
 *     GET  /v1/events?device=&property=&kind=           text/event-stream of StreamEvent[]; `id:` is the cursor,
 *                                                       `Last-Event-ID` resumes after it
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
  readonly twins: readonly TwinView[]
}

export interface DesiredAnswer {
  readonly device: ObjectKey
  readonly property: string
  readonly value: Json
  readonly state: WriteState
  readonly reason?: string
}

/** One change, as subscribers see it. */
export type StreamEvent =
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
