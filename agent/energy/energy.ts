import type { Clock } from '../../api/clock.ts'
import type { Json } from '../../api/resources.ts'
import type { GatewaySpec } from '../../api/schema/gateway.ts'
import type { Log } from '../log.ts'
import type { EnergySnapshot } from './snapshot.ts'
import type { Roots, Sample } from './source.ts'

/** What one value of a twin says to a power source. */
export interface TwinValue {
  readonly value?: Json
  /** Source time, milliseconds since 1970. */
  readonly atMs?: number
  readonly good: boolean
  readonly unit?: string
  readonly reason?: string
}

/** Small values that survive a restart; `mapperStorage(store, 'energy')` is one. */
export interface EnergyStorage {
  get(key: string): string | undefined
  /** Writes all entries or none. Throws when the store is full; nothing is lost then but this writing. */
  put(entries: Readonly<Record<string, string | undefined>>, durability: 'now' | 'soon'): void
}

/** What the devices of one mapper did, as totals that only grow. */
export interface DeviceLoad {
  readonly mapper: string
  /** `namespace/name`. */
  readonly device: string
  /** Time its requests took on the link, seconds. */
  readonly busyS: number
  readonly reads: number
  /** Time a radio sent for it, seconds. */
  readonly airtimeS?: number
}

export interface EnergyOptions {
  readonly clock: Clock
  readonly log: Log
  readonly storage: EnergyStorage
  /** Default the kernel's. */
  readonly roots?: Roots
  /** `Gateway.spec.energy` in force; asked anew when `configure` is called. */
  readonly config?: GatewaySpec['energy']
  /** IANA name; default the machine's. Days begin by it. */
  readonly timeZone?: string
  /**
   * A property of a device this gateway serves, or undefined when there is no such device or property. `role` is used
   * where no property name was configured.
   */
  readonly readTwin?: (
    device: string,
    property: string | undefined,
    role: 'power' | 'energy' | 'battery',
  ) => TwinValue | undefined
  readonly deviceLoads?: () => readonly DeviceLoad[]
  /** What the container runtime knows of a pod: `namespace/name`. */
  readonly podName?: (uid: string) => string | undefined
  /** Payloads of an MQTT topic for the carbon intensity. */
  readonly subscribe?: (topic: string, listener: (payload: Uint8Array) => void) => Disposable
  /** Called after every sample, for whoever records or watches. */
  readonly onSample?: (sample: Sample, snapshot: () => EnergySnapshot) => void
}

/** The gateway's own energy: samples from `start` on, and tells what it knows at any time. */
export interface Energy extends AsyncDisposable {
  start(): void
  configure(config: GatewaySpec['energy']): void
  snapshot(): EnergySnapshot
}
