import { SluiceError } from '../../api/errors.ts'
import type { Json, ModelProperty } from '../../api/resources.ts'
import { checkDesired, compileLinear, compileRounding, shortestFloat32, type WriteProblem } from '../sdk/convert.ts'
import { Unusable } from '../sdk/no-value.ts'
import { bytesOf, readRaw, sizeOf } from './layout.ts'
import type { Uplink } from './network.ts'
import type { LoraModel, LoraProperty, RadioFact } from './schema.ts'

/** What goes to the device for one desired value. */
export type EncodedDownlink =
  | { readonly kind: 'bytes'; readonly port: number; readonly payload: Uint8Array }
  /** For the model's encoder. */
  | { readonly kind: 'data'; readonly port: number | undefined; readonly data: Json }

/** One property with everything about its place and form worked out once. */
export interface Point {
  readonly name: string
  readonly property: ModelProperty
  readonly source: 'field' | 'layout' | 'radio' | 'none'
  readonly radio: RadioFact | undefined
  /** Undefined: this uplink does not carry it. `decoded` is what a decoder made of the payload. */
  readonly read: (uplink: Uplink, decoded: Json | undefined) => Json | Unusable | undefined
  /** From a raw radio fact to the property's value. */
  readonly fromFact: (fact: number) => Json
  readonly write:
    | {
        readonly encode: (value: Json) => EncodedDownlink | WriteProblem
        readonly confirmed: boolean
        readonly readBack: boolean
        readonly tolerance: number
      }
    | undefined
}

export const bindingOf = (property: ModelProperty): LoraProperty | undefined =>
  property['lora'] as LoraProperty | undefined

export const modelOf = (model: { readonly [protocol: string]: unknown }): LoraModel =>
  (model['lora'] as LoraModel | undefined) ?? {}

/** @throws SluiceError `SLUICE_LORA_BINDING` when the binding cannot be served. */
export function compilePoint(property: ModelProperty, model: LoraModel): Point | undefined {
  const binding = bindingOf(property)
  if (binding === undefined) return undefined
  const finish = compileFinish(property, binding)
  return {
    name: property.name,
    property,
    source:
      binding.radio !== undefined
        ? 'radio'
        : binding.field !== undefined
          ? 'field'
          : binding.at !== undefined
            ? 'layout'
            : 'none',
    radio: binding.radio,
    read: compileRead(property, binding, finish),
    fromFact: (fact) => {
      const value = finish(fact)
      return value instanceof Unusable ? fact : value
    },
    write: compileWrite(property, binding, model),
  }
}

/** `a.b[0].c` as its steps. */
export function parsePath(path: string): readonly (string | number)[] {
  const steps: (string | number)[] = []
  for (const match of path.matchAll(/([^.[\]]+)|\[(\d{1,6})\]/g)) {
    steps.push(match[2] === undefined ? match[1]! : Number(match[2]))
  }
  return steps
}

export function pick(value: Json | undefined, steps: readonly (string | number)[]): Json | undefined {
  let at: Json | undefined = value
  for (const step of steps) {
    if (typeof at !== 'object' || at === null) return undefined
    if (!Object.hasOwn(at, step)) return undefined
    at = (at as { readonly [key: string | number]: Json })[step]
  }
  return at
}

function compileRead(
  property: ModelProperty,
  binding: LoraProperty,
  finish: (raw: number) => Json | Unusable,
): Point['read'] {
  const { port } = binding
  if (binding.field !== undefined) {
    const steps = parsePath(binding.field)
    return (uplink, decoded) => {
      if (port !== undefined && uplink.port !== port) return undefined
      const value = pick(decoded, steps)
      return value === undefined || value === null ? undefined : fromField(property, binding, value, finish)
    }
  }
  if (binding.at === undefined) return () => undefined
  const { at } = binding
  const as = binding.as ?? 'uint8'
  const size = sizeOf(as, binding.length)
  const little = binding.order === 'little'
  return ({ port: heardAt, payload }) => {
    if (heardAt === undefined || (port !== undefined && heardAt !== port)) return undefined
    const start = at < 0 ? payload.length + at : at
    if (start < 0 || start + size > payload.length) {
      return new Unusable(
        'too-short',
        `the payload has ${payload.length} bytes; ${property.name} needs byte ${start + size - 1}`,
      )
    }
    if (as === 'bytes') return Buffer.from(payload.subarray(start, start + size)).toString('base64')
    if (as === 'string')
      return Buffer.from(payload.subarray(start, start + size))
        .toString('utf8')
        .replace(/\0+$/, '')
    return finish(readRaw(payload, start, as, little))
  }
}

