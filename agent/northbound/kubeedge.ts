import { randomUUID } from 'node:crypto'
import type { Clock } from '../../api/clock.ts'
import { toSluiceError } from '../../api/errors.ts'
import { type Json, type ObjectKey, splitKey } from '../../api/resources.ts'
import { sameValue, type Twin } from '../../api/twin/twin.ts'
import {
  EVENT_PREFIX,
  fromText,
  MAX_PROPERTIES,
  type MessageTwin,
  type RequestBody,
  requestBody,
  textOf,
  typeName,
  valueIn,
} from '../../mappers/sdk/kubeedge-message.ts'
import type { GatewayBroker } from '../broker/gateway-broker.ts'
import type { DeviceState } from '../twin/device-state.ts'
import { deviceState } from '../twin/views.ts'
import { bytesOf } from './payloads.ts'

type ShownTwins = Map<string, MessageTwin>

/** A device as a topic names it. */
interface Addressed {
  readonly id: string
  readonly device: DeviceState | undefined
}

export interface KubeEdgeOptions {
  readonly core: { readonly devices: ReadonlyMap<string, DeviceState> }
  readonly broker: GatewayBroker
  readonly clock: Clock
  readonly gateway: string
  readonly desire: (key: ObjectKey, property: string, value: Json) => void
}

/**
 * KubeEdge's event bus topics with its payloads, so that programs written for them find the same twins here. A device is
 * `<namespace>/<name>` (v1.15 and later), or its name alone where only one device of this gateway has it (before).
 *
 *     $hw/events/device/<id>/twin/get             twin/get/result
 *     $hw/events/device/<id>/twin/update          twin/update/result: sets expected values; actual ones of `custom` devices
 *     $hw/events/device/<id>/twin/update/delta    what is expected and not there yet; twin/update/document: what changed
 *     $hw/events/device/<id>/state/get            state/get/result
 *     $hw/events/device/<id>/state/update         state/update/result, of `custom` devices
 *     $hw/events/node/<gateway>/membership/get    membership/get/result; membership/updated when devices come or go
 */
export class KubeEdgeTopics implements Disposable {
  readonly #options: KubeEdgeOptions
  readonly #subscriptions: Disposable[]
  /** Twins as the last document or delta showed them, for devices that anybody listens to. */
  readonly #shown = new Map<DeviceState, ShownTwins>()
  readonly #changed = new Set<DeviceState>()
  /** Devices as `membership/updated` told them last. */
  #members: ReadonlyMap<ObjectKey, DeviceState>

