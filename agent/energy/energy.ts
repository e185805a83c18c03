import { join } from 'node:path'
import type { Clock } from '../../api/clock.ts'
import type { Json } from '../../api/resources.ts'
import type { GatewaySpec } from '../../api/schema/gateway.ts'
import type { BatteryStatus } from '../../api/schema/power.ts'
import type { Log } from '../log.ts'
import { Accountant } from './accountant.ts'
import { ActivitySource } from './activity.ts'
import { Battery } from './battery.ts'
import { defaultModel } from './boards.ts'
import { Carbon } from './carbon.ts'
import { PowerChoice, type WholePower } from './choose.ts'
import { ConfiguredSources, configuredSources } from './configured.ts'
import { Days } from './days.ts'
import { textOf } from './folder.ts'
import { HwmonSource } from './hwmon.ts'
import { IdlePower } from './idle.ts'
import { Ledger } from './ledger.ts'
import { MeterBook } from './meter-book.ts'
import { type PowerModel, parseModel } from './model.ts'
import { PiFirmwareSource } from './pi-firmware.ts'
import { PowerSupplySource } from './power-supply.ts'
import { RaplSource } from './rapl.ts'
import { Sampler } from './sampler.ts'
import type { EnergySnapshot } from './snapshot.ts'
import { type EnergySource, KERNEL_ROOTS, type Roots, type Sample } from './source.ts'
import { energyStatus, powerStatus, thermalStatus } from './status.ts'
import { ThermalSource } from './thermal.ts'

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
  /** What went over a network for it. */
  readonly bytes?: number
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
  /** Processor time of the agent since its start, seconds. Default this process's. */
  readonly ownCpuS?: () => number
}

/** What a policy looks at. */
export type EnergyVitals = Pick<EnergySnapshot, 'power' | 'battery' | 'thermal'>

/** The gateway's own energy: samples from `start` on, and tells what it knows at any time. */
export interface Energy extends AsyncDisposable {
  start(): void
  configure(config: GatewaySpec['energy']): void
  snapshot(): EnergySnapshot
  /** Of `snapshot`, what is cheap enough for every second. */
  vitals(): EnergyVitals
  /** The model in force: calibrated, of a known board, or a guess. */
  readonly model: PowerModel
  /** Takes a fitted model from now on, and keeps it across restarts. */
  adopt(model: PowerModel): void
  /** Sees every sample until disposed: for calibrating and for watching. */
  observe(observer: (sample: Sample) => void): Disposable
}

const MODEL_KEY = 'model'

/** Opens the sources; nothing is read before `start`. Tests give sources of their own beside or instead of these. */
export function openEnergy(options: EnergyOptions): Energy {
  return new GatewayEnergy(options)
}

class GatewayEnergy implements Energy {
  readonly #options: EnergyOptions
  readonly #sampler: Sampler
  readonly #ledger: Ledger
  readonly #accountant: Accountant
  readonly #battery: Battery
  readonly #choice = new PowerChoice()
  readonly #meters = new MeterBook()
  readonly #observers = new Set<(sample: Sample) => void>()
  readonly #configured = new ConfiguredSources()
  readonly #idle = new IdlePower()
  #config: NonNullable<GatewaySpec['energy']> = {}
  #carbon: Carbon | undefined
  #model: PowerModel
  #sample: Sample | undefined
  #power: WholePower | undefined

