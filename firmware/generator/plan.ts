import type { DeviceModelSpec, Json, ModelProperty } from '../../api/resources.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import { bindingOf, formatOf, isBitTable, modelOf, placeOf } from '../../mappers/modbus/point.ts'
import type { ModbusProperty } from '../../mappers/modbus/schema.ts'
import type { Table } from '../../mappers/modbus/tables.ts'
import { canonicalOrder, registersOf, type ValueFormat } from '../../mappers/modbus/values.ts'
import { ConstantNames, identifiers } from './c-names.ts'
import { type Field, type Form, fieldOf, fieldType, formOf, rangeOf } from './form.ts'
import { checkWholeLayout } from './layout-check.ts'
import { allowedRaws, exponentsOf, type RawSet, rawOfValue } from './raw.ts'

/** What the project says of a property beyond the model: its first value, and whether it survives a power cut. */
export interface PropertyOptions {
  readonly default?: Json
  readonly persist?: boolean
}

/** One property as the board has it. */
export interface BoardProperty {
  readonly property: ModelProperty
  readonly binding: ModbusProperty
  /** Its place in the model, for findings. */
  readonly index: number
  readonly id: string
  readonly number: number
  readonly table: Table
  readonly address: number
  /** Registers of the word it is in, or 1 for a bit. */
  readonly registers: number
  readonly format: ValueFormat
  readonly form: Form
  /** Which part of the word it is; undefined: all of it. */
  readonly field: Field | undefined
  readonly readable: boolean
  readonly writable: boolean
  /** Where it is written, when that is elsewhere. */
  readonly writeAddress: number | undefined
  /** Raw numbers that may be written. */
  readonly allowed: RawSet
  /** The power of ten of its scale register. */
  readonly exponent: number | undefined
  readonly scaleAddress: number | undefined
  /** Raw first value; text and bytes as bytes. */
  readonly first: number | bigint | Uint8Array
  readonly persist: boolean
  /** Constants of the words of its map, or of its raw marks. */
  readonly constants: readonly { readonly name: string; readonly raw: number | bigint; readonly says: string }[]
}

export interface ScaleWord {
  readonly table: 'holding' | 'input'
  readonly address: number
  readonly exponent: number
  readonly byteSwapped: boolean
}

export interface BoardPlan {
  readonly properties: readonly BoardProperty[]
  readonly scales: readonly ScaleWord[]
  readonly findings: readonly Finding[]
}

/** Works out what a board needs for a model whose properties all have bindings. Refusals are findings; pure. */
export function planBoard(
  model: DeviceModelSpec,
  numbers: readonly number[],
  options: ReadonlyMap<string, PropertyOptions> = new Map(),
): BoardPlan {
  const findings: Finding[] = []
  const ids = identifiers(model.properties.map(({ name }, index) => ({ name, number: numbers[index]! })))
  const scaled = exponentsOf(model)
  const names = new ConstantNames()
  const properties = model.properties.flatMap((property, index) => {
    const found = planProperty(property, index, model, scaled.byProperty)
    if ('severity' in found) {
      findings.push(found)
      return []
    }
    const wish = options.get(property.name) ?? {}
    const first = firstValue(found, wish.default)
    if (typeof first === 'string')
      findings.push(refuse(index, [], `${property.name}: default ${first}`, 'Give a value that the model allows.'))
    const id = ids[index]!
    return [
      {
        ...found,
        id,
        number: numbers[index]!,
        first: typeof first === 'string' ? 0 : first,
        persist: wish.persist ?? false,
        constants: constantsOf(found, id, names, modelOf(model).sunspec === true),
      },
    ]
  })
  findings.push(...scaled.findings, ...checkWholeLayout(properties, scaled.words))
  for (const name of options.keys()) {
    if (!model.properties.some((property) => property.name === name))
      findings.push({
        ...refuse(
          0,
          [],
          `the project says something of '${name}', which the model does not have`,
          'Correct the name under properties: in sluice-fw.yaml.',
        ),
        path: ['spec', 'properties'],
      })
  }
  return { properties, scales: scaled.words, findings }
}

