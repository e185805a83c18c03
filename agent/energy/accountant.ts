import { attribute, type DeviceUse, deviceScore, type Use, type Weights } from './attribution.ts'
import { Cgroups, type GroupUse } from './cgroups.ts'
import type { DeviceLoad } from './energy.ts'
import { Stretch } from './energy-stretch.ts'
import type { LedgerStep } from './ledger.ts'
import type { PowerModel } from './model.ts'
import { PodNetwork } from './pod-network.ts'
import type { AttributionSnapshot, MapperFigure, PartFigure, PodFigure, ZoneShare } from './snapshot.ts'
import type { Roots, Sample } from './source.ts'

const SCAN_MS = 10_000
/**
 * Energy is counted every second, and divided this often, as Kepler does it: what groups did is in counters, so nothing
 * is missed, and reading two files a pod every second would cost more than all sensors together.
 */
const STRETCH_S = 5
/** Devices' loads are totals that move slowly; ten thousand of them are not added up every second. */
const LOADS_MS = 10_000
const MAX_TERMINATED = 100
/**
 * An RS-485 driver on a terminated line takes 5 V times 50 mA while it drives (TIA-485: 1.5 V over 54 ohms is 28 mA, the
 * rest is the driver's own).
 */
const BUS_WATTS = 0.25
/** A radio of 100 mW to the antenna at a third of efficiency, as sub-GHz and Bluetooth modules' data sheets have it. */
const AIRTIME_WATTS = 0.3
/** A reading from the wire to the outbox; an order of magnitude, and never more than the agent took in all. */
const CPU_S_PER_READ = 100e-6

interface Running {
  joules: number
  watts: number
}

interface RunningContainer extends Running {
  cpuSeconds: number
  readonly zones: Map<string, Running>
}

interface RunningPod extends Running {
  readonly uid: string
  cpuSeconds: number
  memoryBytes: number | undefined
  readonly zones: Map<string, Running>
  readonly containers: Map<string, RunningContainer>
  terminated: boolean
}

interface RunningDevice extends Running {
  readonly mapper: string
  readonly device: string
  /** Of what all devices take together. */
  fraction: number
}

export interface AccountantOptions {
  readonly roots: Roots
  readonly deviceLoads: () => readonly DeviceLoad[]
  readonly podName: (uid: string) => string | undefined
  /** Processor time of this process, seconds, since its start. */
  readonly ownCpuS: () => number
}

/** Divides each sample's energy among pods, slices, the agent, its mappers and devices, and keeps their sums. */
export class Accountant implements Disposable {
  readonly #options: AccountantOptions
  readonly #cgroups: Cgroups
  readonly #network: PodNetwork
  readonly #pods = new Map<string, RunningPod>()
  readonly #slices = new Map<string, Running>()
  readonly #devices = new Map<string, RunningDevice>()
  /** By mapper, what devices took that are no more. */
  readonly #formerJ = new Map<string, number>()
  #devicesPerS: DeviceUse = { busyS: 0, reads: 0, airtimeS: 0, bytes: 0 }
  readonly #whole = running()
  readonly #idle = running()
  readonly #rest = running()
  readonly #agent = running()
  readonly #own = running()
  #loads = new Map<string, DeviceLoad>()
  #loadsMs = Number.NEGATIVE_INFINITY
  #scanMs = Number.NEGATIVE_INFINITY
  #ownCpuS: number | undefined
  #ownPath: string | undefined
  #policy: 'system' | 'share' = 'system'
  #step: LedgerStep | undefined
  #stretch = new Stretch()

  constructor(options: AccountantOptions) {
    this.#options = options
    this.#cgroups = new Cgroups(options.roots)
    this.#network = new PodNetwork(options.roots)
  }

