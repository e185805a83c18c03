import type { DeviceModelSpec, ModelProperty } from '../../api/resources.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import { bindingOf, formatOf, isBitTable, modelOf, placeOf } from '../../mappers/modbus/point.ts'
import { spanOf } from '../../mappers/modbus/scale-register.ts'
import type { ModbusProperty, ValueType } from '../../mappers/modbus/schema.ts'
import type { Table } from '../../mappers/modbus/tables.ts'
import { registersOf } from '../../mappers/modbus/values.ts'
import { type Lock, type LockedPlace, type LockedProperty, MAX_NUMBER } from './lock.ts'

/** Input registers from here on are the board's own (core/runtime.h). */
export const SYSTEM_ADDRESS = 0xf000
/** Registers of a text whose length nobody says. */
const TEXT_REGISTERS = 16

export interface Allocation {
  /** The model with a Modbus binding for every property. */
  readonly model: DeviceModelSpec
  readonly lock: Lock
  /** Numbers in the order of the model's properties. */
  readonly numbers: readonly number[]
  readonly findings: readonly Finding[]
}

/** Gives numbers to all properties and addresses to those that have none. Pure: the same in, the same out. */
export function allocate(model: DeviceModelSpec, before: Lock, options: { readonly reuse?: boolean } = {}): Allocation {
  const options_ = modelOf(model)
  const base = options_.addressBase ?? 0
  const taken = new Taken()
  const findings: Finding[] = []
  const present = new Set(model.properties.map(({ name }) => name))
  const wanted = new Map(model.properties.map((property) => [property.name, wishOf(property)]))
  for (const property of model.properties) takeBound(property, model, taken)
  const gone = [...before.properties].flatMap(([name, { place }]) =>
    present.has(name) || place === undefined ? [] : [{ name, ...place }],
  )
  // A property whose shape changed, or that the model now places itself, leaves its old address.
  const moved = [...before.properties].flatMap(([name, { place }]) => {
    const wish = wanted.get(name)
    if (place === undefined || !present.has(name)) return []
    return wish !== undefined && wish.table === place.table && wish.count === place.count ? [] : [{ name, ...place }]
  })
  const retired = options.reuse === true ? [] : [...before.retired, ...gone, ...moved]
  for (const place of retired) taken.take(place)
  const kept = new Map<string, LockedPlace>()
  for (const property of model.properties) {
    const place = before.properties.get(property.name)?.place
    if (
      place === undefined ||
      wanted.get(property.name) === undefined ||
      moved.some(({ name }) => name === property.name)
    )
      continue
    if (taken.isFree(place)) {
      taken.take(place)
      kept.set(property.name, place)
    } else findings.push(clash(model.properties.indexOf(property), property, place))
  }
  let next = before.next
  const properties = new Map<string, LockedProperty>()
  const numbers: number[] = []
  const bound = model.properties.map((property, index): ModelProperty => {
    const known = before.properties.get(property.name)
    const number = known?.number ?? next++
    if (number > MAX_NUMBER) findings.push(refuse([index], 'the lock file has no numbers left', 'Start a new one.'))
    numbers.push(number)
    const wish = wanted.get(property.name)
    if (wish === undefined) {
      properties.set(property.name, { number })
      return property
    }
    const place = kept.get(property.name) ?? taken.find(wish)
    if (place === undefined) {
      findings.push(refuse([index], `no ${wish.table} address is left`, 'Free some with --reuse, or bind fewer.'))
      return property
    }
    properties.set(property.name, { number, place })
    return { ...property, modbus: { [wish.table]: place.address + base, ...wish.form } }
  })
  return { model: { ...model, properties: bound }, lock: { next, properties, retired }, numbers, findings }
}

interface Wish {
  readonly table: Table
  readonly count: number
  readonly form: Partial<ModbusProperty>
}

