import { parse, stringify } from 'yaml'
import { SluiceError } from '../../api/errors.ts'
import { TABLES, type Table } from '../../mappers/modbus/tables.ts'

/** Where a property without an address of its own was put. */
export interface LockedPlace {
  readonly table: Table
  readonly address: number
  /** Registers, or bits. */
  readonly count: number
}

export interface LockedProperty {
  /** Stands for the property in the register table, in CBOR and as the key of its setting; never given twice. */
  readonly number: number
  readonly place?: LockedPlace
}

/** What firmware of this project has given away: numbers and addresses stay with their property for ever. */
export interface Lock {
  readonly next: number
  readonly properties: ReadonlyMap<string, LockedProperty>
  /** Properties that are gone; their addresses stay theirs until somebody frees them. */
  readonly retired: readonly (LockedPlace & { readonly name: string })[]
}

export const EMPTY_LOCK: Lock = { next: 0, properties: new Map(), retired: [] }

/** Highest number: the settings key of a property is 0x1000 and its number, 0xFFFF is no key. */
export const MAX_NUMBER = 0xefff - 1

const HEADER =
  '# Kept by "sluice fw gen": numbers and addresses of properties, so that adding one never moves another.\n' +
  '# Keep it with the model, in version control. "sluice fw gen --reuse" frees the addresses of removed properties.\n'

export function formatLock(lock: Lock): string {
  const properties = [...lock.properties].sort(([, a], [, b]) => a.number - b.number)
  const body = {
    version: 1,
    next: lock.next,
    properties: Object.fromEntries(properties.map(([name, { number, place }]) => [name, { number, ...place }])),
    ...(lock.retired.length === 0 ? {} : { retired: lock.retired.map((each) => ({ ...each })) }),
  }
  return HEADER + stringify(body, { collectionStyle: 'any', lineWidth: 120 })
}

/** @throws SluiceError `SLUICE_FW_LOCK_INVALID` with what is wrong; a lock file is never guessed at. */
export function parseLock(text: string, file: string): Lock {
  let value: unknown
  try {
    value = parse(text)
  } catch (cause) {
    throw broken(file, 'is no YAML', cause)
  }
  const top = fieldsOf(value, file, 'the file')
  if (top['version'] !== 1) throw broken(file, `has version ${String(top['version'])}; this Sluice knows version 1`)
  const properties = new Map<string, LockedProperty>()
  const numbers = new Set<number>()
  for (const [name, each] of Object.entries(fieldsOf(top['properties'] ?? {}, file, 'properties'))) {
    const fields = fieldsOf(each, file, `properties.${name}`)
    const number = wholeOf(fields['number'], MAX_NUMBER, file, `properties.${name}.number`)
    if (numbers.has(number)) throw broken(file, `gives number ${number} twice`)
    numbers.add(number)
    properties.set(name, {
      number,
      ...(fields['table'] === undefined ? {} : { place: placeOf(fields, file, `properties.${name}`) }),
    })
  }
  const next = wholeOf(top['next'], MAX_NUMBER + 1, file, 'next')
  if ([...numbers].some((number) => number >= next)) throw broken(file, `says next: ${next}, which was given already`)
  const list = top['retired'] ?? []
  if (!Array.isArray(list)) throw broken(file, 'has a retired that is no list')
  const retired = list.map((each: unknown, index) => {
    const fields = fieldsOf(each, file, `retired[${index}]`)
    return { name: String(fields['name']), ...placeOf(fields, file, `retired[${index}]`) }
  })
  return { next, properties, retired }
}

function placeOf(fields: Fields, file: string, where: string): LockedPlace {
  const table = TABLES.find((each) => each === fields['table'])
  if (table === undefined) throw broken(file, `has no table of Modbus at ${where}.table`)
  return {
    table,
    address: wholeOf(fields['address'], 0xffff, file, `${where}.address`),
    count: wholeOf(fields['count'], 125, file, `${where}.count`),
  }
}

type Fields = Readonly<Record<string, unknown>>

function fieldsOf(value: unknown, file: string, where: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  throw broken(file, `${where} is not a map`)
}

function wholeOf(value: unknown, max: number, file: string, where: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value
  throw broken(file, `${where} is not a whole number from 0 to ${max}`)
}

const broken = (file: string, what: string, cause?: unknown): SluiceError =>
  new SluiceError('SLUICE_FW_LOCK_INVALID', `${file}: ${what}`, {
    hint: 'Take it back from version control. Without it new addresses are given, and boards in the field have the old ones.',
    cause,
  })
