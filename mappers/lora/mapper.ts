import type { Timer } from '../../api/clock.ts'
import { toSluiceError } from '../../api/errors.ts'
import type { ObjectKey } from '../../api/resources.ts'
import { isBad } from '../../api/twin/quality.ts'
import type {
  DeviceBinding,
  GatewayHost,
  LinkStats,
  Mapper,
  PlanExplanation,
  Reading,
  WriteCommand,
  WriteOutcome,
} from '../sdk/mapper.ts'
import { RateLimitedLog } from '../sdk/rate-limited-log.ts'
import { closeAside, ServedSet } from '../sdk/served-set.ts'
import { unusableEvent } from '../sdk/unusable.ts'
import { rejected } from '../sdk/write-queue.ts'
import { Decoders } from './decoder/decoders.ts'
import { compileDevice, type LoraDevice } from './device-config.ts'
import { explainDevice } from './explain.ts'
import type { DeviceStatusNews, Network, NetworkEvents, Trouble, Uplink } from './network.ts'
import { type NetworkPlan, type OpenNetwork, openNetwork, planNetworks } from './open-network.ts'
import { type Decoded, TwinFeed } from './twin-feed.ts'
import { writeValue } from './writer.ts'

const SWEEP_MS = 10_000
const REOPEN_MS = 30_000

interface Open {
  readonly signature: string
  /** Undefined while it opens, and when it could not. */
  network: Network | undefined
  devices: readonly LoraDevice[]
  readonly done: Promise<void>
  closed: boolean
}

/** @param open how to open a network; tests give their own. */
export const createMapper = (host: GatewayHost, open: OpenNetwork = openNetwork): Mapper => new LoraMapper(host, open)

class LoraMapper implements Mapper {
  readonly #host: GatewayHost
  readonly #open: OpenNetwork
  readonly #log: RateLimitedLog
  readonly #networks = new Map<string, Open>()
  readonly #feeds = new Map<ObjectKey, TwinFeed>()
  readonly #set: ServedSet<LoraDevice, never>
  #bindings: readonly DeviceBinding[] = []
  #decoders: Decoders | undefined
  #sweep: Timer | undefined
  #reopen: Timer | undefined
  #disposed = false

  constructor(host: GatewayHost, open: OpenNetwork) {
    this.#host = host
    this.#open = open
    this.#log = new RateLimitedLog(host)
    this.#set = new ServedSet('lora', host, compileDevice)
  }

