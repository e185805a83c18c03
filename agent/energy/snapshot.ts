import type { BatteryStatus, EnergyStatus, PowerStatus, ThermalStatus } from '../../api/schema/power.ts'
import type { Activity, Coverage, PackReading, SourceHealth } from './source.ts'

/** A part of the whole: power over the last sample, energy since the agent started. */
export interface PartFigure {
  readonly name: string
  readonly watts: number
  readonly joules: number
}

/** What a pod or container took of one RAPL zone, as Kepler counts it: by its share of the processor time. */
export interface ZoneShare {
  readonly zone: string
  readonly watts: number
  readonly joules: number
}

export interface PodFigure extends PartFigure {
  /** The pod's UID; `name` is `namespace/name` where the runtime told it, else the UID. */
  readonly uid: string
  readonly cpuSeconds: number
  readonly memoryBytes?: number
  readonly zones: readonly ZoneShare[]
  readonly containers: readonly {
    readonly id: string
    readonly cpuSeconds: number
    readonly watts: number
    readonly joules: number
    readonly zones: readonly ZoneShare[]
  }[]
  /** Terminated pods are kept for a while, so that their last joules are seen. */
  readonly state: 'running' | 'terminated'
}

export interface MapperFigure extends PartFigure {
  /** They add up to the mapper's figure, but for what devices took that are not served any more. */
  readonly devices: readonly PartFigure[]
}

/** The whole and its parts: `idle + rest + pods + slices + agent` is `whole`, and the agent is `own` and its mappers. */
export interface AttributionSnapshot {
  readonly policy: 'system' | 'share'
  readonly source: 'measured' | 'estimated'
  /** Of the whole; how the parts divide it is always an estimate by processor time, traffic and bus time. */
  readonly errorPercent?: number
  readonly whole: PartFigure
  /** What the machine takes for being switched on; 0 with policy `share`, where everybody carries some. */
  readonly idle: PartFigure
  /** Work that no pod or slice accounts for: the kernel, and processes outside of control groups. */
  readonly rest: PartFigure
  readonly pods: readonly PodFigure[]
  readonly slices: readonly PartFigure[]
  readonly agent: PartFigure & { readonly own: PartFigure; readonly mappers: readonly MapperFigure[] }
  /** Why the parts say less than they could. */
  readonly reason?: string
}

/** One meter with what it counted since the agent started. */
export interface MeterFigure {
  readonly meter: string
  readonly by: string
  readonly covers: Coverage
  readonly source: 'measured' | 'estimated'
  readonly watts?: number
  readonly joules: number
  readonly doubt?: string
}

/** One RAPL zone, all sockets together: Kepler's `kepler_node_cpu_*{zone,path}`. Zones overlap: never add them. */
export interface ZoneFigure {
  readonly zone: string
  readonly path: string
  readonly watts: number
  readonly joules: number
  readonly activeWatts: number
  readonly activeJoules: number
  readonly idleWatts: number
  readonly idleJoules: number
}

/** Whole-machine energy since the agent started, by where it comes from; two series in metrics, never one. */
export interface EnergyTotals {
  readonly measuredJ: number
  readonly estimatedJ: number
  /** Seconds for which nothing is known: asleep without a battery that tells, or stopped for long. */
  readonly unknownS: number
}

export interface EnergySnapshot {
  readonly power?: PowerStatus
  readonly energy?: EnergyStatus
  readonly battery?: BatteryStatus
  readonly thermal?: ThermalStatus
  readonly attribution?: AttributionSnapshot
  readonly totals: EnergyTotals
  readonly zones: readonly ZoneFigure[]
  readonly meters: readonly MeterFigure[]
  readonly packs: readonly PackReading[]
  readonly sources: readonly SourceHealth[]
  readonly activity?: Activity
  /** Share of the processors' time at work, 0 to 1. */
  readonly usageRatio?: number
}