/** Where and how a property without a binding is put; undefined when it has one, or nothing on Modbus can be it. */
function wishOf(property: ModelProperty): Wish | undefined {
  if (bindingOf(property) !== undefined) return undefined
  const writable = (property.access ?? 'read') !== 'read'
  if (property.type === 'bool') return { table: writable ? 'coil' : 'discrete', count: 1, form: {} }
  const form = formFor(property)
  if (form === undefined) return undefined
  const count = registersOf({ as: form.as ?? 'uint16', length: form.length ?? 1 })
  return { table: writable ? 'holding' : 'input', count, form }
}

function formFor(property: ModelProperty): Partial<ModbusProperty> | undefined {
  switch (property.type) {
    case 'int':
      return { as: integerFor(property) }
    case 'float':
      return { as: 'float32' }
    case 'string': {
      const words = property.enum?.filter((each): each is string => typeof each === 'string')
      if (words === undefined || words.length === 0) return { as: 'string', length: TEXT_REGISTERS }
      return { as: 'uint16', map: Object.fromEntries(words.map((word, raw) => [String(raw), word])) }
    }
    case 'bytes':
      return { as: 'bytes', length: TEXT_REGISTERS }
    default:
      return undefined
  }
}

function integerFor({ min, max, enum: words }: ModelProperty): ValueType {
  const numbers = (words ?? []).map(Number).filter(Number.isFinite)
  const least = min ?? (numbers.length > 0 ? Math.min(...numbers) : undefined)
  const most = max ?? (numbers.length > 0 ? Math.max(...numbers) : undefined)
  if (least === undefined || most === undefined) return least !== undefined && least >= 0 ? 'uint32' : 'int32'
  if (least >= 0 && most <= 0xffff) return 'uint16'
  if (least >= -0x8000 && most <= 0x7fff) return 'int16'
  if (least >= 0 && most <= 0xffff_ffff) return 'uint32'
  return least >= -0x8000_0000 && most <= 0x7fff_ffff ? 'int32' : 'int64'
}

function takeBound(property: ModelProperty, model: DeviceModelSpec, taken: Taken): void {
  const binding = bindingOf(property)
  const options = modelOf(model)
  const base = options.addressBase ?? 0
  const place = binding === undefined ? undefined : placeOf(binding, base)
  if (binding === undefined || place === undefined) return
  const count = isBitTable(place.table) ? 1 : registersOf(formatOf(binding, options))
  const span = spanOf(binding, place, count, base)
  taken.take({ table: place.table, address: span.start, count: span.size })
  if (binding.write?.register !== undefined)
    taken.take({ table: isBitTable(place.table) ? 'coil' : 'holding', address: binding.write.register - base, count })
}

/** Addresses of the four tables that belong to somebody. */
class Taken {
  readonly #spans: LockedPlace[] = [{ table: 'input', address: SYSTEM_ADDRESS, count: 0x10000 - SYSTEM_ADDRESS }]

  take(place: LockedPlace): void {
    this.#spans.push(place)
  }

  isFree({ table, address, count }: LockedPlace): boolean {
    return !this.#spans.some(
      (one) => one.table === table && one.address < address + count && address < one.address + one.count,
    )
  }

  /** The lowest free run, so that a model's own registers lie together and are read in one request. */
  find({ table, count }: Wish): LockedPlace | undefined {
    const inTable = this.#spans.filter((one) => one.table === table).sort((a, b) => a.address - b.address)
    let address = 0
    for (const one of inTable) {
      if (address + count <= one.address) break
      address = Math.max(address, one.address + one.count)
    }
    if (address + count > 0x10000) return undefined
    const place = { table, address, count }
    this.take(place)
    return place
  }
}

const refuse = (path: readonly number[], message: string, hint: string): Finding => ({
  severity: 'error',
  code: 'SLUICE_FW_MODEL_INVALID',
  message,
  hint,
  path: ['spec', 'properties', ...path],
})

const clash = (index: number, property: ModelProperty, { table, address }: LockedPlace): Finding =>
  refuse(
    [index],
    `${property.name} has ${table} ${address} by the lock file, and another property of the model is now bound there`,
    'Bind the other one elsewhere: boards in the field have this one at that address.',
  )
