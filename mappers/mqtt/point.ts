import { SluiceError } from '../../api/errors.ts'
import type { DeviceModelSpec, Json, ModelProperty } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import { sameValue } from '../../api/twin/twin.ts'
import { compileLinear, compileRounding, type Linear, shortestFloat32 } from '../sdk/convert.ts'
import { parsePath, type Step } from './path.ts'
import type { Payload, PayloadProblem } from './payload.ts'
import type { Format, MqttCommand, MqttModel, MqttProperty, Wire } from './schema.ts'
import { fillTopic, type Names } from './template.ts'

/** Where a value is in a payload. */
export interface Place {
  readonly format: Format
  readonly path: readonly Step[]
  readonly wire: Wire
}

/** An answer to wait for after a command. */
export interface ConfirmPlan {
  readonly topic: string
  readonly place: Place
  readonly compares: boolean
  readonly equals: Json | undefined
  readonly id: readonly Step[] | undefined
  readonly error: readonly Step[] | undefined
}

export interface CommandPlan {
  readonly topic: string
  readonly payload: string
  readonly as: 'text' | 'cbor' | 'bytes'
  readonly qos: 0 | 1
  readonly retain: boolean
  readonly timeoutMs: number
  readonly confirm: ConfirmPlan | 'state' | 'none'
}

/** The value of one property in a payload, or what is wrong, or `undefined` when the payload says nothing about it. */
export type Decoded = { readonly value: Json } | { readonly none: string } | { readonly problem: PayloadProblem }

/** A property with all its conversions, compiled once a device. */
export interface Point {
  readonly name: string
  readonly property: ModelProperty
  readonly topic: string | undefined
  readonly metric: string | undefined
  readonly place: Place
  readonly ignoreRetained: boolean
  readonly time: { readonly path: readonly Step[]; readonly unit: 's' | 'ms' | 'iso' } | undefined
  readonly command: CommandPlan | undefined
  decode(payload: Payload): Decoded | undefined
  /** A raw value that is already out of its payload, as Sparkplug's metrics are. */
  convert(raw: Json): Decoded
  /** The value in the device's words. */
  encode(value: Json): Json
}

export const bindingOf = (property: ModelProperty): MqttProperty | undefined =>
  property['mqtt'] as MqttProperty | undefined

export const modelOf = (model: DeviceModelSpec): MqttModel => (model['mqtt'] as MqttModel | undefined) ?? {}

const DEFAULT_TIMEOUT_MS = 10_000

/** @throws SluiceError `SLUICE_MQTT_BINDING` for a path or topic that cannot be used. */
export function compilePoint(property: ModelProperty, model: MqttModel, names: Names): Point | undefined {
  const binding = bindingOf(property)
  if (binding === undefined) return undefined
  const place = placeOf(property.name, binding, formatOf(property, binding))
  const ignoresMissing = (binding.missing ?? model.missing) === 'ignore'
  const convert = compileConversion(property, binding)
  const { topic, metric, time } = binding
  return {
    name: property.name,
    property,
    topic: topic === undefined ? undefined : fillTopic(topic, names, true),
    metric,
    place,
    ignoreRetained: binding.ignoreRetained ?? false,
    time: time === undefined ? undefined : { path: stepsOf(property.name, time.path), unit: time.unit ?? 'ms' },
    command: commandOf(property, binding, names),
    convert,
    encode: compileEncoding(binding),
    decode(payload) {
      const extracted = payload.extract(place.format, place.path, place.wire)
      if ('raw' in extracted) return convert(extracted.raw)
      if (ignoresMissing && extracted.problem.code === 'payload-missing') return undefined
      return extracted
    },
  }
}

export function formatOf(property: ModelProperty, binding: MqttProperty): Format {
  if (binding.as !== undefined) return binding.as
  if (binding.path !== undefined) return 'json'
  if (property.type === 'object' || property.type === 'array') return 'json'
  if (property.type === 'int' || property.type === 'float') return 'number'
  return property.type === 'bool' ? 'bool' : property.type === 'bytes' ? 'bytes' : 'text'
}

function placeOf(name: string, part: { path?: string; wire?: Wire }, format: Format): Place {
  return { format, path: stepsOf(name, part.path ?? ''), wire: part.wire ?? 'uint' }
}

function stepsOf(name: string, path: string): readonly Step[] {
  const steps = parsePath(path)
  if (steps !== undefined) return steps
  throw new SluiceError('SLUICE_MQTT_BINDING', `${name}: '${path}' is no path into a payload`, {
    hint: 'Write a JSON pointer such as /a/b/0 or a dotted path such as a.b[0].',
  })
}

