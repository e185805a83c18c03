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
import { type BrokerConfig, compileDevice, type DeviceConfig } from './device-config.ts'
import { explainConfig } from './explain.ts'
import { ServedBroker } from './served-broker.ts'
import type { ServedDevice } from './served-device.ts'
import { type OpenSession, openSession } from './session.ts'
import { writeProperty } from './writer.ts'

/** @param open how to reach a broker; tests give their own. */
export const createMapper = (host: GatewayHost, open: OpenSession = openSession): Mapper => new MqttMapper(host, open)

class MqttMapper implements Mapper {
  readonly #host: GatewayHost
  readonly #open: OpenSession
  readonly #brokers = new Map<string, ServedBroker>()
  readonly #served = new Map<ObjectKey, ServedDevice>()
  /** Devices that cannot be served, with the reason that was told. */
  #refused = new Map<ObjectKey, string>()
  #disposed = false

  constructor(host: GatewayHost, open: OpenSession) {
    this.#host = host
    this.#open = open
  }

  configure(devices: readonly DeviceBinding[]): void {
    if (this.#disposed) return
    const refused = new Map<ObjectKey, string>()
    const wanted = new Map<ObjectKey, DeviceConfig>()
    for (const binding of devices) {
      try {
        const known = this.#served.get(binding.key)?.config
        wanted.set(binding.key, known?.revision === binding.revision ? known : compileDevice(binding))
      } catch (error) {
        refused.set(binding.key, toSluiceError(error).message)
      }
    }
    for (const [key, { config, broker }] of [...this.#served]) {
      if (wanted.get(key) === config) continue
      broker.remove(key)
      this.#served.delete(key)
    }
    for (const config of wanted.values()) {
      if (!this.#served.has(config.key)) this.#served.set(config.key, this.#broker(config.broker).add(config))
    }
    this.#closeUnused()
    this.#tellRefused(refused)
  }

  async write(command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    const served = this.#served.get(command.device)
    const atMs = this.#host.clock.now()
    if (served === undefined) {
      const reason = this.#refused.get(command.device) ?? `${command.device} is not served by this gateway`
      return { state: 'rejected', code: 'SLUICE_WRITE_NOT_SERVED', reason, atMs }
    }
    const point = served.config.points.find(({ name }) => name === command.property)
    if (point === undefined) {
      const reason = `${command.property} has no mqtt binding in the model of ${command.device}`
      return { state: 'rejected', code: 'SLUICE_WRITE_UNKNOWN_PROPERTY', reason, atMs }
    }
    try {
      return await writeProperty(served, point, command, this.#host, signal)
    } catch (error) {
      this.#host.log('error', `mqtt: write to ${command.device} failed`, { reason: String(error) })
      return { state: 'rejected', code: 'SLUICE_INTERNAL', reason: String(error), atMs: this.#host.clock.now() }
    }
  }

  links(): readonly LinkStats[] {
    return [...this.#brokers.values()].map((broker) => broker.stats())
  }

  explain(device: ObjectKey): PlanExplanation | undefined {
    const config = this.#served.get(device)?.config
    return config === undefined ? undefined : explainConfig(config)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    const brokers = [...this.#brokers.values()]
    this.#brokers.clear()
    this.#served.clear()
    await Promise.all(brokers.map((broker) => broker[Symbol.asyncDispose]()))
  }

  #broker(config: BrokerConfig): ServedBroker {
    let broker = this.#brokers.get(config.id)
    if (broker === undefined) {
      broker = new ServedBroker(config, this.#host, this.#open)
      this.#brokers.set(config.id, broker)
    }
    return broker
  }

  #closeUnused(): void {
    for (const [id, broker] of [...this.#brokers]) {
      if (broker.devices.size > 0) continue
      this.#brokers.delete(id)
      broker[Symbol.asyncDispose]().catch((error: unknown) => {
        this.#host.log('warn', `mqtt: closing ${broker.config.name} failed`, { reason: toSluiceError(error).message })
      })
    }
  }

  #tellRefused(refused: Map<ObjectKey, string>): void {
    const atMs = this.#host.clock.now()
    for (const [device, reason] of refused) {
      if (this.#refused.get(device) === reason) continue
      this.#host.reachability([{ device, online: false, atMs, reason }])
      this.#host.log('warn', `mqtt: ${device} is not served`, { reason })
    }
    this.#refused = refused
  }
}