  constructor(options: EnergyOptions) {
    const { clock, storage, roots = KERNEL_ROOTS } = options
    this.#options = options
    const bootId = textOf(join(roots.procRoot, 'sys/kernel/random/boot_id'))
    this.#model = parseModel(storage.get(MODEL_KEY)) ?? defaultModel(roots)
    this.#ledger = new Ledger(storage, new Days(options.timeZone), bootId)
    this.#battery = new Battery(storage, bootId)
    this.#accountant = new Accountant({
      roots,
      deviceLoads: options.deviceLoads ?? (() => []),
      podName: options.podName ?? (() => undefined),
      ownCpuS: options.ownCpuS ?? processCpuS,
    })
    this.#sampler = new Sampler({
      clock,
      roots,
      sources: [...kernelSources(roots, clock), this.#configured],
      onSample: (sample) => this.#take(sample),
    })
    this.#apply(options.config ?? {})
  }

  get model(): PowerModel {
    return this.#model
  }

  start(): void {
    this.#sampler.start()
  }

  configure(config: GatewaySpec['energy']): void {
    if (JSON.stringify(config ?? {}) !== JSON.stringify(this.#config)) this.#apply(config ?? {})
  }

  #apply(config: NonNullable<GatewaySpec['energy']>): void {
    this.#config = config
    const { carbon, capacityJ } = this.#config
    const { clock, subscribe, readTwin = () => undefined } = this.#options
    this.#configured.replace(configuredSources(this.#config, clock, readTwin))
    this.#battery.capacityJ = capacityJ
    this.#carbon?.[Symbol.dispose]()
    this.#carbon = carbon === undefined ? undefined : new Carbon({ clock, config: carbon, subscribe })
  }

  adopt(model: PowerModel): void {
    this.#options.storage.put({ [MODEL_KEY]: JSON.stringify(model) }, 'now')
    this.#model = model
    this.#idle.forget()
  }

  observe(observer: (sample: Sample) => void): Disposable {
    this.#observers.add(observer)
    return { [Symbol.dispose]: () => void this.#observers.delete(observer) }
  }

  #take(sample: Sample): void {
    const { time, activity } = sample
    this.#sample = sample
    this.#battery.add(sample, this.#power?.watts)
    this.#meters.add(sample)
    this.#power = this.#choice.choose(sample, this.#model)
    const gPerKWh = this.#carbon?.gPerKWh(time.wallMs, time.monotonicMs)
    const step = this.#ledger.add(time, this.#power, gPerKWh)
    const idleWatts = this.#idle.watts(step, time.elapsedS, this.#model, activity)
    const agentJ = this.#accountant.add(sample, step, idleWatts, this.#model, this.#config.idle ?? 'system')
    this.#ledger.addAgent(agentJ)
    for (const observer of this.#observers) this.#tell(observer, sample)
  }

  /** Whoever watches must not be able to end the sampling. */
  #tell(observer: (sample: Sample) => void, sample: Sample): void {
    try {
      observer(sample)
    } catch (error) {
      this.#observers.delete(observer)
      this.#options.log('error', 'An observer of energy samples failed and is not told any more', {
        error: error instanceof Error ? error.message : String(error),
      })
    }
  }

  vitals(): EnergyVitals {
    const sample = this.#sample
    if (sample === undefined) return {}
    const power = this.#power
    const battery = this.#battery.status
    const thermal = thermalStatus(sample)
    const supply = supplyOf(sample, battery?.state)
    return {
      ...(power === undefined ? {} : { power: powerStatus(power, supply, sample.time.wallMs) }),
      ...(battery === undefined ? {} : { battery }),
      ...(thermal === undefined ? {} : { thermal }),
    }
  }

  snapshot(): EnergySnapshot {
    const sample = this.#sample
    const sources = this.#sampler.health()
    const { totals } = this.#ledger
    if (sample === undefined) return { totals, zones: [], meters: [], packs: [], sources }
    const { wallMs } = sample.time
    const power = this.#power
    const energy = energyStatus(this.#ledger, power?.by ?? 'none', wallMs, this.#carbon?.forecast(wallMs))
    const attribution = this.#accountant.snapshot(power?.errorPercent)
    const { activity } = sample
    return {
      ...this.vitals(),
      ...(energy === undefined ? {} : { energy }),
      ...(attribution === undefined ? {} : { attribution }),
      totals,
      zones: this.#meters.zones,
      meters: this.#meters.meters,
      packs: sample.packs,
      sources: [...sources, ...(this.#carbon?.health(wallMs) ?? [])],
      ...(activity === undefined ? {} : { activity }),
      ...(activity === undefined || activity.totalCpuS <= 0
        ? {}
        : { usageRatio: Math.min(1, activity.busyCpuS / activity.totalCpuS) }),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sampler[Symbol.dispose]()
    this.#carbon?.[Symbol.dispose]()
    this.#accountant[Symbol.dispose]()
    this.#battery.close()
    this.#ledger.save('now', this.#options.clock.monotonic())
  }
}

function kernelSources(roots: Roots, clock: Clock): EnergySource[] {
  return [
    new RaplSource(roots),
    new PowerSupplySource(roots),
    new HwmonSource(roots),
    new ThermalSource(roots),
    new ActivitySource(roots),
    new PiFirmwareSource(roots, clock),
  ]
}

function supplyOf({ mains }: Sample, state: BatteryStatus['state'] | undefined): 'mains' | 'battery' | 'unknown' {
  if (state === 'discharging' && mains !== true) return 'battery'
  if (mains === true || state === 'charging' || state === 'full') return 'mains'
  return 'unknown'
}

function processCpuS(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}
