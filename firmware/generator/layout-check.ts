import type { Finding } from '../../api/yaml/findings.ts'
import type { Table } from '../../mappers/modbus/tables.ts'
import { SYSTEM_ADDRESS } from './allocate.ts'
import type { BoardProperty, ScaleWord } from './plan.ts'
import { refuse } from './plan.ts'

interface Span {
  readonly owner: BoardProperty
  readonly table: Table
  readonly address: number
  readonly count: number
}

/** What is wrong between properties: registers with two meanings, and those of the board itself. */
export function checkWholeLayout(properties: readonly BoardProperty[], scales: readonly ScaleWord[]): Finding[] {
  const findings: Finding[] = []
  const spans = properties.flatMap(spansOf)
  for (const { owner, table, address, count } of spans) {
    if (address < 0 || address + count > 0x10000)
      findings.push(
        refuse(
          owner.index,
          ['modbus'],
          `${owner.property.name} lies outside the address space`,
          'Addresses go from 0 to 65535.',
        ),
      )
    else if (table === 'input' && address + count > SYSTEM_ADDRESS)
      findings.push(
        refuse(
          owner.index,
          ['modbus', 'input'],
          `${owner.property.name}: input registers from 0x${SYSTEM_ADDRESS.toString(16).toUpperCase()} on are the board's own`,
          'Bind it lower.',
        ),
      )
  }
  const sorted = spans.toSorted((a, b) => a.table.localeCompare(b.table) || a.address - b.address)
  for (let at = 1; at < sorted.length; at++) {
    // All that overlap lie between the one whose end reaches furthest and the next.
    const later = sorted[at]!
    for (let before = at - 1; before >= 0; before--) {
      const earlier = sorted[before]!
      if (earlier.table !== later.table || earlier.address + 125 <= later.address) break
      if (earlier.address + earlier.count <= later.address) continue
      const what = conflict(earlier, later)
      if (what !== undefined)
        findings.push(
          refuse(
            later.owner.index,
            ['modbus'],
            what,
            'Each register of a board has one meaning: bind them apart, or bind their bits.',
          ),
        )
    }
  }
  for (const { table, address } of scales) {
    const owner = spans.find(
      (one) => one.table === table && one.address <= address && address < one.address + one.count,
    )
    if (owner !== undefined && owner.owner.form.sl !== 'SL_I16')
      findings.push(
        refuse(
          owner.owner.index,
          ['modbus'],
          `${table} ${address} is a scale register too`,
          'A scale register is an int16.',
        ),
      )
  }
  return findings
}

const spansOf = (owner: BoardProperty): Span[] => {
  const { table, address, registers, writeAddress } = owner
  const here = { owner, table, address, count: registers }
  if (writeAddress === undefined) return [here]
  const there = {
    owner,
    table: table === 'coil' || table === 'discrete' ? 'coil' : 'holding',
    address: writeAddress,
    count: registers,
  } as const
  return there.table === here.table && there.address === here.address ? [here] : [here, there]
}

function conflict(one: Span, other: Span): string | undefined {
  const [a, b] = [one.owner, other.owner]
  if (a === b) return `${a.property.name} is read from and written to registers that overlap`
  const names = `${b.property.name} and ${a.property.name}`
  const where = `${other.table} ${other.address}`
  if (a.field === undefined || b.field === undefined) return `${names} both have ${where}`
  if (
    one.address !== other.address ||
    one.count !== other.count ||
    (one.count > 1 && a.format.order !== b.format.order)
  )
    return `${names} have bits of different words at ${where}`
  if (one.count === 1 && swapped(a) !== swapped(b)) return `${names} have different byte orders at ${where}`
  if (a.writable && b.writable && a.writeAddress !== b.writeAddress)
    return `${names} share a word and are written at different places`
  const overlap = a.field.first < b.field.first + b.field.count && b.field.first < a.field.first + a.field.count
  return overlap ? `${names} have the same bits of ${where}` : undefined
}

const swapped = ({ format }: BoardProperty): boolean => format.order === 'little' || format.order === 'little-swap'