function commandOf(property: ModelProperty, binding: MqttProperty, names: Names): CommandPlan | undefined {
  const { command, topic, metric } = binding
  if (command === undefined) return undefined
  const readable = (topic !== undefined || metric !== undefined) && property.access !== 'write'
  const silent = command.unconfirmed === true || property.write?.readBack === 'never' || !readable
  return {
    topic: fillTopic(command.topic, names, false),
    payload: names.fill(command.payload ?? (command.as === 'cbor' ? '{json}' : '{value}')),
    as: command.as ?? 'text',
    qos: command.qos === 0 ? 0 : 1,
    retain: command.retain ?? false,
    timeoutMs: command.timeout === undefined ? DEFAULT_TIMEOUT_MS : durationMs(command.timeout),
    confirm: command.confirm !== undefined ? confirmOf(property, command.confirm, names) : silent ? 'none' : 'state',
  }
}

function confirmOf(property: ModelProperty, confirm: NonNullable<MqttCommand['confirm']>, names: Names): ConfirmPlan {
  const { path, id, error, equals } = confirm
  const structured = path !== undefined || id !== undefined || error !== undefined
  return {
    topic: fillTopic(confirm.topic, names, true),
    place: placeOf(property.name, confirm, confirm.as ?? (structured ? 'json' : 'text')),
    compares: path !== undefined || equals !== undefined,
    equals,
    id: id === undefined ? undefined : stepsOf(property.name, id),
    error: error === undefined ? undefined : stepsOf(property.name, error),
  }
}

/** How a raw word looks as a key of `map`. */
const keyOf = (raw: Json): string => (typeof raw === 'string' ? raw : JSON.stringify(raw))

function compileConversion(property: ModelProperty, binding: MqttProperty): (raw: Json) => Decoded {
  const { map, notAvailable } = binding
  const linear = compileLinear(binding.scale, binding.offset)
  const round = compileRounding(property.precision)
  const none = new Set((notAvailable ?? []).map(keyOf))
  return (raw) => {
    if (none.has(keyOf(raw))) return { none: `the device says ${keyOf(raw).slice(0, 40)}: it has no value now` }
    if (map !== undefined) {
      const key = keyOf(raw)
      return Object.hasOwn(map, key) ? { value: map[key]! } : wrong(raw, `one of ${Object.keys(map).join(', ')}`)
    }
    return typed(property, raw, linear, round)
  }
}

const TRUE_WORDS = new Set(['true', 'on', '1', 'yes', 'online'])
const FALSE_WORDS = new Set(['false', 'off', '0', 'no', 'offline'])
/** No hexadecimal, no empty text, no spaces: what Number() takes beyond that is no reading. */
const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/

function typed(
  property: ModelProperty,
  raw: Json,
  linear: Linear | undefined,
  round: ((value: number) => number) | undefined,
): Decoded {
  switch (property.type) {
    case 'bool': {
      const word = String(raw).toLowerCase()
      if (typeof raw === 'object') return wrong(raw, 'true or false')
      return TRUE_WORDS.has(word)
        ? { value: true }
        : FALSE_WORDS.has(word)
          ? { value: false }
          : wrong(raw, 'true or false')
    }
    case 'int':
    case 'float': {
      const number =
        typeof raw === 'number' ? raw : typeof raw === 'string' && NUMBER.test(raw) ? Number(raw) : Number.NaN
      if (!Number.isFinite(number)) return wrong(raw, 'a number')
      const scaled = linear === undefined ? shortestFloat32(number) : linear.toValue(number)
      const value = round === undefined ? scaled : round(scaled)
      if (property.type === 'int' && !Number.isInteger(value)) return wrong(raw, 'a whole number')
      return { value }
    }
    case 'string':
    case 'bytes':
      if (typeof raw === 'object') return wrong(raw, 'a text')
      return { value: String(raw) }
    case 'array':
      return Array.isArray(raw) ? { value: raw } : wrong(raw, 'an array')
    case 'object':
      return typeof raw === 'object' && raw !== null && !Array.isArray(raw) ? { value: raw } : wrong(raw, 'an object')
  }
}

const wrong = (raw: Json, wanted: string): Decoded => ({
  problem: { code: 'payload-type', reason: `${(JSON.stringify(raw) ?? '').slice(0, 60)} is not ${wanted}` },
})

function compileEncoding(binding: MqttProperty): (value: Json) => Json {
  const linear = compileLinear(binding.scale, binding.offset)
  const forward = binding.command?.map
  return (value) => {
    const key = keyOf(value)
    if (forward !== undefined && Object.hasOwn(forward, key)) return forward[key]!
    const word = Object.entries(binding.map ?? {}).find(([, mapped]) => sameValue(mapped, value))?.[0]
    if (word !== undefined) return word
    return linear !== undefined && typeof value === 'number' ? linear.toRaw(value) : value
  }
}
