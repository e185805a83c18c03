import type { Json } from '../resources.ts'
import type { Quality } from '../twin/quality.ts'

/** `GET /v1/energy/series?from=` of a gateway: watts by part, all with the same times. */
export interface EnergySeriesView {
  readonly everyMs: number
  /** How far back it can reach. RFC 3339. */
  readonly since: string
  /** Milliseconds since 1970. */
  readonly atMs: readonly number[]
  readonly parts: readonly {
    /** `idle`, `rest`, `agent`, or `pod:NAME`, `slice:NAME`, `device:NAME`. */
    readonly name: string
    /** Null where nothing was known of it. */
    readonly watts: readonly (number | null)[]
  }[]
}

/** `POST /v1/trial {device, model}`: a model read against a device that is there, without anything being changed. */
export interface TrialView {
  readonly device: string
  readonly values: readonly {
    readonly name: string
    readonly unit?: string
    readonly value?: Json
    readonly quality?: Quality
    readonly reason?: string
  }[]
  readonly tookMs: number
}
