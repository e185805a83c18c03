import { SluiceError } from '../../api/errors.ts'
import type { DeviceSpec, Json, ModelProperty } from '../../api/resources.ts'
import { checkDesired, compileLinear, compileRounding, type WriteProblem } from '../sdk/convert.ts'
import { Unusable } from '../sdk/no-value.ts'
import { pollEveryMs } from '../sdk/poll.ts'
import { applyConverter, type Converter } from './codec/converter.ts'
import { type AdvertFormatName, FORMATS, isKnownField } from './codec/formats.ts'
import { standardOf } from './codec/standard.ts'
import { isUuid, shortUuid } from './codec/uuid.ts'
import { isIntegerType, type Raw, readValue, type ValueFormat, writeValue } from './codec/values.ts'
import type { BleProperty } from './schema.ts'

/** Where a property's bytes come from. */
export type Source =
  | { readonly kind: 'format'; readonly format: AdvertFormatName; readonly field: string }
  | { readonly kind: 'manufacturer'; readonly company: number; readonly startsWith: Uint8Array }
  | { readonly kind: 'serviceData'; readonly uuid: string; readonly startsWith: Uint8Array }
  | {
      readonly kind: 'gatt'
      readonly characteristic: string
      readonly service: string | undefined
      readonly notify: boolean
      readonly write: 'withResponse' | 'withoutResponse' | undefined
    }

export type GattSource = Extract<Source, { kind: 'gatt' }>

/** One property with everything about its place and form worked out once. */
export interface Point {
  readonly name: string
  readonly property: ModelProperty
  readonly source: Source
  readonly everyMs: number
  readonly readable: boolean
  readonly writable: boolean
  readonly readBack: boolean
  readonly tolerance: number
  /** Of raw bytes; for every source but `format`. */
  readonly decode: (data: Uint8Array) => Json | Unusable
  /** Of a field that an advertisement format has decoded already. */
  readonly finish: (field: Json) => Json | Unusable
  readonly encode: (value: Json) => Uint8Array | WriteProblem
}

export const bindingOf = (property: ModelProperty): BleProperty | undefined =>
  property['ble'] as BleProperty | undefined

/** @throws SluiceError `SLUICE_BLE_BINDING` when the binding names what does not exist. */
export function compilePoint(property: ModelProperty, device: Pick<DeviceSpec, 'poll'>): Point | undefined {
  const binding = bindingOf(property)
  if (binding === undefined) return undefined
  const source = sourceOf(property, binding)
  const standard = binding.characteristic === undefined ? undefined : standardOf(nameOrUuid(binding.characteristic))
  const own = binding.as === undefined && binding.converter === undefined ? standard : undefined
  const format: ValueFormat = {
    as: binding.as ?? own?.as ?? 'uint8',
    order: binding.order ?? 'little',
    at: binding.at ?? 0,
    length: binding.length,
  }
  const form: BleProperty =
    own === undefined
      ? binding
      : {
          ...(own.scale === undefined ? {} : { scale: own.scale }),
          ...(own.unknown === undefined ? {} : { notAvailable: [own.unknown] }),
          ...binding,
        }
  const access = property.access ?? 'read'
  const finish = compileFinish(property, form)
  return {
    name: property.name,
    property,
    source,
    everyMs: pollEveryMs(property, device),
    readable: access !== 'write',
    writable: access !== 'read' && source.kind === 'gatt',
    readBack: access === 'readwrite' && property.write?.readBack !== 'never',
    tolerance:
      property.write?.tolerance ??
      Math.max(isIntegerType(format.as) ? Math.abs(form.scale ?? 1) / 2 : 0, (property.precision ?? 0) / 2),
    decode: compileDecode(form, format, finish),
    finish,
    encode: compileEncode(property, form, format),
  }
}

const nameOrUuid = (text: string): string => (isUuid(text) ? shortUuid(text) : text)

function sourceOf(property: ModelProperty, binding: BleProperty): Source {
  const fail = (message: string, hint: string): never => {
    throw new SluiceError('SLUICE_BLE_BINDING', `property ${property.name} ${message}`, {
      hint,
      field: `properties.${property.name}.ble`,
    })
  }
  const startsWith = Uint8Array.from(Buffer.from(binding.startsWith ?? '', 'hex'))
  if (binding.advert !== undefined) {
    const field = binding.field ?? ''
    if (!isKnownField(binding.advert, field)) {
      fail(
        `asks for ${field}, which ${binding.advert} does not have`,
        `Fields: ${FORMATS[binding.advert].fields.join(', ')}.`,
      )
    }
    return { kind: 'format', format: binding.advert, field }
  }
  if (binding.manufacturer !== undefined) return { kind: 'manufacturer', company: binding.manufacturer, startsWith }
  if (binding.serviceData !== undefined) {
    return { kind: 'serviceData', uuid: shortUuid(binding.serviceData), startsWith }
  }
  const named = nameOrUuid(binding.characteristic ?? '')
  const characteristic = standardOf(named)?.uuid ?? named
  if (!isUuid(characteristic)) {
    fail(
      `names the characteristic ${named}, which is no UUID and no standard name`,
      'Give a UUID, or batteryLevel, temperature, humidity, manufacturerName and the like.',
    )
  }
  return {
    kind: 'gatt',
    characteristic,
    service: binding.service === undefined ? undefined : shortUuid(binding.service),
    notify: binding.notify ?? false,
    write: binding.write,
  }
}

