import type { Timer } from '../../../api/clock.ts'
import type { DeviceModelSpec, Json, ModelProperty } from '../../../api/resources.ts'
import type { GatewayHost, Sighting } from '../../sdk/mapper.ts'
import type { MqttModel } from '../schema.ts'
import type { MqttSession } from '../session.ts'
import { type Config, expand, isRecord, propertyOf, textIn } from './entity.ts'

/** `<prefix>/<component>/[<node>/]<object>/config`, and `<prefix>/device/<object>/config` for a whole device. */
const FILTERS = ['homeassistant/+/+/config', 'homeassistant/+/+/+/config']
const MAX_PAYLOAD_BYTES = 64 * 1024
const MAX_DEVICES = 256
const MAX_PROPERTIES = 128
/** Entities of a device come one by one; it is told when no more came for this long. */
const SETTLE_MS = 1000

interface Found {
  readonly id: string
  readonly entities: Map<string, ModelProperty>
  readonly skipped: Map<string, string>
  name: string | undefined
  facts: Record<string, string>
  availability: MqttModel['availability']
}

export interface DiscoveryBroker {
  readonly config: { readonly name: string; readonly local: boolean }
  readonly session: MqttSession
  serves(topic: string): boolean
}

/** Devices that announce themselves to Home Assistant, with a model built from what they announce. */
export function listenForHomeAssistant(broker: DiscoveryBroker, host: GatewayHost): Disposable {
  const devices = new Map<string, Found>()
  const changed = new Set<Found>()
  let timer: Timer | undefined
  const tell = () => {
    timer = undefined
    const sightings = [...changed]
      .filter((found) => !isServed(found, broker))
      .map((found) => sightingOf(found, broker, host))
    changed.clear()
    if (sightings.length > 0) host.sighted(sightings)
  }
  const onMessage = (topic: string, payload: Uint8Array) => {
    if (payload.length > MAX_PAYLOAD_BYTES) return
    const found = takeMessage(devices, topic, payload)
    if (found === undefined) return
    changed.add(found)
    timer ??= host.clock.after(SETTLE_MS, tell, true)
  }
  const subscriptions = FILTERS.map((filter) => broker.session.subscribe(filter, 0, onMessage))
  return {
    [Symbol.dispose]: () => {
      timer?.cancel()
      for (const subscription of subscriptions) subscription[Symbol.dispose]()
    },
  }
}

function takeMessage(devices: Map<string, Found>, topic: string, payload: Uint8Array): Found | undefined {
  const [, component = '', ...rest] = topic.split('/')
  const object = rest.slice(0, -1).join('/')
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(payload).toString())
  } catch {
    return undefined
  }
  if (!isRecord(parsed)) return undefined
  const config = expand(parsed)
  const device = isRecord(config['device']) ? config['device'] : {}
  const id = identifierOf(device) ?? object
  let found = devices.get(id)
  if (found === undefined) {
    if (devices.size >= MAX_DEVICES) return undefined
    found = { id, entities: new Map(), skipped: new Map(), name: undefined, facts: {}, availability: undefined }
    devices.set(id, found)
  }
  describe(found, device)
  found.availability ??= availabilityOf(config)
  if (component === 'device') {
    const components = isRecord(config['components']) ? config['components'] : {}
    for (const [key, entity] of Object.entries(components)) {
      if (!isRecord(entity)) continue
      const own = expand(entity, textIn(parsed, '~'))
      addEntity(found, textIn(own, 'platform') ?? '', key, { ...sharedOf(config), ...own })
    }
  } else addEntity(found, component, object, config)
  return found
}

/** What a message about a whole device says for all its components. */
const sharedOf = (config: Config): Config => {
  const stateTopic = textIn(config, 'state_topic')
  return stateTopic === undefined ? {} : { state_topic: stateTopic }
}

