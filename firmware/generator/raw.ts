import type { DeviceModelSpec, Json, ModelProperty } from '../../api/resources.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import { bindingOf, formatOf, modelOf, placeOf } from '../../mappers/modbus/point.ts'
import { scaleUp } from '../../mappers/modbus/scale-register.ts'
import type { ModbusProperty } from '../../mappers/modbus/schema.ts'
import { canonicalOrder, registersOf } from '../../mappers/modbus/values.ts'
import { compileLinear } from '../../mappers/sdk/convert.ts'
import type { Form } from './form.ts'
import type { ScaleWord } from './plan.ts'

/** Raw numbers that may be written: a range, and within it perhaps only a few. */
export interface RawSet {
  /** Undefined: as far as the type goes. */
  readonly min: number | bigint | undefined
  readonly max: number | bigint | undefined
  readonly only: readonly (number | bigint)[] | undefined
  /** The one nearest to 0. */
  readonly nearest: number | bigint
  /** Texts and bytes that may be written, where the model lists them. */
  readonly texts: readonly string[] | undefined
  has(raw: number | bigint | Uint8Array): boolean
}

const isWhole = (form: Form): boolean => form.c !== 'float' && form.c !== 'double'

/** The raw number of a value, rounded as the gateway does it; undefined where there is none. */
export function rawOfValue(
  property: ModelProperty,
  binding: ModbusProperty,
  form: Form,
  exponent: number,
  value: Json,
): number | bigint | undefined {
  if (binding.map !== undefined) {
    const found = Object.entries(binding.map).findLast(([, word]) => word === value)
    return found === undefined ? undefined : BigInt(found[0])
  }
  if (typeof value === 'boolean') return isWhole(form) ? BigInt(value) : Number(value)
  const linear = compileLinear(binding.scale, binding.offset)
  if (typeof value === 'string') {
    if (!/^-?[0-9]{1,20}$/.test(value)) return undefined
    if (isWhole(form) && linear === undefined && exponent === 0) return BigInt(value)
    return rawOfValue(property, binding, form, exponent, Number(value))
  }
  if (typeof value !== 'number') return undefined
  const raw = scaleUp(linear === undefined ? value : linear.toRaw(value), -exponent)
  if (!isWhole(form)) return form.c === 'float' ? Math.fround(raw) : raw
  return Number.isFinite(raw) ? BigInt(Math.round(raw)) : undefined
}

/** A text says why nothing could ever be written. */
export function allowedRaws(
  property: ModelProperty,
  binding: ModbusProperty,
  form: Form,
  range: { readonly min: number | bigint; readonly max: number | bigint } | undefined,
  exponent: number,
): RawSet | string {
  if (range === undefined) {
    const texts = property.enum?.filter((each): each is string => typeof each === 'string')
    return { min: undefined, max: undefined, only: undefined, nearest: 0, texts, has: () => true }
  }
  const raw = (value: Json) => rawOfValue(property, binding, form, exponent, value)
  const numeric = binding.map === undefined
  const ends = [property.min, property.max].map((end) => (end === undefined || !numeric ? undefined : raw(end)))
  const [low, high] = flipped(binding) ? ends.toReversed() : ends
  const min = low !== undefined && low > range.min ? low : undefined
  const max = high !== undefined && high < range.max ? high : undefined
  const least = min ?? range.min
  const most = max ?? range.max
  if (least > most || (low !== undefined && low > range.max) || (high !== undefined && high < range.min))
    return 'no value between min and max fits its registers'
  const only = onlyOf(property, binding, raw)?.filter((each) => each >= least && each <= most)
  if (only?.length === 0) return 'no value of its enum or map fits its registers'
  const zero = isWhole(form) ? 0n : 0
  const nearest =
    only !== undefined
      ? (only.find((each) => each === zero) ?? only[0]!)
      : least > zero
        ? least
        : most < zero
          ? most
          : zero
  return {
    min,
    max,
    only,
    nearest,
    texts: undefined,
    has: (each) => !(each instanceof Uint8Array) && each >= least && each <= most && (only?.includes(each) ?? true),
  }
}

const flipped = ({ scale }: ModbusProperty): boolean => (scale ?? 1) < 0

function onlyOf(
  property: ModelProperty,
  binding: ModbusProperty,
  raw: (value: Json) => number | bigint | undefined,
): (number | bigint)[] | undefined {
  const listed = property.enum as readonly Json[] | undefined
  if (binding.map !== undefined) {
    const words = Object.entries(binding.map).filter(([, word]) => listed === undefined || listed.includes(word))
    return unique(words.map(([each]) => BigInt(each)))
  }
  if (listed === undefined) return undefined
  return unique(listed.flatMap((each) => raw(each) ?? []))
}

const unique = (raws: readonly (number | bigint)[]): (number | bigint)[] =>
  [...new Set(raws)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))

/** Registers with a power of ten: each says the precision of the finest property that uses it. */
export function exponentsOf(model: DeviceModelSpec): {
  readonly byProperty: ReadonlyMap<string, number>
  readonly words: readonly ScaleWord[]
  readonly findings: readonly Finding[]
} {
  const options = modelOf(model)
  const base = options.addressBase ?? 0
  const users = new Map<string, { word: ScaleWord; names: string[] }>()
  const findings: Finding[] = []
  model.properties.forEach((property, index) => {
    const binding = bindingOf(property)
    const place = binding === undefined ? undefined : placeOf(binding, base)
    if (binding?.scaleRegister === undefined || (place?.table !== 'holding' && place?.table !== 'input')) return
    const format = formatOf(binding, options)
    const address = binding.scaleRegister - base
    const exponent = exponentFor(property.precision)
    const byteSwapped = canonicalOrder(format.order).startsWith('little')
    const key = `${place.table} ${address}`
    const known = users.get(key)
    if (address >= place.start && address < place.start + registersOf(format)) {
      findings.push(inside(index, property.name))
    } else if (known === undefined) {
      users.set(key, { word: { table: place.table, address, exponent, byteSwapped }, names: [property.name] })
    } else {
      known.names.push(property.name)
      known.word = { ...known.word, exponent: Math.min(known.word.exponent, exponent) }
    }
  })
  return {
    byProperty: new Map(
      [...users.values()].flatMap(({ word, names }) => names.map((name) => [name, word.exponent] as const)),
    ),
    words: [...users.values()].map(({ word }) => word),
    findings,
  }
}

/** 0.01 gives -2, 10 gives 1; without a precision values are whole. */
function exponentFor(precision: number | undefined): number {
  if (precision === undefined || precision <= 0) return 0
  const power = Math.floor(Math.log10(precision) + 1e-9)
  return Math.max(-10, Math.min(10, power))
}

const inside = (index: number, name: string): Finding => ({
  severity: 'error',
  code: 'SLUICE_FW_MODEL_INVALID',
  message: `${name}: its scale register is one of its own registers`,
  hint: 'Give the register that the power of ten stands in.',
  path: ['spec', 'properties', index, 'modbus', 'scaleRegister'],
})
