import type { AddressRange, ReadLimits } from './device-config.ts'
import { type ReadCost, requestMs } from './plan-cost.ts'
import { isBitTable } from './point.ts'
import { TABLES, type Table } from './tables.ts'

/** What the planner has to know of a property. */
export interface PlanItem {
  readonly name: string
  readonly table: Table
  readonly start: number
  readonly size: number
  readonly everyMs: number
}

/** One width of a request. Step n of a group reads what steps 0 to n ask for, whenever step n's period comes round. */
export interface PlanStep<T extends PlanItem> {
  readonly everyMs: number
  readonly start: number
  readonly count: number
  /** The items that are due with this step and not with an earlier one. */
  readonly items: readonly T[]
  /** Link time of the request when this step is the widest due, milliseconds. */
  readonly busMs: number
}

/**
 * Items read by the same request. Their periods are multiples of each other, the shortest first: most turns read only
 * the fast items' span, and every so often the same request is wider and brings the slow ones along.
 */
export interface PlanGroup<T extends PlanItem> {
  readonly table: Table
  readonly everyMs: number
  readonly steps: readonly PlanStep<T>[]
}

export interface Plan<T extends PlanItem> {
  readonly groups: readonly PlanGroup<T>[]
  /** Items that no request may cover, and why. */
  readonly unreadable: readonly { readonly item: T; readonly why: 'forbidden' | 'tooLong' }[]
  /** Share of the link's time, 0 to 1 and beyond. */
  readonly load: number
  /** The same with one request an item. */
  readonly naiveLoad: number
}

/** With more different periods than this, only the most natural ways to combine them are tried. */
const MAX_PERIODS_TRIED = 6

/**
 * The cheapest set of requests that reads every item at its period, covers no forbidden address and breaks no limit.
 *
 * Within one table and one period this is exact: with the items sorted by address some optimal solution cuts the sorted
 * list into runs (items of one request can always be exchanged until none of another lies between them, at no cost),
 * and dynamic programming finds the best cuts. Periods that divide one another may share requests; every way to
 * combine periods is tried, each planned exactly as runs.
 */
export function planReads<T extends PlanItem>(items: readonly T[], limits: ReadLimits, cost: ReadCost): Plan<T> {
  const groups: PlanGroup<T>[] = []
  const unreadable: Plan<T>['unreadable'][number][] = []
  let load = 0
  let naiveLoad = 0
  for (const table of TABLES) {
    const space = addressSpace(table, limits)
    const readable: T[] = []
    for (const item of items) {
      if (item.table !== table) continue
      const why = whyUnreadable(item, space)
      if (why !== undefined) unreadable.push({ item, why })
      else readable.push(item)
    }
    readable.sort((a, b) => a.start - b.start || a.start + a.size - (b.start + b.size))
    for (const item of readable) naiveLoad += requestMs(cost, table, spanOf(item, space).count) / item.everyMs
    const best = planTable(readable, space, cost)
    groups.push(...best.groups)
    load += best.load
  }
  return { groups, unreadable, load, naiveLoad }
}

interface Space {
  readonly table: Table
  readonly max: number
  readonly maxGap: number
  readonly single: boolean
  readonly fromZero: boolean
  readonly forbidden: readonly AddressRange[]
}

function addressSpace(table: Table, limits: ReadLimits): Space {
  const bits = isBitTable(table)
  return {
    table,
    max: bits ? limits.maxBits : limits.maxRegisters,
    maxGap: limits.maxGap ?? Number.POSITIVE_INFINITY,
    single: limits.onePerProperty,
    fromZero: bits && limits.bitsFromZero,
    forbidden: limits.forbidden.filter((range) => range.table === table),
  }
}

/** The request that covers one item or span; a device whose bits must be read from the first address widens it. */
function spanOf(item: { start: number; size: number }, space: Space): { start: number; count: number } {
  const end = item.start + item.size
  return space.fromZero && end <= space.max ? { start: 0, count: end } : { start: item.start, count: item.size }
}

function whyUnreadable(item: PlanItem, space: Space): 'forbidden' | 'tooLong' | undefined {
  if (item.size > space.max) return 'tooLong'
  const { start, count } = spanOf(item, space)
  return space.forbidden.some((range) => overlaps(range, start, start + count)) ? 'forbidden' : undefined
}

const overlaps = (range: AddressRange, start: number, end: number) =>
  range.start < range.end && range.start < end && range.end > start

