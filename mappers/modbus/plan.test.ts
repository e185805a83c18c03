import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ReadLimits } from './device-config.ts'
import { type Plan, type PlanItem, planReads } from './plan.ts'
import { readCost, requestMs, worthwhileGap } from './plan-cost.ts'
import type { Table } from './tables.ts'

const rtu = (baud: number, turnaroundMs: number) =>
  readCost({ kind: 'rtu', charMs: 11_000 / baud, silenceMs: baud > 19_200 ? 1.75 : 38_500 / baud, baud }, turnaroundMs)
const tcp = readCost({ kind: 'tcp' }, 2)

const free: ReadLimits = {
  maxRegisters: 125,
  maxBits: 2000,
  maxGap: undefined,
  onePerProperty: false,
  bitsFromZero: false,
  forbidden: [],
}

const item = (start: number, size = 1, everyMs = 1000, table: Table = 'holding'): PlanItem => ({
  name: `${table}-${start}-${size}-${everyMs}`,
  table,
  start,
  size,
  everyMs,
})

const requests = (plan: Plan<PlanItem>) =>
  plan.groups.flatMap((group) => group.steps.map((step) => [group.table, step.start, step.count, step.everyMs]))

const anyItem = (span: number) =>
  fc
    .record({
      start: fc.nat(span),
      size: fc.constantFrom(1, 1, 2, 2, 4, 8),
      everyMs: fc.constantFrom(500, 1000, 1500, 2000, 60_000),
      table: fc.constantFrom('holding' as const, 'input' as const, 'coil' as const),
    })
    .map(({ start, size, everyMs, table }) => item(start, table === 'coil' ? 1 : size, everyMs, table))

const anyLimits: fc.Arbitrary<ReadLimits> = fc.record({
  maxRegisters: fc.constantFrom(8, 16, 125),
  maxBits: fc.constantFrom(16, 2000),
  maxGap: fc.constantFrom(undefined, 0, 5),
  onePerProperty: fc.boolean(),
  bitsFromZero: fc.boolean(),
  forbidden: fc.array(
    fc
      .record({
        table: fc.constantFrom('holding' as const, 'input' as const, 'coil' as const),
        start: fc.nat(300),
        count: fc.nat(6),
      })
      .map(({ table, start, count }) => ({ table, start, end: start + count })),
    { maxLength: 4 },
  ),
})

const anyCost = fc.constantFrom(rtu(9600, 5), rtu(115_200, 5), rtu(19_200, 50), tcp)

describe('the planner', () => {
  it('chooses the gaps that the formula gives', () => {
    expect(worthwhileGap(rtu(9600, 5))).toBe(12)
    expect(worthwhileGap(rtu(115_200, 5))).toBe(51)
  })

  it('reads through a gap that is worth it and asks twice over one that is not', () => {
    expect(requests(planReads([item(0), item(13)], free, rtu(9600, 5)))).toEqual([['holding', 0, 14, 1000]])
    expect(requests(planReads([item(0), item(14)], free, rtu(9600, 5)))).toHaveLength(2)
    expect(requests(planReads([item(0), item(124)], free, tcp))).toEqual([['holding', 0, 125, 1000]])
    expect(requests(planReads([item(0), item(125)], free, tcp))).toHaveLength(2)
  })

  it('cuts where it is cheapest and not where a greedy reader would', () => {
    // Filling the first request to its limit of 10 would take 0..9 and leave a second one for 10..19 with a gap.
    const items = [item(0, 2), item(8, 2), item(10, 2), item(18, 2)]
    const plan = planReads(items, { ...free, maxRegisters: 12 }, rtu(9600, 5))
    expect(plan.load).toBeLessThanOrEqual(bestOfAll(items, { ...free, maxRegisters: 12 }, rtu(9600, 5)) + 1e-12)
  })

  it('lets a slow property ride on a fast request and reads it only when it is due', () => {
    const plan = planReads([item(0, 2), item(4, 2, 60_000)], free, rtu(9600, 5))
    expect(requests(plan)).toEqual([
      ['holding', 0, 2, 1000],
      ['holding', 0, 6, 60_000],
    ])
    expect(plan.groups).toHaveLength(1)
  })

  it('keeps periods apart that are no multiples of one another', () => {
    expect(planReads([item(0, 1, 1000), item(1, 1, 1500)], free, tcp).groups).toHaveLength(2)
  })

  it('halves the time of twenty scattered registers at least', () => {
    const items = Array.from({ length: 20 }, (_, index) => item(index * 3))
    const plan = planReads(items, free, rtu(9600, 5))
    expect(plan.naiveLoad / plan.load).toBeGreaterThan(3.5)
  })

  it('starts bit reads at the first address for devices that want it', () => {
    const plan = planReads([item(3, 1, 1000, 'coil'), item(9, 1, 1000, 'coil')], { ...free, bitsFromZero: true }, tcp)
    expect(requests(plan)).toEqual([['coil', 0, 10, 1000]])
  })

  it('says which items it cannot read', () => {
    const limits = { ...free, maxRegisters: 4, forbidden: [{ table: 'holding' as const, start: 5, end: 7 }] }
    const plan = planReads([item(0, 8), item(4, 2), item(7, 2)], limits, tcp)
    expect(plan.unreadable.map(({ item: { start }, why }) => [start, why])).toEqual([
      [0, 'tooLong'],
      [4, 'forbidden'],
    ])
    expect(requests(plan)).toEqual([['holding', 7, 2, 1000]])
  })

  it('serves every item exactly once at its period, within all limits, never dearer than one by one', () => {
    fc.assert(
      fc.property(fc.array(anyItem(300), { maxLength: 40 }), anyLimits, anyCost, (items, limits, cost) => {
        const plan = planReads(items, limits, cost)
        const served = plan.groups.flatMap((group) => group.steps.flatMap((step) => step.items))
        expect(served.length + plan.unreadable.length).toBe(items.length)
        expect(new Set([...served, ...plan.unreadable.map(({ item }) => item)]).size).toBe(items.length)
        for (const group of plan.groups) checkGroup(group, limits)
        expect(plan.load).toBeLessThanOrEqual(plan.naiveLoad + 1e-9)
        expect(plan.load).toBeCloseTo(loadOf(plan), 9)
      }),
      { numRuns: 300 },
    )
  })

  it('finds what trying everything finds, for one period', () => {
    const small = fc.array(
      fc.record({ start: fc.nat(40), size: fc.constantFrom(1, 2, 4, 8) }).map(({ start, size }) => item(start, size)),
      { maxLength: 7 },
    )
    fc.assert(
      fc.property(small, anyLimits, fc.constantFrom(rtu(9600, 0), rtu(115_200, 0), tcp), (items, limits, cost) => {
        const plan = planReads(items, limits, cost)
        const readable = items.filter((one) => !plan.unreadable.some(({ item }) => item === one))
        expect(plan.load).toBeCloseTo(bestOfAll(readable, limits, cost), 9)
      }),
      { numRuns: 200 },
    )
  })

  it('is never dearer than planning each period for itself', () => {
    fc.assert(
      fc.property(fc.array(anyItem(100), { maxLength: 25 }), anyCost, (items, cost) => {
        const apart = [...new Set(items.map(({ everyMs }) => everyMs))]
          .map(
            (everyMs) =>
              planReads(
                items.filter((one) => one.everyMs === everyMs),
                free,
                cost,
              ).load,
          )
          .reduce((sum, load) => sum + load, 0)
        expect(planReads(items, free, cost).load).toBeLessThanOrEqual(apart + 1e-9)
      }),
    )
  })

  it('plans a thousand properties in a blink', () => {
    const items = Array.from({ length: 1000 }, (_, index) => item(index * 3, 2, [1000, 5000, 60_000][index % 3]!))
    const before = process.cpuUsage()
    planReads(items, free, rtu(9600, 5))
    // Of the processor, not of the clock: what else runs on this machine is no part of a plan.
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / 1000).toBeLessThan(1000)
  })
})

