import type { GatewaySpec, GatewayStatus } from '../../api/resources.ts'

/** What the scheduler knows of a gateway besides its Node. A figure that nobody told is absent. */
export interface GatewayFacts {
  readonly online: boolean
  readonly mode: 'autonomous' | 'tethered'
  readonly battery?: {
    readonly percent?: number
    readonly state: string
    /** Until empty at this pace: the likely time, and the one it lasts with nineteen chances of twenty. */
    readonly leftS?: number
    readonly leftLowS?: number
  }
  readonly supply?: 'mains' | 'battery' | 'unknown'
  readonly watts?: number
  readonly wattsSource?: string
  readonly carbonGPerKWh?: number
  /** Hour by hour, the first one the hour it was told in. */
  readonly carbonForecast?: { readonly fromMs: number; readonly gPerKWh: readonly number[] }
  readonly roundTripMs?: number
  readonly linkQuality?: number
  readonly linkTrend?: 'improving' | 'steady' | 'degrading'
  readonly bitrateBps?: number
  readonly celsius?: number
  readonly throttled?: boolean
  /** Why it takes no more pods, by its own policy. */
  readonly refuses?: string
}

/** What a device behind a gateway means to the scheduler. */
export interface DeviceFacts {
  /** `namespace/name`. */
  readonly key: string
  readonly gateway: string
  readonly model: string
  readonly online: boolean
  /** What a robot says it does, where its twin has such a property. */
  readonly robotStatus?: string
}

export function gatewayFacts(status: GatewayStatus, spec: GatewaySpec = {}): GatewayFacts {
  const { battery, power, energy, link, networks, thermal, policy } = status
  const way = networks?.find(({ toHub }) => toHub === true)
  return {
    online: status.state === 'online',
    mode: spec.mode ?? 'autonomous',
    ...(battery === undefined
      ? {}
      : {
          battery: {
            state: battery.state,
            ...known({
              percent: battery.percent,
              leftS: battery.timeToEmpty?.seconds,
              leftLowS: battery.timeToEmpty?.lowSeconds,
            }),
          },
        }),
    ...known({
      supply: power?.supply,
      watts: power?.watts,
      wattsSource: power?.source,
      // What it takes now counts; the other figure is the mean of the day.
      carbonGPerKWh: energy?.carbonForecast?.gPerKWh[0] ?? energy?.carbonGPerKWh,
      carbonForecast:
        energy?.carbonForecast === undefined
          ? undefined
          : { fromMs: Date.parse(energy.carbonForecast.from), gPerKWh: energy.carbonForecast.gPerKWh },
      roundTripMs: link?.roundTripMs,
      linkQuality: link?.quality,
      linkTrend: link?.trend,
      bitrateBps: way?.bitrateBps,
      celsius: thermal?.celsius,
      throttled: thermal?.throttled,
      refuses:
        policy?.pods === undefined
          ? undefined
          : `stage ${policy.stage}${policy.why === undefined ? '' : ` (${policy.why})`}`,
    }),
  }
}

type Known<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

function known<T extends object>(fields: T): Known<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Known<T>
}