  constructor(options: KubeEdgeOptions) {
    this.#options = options
    const { local } = options.broker
    const on = (verb: string, act: (device: Addressed, body: RequestBody) => void) =>
      ['+/+', '+'].map((id) =>
        local.subscribe(`${EVENT_PREFIX}/${id}/${verb}`, (topic, payload, retained) => {
          if (!retained) act(this.#addressed(topic.split('/').slice(3, -2).join('/')), requestBody(payload))
        }),
      )
    const members = `$hw/events/node/${options.gateway}/membership/get`
    this.#members = new Map(options.core.devices)
    this.#subscriptions = [
      ...on('twin/get', (device, body) => this.#get(device, body)),
      ...on('twin/update', (device, body) => this.#update(device, body)),
      ...on('state/get', (device, body) => this.#state(device, 'get', body)),
      ...on('state/update', (device, body) => this.#state(device, 'update', body)),
      local.subscribe(members, (_topic, payload) => this.#membership(requestBody(payload))),
    ]
  }

  reported(device: DeviceState, _property: string): void {
    this.#changed.add(device)
  }

  /** Says what changed since the last time, at most once a second a device, where anybody may be listening. */
  tick(): void {
    const { core } = this.#options
    this.#sayMembers()
    for (const device of this.#shown.keys()) if (core.devices.get(device.key) !== device) this.#shown.delete(device)
    for (const device of core.devices.values()) {
      const deltas = this.#wanted(device, 'twin/update/delta')
      const documents = this.#wanted(device, 'twin/update/document')
      if (deltas.length + documents.length === 0) continue
      const before = this.#shown.get(device)
      const desires = [...device.properties.values()].some(
        ({ name, twin }) =>
          twin.desired !== undefined && before?.get(name)?.expected?.metadata.timestamp !== twin.desired.atMs,
      )
      if (before !== undefined && !this.#changed.has(device) && !desires) continue
      const now = twinsOf(device)
      this.#shown.set(device, now)
      this.#sayDocument(documents, before, now)
      // The program that serves a custom device has its delta with the write already.
      if (desires && !isCustom(device)) this.#sayDelta(deltas, device, before, now)
    }
    this.#changed.clear()
  }

  [Symbol.dispose](): void {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]()
  }

  /** The device that an id means: its key, or a name that only one device has. */
  #addressed(id: string): Addressed {
    const { devices } = this.#options.core
    return { id, device: id.includes('/') ? devices.get(id) : onlyNamed(devices.values(), id) }
  }

  /** Topics of this device that somebody listens to, by its key and by its name. */
  #wanted(device: DeviceState, verb: string): readonly string[] {
    const { broker, core } = this.#options
    const byKey = `${EVENT_PREFIX}/${device.key}/${verb}`
    const { name } = splitKey(device.key)
    const byName = `${EVENT_PREFIX}/${name}/${verb}`
    const topics = broker.wants(byKey) ? [byKey] : []
    if (broker.wants(byName) && onlyNamed(core.devices.values(), name) === device) topics.push(byName)
    return topics
  }

  #sayMembers(): void {
    const { core, gateway, broker } = this.#options
    const before = this.#members
    const added = [...core.devices].filter(([key, device]) => before.get(key) !== device)
    const removed = [...before].filter(([key, device]) => core.devices.get(key) !== device)
    if (added.length + removed.length === 0) return
    this.#members = new Map(core.devices)
    const topic = `$hw/events/node/${gateway}/membership/updated`
    if (!broker.wants(topic)) return
    this.#publish([topic], {
      added_devices: added.map(([, device]) => ({ ...memberOf(device), twin: Object.fromEntries(twinsOf(device)) })),
      removed_devices: removed.map(([, device]) => memberOf(device)),
    })
  }

  #sayDocument(topics: readonly string[], before: ShownTwins | undefined, now: ShownTwins): void {
    const changes = [...now].filter(([name, twin]) => JSON.stringify(before?.get(name)) !== JSON.stringify(twin))
    if (changes.length === 0) return
    const twin = Object.fromEntries(
      changes.map(([name, current]) => [name, { last: before?.get(name) ?? null, current }]),
    )
    this.#publish(topics, { twin })
  }

  #sayDelta(topics: readonly string[], device: DeviceState, before: ShownTwins | undefined, now: ShownTwins): void {
    const delta: Record<string, string> = {}
    for (const [name, { expected }] of now) {
      const { twin } = device.properties.get(name)!
      const isNew = before?.get(name)?.expected?.metadata.timestamp !== expected?.metadata.timestamp
      if (expected !== undefined && isNew && !sameValue(twin.desired?.value, twin.known?.value)) {
        delta[name] = expected.value
      }
    }
    const expected = [...now].filter(([, twin]) => twin.expected !== undefined)
    if (Object.keys(delta).length > 0) this.#publish(topics, { twin: Object.fromEntries(expected), delta })
  }

  #get({ id, device }: Addressed, { event_id }: RequestBody): void {
    const answer = device === undefined ? noDevice(id) : { twin: Object.fromEntries(twinsOf(device)) }
    this.#publish([`${EVENT_PREFIX}/${id}/twin/get/result`], { event_id, ...answer })
  }

  #update({ id, device }: Addressed, { event_id, twin }: RequestBody): void {
    const answer = device === undefined ? noDevice(id) : this.#updated(device, twin)
    this.#publish([`${EVENT_PREFIX}/${id}/twin/update/result`], { event_id, ...answer })
  }

  #updated(device: DeviceState, twin: RequestBody['twin']): object {
    const wanted = wantedOf(device, twin)
    if (typeof wanted === 'string') return refusal(400, wanted)
    try {
      for (const [name, value] of wanted) this.#options.desire(device.key, name, value)
    } catch (error) {
      const { code, message } = toSluiceError(error)
      return refusal(code.endsWith('UNKNOWN') ? 404 : 400, message)
    }
    const all = twinsOf(device)
    return { twin: Object.fromEntries(Object.keys(twin).map((name) => [name, all.get(name)])) }
  }

  #state({ id, device }: Addressed, verb: 'get' | 'update', { event_id, state }: RequestBody): void {
    const answer = device === undefined ? noDevice(id) : stateAnswer(device, verb === 'get' ? undefined : String(state))
    this.#publish([`${EVENT_PREFIX}/${id}/state/${verb}/result`], { event_id, ...answer })
  }

  #membership({ event_id }: RequestBody): void {
    const { core, gateway } = this.#options
    const devices = [...core.devices.values()].map(memberOf)
    this.#publish([`$hw/events/node/${gateway}/membership/get/result`], { event_id, devices })
  }

  #publish(topics: readonly string[], message: Readonly<Record<string, unknown>>): void {
    const { broker, clock } = this.#options
    const body = bytesOf({ event_id: randomUUID(), timestamp: clock.now(), ...message })
    for (const topic of topics) broker.local.publish(topic, body, { qos: 0 })
  }
}

