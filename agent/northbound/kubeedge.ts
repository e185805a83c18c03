import { randomUUID } from 'node:crypto'
import type { Clock } from '../../api/clock.ts'
import { toSluiceError } from '../../api/errors.ts'
import type { Json, ObjectKey } from '../../api/resources.ts'
import { splitKey } from '../../api/resources.ts'
import { sameValue, type Twin } from '../../api/twin/twin.ts'
import type { GatewayBroker } from '../broker/gateway-broker.ts'
import type { DeviceState, PropertyState } from '../twin/device-state.ts'
import { deviceState } from '../twin/views.ts'
import { bytesOf } from './payloads.ts'

export interface KubeEdgeOptions {
  readonly core: { readonly devices: ReadonlyMap<string, DeviceState> }
  readonly broker: GatewayBroker
  readonly clock: Clock
  readonly gateway: string
  readonly desire: (key: ObjectKey, property: string, value: Json) => void
}

/** One twin as KubeEdge's event bus writes it; values are texts there. */
interface MessageTwin {
  readonly expected?: { readonly value: string; readonly metadata: { readonly timestamp: number } }
  readonly actual?: { readonly value: string; readonly metadata: { readonly timestamp: number } }
  readonly optional: boolean
  readonly metadata: { readonly type: string }
  readonly expected_version?: { readonly cloud: number; readonly edge: number }
}

const PREFIX = '$hw/events/device'

/**
 * KubeEdge's event bus topics (`$hw/events/device/<namespace>/<name>/...`, as of v1.15 with the namespace) with its
 * payloads, so that programs written for them find the same twins here: `twin/get`, `twin/update` of expected values,
 * `state/get`, `membership/get`, and what the edge says by itself: `twin/update/delta` and `twin/update/document`.
 */
export class KubeEdgeTopics implements Disposable {
  readonly #options: KubeEdgeOptions
  readonly #subscriptions: Disposable[]
  /** Twins as the last document or delta showed them, for devices that anybody listens to. */
  readonly #shown = new Map<DeviceState, Map<string, MessageTwin>>()
  readonly #changed = new Set<DeviceState>()

  constructor(options: KubeEdgeOptions) {
    this.#options = options
    const { local } = options.broker
    const on = (filter: string, act: (levels: readonly string[], body: Body) => void) =>
      local.subscribe(filter, (topic, payload, retained) => {
        if (!retained) act(topic.split('/'), bodyOf(payload))
      })
    this.#subscriptions = [
      on(`${PREFIX}/+/+/twin/get`, ([, , , namespace, name], body) => this.#get(`${namespace}/${name}`, body)),
      on(`${PREFIX}/+/+/twin/update`, ([, , , namespace, name], body) => this.#update(`${namespace}/${name}`, body)),
      on(`${PREFIX}/+/+/state/get`, ([, , , namespace, name], body) => this.#state(`${namespace}/${name}`, body)),
      on(`$hw/events/node/${options.gateway}/membership/get`, (_levels, body) => this.#membership(body)),
    ]
  }

  reported(device: DeviceState, _property: string): void {
    this.#changed.add(device)
  }

  /** Says what changed since the last time, at most once a second a device, where anybody may be listening. */
  tick(): void {
    const { core, broker } = this.#options
    for (const device of this.#shown.keys()) if (core.devices.get(device.key) !== device) this.#shown.delete(device)
    for (const device of core.devices.values()) {
      const delta = `${PREFIX}/${device.key}/twin/update/delta`
      const document = `${PREFIX}/${device.key}/twin/update/document`
      if (!broker.wants(delta) && !broker.wants(document)) continue
      const before = this.#shown.get(device)
      const desires = [...device.properties.values()].some(
        ({ name, twin }) =>
          twin.desired !== undefined && before?.get(name)?.expected?.metadata.timestamp !== twin.desired.atMs,
      )
      if (before !== undefined && !this.#changed.has(device) && !desires) continue
      const now = twinsOf(device)
      this.#shown.set(device, now)
      this.#sayDocument(document, before, now)
      if (desires) this.#sayDelta(delta, device, before, now)
    }
    this.#changed.clear()
  }

  [Symbol.dispose](): void {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]()
  }

  #sayDocument(topic: string, before: Map<string, MessageTwin> | undefined, now: Map<string, MessageTwin>): void {
    const changes = [...now].filter(([name, twin]) => JSON.stringify(before?.get(name)) !== JSON.stringify(twin))
    if (changes.length === 0) return
    const twin = Object.fromEntries(
      changes.map(([name, current]) => [name, { last: before?.get(name) ?? null, current }]),
    )
    this.#publish(topic, { twin })
  }

  #sayDelta(
    topic: string,
    device: DeviceState,
    before: Map<string, MessageTwin> | undefined,
    now: Map<string, MessageTwin>,
  ): void {
    const delta: Record<string, string> = {}
    for (const [name, { expected }] of now) {
      const { twin } = device.properties.get(name)!
      const isNew = before?.get(name)?.expected?.metadata.timestamp !== expected?.metadata.timestamp
      if (expected !== undefined && isNew && !sameValue(twin.desired?.value, twin.known?.value)) {
        delta[name] = expected.value
      }
    }
    if (Object.keys(delta).length > 0) this.#publish(topic, { twin: Object.fromEntries(now), delta })
  }

  #get(key: ObjectKey, { event_id }: Body): void {
    const topic = `${PREFIX}/${key}/twin/get/result`
    const device = this.#options.core.devices.get(key)
    if (device === undefined) this.#refuse(topic, event_id, 404, `there is no device ${key}`)
    else this.#publish(topic, { event_id, twin: Object.fromEntries(twinsOf(device)) })
  }

  #update(key: ObjectKey, { event_id, twin }: Body): void {
    const topic = `${PREFIX}/${key}/twin/update/result`
    const device = this.#options.core.devices.get(key)
    const wanted = wantedOf(device, twin)
    if (device === undefined) this.#refuse(topic, event_id, 404, `there is no device ${key}`)
    else if (typeof wanted === 'string') this.#refuse(topic, event_id, 400, wanted)
    else {
      try {
        for (const [name, value] of wanted) this.#options.desire(key, name, value)
      } catch (error) {
        const { code, message } = toSluiceError(error)
        this.#refuse(topic, event_id, code.endsWith('UNKNOWN') ? 404 : 400, message)
        return
      }
      const all = twinsOf(device)
      this.#publish(topic, { event_id, twin: Object.fromEntries(wanted.map(([name]) => [name, all.get(name)])) })
    }
  }

