import { SluiceError } from '../../api/errors.ts'
import type { DeviceSpec, Json, ModelProperty } from '../../api/resources.ts'
import { checkDesired, compileLinear, compileRounding, shortestFloat32, type WriteProblem } from '../sdk/convert.ts'
import { Unusable } from '../sdk/no-value.ts'
import { pollEveryMs } from '../sdk/poll.ts'
import { compileExponent, type ExponentReader, type Span, scaleUp, spanOf, withMarks } from './scale-register.ts'
import type { ModbusModel, ModbusProperty } from './schema.ts'
import type { Table } from './tables.ts'
import { compileReader, isInteger, type Raw, rawToRegisters, registersOf, type ValueFormat } from './values.ts'

/** What goes over the wire for one desired value. */
export type Encoded =
  | { readonly kind: 'coil'; readonly value: boolean }
  | { readonly kind: 'registers'; readonly values: Uint16Array }
  /** Only the bits set in `mask` change. */
  | { readonly kind: 'masked'; readonly values: Uint16Array; readonly mask: Uint16Array }

export interface WriteTarget {
  readonly table: 'coil' | 'holding'
  readonly start: number
  readonly function?: 5 | 6 | 15 | 16 | 22
}

/** One property with everything about its place and form worked out once, so that reading it costs next to nothing. */
export interface Point {
  readonly name: string
  readonly property: ModelProperty
  readonly table: Table
  /** First address, counted from 0 whatever the manual does. */
  readonly start: number
  /** Registers, those of the scale included, or 1 for a bit. */
  readonly size: number
  readonly everyMs: number
  /** False for write-only properties. */
  readonly polled: boolean
  readonly decode: (view: DataView, at: number) => Json | Unusable
  readonly decodeBit: (on: boolean) => Json | Unusable
  /** The power of ten that stands in a register of the device; undefined when the model has the whole scale. */
  readonly exponent: ExponentReader | undefined
  /** `exponent` is what the device says now; only for points that have one. */
  readonly encode: (value: Json, exponent?: number) => Encoded | WriteProblem
  readonly write: WriteTarget | undefined
  readonly readBack: boolean
  readonly tolerance: number
}

export const isBitTable = (table: Table): table is 'coil' | 'discrete' => table === 'coil' || table === 'discrete'

export const bindingOf = (property: ModelProperty): ModbusProperty | undefined =>
  property['modbus'] as ModbusProperty | undefined

export const modelOf = (model: { readonly [protocol: string]: unknown }): ModbusModel =>
  (model['modbus'] as ModbusModel | undefined) ?? {}

/** Table and address of a binding, counted from 0; undefined when it names no table. */
export function placeOf(binding: ModbusProperty, base: number): { table: Table; start: number } | undefined {
  if (binding.holding !== undefined) return { table: 'holding', start: binding.holding - base }
  if (binding.input !== undefined) return { table: 'input', start: binding.input - base }
  if (binding.coil !== undefined) return { table: 'coil', start: binding.coil - base }
  if (binding.discrete !== undefined) return { table: 'discrete', start: binding.discrete - base }
  return undefined
}

export function formatOf(binding: ModbusProperty, model: ModbusModel): ValueFormat {
  return {
    as: binding.as ?? 'uint16',
    order: binding.order ?? model.order ?? 'big',
    length: binding.length ?? 1,
    stringByte: binding.stringByte ?? 'both',
  }
}

/** @throws SluiceError `SLUICE_MODBUS_BINDING` when the property's place is outside the table. */
export function compilePoint(
  property: ModelProperty,
  model: ModbusModel,
  device: Pick<DeviceSpec, 'poll'>,
  shift = 0,
): Point | undefined {
  const binding = bindingOf(property)
  if (binding === undefined) return undefined
  const base = (model.addressBase ?? 0) - shift
  const place = placeOf(binding, base)
  const format = formatOf(binding, model)
  const size = place !== undefined && isBitTable(place.table) ? 1 : registersOf(format)
  const span = place === undefined ? undefined : spanOf(binding, place, size, base)
  if (place === undefined || span === undefined || span.start < 0 || span.start + span.size > 65536) {
    throw new SluiceError(
      'SLUICE_MODBUS_BINDING',
      `property ${property.name} lies outside the device's address space`,
      {
        hint: 'Addresses go from addressBase to 65535 + addressBase, and the last register of a value counts too.',
        field: `properties.${property.name}.modbus`,
      },
    )
  }
  const access = property.access ?? 'read'
  return {
    name: property.name,
    property,
    table: span.table,
    start: span.start,
    size: span.size,
    everyMs: pollEveryMs(property, device),
    polled: access !== 'write',
    decode: compileDecode(property, binding, format, { span, sunspec: model.sunspec ?? false }),
    decodeBit: compileDecodeBit(property, binding),
    exponent: compileExponent(span, format.order),
    encode: compileEncode(property, binding, format, isBitTable(place.table)),
    write: access === 'read' ? undefined : writeTarget(binding, place, base),
    readBack: access === 'readwrite' && property.write?.readBack !== 'never',
    tolerance: property.write?.tolerance ?? defaultTolerance(property, binding, format),
  }
}

