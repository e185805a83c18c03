import type { DeviceModelSpec, ObjectKey } from '../../api/resources.ts'
import type {
  DeviceBinding,
  DeviceTunnel,
  LinkStats,
  Mapper,
  MapperHost,
  PlanExplanation,
  WriteCommand,
  WriteOutcome,
} from '../sdk/mapper.ts'
import { closeAside, ServedSet } from '../sdk/served-set.ts'
import { compileDevice, type DeviceConfig, type LinkConfig } from './device-config.ts'
import { modelHash } from './model-hash.ts'
import type { Point } from './point.ts'
import { UnitPoller } from './poller.ts'
import { type OpenSession, openSession, ServedLink } from './served-link.ts'
import { joinLinks } from './sharing.ts'
import { unitTunnel } from './tunnel.ts'
import { UnitWriter } from './writer.ts'

/** The root of two: another ratio than the one that spreads turns within a link, so that both together never bunch. */
const LINK_SPREAD = Math.SQRT2 % 1

/** A device that is being served. */
interface Served {
  readonly link: ServedLink
  readonly poller: UnitPoller
  readonly writer: UnitWriter
  readonly points: ReadonlyMap<string, Point>
  readonly unit: number
}

/** @param open how to open the wire of a link; tests give their own. */
export const createMapper = (host: MapperHost, open: OpenSession = openSession): Mapper => new ModbusMapper(host, open)

class ModbusMapper implements Mapper {
  readonly #host: MapperHost
  readonly #open: OpenSession
  readonly #links = new Map<string, { readonly link: ServedLink; readonly signature: string }>()
  readonly #set: ServedSet<DeviceConfig, Served>
  #models: ReadonlyMap<ObjectKey, DeviceModelSpec> = new Map()
  #opened = 0
  #disposed = false

  constructor(host: MapperHost, open: OpenSession) {
    this.#host = host
    this.#open = open
    this.#set = new ServedSet('modbus', host, compileDevice)
  }

  configure(devices: readonly DeviceBinding[]): void {
    if (this.#disposed) return
    this.#models = new Map(devices.map(({ key, model }) => [key, model]))
    const wanted = this.#set.compile(devices)
    const running = new Map([...this.#links].map(([id, { link }]) => [id, link.config.settings]))
    const plan = joinLinks([...wanted.values()], running)
    for (const [key, reason] of plan.conflicts) this.#set.refuse(key, reason)
    const kept = new Set<ServedLink>()
    for (const [id, { link, signature }] of this.#links) {
      const config = plan.links.get(id)
      if (config !== undefined && signatureOf(config) === signature) kept.add(link)
    }
    this.#set.retire(wanted, stop, (_config, { link }) => kept.has(link))
    for (const [id, { link }] of [...this.#links]) {
      if (kept.has(link)) continue
      this.#links.delete(id)
      void closeAside(link, 'modbus', link.config.name, this.#host)
    }
    for (const [id, config] of plan.links) {
      const link = this.#link(id, config)
      const members = new Map(plan.members.get(id)!.map((device) => [device.key, device]))
      this.#set.serve(members, (device) => this.#start(device, link))
    }
    this.#set.tell()
  }

  async write(command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    const served = this.#set.get(command.device)
    if (served === undefined) return this.#set.notServed(command)
    const point = served.points.get(command.property)
    if (point === undefined) return this.#set.notBound(command)
    return served.writer.write(point, command, signal)
  }

  links(): readonly LinkStats[] {
    return [...this.#links.values()].map(({ link }) => link.stats())
  }

  busyS(device: ObjectKey): number {
    return (this.#set.get(device)?.link.meter.deviceMs.get(device) ?? 0) / 1000
  }

  explain(device: ObjectKey, otherwise?: DeviceBinding): PlanExplanation | undefined {
    return this.#set.get(device)?.poller.explain(otherwise === undefined ? undefined : compileDevice(otherwise))
  }

  tunnel(device: ObjectKey): DeviceTunnel | undefined {
    const served = this.#set.get(device)
    const model = this.#models.get(device)
    return served === undefined || model === undefined
      ? undefined
      : unitTunnel(served.link, served.unit, modelHash(model), () => served.poller.neighbourRecovered())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    this.#set.clear(stop)
    const links = [...this.#links.values()]
    this.#links.clear()
    await Promise.all(links.map(({ link }) => link[Symbol.asyncDispose]()))
  }

  #link(id: string, config: LinkConfig): ServedLink {
    const known = this.#links.get(id)
    if (known !== undefined) return known.link
    const link = new ServedLink(config, this.#host, this.#open, (this.#opened++ * LINK_SPREAD) % 1)
    this.#links.set(id, { link, signature: signatureOf(config) })
    return link
  }

  #start(config: DeviceConfig, link: ServedLink): Served {
    const poller = new UnitPoller(config, link, this.#host)
    const writer = new UnitWriter(config, poller, link, this.#host)
    poller.start()
    return {
      link,
      poller,
      writer,
      points: new Map(config.points.map((point) => [point.name, point])),
      unit: config.unit,
    }
  }
}

function stop({ writer, poller }: Served): void {
  writer.dispose()
  poller.dispose()
}

const signatureOf = (config: LinkConfig): string => JSON.stringify([config.settings, config.open])
