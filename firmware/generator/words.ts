import type { Table } from '../../mappers/modbus/tables.ts'
import { wordType } from './form.ts'
import type { BoardPlan, BoardProperty } from './plan.ts'

/** What stands at one place of a table: a property, several that share a word, or a constant. */
export interface TableEntry {
  readonly table: Table
  readonly address: number
  readonly count: number
  /** `sl_type`. */
  readonly sl: string
  readonly writable: boolean
  readonly order: string
  readonly of:
    | { readonly kind: 'property'; readonly property: BoardProperty }
    | { readonly kind: 'fields'; readonly name: string; readonly properties: readonly BoardProperty[] }
    | { readonly kind: 'constant'; readonly value: number }
}

const FLAGS: Readonly<Record<string, string>> = {
  big: '',
  'big-swap': 'SL_LOW_WORD_FIRST',
  little: 'SL_LOW_WORD_FIRST | SL_LOW_BYTE_FIRST',
  'little-swap': 'SL_LOW_BYTE_FIRST',
}

/** Entries of the four tables, each sorted by address, with zeros in the gaps that one read has to cross. */
export function tableEntries(plan: BoardPlan): readonly TableEntry[] {
  const entries: TableEntry[] = []
  const words = new Map<string, BoardProperty[]>()
  for (const property of plan.properties) {
    if (property.field === undefined) entries.push(...entriesOf(property))
    else {
      const key = `${property.table} ${property.address}`
      words.set(key, [...(words.get(key) ?? []), property])
    }
  }
  for (const properties of words.values()) entries.push(...wordEntries(properties))
  for (const scale of plan.scales) {
    if (covers(entries, scale.table, scale.address)) continue
    entries.push({
      table: scale.table,
      address: scale.address,
      count: 1,
      sl: 'SL_I16',
      writable: false,
      order: scale.byteSwapped ? 'SL_LOW_BYTE_FIRST' : '',
      of: { kind: 'constant', value: scale.exponent },
    })
  }
  entries.push(...gaps(plan, entries))
  return entries.sort((a, b) => a.table.localeCompare(b.table) || a.address - b.address)
}

const covers = (entries: readonly TableEntry[], table: Table, address: number): boolean =>
  entries.some((one) => one.table === table && one.address <= address && address < one.address + one.count)

const isText = ({ form }: BoardProperty): boolean => form.c === 'text' || form.c === 'bytes'

function entriesOf(property: BoardProperty): TableEntry[] {
  const { table, address, writable, writeAddress, registers, form, format } = property
  const bit = table === 'coil' || table === 'discrete'
  const flags = bit || isText(property) || form.sl === 'SL_BOOL' ? '' : (FLAGS[format.order] ?? '')
  // One register has no word order.
  const order = registers > 1 ? flags : flags.includes('BYTE') ? 'SL_LOW_BYTE_FIRST' : ''
  const of = { kind: 'property', property } as const
  const here = { table, address, count: registers, sl: form.sl, order, of }
  const there = bit ? ('coil' as const) : ('holding' as const)
  if (writeAddress === undefined || (there === table && writeAddress === address)) return [{ ...here, writable }]
  return [
    { ...here, writable: false },
    { ...here, table: there, address: writeAddress, writable: true },
  ]
}

function wordEntries(properties: readonly BoardProperty[]): TableEntry[] {
  const { table, address, registers, format } = properties[0]!
  const flags = FLAGS[format.order] ?? ''
  const order = registers > 1 ? flags : flags.includes('BYTE') ? 'SL_LOW_BYTE_FIRST' : ''
  const of = { kind: 'fields', name: `${table}_${address}`, properties } as const
  const sl = { uint16_t: 'SL_U16', uint32_t: 'SL_U32', uint64_t: 'SL_U64' }[wordType(registers)]
  const here = { table, address, count: registers, sl, order, of }
  const writable = properties.filter((each) => each.writable)
  const elsewhere = writable.find(({ writeAddress }) => writeAddress !== undefined)?.writeAddress
  if (elsewhere === undefined || (table === 'holding' && elsewhere === address))
    return [{ ...here, writable: writable.length > 0 }]
  return [
    { ...here, writable: false },
    { ...here, table: 'holding', address: elsewhere, writable: true },
  ]
}

/** A value and its scale register come with one read, which no hole may break. */
function gaps(plan: BoardPlan, entries: readonly TableEntry[]): TableEntry[] {
  const filled = new Map<string, TableEntry>()
  for (const { scaleAddress, table, address, registers } of plan.properties) {
    if (scaleAddress === undefined) continue
    const from = Math.min(address, scaleAddress)
    const to = Math.max(address + registers, scaleAddress + 1)
    for (let at = from; at < to; at++) {
      const key = `${table} ${at}`
      if (filled.has(key) || covers(entries, table, at)) continue
      filled.set(key, {
        table,
        address: at,
        count: 1,
        sl: 'SL_U16',
        writable: false,
        order: '',
        of: { kind: 'constant', value: 0 },
      })
    }
  }
  return [...filled.values()]
}