const STATES: ReadonlySet<string> = new Set(['online', 'offline', 'unknown'])

const refusal = (code: 400 | 404, reason: string) => ({ code, reason })

const noDevice = (id: string) => refusal(404, `there is no device ${id.slice(0, 256)}`)

/** `told`: what a program says, which counts where it serves the device. */
function stateAnswer(device: DeviceState, told: string | undefined): object {
  if (told !== undefined && !isCustom(device)) {
    return refusal(400, 'the mapper on this gateway knows whether it can be reached')
  }
  if (told !== undefined && !STATES.has(told)) return refusal(400, `state is one of ${[...STATES].join(', ')}`)
  const { name, state, last_online } = memberOf(device)
  return { device: { name, state: told ?? state, last_online } }
}

/** Whether a program of the user's own serves it, and so may say what its values are. */
const isCustom = ({ spec }: DeviceState): boolean => spec.custom !== undefined

function onlyNamed(devices: Iterable<DeviceState>, name: string): DeviceState | undefined {
  let found: DeviceState | undefined
  for (const device of devices) {
    if (splitKey(device.key).name !== name) continue
    if (found !== undefined) return undefined
    found = device
  }
  return found
}

/** The expected values of an update, or what is wrong with it. */
function wantedOf(device: DeviceState, twin: RequestBody['twin']): (readonly [string, Json])[] | string {
  const entries = Object.entries(twin)
  if (entries.length === 0) return `the message has no twin with at most ${MAX_PROPERTIES} properties`
  const values: (readonly [string, Json])[] = []
  for (const [name, entry] of entries) {
    const definition = device.properties.get(name)?.definition
    const expected = valueIn(entry, 'expected')
    const actual = valueIn(entry, 'actual')
    if (actual !== undefined && !isCustom(device)) {
      return `${name}: the mapper on this gateway reports the actual value, only expected ones are taken`
    }
    if (expected === undefined && actual === undefined)
      return `${name}: there is neither an expected nor an actual value`
    if (definition === undefined) return `${name}: the model has no such property`
    if (expected !== undefined) values.push([name, fromText(expected.value, definition)])
  }
  return values
}

function twinsOf(device: DeviceState): ShownTwins {
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
        }),
    ...(known?.value === undefined
      ? {}
      : { actual: { value: textOf(known.value), metadata: { timestamp: known.atMs } } }),
    optional: true,
    metadata: { type: typeName(type) },
  }
}

function memberOf(device: DeviceState) {
  const { name } = splitKey(device.key)
  const known = deviceState(device)
  const state = known === 'online' || known === 'offline' ? known : 'unknown'
  const { lastSeenMs } = device
  return { id: device.key, name, state, ...(lastSeenMs === undefined ? {} : { last_online: secondsText(lastSeenMs) }) }
}

/** As KubeEdge writes it: `2026-01-31 08:15:30`, in UTC here. */
const secondsText = (atMs: number): string => new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')