function writeTarget(
  binding: ModbusProperty,
  place: { table: Table; start: number },
  base: number,
): WriteTarget | undefined {
  const table = isBitTable(place.table) ? 'coil' : 'holding'
  const elsewhere = binding.write?.register
  if (elsewhere === undefined && place.table !== table) return undefined
  const start = elsewhere === undefined ? place.start : elsewhere - base
  return { table, start, ...(binding.write?.function === undefined ? {} : { function: binding.write.function }) }
}

function defaultTolerance(property: ModelProperty, binding: ModbusProperty, format: ValueFormat): number {
  const rawStep = isInteger(format.as) ? Math.abs(binding.scale ?? 1) / 2 : 0
  return Math.max(rawStep === 0.5 && property.type === 'int' ? 0 : rawStep, (property.precision ?? 0) / 2)
}

const NOT_AVAILABLE = new Unusable('not-available', 'the device says that it has no value')
const NOT_A_NUMBER = new Unusable('not-a-number', 'the device sent NaN or infinity')

function wordsByRaw(binding: ModbusProperty): ReadonlyMap<number, string> | undefined {
  if (binding.map === undefined) return undefined
  return new Map(Object.entries(binding.map).map(([raw, word]) => [Number(raw), word]))
}

/** Takes bits `first` to `first + count - 1` out of a raw number; negative numbers count as their two's complement. */
function bitField(binding: ModbusProperty): { first: number; count: number } | undefined {
  if (binding.bit !== undefined) return { first: binding.bit, count: 1 }
  return binding.bits
}

function extract(raw: number | bigint, field: { first: number; count: number }): number {
  if (typeof raw === 'number' && raw >= 0) return Math.floor(raw / 2 ** field.first) % 2 ** field.count
  return Number(
    BigInt.asUintN(
      field.count,
      BigInt.asUintN(64, typeof raw === 'number' ? BigInt(Math.trunc(raw)) : raw) >> BigInt(field.first),
    ),
  )
}

function isNotImplemented(raw: number | bigint, values: readonly number[], bits: number): boolean {
  const number = Number(raw)
  return values.some((value) => value === number || (number < 0 && value === number + 2 ** bits))
}

function compileDecode(
  property: ModelProperty,
  binding: ModbusProperty,
  format: ValueFormat,
  { span, sunspec }: { readonly span: Span; readonly sunspec: boolean },
): Point['decode'] {
  const plain = compileReader(format)
  const read = sunspec ? withMarks(plain, format.as) : plain
  if (format.as === 'string' || format.as === 'bytes') return (view, at) => textValue(read(view, at))
  const absent = binding.notImplemented
  const bits = registersOf(format) * (format.as.includes('8') ? 8 : 16)
  const field = bitField(binding)
  const single = format.as === 'float32' && property.precision === undefined
  const finish = compileFinish(property, binding)
  const exponentOf = compileExponent(span, format.order)
  const valueAt = 2 * span.valueAt
  return (view, at) => {
    const raw = read(view, at + valueAt) as number | bigint | Unusable
    if (raw instanceof Unusable) return raw
    if (absent !== undefined && isNotImplemented(raw, absent, bits)) return NOT_AVAILABLE
    if (typeof raw === 'number' && !Number.isFinite(raw)) return NOT_A_NUMBER
    if (exponentOf !== undefined) {
      const exponent = exponentOf(view, at)
      return exponent instanceof Unusable ? exponent : finish(scaleUp(Number(raw), exponent))
    }
    if (field !== undefined) return finish(extract(raw, field))
    return finish(single ? shortestFloat32(raw as number) : raw)
  }
}

function compileDecodeBit(property: ModelProperty, binding: ModbusProperty): Point['decodeBit'] {
  const finish = compileFinish(property, binding)
  return (on) => finish(on ? 1 : 0)
}