  #state(key: ObjectKey, { event_id }: Body): void {
    const topic = `${PREFIX}/${key}/state/get/result`
    const device = this.#options.core.devices.get(key)
    if (device === undefined) this.#refuse(topic, event_id, 404, `there is no device ${key}`)
    else this.#publish(topic, { event_id, device: memberOf(device) })
  }

  #membership({ event_id }: Body): void {
    const { core, gateway } = this.#options
    const devices = [...core.devices.values()].map(memberOf)
    this.#publish(`$hw/events/node/${gateway}/membership/get/result`, { event_id, devices })
  }

  #refuse(topic: string, event_id: string, code: 400 | 404, reason: string): void {
    this.#publish(topic, { event_id, code, reason })
  }

  #publish(topic: string, message: Readonly<Record<string, unknown>>): void {
    const { broker, clock } = this.#options
    const body = { event_id: randomUUID(), timestamp: clock.now(), ...message }
    broker.local.publish(topic, bytesOf(body), { qos: 0 })
  }
}

interface Body {
  readonly event_id: string
  readonly twin?: unknown
}

const MAX_BODY_BYTES = 256 * 1024

function bodyOf(payload: Uint8Array): Body {
  let parsed: unknown
  try {
    parsed = payload.length > MAX_BODY_BYTES ? undefined : JSON.parse(Buffer.from(payload).toString())
  } catch {
    // Answered as a message without content.
  }
  const body = isRecord(parsed) ? parsed : {}
  const given = body['event_id']
  const event_id = typeof given === 'string' ? given.slice(0, 128) : ''
  return { event_id, twin: body['twin'] }
}

const isRecord = (value: unknown): value is Record<string, Json> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const MAX_WANTED = 256

/** The expected values of an update, or what is wrong with it. */
function wantedOf(device: DeviceState | undefined, twin: unknown): (readonly [string, Json])[] | string {
  const entries = Object.entries(isRecord(twin) ? twin : {})
  if (entries.length === 0 || entries.length > MAX_WANTED) return 'the message has no twin with properties'
  const values: (readonly [string, Json])[] = []
  for (const [name, entry] of entries) {
    const expected = isRecord(entry) && isRecord(entry['expected']) ? entry['expected']['value'] : undefined
    if (expected === undefined) {
      return `${name}: only expected values are taken, the mapper on this gateway reports the actual ones`
    }
    values.push([name, fromText(expected, device?.properties.get(name))])
  }
  return values
}

const textOf = (value: Json): string => (typeof value === 'string' ? value : JSON.stringify(value))

/** KubeEdge knows texts only: the property's type says what one means. */
function fromText(value: Json, property: PropertyState | undefined): Json {
  const type = property?.definition?.type
  if (typeof value !== 'string' || type === 'string' || type === 'bytes') return value
  try {
    return JSON.parse(value) as Json
  } catch {
    return value
  }
}

const TYPES: Readonly<Record<string, string>> = { bool: 'boolean', object: 'string', array: 'string' }

function twinsOf(device: DeviceState): Map<string, MessageTwin> {
  const twins = new Map<string, MessageTwin>()
  for (const { name, definition, twin } of device.properties.values()) {
    if (definition !== undefined) twins.set(name, messageTwin(twin, definition.type))
  }
  return twins
}

function messageTwin({ desired, known }: Twin, type: string): MessageTwin {
  return {
    ...(desired === undefined
      ? {}
      : {
          expected: { value: textOf(desired.value), metadata: { timestamp: desired.atMs } },
          expected_version: { cloud: desired.version, edge: desired.local ?? 0 },
        }),
    ...(known?.value === undefined
      ? {}
      : { actual: { value: textOf(known.value), metadata: { timestamp: known.atMs } } }),
    optional: true,
    metadata: { type: TYPES[type] ?? type },
  }
}

function memberOf(device: DeviceState) {
  const { name } = splitKey(device.key)
  const state = deviceState(device)
  return { id: device.key, name, state: state === 'online' ? 'online' : state === 'offline' ? 'offline' : 'unknown' }
}