  /**
   * Takes one sample; every five seconds divides what came together. `step` is undefined where the energy is not known:
   * then nobody gets any. Returns what the agent itself took, where something was divided.
   */
  add(
    sample: Sample,
    step: LedgerStep | undefined,
    idleWatts: number,
    model: PowerModel,
    policy: 'system' | 'share',
  ): number {
    this.#policy = policy
    const { monotonicMs, elapsedS } = sample.time
    if (step === undefined || elapsedS <= 0) {
      const joules = this.#stretch.elapsedS > 0 ? this.#divide(monotonicMs, model) : 0
      // What was done in a time of unknown energy is nobody's share of the next.
      this.#look(monotonicMs)
      this.#agentCpu()
      return joules
    }
    this.#step = step
    this.#stretch.add(sample, step.joules, Math.min(step.joules, idleWatts * elapsedS))
    return this.#stretch.elapsedS >= STRETCH_S ? this.#divide(monotonicMs, model) : 0
  }

  #look(monotonicMs: number): GroupUse[] {
    if (monotonicMs - this.#scanMs >= SCAN_MS) {
      this.#scanMs = monotonicMs
      this.#cgroups.discover(monotonicMs)
      this.#ownPath = this.#cgroups.ownPath(this.#options.roots.procRoot)
    }
    return this.#cgroups.read(monotonicMs)
  }

  #divide(monotonicMs: number, model: PowerModel): number {
    const { wholeJ, idleJ, memoryJ, elapsedS, machine, zones } = this.#stretch
    this.#stretch = new Stretch()
    const groups = this.#look(monotonicMs)
    const weights = weightsOf(model)
    this.#lookAtDevices(monotonicMs, weights)
    const rates = this.#network.rates(
      groups.filter(({ kind }) => kind === 'pod'),
      this.#cgroups.roots,
      monotonicMs,
    )
    const agent: Use = { cpuS: this.#agentCpu(), memoryBytes: process.memoryUsage.rss() }
    const parts = attribute({
      wholeJ,
      idleJ,
      memoryJ,
      policy: this.#policy,
      machine,
      consumers: this.#consumers(groups, rates, agent, elapsedS),
      agent,
      devices: [scale(this.#devicesPerS, elapsedS)],
      weights,
    })
    book(this.#whole, wholeJ, elapsedS)
    book(this.#idle, parts.idleJ, elapsedS)
    book(this.#rest, parts.restJ, elapsedS)
    book(this.#agent, parts.agentJ, elapsedS)
    book(this.#own, parts.ownJ, elapsedS)
    for (const device of this.#devices.values()) book(device, parts.devicesJ[0]! * device.fraction, elapsedS)
    const seen = new Set<string>()
    for (const group of groups) {
      seen.add(group.path)
      const joules = parts.consumersJ.get(group.path) ?? 0
      if (group.kind === 'slice') book(entryOf(this.#slices, group.path, running), joules, elapsedS)
      else this.#bookPod(group, joules, elapsedS, machine.cpuS, zones)
    }
    this.#terminate(seen)
    return parts.agentJ
  }

  #agentCpu(): number {
    const nowS = this.#options.ownCpuS()
    const last = this.#ownCpuS
    this.#ownCpuS = nowS
    return last === undefined ? 0 : Math.max(0, nowS - last)
  }

  /** The agent is in one of the slices or pods itself, and is taken out of it: nobody pays for it twice. */
  #consumers(
    groups: readonly GroupUse[],
    rates: ReadonlyMap<string, number>,
    agent: Use,
    elapsedS: number,
  ): Map<string, Use> {
    const own = this.#ownPath
    const uses = new Map<string, Use>()
    for (const { path, cpuS, memoryBytes, storageBps } of groups) {
      const holdsAgent = own !== undefined && (own === path || own.startsWith(`${path}/`))
      uses.set(path, {
        cpuS: holdsAgent ? Math.max(0, cpuS - agent.cpuS) : cpuS,
        memoryBytes: Math.max(0, (memoryBytes ?? 0) - (holdsAgent ? (agent.memoryBytes ?? 0) : 0)),
        storageBytes: (storageBps ?? 0) * elapsedS,
        networkBytes: (rates.get(path) ?? 0) * elapsedS,
      })
    }
    return uses
  }

  /**
   * What all devices together did a second, and each one's fraction of it, looked up every 10 s. Between two look-ups
   * the proportions of the one before hold.
   */
  #lookAtDevices(nowMs: number, weights: Weights): void {
    const sinceMs = nowMs - this.#loadsMs
    if (sinceMs < LOADS_MS) return
    const first = this.#loadsMs === Number.NEGATIVE_INFINITY
    this.#loadsMs = nowMs
    const before = this.#loads
    this.#loads = new Map(this.#options.deviceLoads().map((load) => [`${load.mapper} ${load.device}`, load]))
    for (const [key, device] of this.#devices) if (!this.#loads.has(key)) this.#forgetDevice(key, device)
    const seconds = sinceMs / 1000
    const total = { busyS: 0, reads: 0, airtimeS: 0, bytes: 0 }
    let score = 0
    for (const [key, load] of this.#loads) {
      const last = first ? load : before.get(key)
      const use: DeviceUse = {
        busyS: grown(load.busyS, last?.busyS),
        reads: grown(load.reads, last?.reads),
        airtimeS: grown(load.airtimeS ?? 0, last?.airtimeS),
        bytes: grown(load.bytes ?? 0, last?.bytes),
      }
      total.busyS += use.busyS
      total.reads += use.reads
      total.airtimeS += use.airtimeS
      total.bytes += use.bytes
      const { mapper, device } = load
      const entry = entryOf(this.#devices, key, () => ({ ...running(), mapper, device, fraction: 0 }))
      entry.fraction = deviceScore(use, weights)
      score += entry.fraction
    }
    for (const entry of this.#devices.values()) entry.fraction = score > 0 ? entry.fraction / score : 0
    this.#devicesPerS = first || score <= 0 ? { busyS: 0, reads: 0, airtimeS: 0, bytes: 0 } : scale(total, 1 / seconds)
  }

  /** What was booked stays booked: the mapper keeps what its former devices took. */
  #forgetDevice(key: string, { mapper, joules }: RunningDevice): void {
    this.#devices.delete(key)
    this.#formerJ.set(mapper, (this.#formerJ.get(mapper) ?? 0) + joules)
  }

  #bookPod(group: GroupUse, joules: number, elapsedS: number, cpuS: number, zones: ReadonlyMap<string, number>): void {
    const pod = entryOf(this.#pods, group.path, () => ({
      ...running(),
      uid: group.id,
      cpuSeconds: 0,
      memoryBytes: undefined,
      zones: new Map<string, Running>(),
      containers: new Map<string, RunningContainer>(),
      terminated: false,
    }))
    pod.terminated = false
    pod.memoryBytes = group.memoryBytes
    pod.cpuSeconds += group.cpuS
    book(pod, joules, elapsedS)
    const share = cpuS > 0 ? Math.min(1, group.cpuS / cpuS) : 0
    for (const [zone, activeJ] of zones) book(entryOf(pod.zones, zone, running), activeJ * share, elapsedS)
    const inside = group.containers.reduce((sum, container) => sum + container.cpuS, 0)
    for (const { id, cpuS: containerS } of group.containers) {
      const container = entryOf(pod.containers, id, () => ({ ...running(), cpuSeconds: 0, zones: new Map() }))
      container.cpuSeconds += containerS
      const part = cpuS > 0 ? Math.min(1, containerS / cpuS) : 0
      for (const [zone, activeJ] of zones) book(entryOf(container.zones, zone, running), activeJ * part, elapsedS)
      book(container, inside > 0 ? (containerS / Math.max(inside, group.cpuS)) * joules : 0, elapsedS)
    }
  }

  /** Pods that ended are shown for a while; what is forgotten goes to the rest, so that the parts stay the whole. */
  #terminate(seen: ReadonlySet<string>): void {
    for (const [path, slice] of this.#slices) {
      if (seen.has(path)) continue
      this.#rest.joules += slice.joules
      this.#slices.delete(path)
    }
    const gone: string[] = []
    for (const [path, pod] of this.#pods) {
      if (seen.has(path)) continue
      pod.terminated = true
      const containers = [...pod.containers.values()]
      const figures = [
        pod,
        ...pod.zones.values(),
        ...containers,
        ...containers.flatMap(({ zones }) => [...zones.values()]),
      ]
      for (const figure of figures) figure.watts = 0
      gone.push(path)
    }
    for (const path of gone.slice(0, Math.max(0, gone.length - MAX_TERMINATED))) {
      this.#rest.joules += this.#pods.get(path)!.joules
      this.#pods.delete(path)
    }
  }

  snapshot(errorPercent: number | undefined): AttributionSnapshot | undefined {
    // Nothing has been divided yet.
    if (this.#step === undefined || this.#whole.joules === 0) return undefined
    const reason = this.#cgroups.problem
    return {
      policy: this.#policy,
      source: this.#step.source,
      ...(errorPercent === undefined ? {} : { errorPercent }),
      whole: figure('whole', this.#whole),
      idle: figure('idle', this.#idle),
      rest: figure('rest', this.#rest),
      pods: [...this.#pods.values()].map((pod) => this.#podFigure(pod)),
      slices: [...this.#slices].map(([name, slice]) => figure(name, slice)),
      agent: {
        ...figure('agent', this.#agent),
        own: figure('own', this.#own),
        mappers: mapperFigures(this.#devices.values(), this.#formerJ),
      },
      ...(reason === undefined ? {} : { reason }),
    }
  }

  #podFigure(pod: RunningPod): PodFigure {
    return {
      ...figure(this.#options.podName(pod.uid) ?? pod.uid, pod),
      uid: pod.uid,
      cpuSeconds: pod.cpuSeconds,
      ...(pod.memoryBytes === undefined ? {} : { memoryBytes: pod.memoryBytes }),
      zones: zoneShares(pod.zones),
      containers: [...pod.containers].map(([id, { cpuSeconds, watts, joules, zones }]) => {
        return { id, cpuSeconds, watts, joules, zones: zoneShares(zones) }
      }),
      state: pod.terminated ? 'terminated' : 'running',
    }
  }

  [Symbol.dispose](): void {
    this.#cgroups[Symbol.dispose]()
  }
}

const zoneShares = (zones: ReadonlyMap<string, Running>): ZoneShare[] =>
  [...zones].map(([zone, { watts, joules }]) => ({ zone, watts, joules }))

const running = (): Running => ({ joules: 0, watts: 0 })

function book(to: Running, joules: number, elapsedS: number): void {
  to.joules += joules
  to.watts = joules / elapsedS
}

function entryOf<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}

const figure = (name: string, { watts, joules }: Running): PartFigure => ({ name, watts, joules })

const grown = (now: number, before: number | undefined): number => Math.max(0, now - (before ?? 0))

const scale = (use: DeviceUse, factor: number): DeviceUse => ({
  busyS: use.busyS * factor,
  reads: use.reads * factor,
  airtimeS: use.airtimeS * factor,
  bytes: use.bytes * factor,
})

function weightsOf(model: PowerModel): Weights {
  return {
    // A model that was fitted on an idle machine may know no price of work; the proportions by processor time stay.
    jPerCpuS: Math.max(1e-6, model.cpuWatts + model.frequencyWatts),
    jPerNetworkByte: model.radioJPerByte,
    jPerStorageByte: model.storageJPerByte,
    busWatts: BUS_WATTS,
    airtimeWatts: AIRTIME_WATTS,
    cpuSPerRead: CPU_S_PER_READ,
  }
}

function mapperFigures(devices: Iterable<RunningDevice>, formerJ: ReadonlyMap<string, number>): MapperFigure[] {
  const mappers = new Map<string, { joules: number; watts: number; devices: PartFigure[] }>()
  for (const [mapper, joules] of formerJ) mappers.set(mapper, { joules, watts: 0, devices: [] })
  for (const device of devices) {
    const mapper = entryOf(mappers, device.mapper, () => ({ ...running(), devices: [] }))
    mapper.joules += device.joules
    mapper.watts += device.watts
    mapper.devices.push(figure(device.device, device))
  }
  return [...mappers].map(([name, { joules, watts, devices: parts }]) => ({ name, watts, joules, devices: parts }))
}
