import type { ModelProperty } from '../../api/resources.ts'
import type { PlanHole, PlannedRequest } from '../../api/views.ts'

/** One address of the map: which request reads it, and what for. */
export interface Cell {
  readonly address: number
  /** Index of the request; undefined for a hole between requests. */
  readonly request: number | undefined
  /** Absent for an address that is read along. */
  readonly property?: string
  /** Whether the device refused to be read there. */
  readonly refused?: boolean
}

export interface TableMap {
  readonly table: string
  readonly rows: readonly { readonly start: number; readonly cells: readonly Cell[] }[]
}

export const ROW_CELLS = 16

const TABLES = ['coil', 'discrete', 'input', 'holding'] as const
const WIDTHS: Readonly<Record<string, number>> = { float32: 2, int32: 2, uint32: 2, float64: 4, int64: 4, uint64: 4 }

/** Where a property lies, as its Modbus binding says. */
function placeOf(property: ModelProperty): { table: string; start: number; length: number } | undefined {
  const binding = property['modbus']
  if (typeof binding !== 'object' || binding === null) return undefined
  const field = (name: string): unknown => Reflect.get(binding, name)
  const table = TABLES.find((each) => typeof field(each) === 'number')
  if (table === undefined) return undefined
  const as = field('as')
  const given = field('length') ?? field('registers')
  const length = typeof given === 'number' ? given : (WIDTHS[String(as)] ?? 1)
  return { table, start: Number(field(table)), length }
}

/** A device may refuse everything beyond an address: so much of it is drawn. */
const MOST_REFUSED = 64

/** The requests of a plan laid over the address space: rows of so many cells, only those in which something is read or refused. */
export function registerMap(
  requests: readonly PlannedRequest[],
  properties: readonly ModelProperty[],
  rowCells = ROW_CELLS,
  holes: readonly PlanHole[] = [],
): TableMap[] {
  const tables = new Map<string, Map<number, Cell>>()
  for (const { table, start, length } of holes) {
    const cells = tables.get(table) ?? new Map<number, Cell>()
    tables.set(table, cells)
    for (let address = start; address < start + Math.min(length, MOST_REFUSED); address++)
      cells.set(address, { address, request: undefined, refused: true })
  }
  for (const [index, { table, start, length, properties: names }] of requests.entries()) {
    if (table === undefined || start === undefined || length === undefined) continue
    let cells = tables.get(table)
    if (cells === undefined) tables.set(table, (cells = new Map()))
    for (let address = start; address < start + length; address++) cells.set(address, { address, request: index })
    for (const property of properties) {
      const place = names.includes(property.name) ? placeOf(property) : undefined
      if (place === undefined) continue
      for (let address = place.start; address < place.start + place.length; address++) {
        if (address < start || address >= start + length) continue
        // Bits of one register are properties of their own.
        const others = cells.get(address)?.property
        const name = others === undefined ? property.name : `${others}, ${property.name}`
        cells.set(address, { address, request: index, property: name })
      }
    }
  }
  return [...tables].map(([table, cells]) => ({ table, rows: rowsOf(cells, rowCells) }))
}

function rowsOf(cells: ReadonlyMap<number, Cell>, rowCells: number) {
  const starts = [...new Set([...cells.keys()].map((address) => address - (address % rowCells)))].sort((a, b) => a - b)
  return starts.map((start) => ({
    start,
    cells: Array.from(
      { length: rowCells },
      (_, at): Cell => cells.get(start + at) ?? { address: start + at, request: undefined },
    ),
  }))
}
