import { toSluiceError } from '../../api/errors.ts'
import type { ObjectKey } from '../../api/resources.ts'
import { LinkMeter } from '../sdk/link-meter.ts'
import type { GatewayHost, LinkStats } from '../sdk/mapper.ts'
import { encodePayload, topicOf } from '../sdk/sparkplug-payload.ts'
import type { BrokerConfig, DeviceConfig } from './device-config.ts'
import { listenForHomeAssistant } from './discovery/home-assistant.ts'
import { sparkplugFilters } from './plan.ts'
import { ServedDevice } from './served-device.ts'
import type { MqttSession, OpenSession, SessionState } from './session.ts'
import { HostCertificate } from './sparkplug/host-certificate.ts'
import { rebirthMetric, type SparkplugListener, SparkplugNode } from './sparkplug/node.ts'

/** Topics remembered to notice that two devices take the same value. */
const MAX_CLAIMS = 16_384

/** One connection with the devices and Sparkplug nodes behind it. */
export class ServedBroker implements AsyncDisposable {
  readonly config: BrokerConfig
  readonly session: MqttSession
  readonly devices = new Map<string, ServedDevice>()
  readonly #host: GatewayHost
  readonly #meter: LinkMeter
  readonly #nodes = new Map<string, { readonly node: SparkplugNode; readonly subscriptions: Map<string, Shared> }>()
  readonly #discovery: Disposable
  readonly #certificate: HostCertificate | undefined
  readonly #watch: Disposable | undefined
  /** Who takes values from which topic and place, the newest last. */
  readonly #claims = new Map<string, Set<ObjectKey>>()
  readonly #places = new WeakMap<object, string>()

  constructor(config: BrokerConfig, host: GatewayHost, open: OpenSession) {
    this.config = config
    this.#host = host
    this.#meter = new LinkMeter(host.clock)
    this.#certificate = config.host === undefined ? undefined : new HostCertificate(config.host, host.clock)
    const onState = ({ up, reason }: SessionState) => {
      if (up) this.#certificate?.born(this.session)
      if (up) host.log('info', `mqtt: connected to ${config.name}`)
      else host.log('warn', `mqtt: no connection to ${config.name}`, { reason: reason ?? '' })
      for (const { node } of this.#nodes.values()) {
        if (up) node.connected()
        else node.lost(`no connection to ${config.name}`)
      }
      for (const device of this.devices.values()) device.connectionChanged()
    }
    this.session = open(config, host, onState, this.#certificate?.nextWill)
    this.#watch = this.#certificate?.watch(this.session)
    this.#discovery = listenForHomeAssistant(this, host)
  }

  add(config: DeviceConfig): ServedDevice {
    const device = new ServedDevice(config, this, this.#host)
    this.devices.set(config.key, device)
    device.start()
    return device
  }

  remove(key: string): void {
    this.devices.get(key)?.[Symbol.dispose]()
    this.devices.delete(key)
  }

  /** A message was taken. */
  counted(_bytes: number): void {
    this.#meter.answered(0, 1)
  }

  failed(code: string): void {
    this.#meter.failed(code)
  }

  stats(): LinkStats {
    const { up, reason } = this.session.state
    return {
      link: this.config.name === 'local' ? 'mqtt local' : this.config.name,
      protocol: 'mqtt',
      state: up ? 'up' : 'down',
      ...(reason === undefined || up ? {} : { reason }),
      devices: this.devices.size,
      use: 0,
      planEfficiency: 1,
      requests: this.#meter.requests,
      propertiesRead: this.#meter.propertiesRead,
      errors: this.#meter.errors,
    }
  }

  /** Listens to a Sparkplug edge node, which is followed once however many devices are behind it. */
  sparkplug(address: NonNullable<DeviceConfig['sparkplug']>, listener: SparkplugListener): Disposable {
    const { group, node: name } = address
    const id = JSON.stringify([group, name])
    let followed = this.#nodes.get(id)
    if (followed === undefined) {
      const node = new SparkplugNode({
        clock: this.#host.clock,
        requestRebirth: () => {
          const payload = encodePayload({ timestampMs: this.#host.clock.now(), metrics: [rebirthMetric] })
          this.session.publish(topicOf(group, 'NCMD', name), payload, 0, false).catch((error: unknown) => {
            this.#host.log('debug', `mqtt: rebirth of ${name} not requested: ${toSluiceError(error).message}`)
          })
        },
      })
      this.#nodes.set(id, (followed = { node, subscriptions: new Map() }))
    }
    const { node, subscriptions } = followed
    const filters = sparkplugFilters(address)
    for (const filter of filters) {
      const known = subscriptions.get(filter)
      if (known !== undefined) known.count++
      else {
        const subscription = this.session.subscribe(filter, 1, (topic, payload, retained) => {
          this.counted(payload.length)
          // Sparkplug never retains these; what is retained all the same is of nobody knows when.
          if (!retained) node.message(topic, payload)
        })
        subscriptions.set(filter, { count: 1, subscription })
      }
    }
    node.add(listener)
    return {
      [Symbol.dispose]: () => {
        node.remove(listener)
        for (const filter of filters) {
          const shared = subscriptions.get(filter)!
          if (--shared.count > 0) continue
          shared.subscription[Symbol.dispose]()
          subscriptions.delete(filter)
        }
        if (node.listening === 0) this.#nodes.delete(id)
      },
    }
  }

  /** Another device that takes its values from the same topic and the same place in the payload, if there is one. */
  rivalFor(topic: string, place: object, key: ObjectKey): ObjectKey | undefined {
    let text = this.#places.get(place)
    if (text === undefined) this.#places.set(place, (text = JSON.stringify(place)))
    const where = `${topic}\n${text}`
    const claimants = this.#claims.get(where)
    if (claimants === undefined) {
      this.#claims.set(where, new Set([key]))
      if (this.#claims.size > MAX_CLAIMS) this.#claims.delete(this.#claims.keys().next().value!)
      return undefined
    }
    if (claimants.size < 8) claimants.add(key)
    if (claimants.size === 1) return undefined
    for (const other of claimants) if (other !== key && this.devices.has(other)) return other
    return undefined
  }

  /** Names in use on this broker, so that discovery does not offer what is served already. */
  serves(base: string): boolean {
    return [...this.devices.values()].some(({ config }) =>
      config.points.some(({ topic }) => topic === base || topic?.startsWith(`${base}/`) === true),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#discovery[Symbol.dispose]()
    for (const key of [...this.devices.keys()]) this.remove(key)
    this.#watch?.[Symbol.dispose]()
    await this.#certificate?.end(this.session)
    await this.session[Symbol.asyncDispose]()
  }
}

interface Shared {
  count: number
  readonly subscription: Disposable
}
