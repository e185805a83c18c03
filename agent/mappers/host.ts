import type { Clock } from '../../api/clock.ts'
import type { DeviceSpec, ObjectKey } from '../../api/resources.ts'
import { custom } from '../../mappers/registry.ts'
import type {
  DeviceBinding,
  DeviceReachability,
  DeviceTunnel,
  HostEvent,
  LinkStats,
  LocalBroker,
  Mapper,
  MapperStorage,
  PlanExplanation,
  Protocol,
  Reading,
  Sighting,
  WriteCommand,
  WriteNews,
  WriteOutcome,
} from '../../mappers/sdk/mapper.ts'
import type { DeviceLoad } from '../energy/energy.ts'
import type { Log } from '../log.ts'

export interface MappersOptions {
  readonly protocols: readonly Protocol[]
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
  readonly onReadings: (batch: readonly Reading[]) => void
  readonly onReachability: (news: readonly DeviceReachability[]) => void
  readonly onSighted: (protocol: string, sightings: readonly Sighting[]) => void
  readonly onHappening: (event: HostEvent) => void
  readonly onWriteNews: (news: WriteNews) => void
  readonly storage: (protocol: string) => MapperStorage
  readonly broker: () => Promise<LocalBroker>
}

interface Running {
  readonly protocol: Protocol
  readonly ready: Promise<Mapper | undefined>
  mapper: Mapper | undefined
  devices: Map<ObjectKey, DeviceBinding>
}

const sameBinding = (a: DeviceBinding | undefined, b: DeviceBinding): boolean =>
  a?.revision === b.revision && a.standby === b.standby

/**
 * Runs the protocols that devices need, each loaded when the first device asks for it. It always hands a mapper the
 * full set of its devices; changes that come together are handed over once.
 */
export class Mappers implements AsyncDisposable {
  readonly #options: MappersOptions
  readonly #running = new Map<string, Running>()
  readonly #routes = new Map<ObjectKey, Running>()
  #wanted = new Map<ObjectKey, DeviceBinding>()
  #scheduled = false
  #stopped = false

  constructor(options: MappersOptions) {
    this.#options = options
  }

  /** The full set of devices to serve from now on. */
  configure(bindings: ReadonlyMap<ObjectKey, DeviceBinding>): void {
    this.#wanted = new Map(bindings)
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => this.#apply())
  }

  async write(command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    this.#apply()
    const running = this.#routes.get(command.device)
    const mapper = running?.mapper ?? (await running?.ready)
    const atMs = this.#options.clock.now()
    if (mapper === undefined) {
      const reason =
        running === undefined ? 'no protocol serves this device' : `protocol ${running.protocol.name} did not load`
      return { state: 'rejected', code: 'SLUICE_MAPPER_UNKNOWN', reason, atMs }
    }
    if (signal.aborted)
      return { state: 'rejected', code: 'SLUICE_WRITE_SUPERSEDED', reason: String(signal.reason?.message), atMs }
    return mapper.write(command, signal)
  }

  links(): LinkStats[] {
    return [...this.#running.values()].flatMap(({ mapper }) => mapper?.links() ?? [])
  }

  /** The protocol that serves a device, how long its requests took on the link, and its frames on the air. */
  load(device: ObjectKey): Omit<DeviceLoad, 'device' | 'reads'> | undefined {
    const running = this.#routes.get(device)
    if (running === undefined) return undefined
    const { protocol, mapper } = running
    return {
      mapper: protocol.name,
      busyS: mapper?.busyS?.(device) ?? 0,
      airtimeS: mapper?.airtimeS?.(device) ?? 0,
      bytes: mapper?.bytes?.(device) ?? 0,
    }
  }

  explain(device: ObjectKey, otherwise?: DeviceBinding): PlanExplanation | undefined {
    return this.#routes.get(device)?.mapper?.explain(device, otherwise)
  }

  /** The way to a device's own management, where its protocol has one and serves it. */
  tunnel(device: ObjectKey): DeviceTunnel | undefined {
    return this.#routes.get(device)?.mapper?.tunnel?.(device)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    const mappers = await Promise.all([...this.#running.values()].map(({ ready }) => ready))
    await Promise.all(mappers.map((mapper) => mapper?.[Symbol.asyncDispose]()))
  }

  #apply(): void {
    if (!this.#scheduled || this.#stopped) return
    this.#scheduled = false
    const sets = new Map<Running, Map<ObjectKey, DeviceBinding>>()
    for (const running of this.#running.values()) sets.set(running, new Map())
    this.#routes.clear()
    for (const [key, binding] of this.#wanted) {
      const protocol = protocolOf(this.#options.protocols, binding.device)
      if (protocol === undefined) {
        this.#unreachable([key], 'this agent knows no protocol of its address')
        continue
      }
      // Standing by costs the device nothing, or is not done.
      if (binding.standby === true && protocol.overhears !== true) continue
      const running = this.#running.get(protocol.name) ?? this.#start(protocol)
      this.#routes.set(key, running)
      const set = sets.get(running) ?? new Map<ObjectKey, DeviceBinding>()
      sets.set(running, set.set(key, binding))
    }
    for (const [running, set] of sets) {
      const same =
        set.size === running.devices.size &&
        [...set].every(([key, binding]) => sameBinding(running.devices.get(key), binding))
      running.devices = set
      if (!same) running.mapper?.configure([...set.values()])
    }
  }

  #start(protocol: Protocol): Running {
    const { clock, random, log, onReadings, onReachability, onSighted, onHappening, onWriteNews, storage, broker } =
      this.#options
    const load = async (): Promise<Mapper | undefined> => {
      try {
        const create = await protocol.load()
        const mapper = create({
          clock,
          random,
          readings: onReadings,
          reachability: onReachability,
          sighted: (sightings) => onSighted(protocol.name, sightings),
          event: onHappening,
          writeNews: onWriteNews,
          storage: storage(protocol.name),
          broker,
          log: (level, message, fields) => log(level, message, { protocol: protocol.name, ...fields }),
        })
        running.mapper = mapper
        if (!this.#stopped) mapper.configure([...running.devices.values()])
        return mapper
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        log('error', `Protocol ${protocol.name} does not load: ${reason}`, { code: 'SLUICE_MAPPER_LOAD' })
        this.#unreachable([...running.devices.keys()], `protocol ${protocol.name} does not load: ${reason}`)
        return undefined
      }
    }
    const running: Running = {
      protocol,
      mapper: undefined,
      devices: new Map(),
      ready: Promise.resolve().then(load),
    }
    this.#running.set(protocol.name, running)
    return running
  }

  #unreachable(devices: readonly ObjectKey[], reason: string): void {
    const atMs = this.#options.clock.now()
    this.#options.onReachability(devices.map((device) => ({ device, online: false, atMs, reason })))
  }
}

/** The protocol under whose key the device's address stands. */
export const protocolOf = (protocols: readonly Protocol[], device: DeviceSpec): Protocol | undefined =>
  [...protocols, custom].find(({ name }) => Object.hasOwn(device, name))