const crosses = (range: AddressRange, start: number, end: number) =>
  range.start === range.end ? range.start > start && range.start < end : overlaps(range, start, end)

interface TablePlan<T extends PlanItem> {
  readonly groups: readonly PlanGroup<T>[]
  readonly load: number
}

function planTable<T extends PlanItem>(items: readonly T[], space: Space, cost: ReadCost): TablePlan<T> {
  const periods = [...new Set(items.map((item) => item.everyMs))].sort((a, b) => a - b)
  const known = new Map<string, TablePlan<T>>()
  const planFamily = (family: readonly number[]): TablePlan<T> => {
    const key = family.join()
    let plan = known.get(key)
    if (plan === undefined) {
      plan = cutIntoRuns(
        items.filter((item) => family.includes(item.everyMs)),
        family,
        space,
        cost,
      )
      known.set(key, plan)
    }
    return plan
  }
  let best: TablePlan<T> | undefined
  for (const families of waysToCombine(periods)) {
    const plans = families.map(planFamily)
    const load = plans.reduce((sum, plan) => sum + plan.load, 0)
    if (best === undefined || load < best.load - 1e-12) best = { groups: plans.flatMap((plan) => plan.groups), load }
  }
  return best ?? { groups: [], load: 0 }
}

const divides = (short: number, long: number) => Math.abs(long / short - Math.round(long / short)) < 1e-9

/** All ways to put ascending periods into families in which each period is a multiple of the one before it. */
function waysToCombine(periods: readonly number[]): readonly (readonly number[])[][] {
  if (periods.length > MAX_PERIODS_TRIED) {
    const separate = periods.map((period) => [period])
    return [separate, naturalFamilies(periods)]
  }
  let ways: number[][][] = [[]]
  for (const period of periods) {
    ways = ways.flatMap((families) => [
      [...families, [period]],
      ...families.flatMap((family, index) =>
        divides(family.at(-1)!, period) ? [families.with(index, [...family, period])] : [],
      ),
    ])
  }
  return ways
}

function naturalFamilies(periods: readonly number[]): number[][] {
  const families: number[][] = []
  for (const period of periods) {
    const fitting = families.find((family) => divides(family.at(-1)!, period))
    if (fitting === undefined) families.push([period])
    else fitting.push(period)
  }
  return families
}

/** Dynamic programming: the cheapest way to cut sorted items into runs, each one request. */
function cutIntoRuns<T extends PlanItem>(
  items: readonly T[],
  family: readonly number[],
  space: Space,
  cost: ReadCost,
): TablePlan<T> {
  const count = items.length
  const best = new Float64Array(count + 1).fill(Number.POSITIVE_INFINITY)
  const requests = new Int32Array(count + 1)
  const cutAt = new Int32Array(count + 1)
  best[0] = 0
  const run = new Run(family, space, cost)
  const enough = affordable(items, run)
  const least = leastFrom(items, family, space, cost)
  for (let from = 0; from < count; from++) {
    // Whatever follows, a plan that cuts here costs more than one that is known.
    if (best[from]! + least[from]! > enough + 1e-9) continue
    run.reset()
    for (let to = from; to < count && run.add(items[to]!); to++) {
      const load = best[from]! + run.load()
      const fewer = requests[from]! + 1 < requests[to + 1]!
      if (load < best[to + 1]! - 1e-12 || (load < best[to + 1]! + 1e-12 && fewer)) {
        best[to + 1] = load
        requests[to + 1] = requests[from]! + 1
        cutAt[to + 1] = from
      }
    }
  }
  const groups: PlanGroup<T>[] = []
  for (let to = count; to > 0; to = cutAt[to]!)
    groups.unshift(toGroup(items.slice(cutAt[to]!, to), family, space, cost))
  return { groups, load: best[count]! }
}

/** What some plan costs: the cheaper of runs as long as they may be and runs without a gap. */
function affordable(items: readonly PlanItem[], run: Run): number {
  const loads = [Number.POSITIVE_INFINITY, 0].map((gap) => {
    let load = 0
    let end = Number.NEGATIVE_INFINITY
    run.reset()
    for (const item of items) {
      if (item.start - end > gap || !run.add(item)) {
        load += run.load()
        run.reset()
        run.add(item)
      }
      end = Math.max(end, item.start + item.size)
    }
    return load + run.load()
  })
  return Math.min(...loads)
}

