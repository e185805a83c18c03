import { toSluiceError } from '../../api/errors.ts'
import { trustPublicAuthorities } from '../../api/public-authorities.ts'
import type { GatewayHost } from '../sdk/mapper.ts'
import { readCertificate, readPasswordFile } from './key-file.ts'

export interface BusOptions {
  /** `mqtt://host:1883` and the like, or `local`. */
  readonly broker: string
  readonly username?: string | undefined
  readonly passwordFile?: string | undefined
  readonly caFile?: string | undefined
}

export type BusListener = (topic: string, payload: Uint8Array) => void

/** Publish and subscribe, whoever the broker is. */
export interface Bus extends AsyncDisposable {
  /** Rejects when it cannot be handed over now. */
  publish(topic: string, payload: string): Promise<void>
  /** Topic filters from now on; replaces those before. */
  subscribe(filters: readonly string[]): void
}

export interface BusEvents {
  message: BusListener
  /** Connected, or not and why. */
  state(up: boolean, reason?: string): void
}

const RECONNECT_MS = 5000
const CONNECT_TIMEOUT_MS = 10_000
/** A LoRaWAN event is a few kilobytes; a broker that sends more is not ours to buffer. */
const MAX_MESSAGE_BYTES = 262_144

/** Opens the way to a broker; resolves at once and tells through `events` when it is there. */
export async function openBus(options: BusOptions, host: GatewayHost, events: BusEvents): Promise<Bus> {
  return options.broker === 'local' ? openLocalBus(host, events) : openMqttBus(options, events)
}

async function openLocalBus(host: GatewayHost, events: BusEvents): Promise<Bus> {
  const broker = await host.broker()
  const subscriptions = new Map<string, Disposable>()
  events.state(true)
  return {
    async publish(topic, payload) {
      broker.publish(topic, Buffer.from(payload), { qos: 1 })
    },
    subscribe(filters) {
      for (const [filter, subscription] of [...subscriptions]) {
        if (filters.includes(filter)) continue
        subscription[Symbol.dispose]()
        subscriptions.delete(filter)
      }
      for (const filter of filters) {
        if (subscriptions.has(filter)) continue
        subscriptions.set(
          filter,
          broker.subscribe(filter, (topic, payload, retained) => {
            if (!retained && payload.length <= MAX_MESSAGE_BYTES) events.message(topic, payload)
          }),
        )
      }
    },
    async [Symbol.asyncDispose]() {
      for (const subscription of subscriptions.values()) subscription[Symbol.dispose]()
      subscriptions.clear()
    },
  }
}

async function openMqttBus(options: BusOptions, events: BusEvents): Promise<Bus> {
  // The client costs several megabytes: only gateways whose devices need it load it.
  const mqtt = await import('mqtt')
  trustPublicAuthorities()
  const password = options.passwordFile === undefined ? undefined : readPasswordFile(options.passwordFile)
  let wanted: readonly string[] = []
  let subscribed: readonly string[] = []
  const client = mqtt.connect(options.broker, {
    // Its cache of encoded numbers takes memory and buys nothing at this rate.
    writeCache: false,
    reconnectPeriod: RECONNECT_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    queueQoSZero: false,
    clean: true,
    ...(options.username === undefined ? {} : { username: options.username }),
    ...(password === undefined ? {} : { password }),
    ...(options.caFile === undefined ? {} : { ca: readCertificate(options.caFile) }),
  })
  const refresh = () => {
    if (!client.connected) return
    const gone = subscribed.filter((filter) => !wanted.includes(filter))
    const added = wanted.filter((filter) => !subscribed.includes(filter))
    subscribed = wanted
    if (gone.length > 0) client.unsubscribe([...gone])
    if (added.length === 0) return
    client.subscribe([...added], { qos: 1 }, (error, granted) => {
      const refused = (granted ?? []).filter(({ qos }) => qos >= 128)
      if (error !== null && error !== undefined) events.state(false, `subscription failed: ${error.message}`)
      else if (refused.length > 0)
        events.state(false, `the broker does not allow ${refused.map(({ topic }) => topic).join(', ')}`)
      else events.state(true)
    })
  }
  client.on('connect', () => {
    subscribed = []
    if (wanted.length === 0) events.state(true)
    refresh()
  })
  client.on('close', () => events.state(false, 'the broker closed the connection, or cannot be reached'))
  client.on('error', (error) => events.state(false, toSluiceError(error).message))
  client.on('message', (topic, payload, packet) => {
    if (!packet.retain && payload.length <= MAX_MESSAGE_BYTES) events.message(topic, payload)
  })
  return {
    async publish(topic, payload) {
      if (!client.connected) throw new Error('not connected to the broker')
      await client.publishAsync(topic, payload, { qos: 1 })
    },
    subscribe(filters) {
      wanted = [...filters]
      refresh()
    },
    async [Symbol.asyncDispose]() {
      client.removeAllListeners('message')
      await client.endAsync(true)
    },
  }
}
