import type { AddressRange } from './device-config.ts'
import type { PlanItem } from './plan.ts'
import type { Table } from './tables.ts'

export interface ReadRange {
  readonly table: Table
  readonly start: number
  readonly count: number
}

export interface NarrowTools<T extends PlanItem> {
  /** Reads `range` for `items`. `refused` means exception 2 or 3, `failed` that nothing can be said. */
  read(items: readonly T[], range: ReadRange): Promise<'answered' | 'refused' | 'failed'>
  rangeOf(items: readonly T[]): ReadRange
}

/** The smallest range with all items in it. */
export function rangeOf(items: readonly PlanItem[], fromZero: boolean): ReadRange {
  const table = items[0]!.table
  const bits = table === 'coil' || table === 'discrete'
  const start = fromZero && bits ? 0 : Math.min(...items.map((item) => item.start))
  return { table, start, count: Math.max(...items.map((item) => item.start + item.size)) - start }
}

/**
 * After the device refused `range` as a whole: halves it until the cause is known. An item that is refused alone is a
 * hole. Two parts that are answered alone but refused together have a hole in the gap between them, or, side by side,
 * a border that no read may cross (some devices answer only whole blocks, or fewer registers than they say).
 * Learns at least one range unless something `failed` on the way; costs about 2 log2(items) requests a hole.
 */
export async function narrow<T extends PlanItem>(
  items: readonly T[],
  range: ReadRange,
  tools: NarrowTools<T>,
): Promise<readonly AddressRange[]> {
  const learnt: AddressRange[] = []
  const sorted = [...items].sort((a, b) => a.start - b.start)
  const { table } = range

  const part = async (some: readonly T[]): Promise<'whole' | 'trouble'> => {
    const partRange = tools.rangeOf(some)
    const result = await tools.read(some, partRange)
    if (result === 'answered') return 'whole'
    if (result === 'refused') await split(some, partRange)
    return 'trouble'
  }

  const split = async (some: readonly T[], refused: ReadRange): Promise<void> => {
    const cut = bestCut(some)
    if (cut === undefined) {
      const own = tools.rangeOf(some)
      if (own.start === refused.start && own.count === refused.count) {
        learnt.push({ table, start: some[0]!.start, end: own.start + own.count })
      } else if ((await part(some)) === 'whole') {
        learnt.push({ table, start: own.start + own.count, end: refused.start + refused.count })
      }
      return
    }
    const left = await part(some.slice(0, cut))
    const right = await part(some.slice(cut))
    if (left !== 'whole' || right !== 'whole') return
    const leftRange = tools.rangeOf(some.slice(0, cut))
    const rightStart = some[cut]!.start
    learnt.push({ table, start: Math.min(leftRange.start + leftRange.count, rightStart), end: rightStart })
  }

  await split(sorted, range)
  return learnt
}

/** Where to cut: at the widest gap, the one nearest the middle among equals; undefined when all lie in one place. */
function bestCut(sorted: readonly PlanItem[]): number | undefined {
  const middle = sorted.length / 2
  let best: { cut: number; gap: number } | undefined
  let end = sorted[0]!.start + sorted[0]!.size
  for (let cut = 1; cut < sorted.length; cut++) {
    const { start, size } = sorted[cut]!
    const gap = start - end
    const nearer = best === undefined || Math.abs(cut - middle) < Math.abs(best.cut - middle)
    // Items in the very same place cannot be told apart by reading.
    const apart = start > sorted[cut - 1]!.start || start + size > end
    if (apart && (best === undefined || gap > best.gap || (gap === best.gap && nearer))) best = { cut, gap }
    end = Math.max(end, start + size)
  }
  return best?.cut
}
