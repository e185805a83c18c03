import type { SeqRange } from './messages.ts'

/** Sets of sequence numbers as sorted, disjoint, non-adjacent inclusive ranges. All functions are pure. */

export function addRange(ranges: readonly SeqRange[], added: SeqRange): readonly SeqRange[] {
  let [first, last] = added
  const before: SeqRange[] = []
  const after: SeqRange[] = []
  for (const range of ranges) {
    if (range[1] < first - 1) before.push(range)
    else if (range[0] > last + 1) after.push(range)
    else {
      first = Math.min(first, range[0])
      last = Math.max(last, range[1])
    }
  }
  return [...before, [first, last], ...after]
}

export function contains(ranges: readonly SeqRange[], seq: number): boolean {
  return ranges.some(([first, last]) => first <= seq && seq <= last)
}

/** The numbers of `within` that are not in `ranges`. */
export function missing(ranges: readonly SeqRange[], within: SeqRange): readonly SeqRange[] {
  const out: SeqRange[] = []
  let next = within[0]
  for (const [first, last] of ranges) {
    if (last < next) continue
    if (first > within[1]) break
    if (first > next) out.push([next, first - 1])
    next = last + 1
  }
  if (next <= within[1]) out.push([next, within[1]])
  return out
}