/** From the raw number to the property's own type: word, scale, rounding. */
function compileFinish(property: ModelProperty, binding: ModbusProperty): (raw: number | bigint) => Json | Unusable {
  const words = wordsByRaw(binding)
  if (words !== undefined) {
    return (raw) => words.get(Number(raw)) ?? new Unusable('not-in-map', `raw value ${raw} has no word in the map`)
  }
  const linear = compileLinear(binding.scale, binding.offset)
  const round = compileRounding(property.precision)
  const { type } = property
  if (type === 'bool') return (raw) => Number(raw) !== 0
  return (raw) => {
    if (typeof raw === 'bigint' && linear === undefined && type !== 'float') return raw.toString()
    let value = Number(raw)
    if (linear !== undefined) value = linear.toValue(value)
    if (round !== undefined) value = round(value)
    if (type === 'int' && !Number.isInteger(value)) value = Math.round(value)
    return type === 'string' ? String(value) : value
  }
}

const textValue = (raw: Raw | Unusable): Json | Unusable => {
  if (raw instanceof Uint8Array) return Buffer.from(raw).toString('base64')
  return typeof raw === 'string' || raw instanceof Unusable ? raw : String(raw)
}

function compileEncode(
  property: ModelProperty,
  binding: ModbusProperty,
  format: ValueFormat,
  onBit: boolean,
): Point['encode'] {
  const toRaw = compileToRaw(property, binding, format)
  const field = bitField(binding)
  return (value, exponent = 0) => {
    const problem = checkDesired(property, value)
    if (problem !== undefined) return problem
    const raw = toRaw(value, exponent)
    if (raw === undefined) {
      return {
        code: 'SLUICE_VALUE_ENUM',
        reason: `${property.name} has no raw value for ${JSON.stringify(value)}`,
      }
    }
    if (onBit)
      return raw === 0 || raw === 1 ? { kind: 'coil', value: raw === 1 } : outOfRange(property, 'a coil is 0 or 1')
    if (field !== undefined) return encodeField(property, format, field, raw)
    const values = rawToRegisters(format, raw)
    if (values instanceof Unusable) return outOfRange(property, values.reason)
    const half = /int8([lh])$/.exec(format.as)?.[1]
    if (half === undefined) return { kind: 'registers', values }
    const mask = rawToRegisters({ ...format, as: half === 'l' ? 'uint8l' : 'uint8h' }, 255) as Uint16Array
    return { kind: 'masked', values, mask }
  }
}

function encodeField(
  property: ModelProperty,
  format: ValueFormat,
  field: { first: number; count: number },
  raw: Raw,
): Encoded | WriteProblem {
  if (typeof raw !== 'number' || raw < 0 || raw >= 2 ** field.count) {
    return outOfRange(property, `${String(raw)} does not fit ${field.count} bits`)
  }
  const as = registersOf(format) === 4 ? 'uint64' : registersOf(format) === 2 ? 'uint32' : 'uint16'
  const place = (bits: bigint) => rawToRegisters({ ...format, as }, bits << BigInt(field.first))
  const values = place(BigInt(raw))
  const mask = place(2n ** BigInt(field.count) - 1n)
  if (values instanceof Unusable || mask instanceof Unusable) {
    return outOfRange(property, `bits ${field.first} and up are outside ${format.as}`)
  }
  return { kind: 'masked', values, mask }
}

const outOfRange = (property: ModelProperty, reason: string): WriteProblem => ({
  code: 'SLUICE_VALUE_RANGE',
  reason: `${property.name}: ${reason}`,
})

function compileToRaw(
  property: ModelProperty,
  binding: ModbusProperty,
  format: ValueFormat,
): (value: Json, exponent: number) => Raw | undefined {
  const words = wordsByRaw(binding)
  if (words !== undefined) {
    const raws = new Map([...words].map(([raw, word]) => [word, raw]))
    return (value) => (typeof value === 'string' ? raws.get(value) : undefined)
  }
  const linear = compileLinear(binding.scale, binding.offset)
  const whole = isInteger(format.as) || format.as === 'bool'
  return (value, exponent) => {
    if (typeof value === 'boolean') return value ? 1 : 0
    if (typeof value === 'string') {
      if (format.as === 'string') return value
      if (format.as === 'bytes') return new Uint8Array(Buffer.from(value, 'base64'))
      if (property.type !== 'int' && property.type !== 'string') return undefined
      if (!/^-?[0-9]{1,20}$/.test(value)) return undefined
      return whole && linear === undefined && exponent === 0 ? BigInt(value) : toNumber(Number(value), exponent)
    }
    return typeof value === 'number' ? toNumber(value, exponent) : undefined
  }

  function toNumber(value: number, exponent: number): number {
    const raw = scaleUp(linear === undefined ? value : linear.toRaw(value), -exponent)
    return whole ? Math.round(raw) : raw
  }
}
