import { toSluiceError } from '../../api/errors.ts'
import type { ObjectKey } from '../../api/resources.ts'
import type {
  DeviceBinding,
  LinkStats,
  Mapper,
  MapperHost,
  PlanExplanation,
  WriteCommand,
  WriteOutcome,
} from '../sdk/mapper.ts'
import { compileDevice, type DeviceConfig, type LinkConfig } from './device-config.ts'
import type { Point } from './point.ts'
import { UnitPoller } from './poller.ts'
import { type OpenSession, openSession, ServedLink } from './served-link.ts'
import { joinLinks } from './sharing.ts'
import { UnitWriter } from './writer.ts'

/** The root of two: another ratio than the one that spreads turns within a link, so that both together never bunch. */
const LINK_SPREAD = Math.SQRT2 % 1

/** A device that is being served. */
interface Served {
  readonly config: DeviceConfig
  readonly link: ServedLink
  readonly poller: UnitPoller
  readonly writer: UnitWriter
  readonly points: ReadonlyMap<string, Point>
}

/** @param open how to open the wire of a link; tests give their own. */
export const createMapper = (host: MapperHost, open: OpenSession = openSession): Mapper => new ModbusMapper(host, open)

class ModbusMapper implements Mapper {
  readonly #host: MapperHost
  readonly #open: OpenSession
  readonly #links = new Map<string, { readonly link: ServedLink; readonly signature: string }>()
  readonly #served = new Map<ObjectKey, Served>()
  #opened = 0
  /** Devices that cannot be served, with the reason that was told. */
  readonly #refused = new Map<ObjectKey, string>()
  /** Compiled devices by key, so that a device that did not change is not compiled again. */
  #compiled = new Map<ObjectKey, DeviceConfig>()
  #disposed = false

  constructor(host: MapperHost, open: OpenSession) {
    this.#host = host
    this.#open = open
  }

  configure(devices: readonly DeviceBinding[]): void {
    if (this.#disposed) return
    const refused = new Map<ObjectKey, string>()
    const wanted = this.#compile(devices, refused)
    const running = new Map([...this.#links].map(([id, { link }]) => [id, link.config.settings]))
    const plan = joinLinks(wanted, running)
    for (const [key, reason] of plan.conflicts) refused.set(key, reason)
    this.#dropChanged(plan.links, plan.members)
    for (const [id, config] of plan.links) this.#serve(this.#link(id, config), plan.members.get(id)!)
    this.#tellRefused(refused)
  }

  async write(command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    const served = this.#served.get(command.device)
    const atMs = this.#host.clock.now()
    if (served === undefined) {
      const reason = this.#refused.get(command.device) ?? `${command.device} is not served by this gateway`
      return { state: 'rejected', code: 'SLUICE_WRITE_NOT_SERVED', reason, atMs }
    }
    const point = served.points.get(command.property)
    if (point === undefined) {
      const reason = `${command.property} has no modbus binding in the model of ${command.device}`
      return { state: 'rejected', code: 'SLUICE_WRITE_UNKNOWN_PROPERTY', reason, atMs }
    }
    return served.writer.write(point, command, signal)
  }

  links(): readonly LinkStats[] {
    return [...this.#links.values()].map(({ link }) => link.stats())
  }

  explain(device: ObjectKey): PlanExplanation | undefined {
    return this.#served.get(device)?.poller.explain()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    for (const key of [...this.#served.keys()]) this.#drop(key)
    const links = [...this.#links.values()]
    this.#links.clear()
    await Promise.all(links.map(({ link }) => link[Symbol.asyncDispose]()))
  }

  #compile(devices: readonly DeviceBinding[], refused: Map<ObjectKey, string>): DeviceConfig[] {
    const compiled = new Map<ObjectKey, DeviceConfig>()
    for (const binding of devices) {
      try {
        const known = this.#compiled.get(binding.key)
        compiled.set(binding.key, known?.revision === binding.revision ? known : compileDevice(binding))
      } catch (error) {
        refused.set(binding.key, toSluiceError(error).message)
      }
    }
    this.#compiled = compiled
    return [...compiled.values()]
  }

  /** Ends what is not wanted any more, or not in this way; everything else runs on untouched. */
  #dropChanged(links: ReadonlyMap<string, LinkConfig>, members: ReadonlyMap<string, readonly DeviceConfig[]>): void {
    const wanted = new Map([...members.values()].flat().map((config) => [config.key, config]))
    for (const [id, { link, signature }] of [...this.#links]) {
      const config = links.get(id)
      const kept = config !== undefined && signatureOf(config) === signature
      for (const [key, served] of [...this.#served]) {
        if (served.link === link && !(kept && wanted.get(key) === served.config)) this.#drop(key)
      }
      if (kept) continue
      this.#links.delete(id)
      void this.#close(link)
    }
  }

  #drop(key: ObjectKey): void {
    const served = this.#served.get(key)
    this.#served.delete(key)
    served?.writer.dispose()
    served?.poller.dispose()
  }

  async #close(link: ServedLink): Promise<void> {
    try {
      await link[Symbol.asyncDispose]()
    } catch (error) {
      this.#host.log('warn', `modbus: closing ${link.config.name} failed`, { reason: toSluiceError(error).message })
    }
  }

  #link(id: string, config: LinkConfig): ServedLink {
    const known = this.#links.get(id)
    if (known !== undefined) return known.link
    const link = new ServedLink(config, this.#host, this.#open, (this.#opened++ * LINK_SPREAD) % 1)
    this.#links.set(id, { link, signature: signatureOf(config) })
    return link
  }

  #serve(link: ServedLink, devices: readonly DeviceConfig[]): void {
    for (const config of devices) {
      if (this.#served.has(config.key)) continue
      const poller = new UnitPoller(config, link, this.#host)
      const writer = new UnitWriter(config, poller, link, this.#host)
      const points = new Map(config.points.map((point) => [point.name, point]))
      this.#served.set(config.key, { config, link, poller, writer, points })
      poller.start()
    }
  }

  #tellRefused(refused: ReadonlyMap<ObjectKey, string>): void {
    const atMs = this.#host.clock.now()
    for (const [device, reason] of refused) {
      if (this.#refused.get(device) === reason) continue
      this.#host.reachability([{ device, online: false, atMs, reason }])
      this.#host.log('warn', `modbus: ${device} is not served`, { reason })
    }
    this.#refused.clear()
    for (const [device, reason] of refused) this.#refused.set(device, reason)
  }
}

const signatureOf = (config: LinkConfig): string => JSON.stringify([config.settings, config.open])