type Placed = Omit<BoardProperty, 'id' | 'number' | 'first' | 'persist' | 'constants'>

function planProperty(
  property: ModelProperty,
  index: number,
  model: DeviceModelSpec,
  exponents: ReadonlyMap<string, number>,
): Placed | Finding {
  const binding = bindingOf(property)
  const options = modelOf(model)
  const base = options.addressBase ?? 0
  if (binding === undefined || property.type === 'object' || property.type === 'array') {
    const what = `${property.name} is of type ${property.type}, which registers cannot hold`
    return refuse(index, ['type'], what, 'Make a property of each of its parts.')
  }
  const place = placeOf(binding, base)
  if (place === undefined)
    return refuse(index, ['modbus'], `${property.name} names no table`, 'Give coil, discrete, input or holding.')
  const { table, start: address } = place
  const onBit = isBitTable(table)
  const written = formatOf(binding, options)
  const format: ValueFormat = { ...written, order: canonicalOrder(written.order) }
  const field = onBit ? undefined : fieldOf(format, binding)
  if (typeof field === 'string')
    return refuse(index, ['modbus'], `${property.name}: ${field}`, 'Choose bits of an integer.')
  const access = property.access ?? 'read'
  const writable = access !== 'read'
  const wrong = unfit(property, binding, format, { onBit, table, writable, field })
  if (wrong !== undefined) return refuse(index, wrong.path, `${property.name}: ${wrong.what}`, wrong.hint)
  const whole: Form = onBit ? { c: 'bool', sl: 'SL_BOOL' } : formOf(format)
  const form: Form = field === undefined ? whole : { c: fieldType(field), sl: 'word' }
  const exponent = exponents.get(property.name)
  const range = onBit ? { min: 0n, max: 1n } : rangeOf(form.c, format, field)
  const allowed = allowedRaws(property, binding, form, range, exponent ?? 0)
  if (typeof allowed === 'string')
    return refuse(index, [], `${property.name}: ${allowed}`, 'Change min, max or enum, or take a wider type under as.')
  return {
    property,
    binding,
    index,
    table,
    address,
    registers: onBit ? 1 : registersOf(format),
    format,
    form,
    field,
    readable: access !== 'write',
    writable,
    writeAddress: writable && binding.write?.register !== undefined ? binding.write.register - base : undefined,
    allowed,
    exponent,
    scaleAddress: binding.scaleRegister === undefined ? undefined : binding.scaleRegister - base,
  }
}

interface Wrong {
  readonly path: readonly (string | number)[]
  readonly what: string
  readonly hint: string
}