function checkGroup(group: Plan<PlanItem>['groups'][number], limits: ReadLimits): void {
  const max = group.table === 'coil' ? limits.maxBits : limits.maxRegisters
  const seen: PlanItem[] = []
  let before = 0
  for (const step of group.steps) {
    seen.push(...step.items)
    expect(step.everyMs % group.everyMs).toBe(0)
    expect(step.everyMs).toBeGreaterThan(before)
    before = step.everyMs
    expect(step.count).toBeLessThanOrEqual(max)
    for (const one of step.items) expect(one.everyMs).toBe(step.everyMs)
    for (const one of seen) {
      expect(one.table).toBe(group.table)
      expect(one.start).toBeGreaterThanOrEqual(step.start)
      expect(one.start + one.size).toBeLessThanOrEqual(step.start + step.count)
    }
    for (const range of limits.forbidden) {
      const touches = range.table === group.table && range.start < range.end
      expect(touches && range.start < step.start + step.count && range.end > step.start).toBe(false)
    }
    if (limits.onePerProperty) expect(seen).toHaveLength(1)
  }
}

/** Link time over one hour, turn by turn. */
function loadOf(plan: Plan<PlanItem>): number {
  let load = 0
  for (const group of plan.groups) {
    group.steps.forEach((step, index) => {
      const wider = group.steps[index + 1]
      load += step.busMs * (1 / step.everyMs - (wider === undefined ? 0 : 1 / wider.everyMs))
    })
  }
  return load
}

/** Every way to put the items into requests. */
function bestOfAll(items: readonly PlanItem[], limits: ReadLimits, cost: ReturnType<typeof rtu>): number {
  const price = (group: readonly PlanItem[]): number => {
    const sorted = [...group].sort((a, b) => a.start - b.start)
    const start = sorted[0]!.start
    let end = start
    for (const one of sorted) {
      if (one !== sorted[0] && one.start - end > (limits.maxGap ?? Number.POSITIVE_INFINITY))
        return Number.POSITIVE_INFINITY
      end = Math.max(end, one.start + one.size)
    }
    if (group.length > 1) {
      const bad = limits.forbidden.some(
        (range) =>
          range.table === 'holding' &&
          (range.start === range.end
            ? range.start > start && range.start < end
            : range.start < end && range.end > start),
      )
      if (bad || limits.onePerProperty || end - start > limits.maxRegisters) return Number.POSITIVE_INFINITY
    }
    return requestMs(cost, 'holding', end - start) / 1000
  }
  const search = (index: number, groups: PlanItem[][]): number => {
    if (index === items.length) return groups.reduce((sum, group) => sum + price(group), 0)
    let best = search(index + 1, [...groups, [items[index]!]])
    groups.forEach((group, at) => {
      best = Math.min(best, search(index + 1, groups.with(at, [...group, items[index]!])))
    })
    return best
  }
  return search(0, [])
}
