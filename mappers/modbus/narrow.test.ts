import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AddressRange, ReadLimits } from './device-config.ts'
import { narrow, type ReadRange, rangeOf } from './narrow.ts'
import { type PlanItem, planReads } from './plan.ts'
import { readCost } from './plan-cost.ts'

const cost = readCost({ kind: 'tcp' }, 5)
const limits = (forbidden: readonly AddressRange[]): ReadLimits => ({
  maxRegisters: 125,
  maxBits: 2000,
  maxGap: undefined,
  onePerProperty: false,
  bitsFromZero: false,
  forbidden,
})

const item = (start: number, size: number, index: number): PlanItem => ({
  name: `p${index}`,
  table: 'holding',
  start,
  size,
  everyMs: 1000,
})

/** A device with holes that gives at most `max` registers at once. */
function device(holes: ReadonlySet<number>, max: number) {
  let requests = 0
  const gives = (start: number, count: number) => {
    if (count > max) return false
    for (let address = start; address < start + count; address++) if (holes.has(address)) return false
    return true
  }
  const read = ({ start, count }: ReadRange) => {
    requests++
    return gives(start, count)
  }
  return { gives, read, requests: () => requests }
}

/** Plans, reads, learns, and plans again until nothing is refused any more. */
async function learn(items: readonly PlanItem[], far: ReturnType<typeof device>) {
  const known: AddressRange[] = []
  for (let round = 0; round < 200; round++) {
    const plan = planReads(items, limits(known), cost)
    const parts = plan.groups.map(({ steps }) => steps[0]!)
    const refused = parts.find((step) => !far.gives(step.start, step.count))
    if (refused === undefined) return { plan, known }
    const learnt = await narrow(
      refused.items,
      { table: 'holding', start: refused.start, count: refused.count },
      {
        read: async (_, range) => (far.read(range) ? 'answered' : 'refused'),
        rangeOf: (some) => rangeOf(some, false),
      },
    )
    expect(learnt.length).toBeGreaterThan(0)
    known.push(...learnt)
  }
  throw new Error('does not come to an end')
}

describe('narrowing down what a device refuses', () => {
  it('ends with a plan that the device answers, without giving up anything it has', async () => {
    const items = fc.array(fc.tuple(fc.nat(200), fc.constantFrom(1, 2, 4)), { minLength: 1, maxLength: 25 })
    const holes = fc.uniqueArray(fc.nat(204), { maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(items, holes, fc.constantFrom(4, 10, 50, 125), async (places, gaps, max) => {
        const wanted = places.map(([start, size], index) => item(start, size, index))
        const far = device(new Set(gaps), max)
        const { plan } = await learn(wanted, far)
        const served = new Set(plan.groups.flatMap(({ steps }) => steps[0]!.items))
        for (const one of wanted) {
          const alone = far.gives(one.start, one.size)
          if (!alone) expect(served.has(one), one.name).toBe(false)
          // Something in the very same registers as a refused value is taken for refused too.
          const shares = wanted.some(
            (other) =>
              !far.gives(other.start, other.size) &&
              other.start < one.start + one.size &&
              one.start < other.start + other.size,
          )
          if (alone && !shares) expect(served.has(one), one.name).toBe(true)
        }
      }),
      { numRuns: 200 },
    )
  })

  it('asks about twice the logarithm of the number of properties to find one', async () => {
    const items = Array.from({ length: 64 }, (_, index) => item(index, 1, index))
    const far = device(new Set([37]), 125)
    const { known } = await learn(items, far)
    expect(known).toEqual([{ table: 'holding', start: 37, end: 38 }])
    expect(far.requests()).toBeLessThanOrEqual(13)
  })

  it('learns nothing from a read that failed for another reason', async () => {
    const items = [item(0, 1, 0), item(5, 1, 1)]
    const learnt = await narrow(
      items,
      { table: 'holding', start: 0, count: 6 },
      {
        read: async () => 'failed',
        rangeOf: (some) => rangeOf(some, false),
      },
    )
    expect(learnt).toEqual([])
  })
})