function unfit(
  property: ModelProperty,
  binding: ModbusProperty,
  format: ValueFormat,
  { onBit, table, writable, field }: { onBit: boolean; table: Table; writable: boolean; field: Field | undefined },
): Wrong | undefined {
  const text = format.as === 'string' || format.as === 'bytes'
  if (writable && (table === 'input' || table === 'discrete') && binding.write?.register === undefined)
    return {
      path: ['access'],
      what: `the ${table} table cannot be written`,
      hint: `Bind it to ${table === 'input' ? 'holding' : 'coil'}, or give write.register.`,
    }
  if (!onBit && text && property.type !== 'string' && property.type !== 'bytes')
    return {
      path: ['type'],
      what: `${format.as} registers hold no ${property.type}`,
      hint: 'Use type string or bytes.',
    }
  if (!onBit && property.type === 'bytes' && !text)
    return { path: ['modbus', 'as'], what: `bytes are not held as ${format.as}`, hint: 'Use as: bytes with a length.' }
  if (!onBit && text && (field !== undefined || binding.scaleRegister !== undefined || binding.scale !== undefined))
    return { path: ['modbus'], what: 'text has no scale and no bits', hint: 'Remove scale, offset, bit and bits.' }
  if (
    property.type === 'bool' &&
    (binding.scale !== undefined || binding.offset !== undefined || binding.scaleRegister !== undefined) &&
    writable
  )
    return { path: ['modbus'], what: 'a bool that is written has no scale', hint: 'Remove scale and offset.' }
  if (
    writable &&
    field !== undefined &&
    format.as.endsWith('8h') &&
    (binding.bit !== undefined || binding.bits !== undefined)
  )
    return {
      path: ['modbus'],
      what: 'bits of the high byte are written through the whole register',
      hint: `Use as: uint16 with the bits counted from 8.`,
    }
  if (writable && binding.write?.function === 22 && field === undefined)
    return {
      path: ['modbus', 'write'],
      what: 'function 22 changes bits',
      hint: 'Leave function out; the one that fits is used.',
    }
  if (
    writable &&
    registersOf(format) > 1 &&
    !onBit &&
    (binding.write?.function === 6 || binding.write?.function === 22)
  )
    return {
      path: ['modbus', 'write'],
      what: `a board takes its ${registersOf(format)} registers only together`,
      hint: 'Use function 16, or leave it out.',
    }
  return undefined
}

/** The raw first value: the wish, else 0 or what is nearest to it among what is allowed. A text says what is wrong. */
function firstValue(found: Placed, wish: Json | undefined): BoardProperty['first'] | string {
  const { form, registers, format } = found
  if (form.c === 'text' || form.c === 'bytes') {
    const room = form.c === 'text' && format.stringByte !== 'both' ? registers : 2 * registers
    if (wish === undefined) return new Uint8Array()
    if (typeof wish !== 'string') return 'is no text'
    const bytes = form.c === 'text' ? new TextEncoder().encode(wish) : new Uint8Array(Buffer.from(wish, 'base64'))
    return bytes.length <= room ? bytes : `needs ${bytes.length} bytes, there are ${room}`
  }
  if (wish === undefined) return found.allowed.nearest
  const raw = rawOfValue(found.property, found.binding, form, found.exponent ?? 0, wish)
  if (raw === undefined) return `${JSON.stringify(wish)} has no raw value`
  return found.allowed.has(raw) ? raw : `${JSON.stringify(wish)} is not among what may be written`
}

function constantsOf(found: Placed, id: string, names: ConstantNames, sunspec: boolean): BoardProperty['constants'] {
  const { binding, form, format } = found
  if (form.c === 'text' || form.c === 'bytes' || form.c === 'float' || form.c === 'double') return []
  const words = Object.entries(binding.map ?? {}).map(([raw, word]) => ({
    name: names.constant(id, word),
    raw: BigInt(raw),
    says: word,
  }))
  const range = rangeOf(form.c, format, found.field)
  const marks = (binding.notImplemented ?? []).flatMap((value) => {
    if (!Number.isInteger(value) || range === undefined) return []
    const max = BigInt(range.max)
    const size = max - BigInt(range.min) + 1n
    const raw = BigInt(value) > max ? BigInt(value) - size : BigInt(value)
    return raw < BigInt(range.min) || raw > max ? [] : [raw]
  })
  if (sunspec && range !== undefined && found.field === undefined && /^u?int(16|32|64)$/.test(format.as))
    marks.push(format.as.startsWith('u') ? BigInt(range.max) : BigInt(range.min))
  return [
    ...words,
    ...marks.slice(0, 1).map((raw) => ({ name: names.constant(id, 'none'), raw, says: 'there is no value' })),
  ]
}

export const refuse = (index: number, path: readonly (string | number)[], message: string, hint: string): Finding => ({
  severity: 'error',
  code: 'SLUICE_FW_MODEL_INVALID',
  message,
  hint,
  path: ['spec', 'properties', index, ...path],
})
