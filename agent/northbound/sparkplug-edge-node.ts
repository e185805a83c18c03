import type { Clock } from '../../api/clock.ts'
import type { Json } from '../../api/resources.ts'
import type { LocalBroker } from '../../mappers/sdk/mapper.ts'
import {
  type DataType,
  decodePayload,
  encodePayload,
  type Metric,
  parseTopic,
  QUALITY,
  REBIRTH,
  topicOf,
} from '../../mappers/sdk/sparkplug-payload.ts'
import { decodeState, type HostState, stateTopic } from '../../mappers/sdk/sparkplug-state.ts'
import type { DeviceState, PropertyState } from '../twin/device-state.ts'
import { RateLimit } from './rate-limit.ts'

export interface SparkplugEdgeNodeOptions {
  readonly clock: Clock
  readonly group: string
  readonly gateway: string
  /** The host application without which nothing is worth telling: the node lives only while that is online. */
  readonly primaryHost?: string
  /** `bdSeq` of the session before this one, kept over restarts. */
  readonly storage: { get(): number | undefined; put(bdSeq: number): void }
  readonly devices: ReadonlyMap<string, DeviceState>
  readonly desire: (key: string, property: string, value: Json) => void
}

interface Born {
  readonly state: DeviceState
  /** Alias of each property, valid since the last DBIRTH. */
  readonly aliases: Map<string, number>
  readonly signature: string
}

const TYPES: Readonly<Record<string, DataType>> = {
  int: 'Int64',
  float: 'Double',
  bool: 'Boolean',
  string: 'String',
  bytes: 'Bytes',
}

/**
 * The gateway as a Sparkplug B 3.0 edge node: itself the node, each device one of its devices, called
 * `<namespace>:<name>`. Birth with every metric and its alias, then changes by alias with a sequence number; a host
 * may ask for a rebirth and command values. The death certificate is the will of the connection, where there is one.
 * With a primary host it is born when that comes and dies when that goes (section 5.4.2.1).
 */
export class SparkplugEdgeNode implements Disposable {
  readonly #options: SparkplugEdgeNodeOptions
  readonly #born = new Map<string, Born>()
  readonly #rebirths: RateLimit
  #broker: LocalBroker | undefined
  #subscriptions: Disposable[] = []
  #bdSeq: number
  /** What the primary host said last; undefined until it has said anything on this connection. */
  #host: HostState | undefined
  #alive = false
  #seq = 0
  #nextAlias = 1

  constructor(options: SparkplugEdgeNodeOptions) {
    this.#options = options
    this.#rebirths = new RateLimit(options.clock, 1)
    this.#bdSeq = (options.storage.get() ?? -1) & 0xff
  }

