import type { Clock, Timer } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import { type Json, objectKey } from '../../api/resources.ts'
import type { StreamEvent } from '../../api/views.ts'
import type { GatewayBroker } from '../broker/gateway-broker.ts'
import type { Log } from '../log.ts'
import type { DeviceState, PropertyState } from '../twin/device-state.ts'
import { deviceState } from '../twin/views.ts'
import { KubeEdgeTopics } from './kubeedge.ts'
import { bytesOf, desiredFrom, propertyMessage } from './payloads.ts'
import { RateLimit } from './rate-limit.ts'
import type { SparkplugEdgeNode } from './sparkplug-edge-node.ts'

/** What northbound topics need of the agent's core. */
export interface NorthboundCore {
  readonly devices: ReadonlyMap<string, DeviceState>
  desire(key: string, property: string, value: Json, by: string): void
}

export interface NorthboundOptions {
  readonly core: NorthboundCore
  readonly broker: GatewayBroker
  readonly clock: Clock
  readonly log: Log
  readonly gateway: string
  readonly sparkplug?: SparkplugEdgeNode
}

/** Devices and properties that came or went, and what others want to know once a second, are looked for this often. */
const TICK_MS = 1000
/** Desired values that clients of the broker may set, each of which is stored on the disk. */
const SETS_PER_SECOND = 100

/**
 * The twins on MQTT, for any client of the broker:
 *
 *     sluice/<namespace>/<device>/<property>          retained {value, at, quality, unit?, reason?}
 *     sluice/<namespace>/<device>/<property>/set      a JSON value: sets the desired value at the gateway
 *     sluice/<namespace>/<device>/<property>/result   {state, value?, version?, at, code?, reason?} of each such value
 *     sluice/<namespace>/<device>/$state              retained {state, reason?}
 *
 * beside KubeEdge's `$hw/events/...` topics, and Sparkplug where a group is given.
 */
export class Northbound implements AsyncDisposable {
  readonly #options: NorthboundOptions
  readonly #kubeEdge: KubeEdgeTopics
  readonly #subscription: Disposable
  readonly #limit: RateLimit
  /** Topics with a retained message, by device. */
  readonly #published = new Map<string, Set<string>>()
  readonly #states = new Map<string, string>()
  #timer: Timer | undefined
  #refused = 0

  constructor(options: NorthboundOptions) {
    this.#options = options
    const { broker, clock } = options
    this.#limit = new RateLimit(clock, SETS_PER_SECOND)
    broker.protect((topic) => topic.startsWith('sluice/') && !topic.endsWith('/set'))
    this.#subscription = broker.local.subscribe('sluice/+/+/+/set', (topic, payload, retained) => {
      // A retained command was carried out when it came, by whoever was there then.
      if (!retained) this.#set(topic, payload)
    })
    this.#kubeEdge = new KubeEdgeTopics({
      ...options,
      desire: (key, property, value) => this.#desire(key, property, value),
    })
    this.#tick()
  }

  /** Desired values that were refused because there were too many. */
  get refused(): number {
    return this.#refused
  }

  event(event: StreamEvent): void {
    if (event.kind === 'gateway' || event.kind === 'desired') return
    const device = this.#options.core.devices.get(event.device)
    if (device === undefined) return
    if (event.kind === 'reported') {
      const property = device.properties.get(event.property)
      if (property !== undefined) this.#publishProperty(device, property)
      this.#options.sparkplug?.reported(device, event.property)
      this.#kubeEdge.reported(device, event.property)
    } else if (event.kind === 'write') {
      const { version, state, at, reason } = event
      const why = reason === undefined ? {} : { reason }
      this.#result(event.device, event.property, { state, version, at, ...why })
    } else {
      this.#publishState(device)
      this.#options.sparkplug?.reachability(device)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer?.cancel()
    this.#subscription[Symbol.dispose]()
    this.#kubeEdge[Symbol.dispose]()
    this.#options.sparkplug?.[Symbol.dispose]()
  }

  #tick(): void {
    const { core, clock, sparkplug } = this.#options
    for (const device of core.devices.values()) {
      this.#publishState(device)
      const published = this.#published.get(device.key)
      for (const property of device.properties.values()) {
        const defined = property.definition !== undefined
        if (defined && published?.has(property.name) !== true) this.#publishProperty(device, property)
        if (!defined && published?.has(property.name) === true) this.#clear(device.key, property.name)
      }
    }
    for (const [key, names] of this.#published) {
      if (core.devices.has(key)) continue
      for (const name of [...names]) this.#clear(key, name)
      this.#publish(`sluice/${key}/$state`, Buffer.alloc(0), true)
      this.#published.delete(key)
      this.#states.delete(key)
    }
    sparkplug?.tick()
    this.#kubeEdge.tick()
    this.#timer = clock.after(TICK_MS, () => this.#tick(), true)
  }

  #publishProperty(device: DeviceState, property: PropertyState): void {
    const message = propertyMessage(property)
    if (message === undefined || property.definition === undefined) return
    const names = this.#published.get(device.key) ?? new Set()
    this.#published.set(device.key, names.add(property.name))
    this.#publish(`sluice/${device.key}/${property.name}`, bytesOf(message), true)
  }

  #publishState(device: DeviceState): void {
    const state = deviceState(device)
    const reason = state === 'invalid' ? device.problem : state === 'offline' ? device.reach?.reason : undefined
    const text = JSON.stringify({ state, ...(reason === undefined ? {} : { reason }) })
    if (this.#states.get(device.key) === text) return
    this.#states.set(device.key, text)
    this.#published.set(device.key, this.#published.get(device.key) ?? new Set())
    this.#publish(`sluice/${device.key}/$state`, Buffer.from(text), true)
  }

  #clear(key: string, name: string): void {
    this.#published.get(key)?.delete(name)
    this.#publish(`sluice/${key}/${name}`, Buffer.alloc(0), true)
  }

  #set(topic: string, payload: Uint8Array): void {
    const [, namespace = '', name = '', property = ''] = topic.split('/')
    const key = objectKey(namespace, name)
    const definition = this.#options.core.devices.get(key)?.properties.get(property)?.definition
    const value = desiredFrom(payload, definition)
    try {
      this.#desire(key, property, value)
    } catch (error) {
      const { code, message, hint } = toSluiceError(error)
      const at = new Date(this.#options.clock.now()).toISOString()
      const more = hint === undefined ? {} : { hint }
      this.#result(key, property, { state: 'rejected', value, at, code, reason: message, ...more })
    }
  }

  #desire(key: string, property: string, value: Json): void {
    if (!this.#limit.take()) {
      this.#refused++
      throw new SluiceError('SLUICE_NORTHBOUND_BUSY', 'More desired values come over MQTT than are taken', {
        hint: `Set at most ${SETS_PER_SECOND} a second.`,
      })
    }
    this.#options.core.desire(key, property, value, 'mqtt')
  }

  #result(key: string, property: string, message: object): void {
    this.#publish(`sluice/${key}/${property}/result`, bytesOf(message), false)
  }

  #publish(topic: string, payload: Buffer, retain: boolean): void {
    try {
      this.#options.broker.local.publish(topic, payload, { retain, qos: retain ? 0 : 1 })
    } catch (error) {
      this.#options.log('debug', `northbound: ${toSluiceError(error).message}`)
    }
  }
}