/**
 * What it costs at least to read the items from each one on: one request at the longest period, and the addresses that
 * no earlier item has, each at its own period.
 */
function leastFrom(
  items: readonly PlanItem[],
  family: readonly number[],
  { table }: Space,
  { fixedMs, byteMs }: ReadCost,
): Float64Array {
  const bytesEach = isBitTable(table) ? 1 / 8 : 2
  const data = new Float64Array(items.length + 1)
  let end = Number.NEGATIVE_INFINITY
  for (const [index, item] of items.entries()) {
    const itemEnd = item.start + item.size
    const fresh = Math.max(0, itemEnd - Math.max(end, item.start))
    data[index] = (fresh * bytesEach * byteMs) / item.everyMs
    end = Math.max(end, itemEnd)
  }
  for (let index = items.length - 1; index >= 0; index--) data[index]! += data[index + 1]!
  const request = fixedMs / family.at(-1)!
  return data.map((load) => load + request)
}

/** A run of sorted items while it grows: its span at every period of the family, and whether it may grow on. */
class Run {
  readonly #family: readonly number[]
  readonly #space: Space
  readonly #cost: ReadCost
  readonly #starts: Float64Array
  readonly #ends: Float64Array
  #size = 0
  #start = 0
  #end = 0

  constructor(family: readonly number[], space: Space, cost: ReadCost) {
    this.#family = family
    this.#space = space
    this.#cost = cost
    this.#starts = new Float64Array(family.length)
    this.#ends = new Float64Array(family.length)
  }

  reset(): void {
    this.#size = 0
    this.#starts.fill(Number.POSITIVE_INFINITY)
    this.#ends.fill(Number.NEGATIVE_INFINITY)
  }

  /** False when one request cannot hold the item too; no later item fits either then. */
  add(item: PlanItem): boolean {
    const itemEnd = item.start + item.size
    if (this.#size > 0 && !this.#mayGrow(item.start, Math.max(this.#end, itemEnd))) return false
    this.#start = this.#size === 0 ? item.start : this.#start
    this.#end = this.#size === 0 ? itemEnd : Math.max(this.#end, itemEnd)
    this.#size++
    for (let rank = this.#family.indexOf(item.everyMs); rank < this.#family.length; rank++) {
      this.#starts[rank] = Math.min(this.#starts[rank]!, item.start)
      this.#ends[rank] = Math.max(this.#ends[rank]!, itemEnd)
    }
    return true
  }

  #mayGrow(nextStart: number, end: number): boolean {
    const { single, max, maxGap, forbidden, fromZero } = this.#space
    const start = fromZero && end <= max ? 0 : this.#start
    if (single || end - start > max || nextStart - this.#end > maxGap) return false
    return !forbidden.some((range) => crosses(range, start, end))
  }

  /** Link time over time: the width of rank n is read as often as its period comes round and no longer one does. */
  load(): number {
    let load = 0
    for (let rank = 0; rank < this.#family.length; rank++) {
      const start = this.#starts[rank]!
      if (start === Number.POSITIVE_INFINITY) continue
      const next = this.#family[rank + 1]
      const perMs = 1 / this.#family[rank]! - (next === undefined ? 0 : 1 / next)
      const span = spanOf({ start, size: this.#ends[rank]! - start }, this.#space)
      load += perMs * requestMs(this.#cost, this.#space.table, span.count)
    }
    return load
  }
}

function toGroup<T extends PlanItem>(
  items: readonly T[],
  family: readonly number[],
  space: Space,
  cost: ReadCost,
): PlanGroup<T> {
  const steps: PlanStep<T>[] = []
  let start = Number.POSITIVE_INFINITY
  let end = 0
  for (const everyMs of family) {
    const due = items.filter((item) => item.everyMs === everyMs)
    if (due.length === 0) continue
    for (const item of due) {
      start = Math.min(start, item.start)
      end = Math.max(end, item.start + item.size)
    }
    const span = spanOf({ start, size: end - start }, space)
    steps.push({ everyMs, ...span, items: due, busMs: requestMs(cost, space.table, span.count) })
  }
  return { table: space.table, everyMs: steps[0]!.everyMs, steps }
}

/** Equal for plans that ask for the same, in words. */
export const shapeOf = (plan: Plan<PlanItem>): string =>
  plan.groups
    .map(
      ({ table, steps }) =>
        `${table} ${steps.map(({ start, count, everyMs }) => `${start}+${count}@${everyMs}`).join()}`,
    )
    .join('\n')