  configure(devices: readonly DeviceBinding[]): void {
    if (this.#disposed) return
    this.#bindings = devices
    const { networks, conflicts } = planNetworks([...this.#set.compile(devices).values()])
    for (const [key, reason] of conflicts) this.#set.refuse(key, reason)
    this.#follow(networks)
    for (const [id, open] of [...this.#networks]) {
      if (networks.get(id)?.signature !== open.signature) this.#close(id, open)
    }
    for (const plan of networks.values()) this.#serve(plan)
    this.#set.tell()
    if (this.#sweep === undefined && this.#feeds.size > 0) this.#armSweep()
  }

  async write(command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    const feed = this.#feeds.get(command.device)
    if (feed === undefined) return this.#set.notServed(command)
    const point = feed.device.points.find(({ name }) => name === command.property)
    if (point === undefined) return this.#set.notBound(command)
    const open = this.#networks.get(feed.device.network.id)
    await open?.done
    const network = open?.network
    if (network === undefined) {
      return rejected(this.#host, 'SLUICE_LORA_LISTEN', 'the network of this device could not be opened')
    }
    return writeValue({ feed, network, decoders: () => this.#decoding(), host: this.#host }, point, command, signal)
  }

  links(): readonly LinkStats[] {
    const failures = this.#decoders?.failures ?? {}
    return [...this.#networks.values()].flatMap(({ network }) =>
      (network?.links() ?? []).map((link, index) =>
        index === 0 ? { ...link, errors: { ...link.errors, ...failures } } : link,
      ),
    )
  }

  airtimeS(device: ObjectKey): number {
    const feed = this.#feeds.get(device)
    if (feed === undefined) return 0
    const sentMs = this.#networks.get(feed.device.network.id)?.network?.sentAirtimeMs?.(device) ?? 0
    return (feed.heardAirtimeMs + sentMs) / 1000
  }

  explain(device: ObjectKey): PlanExplanation | undefined {
    const feed = this.#feeds.get(device)
    if (feed === undefined) return undefined
    const next = this.#networks.get(feed.device.network.id)?.network?.nextWindowAtMs(device)
    const window = next === undefined ? [] : [`next receive window expected at ${new Date(next).toISOString()}`]
    return explainDevice(feed.device, [...feed.facts, ...window], feed.intervalMs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    this.#sweep?.cancel()
    this.#reopen?.cancel()
    this.#feeds.clear()
    const closing = [...this.#networks].map(([id, open]) => this.#close(id, open))
    await Promise.all([...closing, this.#decoders?.[Symbol.asyncDispose]()])
  }

  /** Feeds for exactly the devices that are served; one that stays keeps what it knows. */
  #follow(networks: ReadonlyMap<string, NetworkPlan>): void {
    const wanted = new Map(
      [...networks.values()].flatMap(({ devices }) => devices).map((device) => [device.key, device]),
    )
    for (const key of [...this.#feeds.keys()]) if (!wanted.has(key)) this.#feeds.delete(key)
    for (const [key, device] of wanted) {
      const known = this.#feeds.get(key)
      if (known !== undefined && known.device.devEui === device.devEui) {
        known.device = device
        continue
      }
      const feed = new TwinFeed(device, this.#host, ({ key: of, network: { id } }) =>
        this.#networks.get(id)?.network?.carry?.(of),
      )
      this.#feeds.set(key, feed)
      this.#host.reachability([feed.start()])
    }
  }

  #serve(plan: NetworkPlan): void {
    const known = this.#networks.get(plan.id)
    if (known !== undefined) {
      const same =
        known.devices.length === plan.devices.length &&
        plan.devices.every((device, index) => device === known.devices[index])
      known.devices = plan.devices
      if (!same) known.network?.configure(plan.devices)
      return
    }
    const opening = Promise.withResolvers<void>()
    const open: Open = {
      signature: plan.signature,
      network: undefined,
      devices: plan.devices,
      done: opening.promise,
      closed: false,
    }
    this.#networks.set(plan.id, open)
    void this.#start(plan, open).then(opening.resolve)
  }

  async #start(plan: NetworkPlan, open: Open): Promise<void> {
    try {
      const { network, ready } = await this.#open(plan, this.#host, this.#events(), this.#log)
      if (open.closed) return await network[Symbol.asyncDispose]()
      open.network = network
      network.configure(open.devices)
      await ready
    } catch (error) {
      if (open.closed || this.#disposed) return
      const reason = toSluiceError(error).message
      this.#log.warn(`open ${plan.id}`, `lora: ${reason}; trying again`)
      const atMs = this.#host.clock.now()
      this.#host.reachability(open.devices.map(({ key }) => ({ device: key, online: false, atMs, reason })))
      void this.#close(plan.id, open)
      this.#reopen?.cancel()
      this.#reopen = this.#host.clock.after(REOPEN_MS, () => this.configure(this.#bindings), true)
    }
  }

  async #close(id: string, open: Open): Promise<void> {
    open.closed = true
    if (this.#networks.get(id) === open) this.#networks.delete(id)
    await closeAside(open.network, 'lora', id, this.#host)
  }

  #events(): NetworkEvents {
    return {
      uplinks: (uplinks) => this.#uplinks(uplinks),
      joined: () => {},
      status: (news) => this.#status(news),
      trouble: (trouble) => this.#trouble(trouble),
    }
  }

  #uplinks(uplinks: readonly Uplink[]): void {
    const readings: Reading[] = []
    for (const uplink of uplinks) {
      const feed = this.#feeds.get(uplink.device)
      if (feed === undefined) continue
      const news = feed.heard(uplink)
      if (news !== undefined) this.#host.reachability([news])
      const decoded = this.#decode(feed, uplink)
      if (decoded instanceof Promise) void decoded.then((result) => this.#read(feed, uplink, result))
      else for (const reading of this.#readings(feed, uplink, decoded)) readings.push(reading)
    }
    if (readings.length > 0) this.#host.readings(readings)
  }

  #read(feed: TwinFeed, uplink: Uplink, decoded: Decoded): void {
    if (this.#feeds.get(uplink.device) !== feed) return
    if (!decoded.ok) this.#log.warn(`decoder ${uplink.device}`, `lora: ${uplink.device}: ${decoded.reason}`)
    const readings = this.#readings(feed, uplink, decoded)
    if (readings.length > 0) this.#host.readings(readings)
  }

  /** What an uplink says; what of it cannot be used is told besides. */
  #readings(feed: TwinFeed, uplink: Uplink, decoded: Decoded | undefined): Reading[] {
    const readings = feed.readings(uplink, decoded)
    if (decoded !== undefined && !decoded.ok) {
      this.#host.event(unusableEvent(uplink.device, decoded.code, decoded.reason))
      return readings
    }
    for (const { device, property, quality, reason } of readings) {
      if (!isBad(quality)) continue
      this.#host.event(unusableEvent(device, quality.slice(4, -1), `${property}: ${reason ?? 'unusable'}`))
    }
    return readings
  }

  /** The model's own decoder goes before what the network server made of the payload. */
  #decode({ device }: TwinFeed, uplink: Uplink): Promise<Decoded> | Decoded | undefined {
    if (uplink.port === undefined || !device.points.some(({ source }) => source === 'field')) return undefined
    if (device.decoder === undefined) {
      if (uplink.object !== undefined) return { ok: true, data: uplink.object }
      return {
        ok: false,
        code: 'no-decoder',
        reason: 'the model has no decoder, and no decoded object came with the uplink',
      }
    }
    return this.#run(device.decoder, uplink)
  }

  async #run(decoder: NonNullable<LoraDevice['decoder']>, { payload, port, atMs }: Uplink): Promise<Decoded> {
    const result = await this.#decoding().call(decoder, { kind: 'decode', bytes: payload, port: port!, atMs })
    if (!result.ok) {
      const hex = Buffer.from(payload).toString('hex')
      return { ok: false, code: result.code, reason: `${result.reason}; port ${port}, payload ${hex}` }
    }
    return { ok: true, data: 'data' in result ? result.data : undefined }
  }

  #decoding(): Decoders {
    return (this.#decoders ??= new Decoders(this.#host.clock))
  }

  #status(news: DeviceStatusNews): void {
    const feed = this.#feeds.get(news.device)
    if (feed === undefined) return
    const reachability = feed.status(news)
    if (reachability !== undefined) this.#host.reachability([reachability])
    const readings = feed.statusReadings(news)
    if (readings.length > 0) this.#host.readings(readings)
  }

  #trouble(trouble: Trouble): void {
    this.#host.event(unusableEvent(trouble.device, trouble.kind, trouble.reason))
    const result = this.#feeds.get(trouble.device)?.trouble(trouble)
    if (result?.news !== undefined) this.#host.reachability([result.news])
    if (result !== undefined && result.readings.length > 0) this.#host.readings(result.readings)
  }

  #armSweep(): void {
    this.#sweep = this.#host.clock.after(
      SWEEP_MS,
      () => {
        const news = [...this.#feeds.values()].flatMap((feed) => feed.sweep() ?? [])
        if (news.length > 0) this.#host.reachability(news)
        this.#sweep = undefined
        if (this.#feeds.size > 0 && !this.#disposed) this.#armSweep()
      },
      true,
    )
  }
}