  /** The will of the next connection: a new session with a new `bdSeq`. */
  nextWill(): { readonly topic: string; readonly payload: Uint8Array } {
    this.#bdSeq = (this.#bdSeq + 1) % 256
    this.#options.storage.put(this.#bdSeq)
    const payload = encodePayload({ timestampMs: this.#options.clock.now(), metrics: [this.#bdSeqMetric()] })
    return { topic: this.#topic('NDEATH'), payload }
  }

  /** The connection is there: the node is born, for the first time or again. */
  connected(broker: LocalBroker): void {
    const { group, gateway, primaryHost } = this.#options
    // What was retained comes again after each connection.
    this.#host = undefined
    this.#alive = false
    if (this.#broker === undefined) {
      this.#broker = broker
      const onCommand = (topic: string, payload: Uint8Array) => this.#command(topic, payload)
      this.#subscriptions = [
        broker.subscribe(`spBv1.0/${group}/NCMD/${gateway}`, onCommand),
        broker.subscribe(`spBv1.0/${group}/DCMD/${gateway}/+`, onCommand),
        ...(primaryHost === undefined
          ? []
          : [broker.subscribe(stateTopic(primaryHost), (_, payload) => this.#hostSaid(payload))]),
      ]
    }
    if (primaryHost === undefined) this.#birth()
  }

  /** Whether the node is born; not while it waits for its primary host. */
  get alive(): boolean {
    return this.#alive
  }

  reported(device: DeviceState, name: string): void {
    const born = this.#born.get(device.key)
    const property = device.properties.get(name)
    if (born === undefined || property?.definition === undefined) return
    const alias = born.aliases.get(name)
    if (alias === undefined) return
    this.#send('DDATA', device.key, [{ ...valueMetric(property, this.#options.clock.now()), alias }])
  }

  /** A device that cannot be reached is dead; one that comes back is born again. */
  reachability(device: DeviceState): void {
    const isBorn = this.#born.has(device.key)
    if (device.reach?.online === false && isBorn) this.#death(device.key)
    else if (device.reach?.online !== false && !isBorn) this.#deviceBirth(device)
  }

  /** Devices that came, went or got another model. */
  tick(): void {
    if (!this.#alive) return
    for (const device of this.#options.devices.values()) {
      const born = this.#born.get(device.key)
      if (born !== undefined && (born.state !== device || born.signature !== signatureOf(device))) {
        this.#death(device.key)
      }
      this.reachability(device)
    }
    for (const key of [...this.#born.keys()]) if (!this.#options.devices.has(key)) this.#death(key)
  }

  [Symbol.dispose](): void {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]()
    if (this.#alive) this.#nodeDeath()
  }

  #nodeDeath(): void {
    this.#alive = false
    this.#born.clear()
    const payload = encodePayload({ timestampMs: this.#options.clock.now(), metrics: [this.#bdSeqMetric()] })
    this.#broker?.publish(this.#topic('NDEATH'), payload, { qos: 1 })
  }

  /** A will that comes late speaks of a session before the present one: its time is older. */
  #hostSaid(payload: Uint8Array): void {
    const state = decodeState(payload)
    if (state === undefined || (this.#host !== undefined && state.timestampMs < this.#host.timestampMs)) return
    this.#host = state
    if (state.online && !this.#alive) this.#birth()
    else if (!state.online && this.#alive) this.#nodeDeath()
  }

  #birth(): void {
    this.#alive = true
    this.#seq = -1
    this.#born.clear()
    this.#nextAlias = 1
    const timestampMs = this.#options.clock.now()
    // The specification wants this one without an alias, so that every host can ask.
    const rebirth: Metric = { name: REBIRTH, timestampMs, type: 'Boolean', value: false }
    this.#send('NBIRTH', undefined, [this.#bdSeqMetric(), rebirth])
    for (const device of this.#options.devices.values()) {
      if (device.reach?.online !== false) this.#deviceBirth(device)
    }
  }

  #deviceBirth(device: DeviceState): void {
    if (!this.#alive || device.model === undefined) return
    const aliases = new Map<string, number>()
    const metrics: Metric[] = []
    for (const property of device.properties.values()) {
      if (property.definition === undefined) continue
      const alias = this.#nextAlias++
      aliases.set(property.name, alias)
      metrics.push({ ...valueMetric(property, this.#options.clock.now()), name: property.name, alias })
    }
    this.#born.set(device.key, { state: device, aliases, signature: signatureOf(device) })
    this.#send('DBIRTH', device.key, metrics)
  }

  #death(key: string): void {
    this.#born.delete(key)
    this.#send('DDEATH', key, [])
  }

  #send(kind: 'NBIRTH' | 'DBIRTH' | 'DDATA' | 'DDEATH', key: string | undefined, metrics: readonly Metric[]): void {
    if (this.#broker === undefined || !this.#alive) return
    this.#seq = (this.#seq + 1) % 256
    const payload = encodePayload({ timestampMs: this.#options.clock.now(), seq: this.#seq, metrics })
    this.#broker.publish(this.#topic(kind, key), payload, { qos: 0 })
  }

  #topic(kind: Parameters<typeof topicOf>[1], key?: string): string {
    return topicOf(this.#options.group, kind, this.#options.gateway, key?.replace('/', ':'))
  }

  #bdSeqMetric(): Metric {
    return { name: 'bdSeq', timestampMs: this.#options.clock.now(), type: 'Int64', value: this.#bdSeq }
  }

  #command(topic: string, bytes: Uint8Array): void {
    const parsed = parseTopic(topic)
    const key = parsed?.device?.replace(':', '/')
    const born = key === undefined ? undefined : this.#born.get(key)
    const nameOf = ({ name, alias }: Metric) => name ?? [...(born?.aliases ?? [])].find(([, one]) => one === alias)?.[0]
    const definitionOf = (property: string | undefined) => born?.state.properties.get(property ?? '')?.definition
    let metrics: readonly Metric[]
    try {
      metrics = decodePayload(bytes, (metric) => TYPES[definitionOf(nameOf(metric))?.type ?? '']).metrics
    } catch {
      return
    }
    if (parsed?.kind === 'NCMD') {
      const asked = this.#alive && metrics.some(({ name, value }) => name === REBIRTH && value === true)
      if (asked && this.#rebirths.take()) this.#birth()
      return
    }
    if (key === undefined || born === undefined) return
    for (const metric of metrics) {
      const { value } = metric
      const property = nameOf(metric)
      if (property === undefined || value === undefined) continue
      const type = definitionOf(property)?.type
      const structured = (type === 'object' || type === 'array') && typeof value === 'string'
      try {
        this.#options.desire(key, property, structured ? (JSON.parse(value as string) as Json) : value)
      } catch {
        // Sparkplug has no answer to a command: the host sees that the value stays.
      }
    }
  }
}

/** What a birth says of a device, apart from its values. */
const signatureOf = (device: DeviceState): string =>
  (device.model?.properties ?? []).map(({ name, type }) => `${name} ${type}`).join('\n')

/** A value that is not good is null, so that a host that knows no quality does not take it for the present one. */
function valueMetric({ twin, definition }: PropertyState, nowMs: number): Metric {
  const { known, reported } = twin
  const structured = definition!.type === 'object' || definition!.type === 'array'
  const type = TYPES[definition!.type] ?? 'String'
  const timestampMs = (reported ?? known)?.atMs ?? nowMs
  const failed = reported === undefined || reported.quality.startsWith('bad(') || reported.quality === 'stale'
  const value = failed ? undefined : known?.value
  const isBad = reported?.quality.startsWith('bad(') === true
  return {
    type,
    timestampMs,
    ...(failed ? { quality: isBad ? QUALITY.bad : QUALITY.stale } : {}),
    ...(value === undefined ? {} : { value: structured ? JSON.stringify(value) : value }),
  }
}
