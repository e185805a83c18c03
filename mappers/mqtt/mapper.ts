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
import { rejected } from '../sdk/write-queue.ts'
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
  readonly #set: ServedSet<DeviceConfig, ServedDevice>
  #disposed = false

  constructor(host: GatewayHost, open: OpenSession) {
    this.#host = host
    this.#open = open
    this.#set = new ServedSet('mqtt', host, compileDevice)
  }

  configure(devices: readonly DeviceBinding[]): void {
    if (this.#disposed) return
    const wanted = this.#set.compile(devices)
    this.#set.retire(wanted, ({ broker }, key) => broker.remove(key))
    this.#set.serve(wanted, (config) => this.#broker(config.broker).add(config))
    this.#closeUnused()
    this.#set.tell()
  }

  async write(command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    const served = this.#set.get(command.device)
    if (served === undefined) return this.#set.notServed(command)
    const point = served.config.points.find(({ name }) => name === command.property)
    if (point === undefined) return this.#set.notBound(command)
    try {
      return await writeProperty(served, point, command, this.#host, signal)
    } catch (error) {
      this.#host.log('error', `mqtt: write to ${command.device} failed`, { reason: String(error) })
      return rejected(this.#host, 'SLUICE_INTERNAL', String(error))
    }
  }

  links(): readonly LinkStats[] {
    return [...this.#brokers.values()].map((broker) => broker.stats())
  }

  bytes(device: ObjectKey): number {
    return this.#set.get(device)?.bytes ?? 0
  }

  explain(device: ObjectKey): PlanExplanation | undefined {
    const config = this.#set.get(device)?.config
    return config === undefined ? undefined : explainConfig(config)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    const brokers = [...this.#brokers.values()]
    this.#brokers.clear()
    this.#set.clear()
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
      void closeAside(broker, 'mqtt', broker.config.name, this.#host)
    }
  }
}
