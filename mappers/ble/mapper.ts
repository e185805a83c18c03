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
import { closeAside, ServedSet } from '../sdk/served-set.ts'
import { compileDevice, type DeviceConfig } from './device-config.ts'
import { type OpenTransport, Radio } from './radio.ts'
import { ServedDevice } from './served-device.ts'
import { type KnownModel, Sightings } from './sightings.ts'

const openRadio: OpenTransport = async (adapter, host) => {
  if (adapter.kind === 'bluez') {
    const { BluezTransport } = await import('./bluez/transport-bluez.ts')
    return new BluezTransport(adapter.name, host.clock)
  }
  const { NobleTransport } = await import('./transport-noble.ts')
  return new NobleTransport(adapter, host.clock)
}

/** @param open how to open a radio; tests give their own. */
export const createMapper = (host: GatewayHost, open: OpenTransport = openRadio): Mapper => new BleMapper(host, open)

class BleMapper implements Mapper {
  readonly #host: GatewayHost
  readonly #open: OpenTransport
  readonly #radios = new Map<string, { readonly radio: Radio; readonly signature: string }>()
  readonly #set: ServedSet<DeviceConfig, ServedDevice>
  readonly #sightings: Sightings
  #models: readonly KnownModel[] = []
  #disposed = false

  constructor(host: GatewayHost, open: OpenTransport) {
    this.#host = host
    this.#open = open
    this.#set = new ServedSet('ble', host, compileDevice)
    this.#sightings = new Sightings(host.clock, (some) => host.sighted(some))
  }

  configure(devices: readonly DeviceBinding[]): void {
    if (this.#disposed) return
    const wanted = this.#set.compile(devices)
    const bindings = new Map(devices.map((binding) => [binding.key, binding]))
    this.#models = [
      ...new Map(devices.map(({ device, model }) => [device.model, { name: device.model, spec: model }])).values(),
    ]
    const adapters = this.#agree(wanted)
    this.#set.retire(
      wanted,
      (served, _key, gone) => served.dispose(gone),
      (config, { radio }) =>
        this.#radios.get(config.radio.id)?.radio === radio && adapters.get(config.radio.id) === signatureOf(config),
    )
    for (const [id, { radio, signature }] of [...this.#radios]) {
      if (adapters.get(id) === signature) continue
      this.#radios.delete(id)
      void closeAside(radio, 'ble', radio.id, this.#host)
    }
    this.#set.serve(wanted, (config) => {
      const { device, standby } = bindings.get(config.key)!
      const roaming = { shared: device.nodeSelector !== undefined || standby === true, standby: standby === true }
      const served = new ServedDevice(config, this.#radio(config), this.#host, roaming)
      void served.start()
      return served
    })
    for (const { key, standby } of devices) this.#set.get(key)?.standBy(standby === true)
    this.#set.tell()
  }

  async write(command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    const served = this.#set.get(command.device)
    if (served === undefined) return this.#set.notServed(command)
    const point = served.point(command.property)
    if (point === undefined) return this.#set.notBound(command)
    return served.write(point, command, signal)
  }

  links(): readonly LinkStats[] {
    return [...this.#radios.values()].map(({ radio }) => radio.stats())
  }

  airtimeS(device: ObjectKey): number {
    return this.#set.get(device)?.airtimeS ?? 0
  }

  explain(device: ObjectKey): PlanExplanation | undefined {
    return this.#set.get(device)?.explain()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    this.#set.clear((served) => served.dispose(false))
    const radios = [...this.#radios.values()]
    this.#radios.clear()
    await Promise.all(radios.map(({ radio }) => radio[Symbol.asyncDispose]()))
  }

  /** Settings of each radio; whoever disagrees with what runs, or with the first, is refused. */
  #agree(wanted: ReadonlyMap<ObjectKey, DeviceConfig>): Map<string, string> {
    const adapters = new Map<string, string>()
    const running = (id: string) => this.#radios.get(id)?.signature
    for (const config of wanted.values()) {
      const signature = signatureOf(config)
      const { id } = config.radio
      if (!adapters.has(id) || signature === running(id)) adapters.set(id, signature)
    }
    for (const config of wanted.values()) {
      if (adapters.get(config.radio.id) === signatureOf(config)) continue
      this.#set.refuse(config.key, `another device uses ${config.radio.id} with another baud rate`)
    }
    return adapters
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
}

const signatureOf = ({ radio }: DeviceConfig): string => JSON.stringify(radio.adapter)