const NOT_AVAILABLE = new Unusable('not-available', 'the device says that it has no value')

function compileDecode(binding: BleProperty, format: ValueFormat, finish: Point['finish']): Point['decode'] {
  const { converter, notAvailable } = binding
  if (converter !== undefined) {
    return (data) => {
      const value = applyConverter(converter as Converter, data)
      return value instanceof Unusable ? value : finish(value)
    }
  }
  const field = binding.bit === undefined ? binding.bits : { first: binding.bit, count: 1 }
  const bits = isIntegerType(format.as) ? Number(/\d+/.exec(format.as)?.[0] ?? 0) : 0
  return (data) => {
    const raw = readValue(format, data)
    if (raw instanceof Unusable) return raw
    if (raw instanceof Uint8Array) return Buffer.from(raw).toString('base64')
    if (typeof raw === 'string') return raw
    if (typeof raw !== 'boolean' && notAvailable?.some((absent) => isSame(absent, raw, bits))) return NOT_AVAILABLE
    if (field !== undefined) return finish(extract(raw, field))
    if (typeof raw === 'bigint') return finish(Number.isSafeInteger(Number(raw)) ? Number(raw) : raw.toString())
    return finish(raw)
  }
}

/** 0x8000 in a model also means -32768 of an int16. */
const isSame = (absent: number, raw: number | bigint, bits: number) =>
  Number(raw) === absent || (Number(raw) < 0 && Number(raw) + 2 ** bits === absent)

function extract(raw: number | bigint | boolean, { first, count }: { first: number; count: number }): number {
  return Number(BigInt.asUintN(count, BigInt.asUintN(64, BigInt(raw)) >> BigInt(first)))
}

const wordsByRaw = (binding: BleProperty): ReadonlyMap<number, string> | undefined =>
  binding.map === undefined
    ? undefined
    : new Map(Object.entries(binding.map).map(([raw, named]) => [Number(raw), named]))

/** From what was decoded to the property's own type: word, scale, rounding. */
function compileFinish(property: ModelProperty, binding: BleProperty): (value: Json) => Json | Unusable {
  const words = wordsByRaw(binding)
  if (words !== undefined) {
    return (value) =>
      words.get(Number(value)) ?? new Unusable('not-in-map', `raw value ${String(value)} has no word in the map`)
  }
  const linear = compileLinear(binding.scale, binding.offset)
  const round = compileRounding(property.precision)
  const { type } = property
  return (value) => {
    if (type === 'bool') return typeof value === 'boolean' ? value : Number(value) !== 0
    if (typeof value === 'boolean') return type === 'int' || type === 'float' ? Number(value) : value
    if (typeof value !== 'number') return value
    let number = linear === undefined ? value : linear.toValue(value)
    if (round !== undefined) number = round(number)
    if (type === 'int' && !Number.isInteger(number)) number = Math.round(number)
    return type === 'string' ? String(number) : number
  }
}

function compileEncode(property: ModelProperty, binding: BleProperty, format: ValueFormat): Point['encode'] {
  const words = wordsByRaw(binding)
  const raws = words === undefined ? undefined : new Map([...words].map(([raw, named]) => [named, raw]))
  const linear = compileLinear(binding.scale, binding.offset)
  const outOfRange = (reason: string): WriteProblem => ({
    code: 'SLUICE_VALUE_RANGE',
    reason: `${property.name}: ${reason}`,
  })
  return (value) => {
    const problem = checkDesired(property, value)
    if (problem !== undefined) return problem
    const literal = binding.writeValues?.[String(value)]
    if (literal !== undefined) return Uint8Array.from(Buffer.from(literal, 'hex'))
    if (binding.writeValues !== undefined) return outOfRange(`writeValues has no bytes for ${JSON.stringify(value)}`)
    if (format.at !== 0 || binding.bit !== undefined || binding.bits !== undefined || binding.converter !== undefined) {
      return outOfRange('a part of a characteristic cannot be written; give writeValues')
    }
    const raw = toRaw(value)
    if (raw === undefined) return outOfRange(`${JSON.stringify(value)} has no raw value`)
    const bytes = writeValue(format, raw)
    return bytes instanceof Unusable ? outOfRange(bytes.reason) : bytes
  }

  function toRaw(value: Json): Raw | undefined {
    if (raws !== undefined) return typeof value === 'string' ? raws.get(value) : undefined
    if (typeof value === 'boolean') return format.as === 'bool' ? value : Number(value)
    if (typeof value === 'string') {
      if (format.as === 'string') return value
      if (format.as === 'bytes') return Uint8Array.from(Buffer.from(value, 'base64'))
      return /^-?[0-9]{1,20}$/.test(value) ? BigInt(value) : undefined
    }
    if (typeof value !== 'number') return undefined
    const raw = linear === undefined ? value : linear.toRaw(value)
    return isIntegerType(format.as) ? Math.round(raw) : raw
  }
}