function addEntity(found: Found, component: string, object: string, config: Config): void {
  if (found.entities.size >= MAX_PROPERTIES && !found.entities.has(object)) return
  const taken = new Set([...found.entities].filter(([key]) => key !== object).map(([, { name }]) => name))
  const wish = textIn(config, 'object_id') ?? textIn(config, 'name') ?? textIn(config, 'unique_id') ?? object
  const name = freeName(wish, taken)
  const property = propertyOf(component, name, config)
  if (typeof property === 'string') found.skipped.set(object, property)
  else found.entities.set(object, property)
}

function freeName(wish: string, taken: ReadonlySet<string>): string {
  const words = wish.replaceAll(/[^a-zA-Z0-9]+/g, '_').replaceAll(/^[^a-zA-Z]+|_+$/g, '')
  const plain = (words === '' ? 'value' : words).slice(0, 56)
  if (!taken.has(plain)) return plain
  for (let n = 2; ; n++) if (!taken.has(`${plain}_${n}`)) return `${plain}_${n}`
}

function identifierOf(device: Config): string | undefined {
  const identifiers = device['identifiers']
  const first = Array.isArray(identifiers) ? identifiers[0] : identifiers
  return typeof first === 'string' && first !== '' && first.length <= 128 ? first : undefined
}

function describe(found: Found, device: Config): void {
  found.name ??= textIn(device, 'name')
  for (const [fact, key] of [
    ['vendor', 'manufacturer'],
    ['model', 'model'],
    ['firmware', 'sw_version'],
  ] as const) {
    const text = textIn(device, key)
    if (text !== undefined) found.facts[fact] = text.slice(0, 128)
  }
}

function availabilityOf(config: Config): MqttModel['availability'] {
  const list = Array.isArray(config['availability']) ? config['availability'] : [config['availability'] ?? null]
  const single = textIn(config, 'availability_topic')
  const rules = [
    ...(single === undefined ? [] : [{ ...config, topic: single }]),
    ...list.filter(isRecord).map((one) => expand(one)),
  ]
  const known = rules.flatMap((rule: Config) => {
    const topic = textIn(rule, 'topic')
    if (topic === undefined || textIn(rule, 'value_template') !== undefined) return []
    const online = textIn(rule, 'payload_available') ?? 'online'
    const offline = textIn(rule, 'payload_not_available') ?? 'offline'
    return [{ topic, online: [online], offline: [offline] }]
  })
  return known.length === 0 ? undefined : known.slice(0, 4)
}

const isServed = (found: Found, broker: DiscoveryBroker): boolean =>
  [...found.entities.values()].some((property) => {
    const topic = (property['mqtt'] as { readonly topic?: string }).topic
    return topic !== undefined && broker.serves(topic)
  })

/** The model that a person may take as it is. */
export function modelFrom(found: Pick<Found, 'entities' | 'facts' | 'availability' | 'name'>): DeviceModelSpec {
  const { vendor, model } = found.facts
  return {
    ...(vendor === undefined ? {} : { vendor }),
    description: [model ?? found.name ?? 'MQTT device', 'built from its Home Assistant discovery messages'].join(', '),
    properties: [...found.entities.values()],
    ...(found.availability === undefined ? {} : { mqtt: { availability: found.availability } }),
  }
}

function sightingOf(found: Found, broker: DiscoveryBroker, host: GatewayHost): Sighting {
  const address: { [key: string]: Json } = broker.config.local ? {} : { broker: broker.config.name }
  const slug = (found.facts['model'] ?? found.name ?? found.id).toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
  const skipped = [...found.skipped].slice(0, 5).map(([object, why]) => `${object}: ${why}`)
  return {
    id: found.id,
    address,
    ...(found.name === undefined ? {} : { name: found.name }),
    candidates:
      found.entities.size === 0
        ? []
        : [
            {
              model: slug.replaceAll(/^-+|-+$/g, '').slice(0, 63) || 'mqtt-device',
              score: 0.9,
              why: `built from ${found.entities.size} Home Assistant discovery messages; the model is in facts.modelSpec`,
            },
          ],
    facts: {
      ...found.facts,
      ...(skipped.length === 0 ? {} : { skipped: skipped.join('; ') }),
      modelSpec: JSON.stringify(modelFrom(found)),
    },
    atMs: host.clock.now(),
  }
}