/** Decoders give finished values; a conversion is applied only where the model asks for one. */
function fromField(
  property: ModelProperty,
  binding: LoraProperty,
  value: Json,
  finish: (raw: number) => Json | Unusable,
): Json | Unusable {
  if (binding.map !== undefined) {
    return binding.map[String(value)] ?? new Unusable('not-in-map', `${JSON.stringify(value)} has no word in the map`)
  }
  const wrong = () =>
    new Unusable('type', `the decoder gave ${JSON.stringify(value).slice(0, 80)} for ${property.name}`)
  switch (property.type) {
    case 'int':
    case 'float': {
      const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
      if (typeof number === 'boolean') return finish(number ? 1 : 0)
      return typeof number === 'number' && Number.isFinite(number) ? finish(number) : wrong()
    }
    case 'bool':
      if (typeof value === 'number') return finish(value)
      return typeof value === 'boolean' ? value : wrong()
    case 'string':
      return typeof value === 'string' ? value : JSON.stringify(value)
    case 'array':
      return Array.isArray(value) ? value : wrong()
    case 'bytes':
      if (Array.isArray(value) && value.every((byte) => Number.isInteger(byte))) {
        return Buffer.from(value as number[]).toString('base64')
      }
      return typeof value === 'string' ? value : wrong()
    default:
      return typeof value === 'object' ? value : wrong()
  }
}

function compileFinish(property: ModelProperty, binding: LoraProperty): (raw: number) => Json | Unusable {
  const field = binding.bit === undefined ? binding.bits : { first: binding.bit, count: 1 }
  const linear = compileLinear(binding.scale, binding.offset)
  const round = compileRounding(property.precision)
  const single = binding.as === 'float32' && property.precision === undefined
  const { absent, map } = binding
  const { type } = property
  return (raw) => {
    if (absent?.includes(raw) === true) return new Unusable('not-available', 'the device says that it has no value')
    if (!Number.isFinite(raw)) return new Unusable('not-a-number', 'the device sent NaN or infinity')
    let value =
      field === undefined ? raw : Math.floor((raw < 0 ? raw + 2 ** 32 : raw) / 2 ** field.first) % 2 ** field.count
    if (map !== undefined)
      return map[String(value)] ?? new Unusable('not-in-map', `raw value ${value} has no word in the map`)
    if (single) value = shortestFloat32(value)
    if (linear !== undefined) value = linear.toValue(value)
    if (round !== undefined) value = round(value)
    if (type === 'bool') return value !== 0
    if (type === 'int') return Math.round(value)
    return type === 'string' ? String(value) : value
  }
}

function compileWrite(property: ModelProperty, binding: LoraProperty, model: LoraModel): Point['write'] {
  const { downlink } = binding
  if (downlink === undefined || (property.access ?? 'read') === 'read') return undefined
  const common = {
    confirmed: downlink.confirmed ?? model.confirmed ?? true,
    readBack: downlink.readBack === true && property.write?.readBack !== 'never',
    tolerance: property.write?.tolerance ?? Math.max((property.precision ?? 0) / 2, Math.abs(binding.scale ?? 0) / 2),
  }
  const port = downlink.port ?? model.port
  if (downlink.field !== undefined) {
    const steps = parsePath(downlink.field)
    if (model.decoder === undefined) {
      throw new SluiceError(
        'SLUICE_LORA_BINDING',
        `${property.name} is written by an encoder, and the model has none`,
        {
          hint: 'Give lora.decoder with encodeDownlink in the model, or a byte layout (as) in the downlink.',
          field: `properties.${property.name}.lora.downlink.field`,
        },
      )
    }
    return {
      ...common,
      encode: (value) => checkDesired(property, value) ?? { kind: 'data', port, data: nest(steps, value) },
    }
  }
  const prefix = Buffer.from(downlink.prefix ?? '', 'hex')
  const suffix = Buffer.from(downlink.suffix ?? '', 'hex')
  const as = downlink.as ?? 'uint8'
  const little = (downlink.order ?? binding.order) === 'little'
  const linear = compileLinear(binding.scale, binding.offset)
  const raws =
    binding.map === undefined ? undefined : new Map(Object.entries(binding.map).map(([raw, word]) => [word, raw]))
  return {
    ...common,
    encode: (value) => {
      const problem = checkDesired(property, value)
      if (problem !== undefined) return problem
      const mapped = raws === undefined ? value : raws.get(String(value))
      if (mapped === undefined)
        return { code: 'SLUICE_VALUE_ENUM', reason: `${property.name} has no raw value for ${JSON.stringify(value)}` }
      const raw = raws === undefined ? mapped : Number(mapped)
      const bytes = bytesOf(as, typeof raw === 'number' && linear !== undefined ? linear.toRaw(raw) : raw, little)
      if (typeof bytes === 'string') return { code: 'SLUICE_VALUE_RANGE', reason: `${property.name}: ${bytes}` }
      return { kind: 'bytes', port: port ?? 1, payload: Buffer.concat([prefix, bytes, suffix]) }
    },
  }
}

function nest(steps: readonly (string | number)[], value: Json): Json {
  let out: Json = value
  for (const step of [...steps].reverse()) out = typeof step === 'number' ? [out] : { [step]: out }
  return out
}
