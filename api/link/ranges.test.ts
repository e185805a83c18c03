import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { SeqRange } from './messages.ts'
import { addRange, contains, missing } from './ranges.ts'

const range = fc
  .record({ first: fc.integer({ min: 1, max: 60 }), length: fc.integer({ min: 0, max: 8 }) })
  .map(({ first, length }): SeqRange => [first, first + length])
const ranges = fc.array(range, { maxLength: 12 })

const members = (list: readonly SeqRange[]): Set<number> => {
  const set = new Set<number>()
  for (const [first, last] of list) for (let seq = first; seq <= last; seq++) set.add(seq)
  return set
}

const normal = (list: readonly SeqRange[]): readonly SeqRange[] =>
  list.reduce<readonly SeqRange[]>((all, added) => addRange(all, added), [])

describe('ranges of sequence numbers', () => {
  it('hold exactly the numbers that were added, in whatever order', () => {
    fc.assert(
      fc.property(ranges, (list) => {
        expect(members(normal(list))).toEqual(members(list))
        expect(normal([...list].reverse())).toEqual(normal(list))
      }),
    )
  })

  it('stay sorted, disjoint and never touch', () => {
    fc.assert(
      fc.property(ranges, (list) => {
        const set = normal(list)
        for (let index = 1; index < set.length; index++) expect(set[index]![0]).toBeGreaterThan(set[index - 1]![1] + 1)
      }),
    )
  })

  it('know what they contain', () => {
    fc.assert(
      fc.property(ranges, fc.integer({ min: 1, max: 80 }), (list, seq) => {
        expect(contains(normal(list), seq)).toBe(members(list).has(seq))
      }),
    )
  })

  it('name what is missing: together with what is there it fills the span, without overlap', () => {
    fc.assert(
      fc.property(ranges, range, (list, within) => {
        const there = members(normal(list))
        const gaps = missing(normal(list), within)
        for (let seq = within[0]; seq <= within[1]; seq++) expect(contains(gaps, seq)).toBe(!there.has(seq))
        expect(gaps.every(([first, last]) => within[0] <= first && last <= within[1])).toBe(true)
      }),
    )
  })
})
