import { toSluiceError } from '../../api/errors.ts'
import type { ObjectKey } from '../../api/resources.ts'
import type {
  DeviceBinding,
  GatewayHost,
  LinkStats,
  Mapper,
  PlanExplanation,
  WriteCommand,
  WriteOutcome,
} from '../sdk/mapper.ts'
import { compileDevice, type DeviceConfig } from './device-config.ts'
import { type OpenTransport, Radio } from './radio.ts'
import { ServedDevice } from './served-device.ts'
import { type KnownModel, Sightings } from './sightings.ts'

const openNoble: OpenTransport = async (adapter, host) => {
  const { NobleTransport } = await import('./transport-noble.ts')
  return new NobleTransport(adapter, host.clock)
}

/** @param open how to open a radio; tests give their own. */
export const createMapper = (host: GatewayHost, open: OpenTransport = openNoble): Mapper => new BleMapper(host, open)

class BleMapper implements Mapper {
  readonly #host: GatewayHost
  readonly #open: OpenTransport
  readonly #radios = new Map<string, { readonly radio: Radio; readonly signature: string }>()
  readonly #served = new Map<ObjectKey, ServedDevice>()
  readonly #refused = new Map<ObjectKey, string>()
  readonly #sightings: Sightings
  #compiled = new Map<ObjectKey, DeviceConfig>()
  #models: readonly KnownModel[] = []
  #disposed = false

  constructor(host: GatewayHost, open: OpenTransport) {
    this.#host = host
    this.#open = open
    this.#sightings = new Sightings(host.clock, (some) => host.sighted(some))
  }

  configure(devices: readonly DeviceBinding[]): void {
    if (this.#disposed) return
    const refused = new Map<ObjectKey, string>()
    const wanted = this.#compile(devices, refused)
    this.#models = [
      ...new Map(devices.map(({ device, model }) => [device.model, { name: device.model, spec: model }])).values(),
    ]
    const adapters = this.#agree(wanted, refused)
    for (const [key, served] of [...this.#served]) {
      const same = wanted.get(key) === served.config && this.#radios.get(served.config.radio.id)?.radio === served.radio
      const kept = same && adapters.get(served.config.radio.id) === signatureOf(served.config)
      if (!kept) this.#drop(key, !wanted.has(key))
    }
    for (const [id, { radio, signature }] of [...this.#radios]) {
      if (adapters.get(id) === signature) continue
      this.#radios.delete(id)
      void this.#close(radio)
    }
    for (const config of wanted.values()) if (!refused.has(config.key)) this.#serve(config)
    this.#tellRefused(refused)
  }

  async write(command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    const served = this.#served.get(command.device)
    const atMs = this.#host.clock.now()
    if (served === undefined) {
      const reason = this.#refused.get(command.device) ?? `${command.device} is not served by this gateway`
      return { state: 'rejected', code: 'SLUICE_WRITE_NOT_SERVED', reason, atMs }
    }
    const point = served.point(command.property)
    if (point === undefined) {
      const reason = `${command.property} has no ble binding in the model of ${command.device}`
      return { state: 'rejected', code: 'SLUICE_WRITE_UNKNOWN_PROPERTY', reason, atMs }
    }
    return served.write(point, command, signal)
  }

  links(): readonly LinkStats[] {
    return [...this.#radios.values()].map(({ radio }) => radio.stats())
  }

  explain(device: ObjectKey): PlanExplanation | undefined {
    return this.#served.get(device)?.explain()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    for (const key of [...this.#served.keys()]) this.#drop(key, false)
    const radios = [...this.#radios.values()]
    this.#radios.clear()
    await Promise.all(radios.map(({ radio }) => radio[Symbol.asyncDispose]()))
  }

  #compile(devices: readonly DeviceBinding[], refused: Map<ObjectKey, string>): Map<ObjectKey, DeviceConfig> {
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
    return compiled
  }

  /** Settings of each radio; whoever disagrees with what runs, or with the first, is refused. */
  #agree(wanted: ReadonlyMap<ObjectKey, DeviceConfig>, refused: Map<ObjectKey, string>): Map<string, string> {
    const adapters = new Map<string, string>()
    const running = (id: string) => this.#radios.get(id)?.signature
    for (const config of wanted.values()) {
      const signature = signatureOf(config)
      const { id } = config.radio
      if (!adapters.has(id) || signature === running(id)) adapters.set(id, signature)
    }
    for (const config of wanted.values()) {
      if (adapters.get(config.radio.id) === signatureOf(config)) continue
      refused.set(config.key, `another device uses ${config.radio.id} with another baud rate`)
    }
    return adapters
  }

  #serve(config: DeviceConfig): void {
    if (this.#served.has(config.key)) return
    const served = new ServedDevice(config, this.#radio(config), this.#host)
    this.#served.set(config.key, served)
    void served.start()
  }

  #radio(config: DeviceConfig): Radio {
    const { id, adapter } = config.radio
    const known = this.#radios.get(id)
    if (known !== undefined) return known.radio
    const radio = new Radio(id, adapter, this.#host, this.#open, (heard, nowMs) =>
      this.#sightings.stranger(heard, nowMs, id, this.#models),
    )
    this.#radios.set(id, { radio, signature: signatureOf(config) })
    return radio
  }

  #drop(key: ObjectKey, gone: boolean): void {
    const served = this.#served.get(key)
    this.#served.delete(key)
    served?.dispose(gone)
  }

  async #close(radio: Radio): Promise<void> {
    try {
      await radio[Symbol.asyncDispose]()
    } catch (error) {
      this.#host.log('warn', `ble: closing ${radio.id} failed`, { reason: toSluiceError(error).message })
    }
  }

  #tellRefused(refused: ReadonlyMap<ObjectKey, string>): void {
    const atMs = this.#host.clock.now()
    for (const [device, reason] of refused) {
      if (this.#refused.get(device) === reason) continue
      this.#host.reachability([{ device, online: false, atMs, reason }])
      this.#host.log('warn', `ble: ${device} is not served`, { reason })
    }
    this.#refused.clear()
    for (const [device, reason] of refused) this.#refused.set(device, reason)
  }
}

const signatureOf = ({ radio }: DeviceConfig): string => JSON.stringify(radio.adapter)
