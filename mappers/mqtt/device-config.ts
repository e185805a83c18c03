import { SluiceError } from '../../api/errors.ts'
import { type DeviceSpec, type Json, type ObjectKey, splitKey } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import type { DeviceBinding } from '../sdk/mapper.ts'
import { parsePath } from './path.ts'
import { compilePoint, modelOf, type Place, type Point } from './point.ts'
import type { MqttAddress, MqttModel } from './schema.ts'
import { fillTopic, Names } from './template.ts'

/** Which broker, and as whom. Devices with the same `id` share one connection. */
export interface BrokerConfig {
  readonly id: string
  /** For people: `mqtt://host:1883` or `local`. */
  readonly name: string
  readonly local: boolean
  readonly username: string | undefined
  readonly passwordFile: string | undefined
  readonly clientId: string | undefined
  readonly tls: MqttAddress['tls']
  /** The Sparkplug host application that this connection says it is. */
  readonly host: string | undefined
}

export interface Availability {
  readonly topic: string
  readonly place: Place
  readonly online: readonly Json[]
  readonly offline: readonly Json[]
}

export interface Request {
  readonly topic: string
  readonly payload: string
  readonly everyMs: number | undefined
}

export interface DeviceConfig {
  readonly key: ObjectKey
  readonly revision: string
  readonly broker: BrokerConfig
  readonly qos: 0 | 1
  readonly points: readonly Point[]
  readonly availability: readonly Availability[]
  readonly requests: readonly Request[]
  readonly sparkplug: MqttAddress['sparkplug']
}

/** Nothing is asked for more often than this. */
const MIN_REQUEST_MS = 100

export const addressOf = (device: DeviceSpec): MqttAddress | undefined => device['mqtt'] as MqttAddress | undefined

/** @throws SluiceError `SLUICE_MQTT_BINDING` when the device cannot be served as it is written. */
export function compileDevice(binding: DeviceBinding): DeviceConfig {
  const address = addressOf(binding.device)
  if (address === undefined) {
    throw new SluiceError('SLUICE_MQTT_BINDING', `device ${binding.key} has no mqtt address`, {
      hint: 'Give mqtt: {base: ...}, and broker: mqtt://host:1883 where it is not the gateway itself.',
      field: 'spec.mqtt',
    })
  }
  const model = modelOf(binding.model)
  const names = namesOf(binding.key, address)
  const points: Point[] = []
  for (const property of binding.model.properties) {
    const point = compilePoint(property, model, names)
    if (point !== undefined) points.push(point)
  }
  return {
    key: binding.key,
    revision: binding.revision,
    broker: brokerOf(address),
    qos: (address.qos ?? model.qos ?? 1) === 0 ? 0 : 1,
    points,
    availability: availabilityOf(model, names),
    requests: (model.requests ?? []).map(({ topic, payload = '', every }) => ({
      topic: fillTopic(topic, names, false),
      payload: names.fill(payload),
      everyMs: every === undefined ? undefined : Math.max(MIN_REQUEST_MS, durationMs(every)),
    })),
    sparkplug: address.sparkplug,
  }
}

export function namesOf(key: ObjectKey, address: MqttAddress): Names {
  const { name } = splitKey(key)
  return new Names({
    base: address.base ?? name,
    device: address.device ?? name,
    client: address.client ?? 'sluice',
    name,
  })
}

function brokerOf(address: MqttAddress): BrokerConfig {
  const { broker = 'local', username, passwordFile, clientId, tls, sparkplug } = address
  const name = broker.replace(/\/$/, '')
  return {
    id: JSON.stringify([name, username, passwordFile, clientId, tls, sparkplug?.host]),
    name,
    local: name === 'local',
    username,
    passwordFile,
    clientId,
    tls,
    host: sparkplug?.host,
  }
}

function availabilityOf(model: MqttModel, names: Names): Availability[] {
  return (model.availability ?? []).map(({ topic, as, path, online, offline }) => {
    const steps = parsePath(path ?? '')
    if (steps === undefined) {
      throw new SluiceError('SLUICE_MQTT_BINDING', `availability: '${path}' is no path into a payload`, {
        hint: 'Write a JSON pointer such as /state or a dotted path such as state.',
      })
    }
    const format = as ?? (path === undefined ? 'text' : 'json')
    return { topic: fillTopic(topic, names, true), place: { format, path: steps, wire: 'uint' }, online, offline }
  })
}
