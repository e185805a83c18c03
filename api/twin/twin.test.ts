import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Json } from '../resources.ts'
import {
  compareDesired,
  type Desired,
  emptyTwin,
  mergeDesired,
  mergeReported,
  mergeTwins,
  mergeWrite,
  type Reported,
  removeDesired,
  sameValue,
  type Twin,
  type WriteEnd,
  writeState,
} from './twin.ts'

type Step =
  | { readonly kind: 'report'; readonly report: Reported }
  | { readonly kind: 'desire'; readonly desired: Desired }
  | { readonly kind: 'remove'; readonly version: number }
  | { readonly kind: 'write'; readonly end: WriteEnd }

function apply(twin: Twin, step: Step): Twin {
  if (step.kind === 'report') return mergeReported(twin, step.report)
  if (step.kind === 'desire') return mergeDesired(twin, step.desired)
  if (step.kind === 'remove') return removeDesired(twin, step.version)
  return mergeWrite(twin, step.end)
}

const small = fc.integer({ min: 1, max: 6 })

// What an order or a version means is fixed: the same key always carries the same content, as on the real link.
const report = fc.record({ epoch: small, seq: small }).map(
  (order): Step => ({
    kind: 'report',
    report:
      (order.epoch + order.seq) % 3 === 0
        ? { atMs: order.seq, quality: 'bad(timeout)', order }
        : { value: order.epoch * 100 + order.seq, atMs: order.seq, quality: 'good', order },
  }),
)
const desire = fc.record({ version: small, local: fc.integer({ min: 0, max: 2 }) }).map(({ version, local }): Step => {
  const desired = { value: version * 10 + local, version, atMs: version }
  return { kind: 'desire', desired: local === 0 ? desired : { ...desired, local } }
})
const remove = small.map((version): Step => ({ kind: 'remove', version }))
const write = fc
  .record({
    version: small,
    local: fc.integer({ min: 0, max: 2 }),
    state: fc.constantFrom('applied', 'rejected', 'timedOut'),
    atMs: small,
  })
  .map(({ local, ...end }): Step => ({ kind: 'write', end: local === 0 ? end : { ...end, local } }))
const steps = fc.array(fc.oneof(report, desire, remove, write), { maxLength: 25 })

describe('a twin', () => {
  it('converges whatever order its history arrives in and however often parts are replayed', () => {
    fc.assert(
      fc.property(steps, fc.array(fc.nat(), { maxLength: 60 }), (history, picks) => {
        const straight = history.reduce(apply, emptyTwin)
        const shuffled = [...history]
          .map((step, index) => ({ step, sort: picks[index] ?? index }))
          .sort((a, b) => a.sort - b.sort)
          .map(({ step }) => step)
        const replayed = [...shuffled, ...picks.map((pick) => history[pick % (history.length || 1)])].filter(
          (step): step is Step => step !== undefined,
        )
        expect(replayed.reduce(apply, emptyTwin)).toEqual(straight)
      }),
      { numRuns: 500 },
    )
  })

  it('merges replicas in any grouping to the same state', () => {
    fc.assert(
      fc.property(steps, steps, steps, (a, b, c) => {
        const [x, y, z] = [a, b, c].map((history) => history.reduce(apply, emptyTwin)) as [Twin, Twin, Twin]
        expect(mergeTwins(mergeTwins(x, y), z)).toEqual(mergeTwins(x, mergeTwins(y, z)))
        expect(mergeTwins(x, y)).toEqual(mergeTwins(y, x))
        expect(mergeTwins(x, x)).toEqual(x)
      }),
      { numRuns: 500 },
    )
  })

  it('never lets a version go back', () => {
    fc.assert(
      fc.property(steps, (history) => {
        let twin = emptyTwin
        for (const step of history) {
          const next = apply(twin, step)
          if (twin.desired !== undefined && next.desired !== undefined) {
            expect(compareDesired(next.desired, twin.desired)).toBeGreaterThanOrEqual(0)
          }
          twin = next
        }
      }),
    )
  })

  it('does not resurrect what was removed', () => {
    fc.assert(
      fc.property(steps, small, (history, version) => {
        const twin = [...history, { kind: 'remove', version } as const, ...history].reduce(apply, emptyTwin)
        for (const item of [twin.desired, twin.write]) {
          if (item !== undefined) expect(compareDesired(item, { version })).toBeGreaterThan(0)
        }
      }),
    )
  })

  it('keeps a change made at the gateway on top of a removal, and lets the very next version of the cloud win', () => {
    const removed = removeDesired(mergeDesired(emptyTwin, { value: 1, version: 4, atMs: 0 }), 7)
    const local = mergeDesired(removed, { value: 2, version: 7, local: 1, atMs: 0 })
    expect(local.desired?.value).toBe(2)
    expect(removeDesired(local, 7)).toBe(local)
    expect(mergeDesired(local, { value: 3, version: 8, atMs: 0 }).desired?.value).toBe(3)
    expect(removeDesired(local, 8).desired).toBeUndefined()
  })

  it('keeps the last known value beside a failed reading', () => {
    const good = mergeReported(emptyTwin, { value: 7, atMs: 1, quality: 'good', order: { epoch: 1, seq: 1 } })
    const failed = mergeReported(good, { atMs: 2, quality: 'bad(timeout)', order: { epoch: 1, seq: 2 } })
    expect(failed.reported?.quality).toBe('bad(timeout)')
    expect(failed.known?.value).toBe(7)
  })

  it('ends a write once: a late second outcome of the same version changes nothing', () => {
    const desired = mergeDesired(emptyTwin, { value: 1, version: 3, atMs: 0 })
    const applied = mergeWrite(desired, { version: 3, state: 'applied', atMs: 5 })
    expect(mergeWrite(applied, { version: 3, state: 'timedOut', atMs: 6 })).toBe(applied)
    expect(mergeWrite(applied, { version: 2, state: 'rejected', atMs: 6 })).toBe(applied)
  })
})

describe('the state a person sees', () => {
  const order = { epoch: 1, seq: 1 }
  const desired = mergeDesired(emptyTwin, { value: 50, version: 2, atMs: 0 })
  const applied = mergeWrite(desired, { version: 2, state: 'applied', atMs: 1 })

  it('is pending until the version in force has ended', () => {
    expect(writeState(desired, false)).toBe('pending')
    expect(writeState(mergeDesired(applied, { value: 51, version: 3, atMs: 2 }), false)).toBe('pending')
  })

  it('is synced while readings confirm the desired value and applied when the device drifts', () => {
    const equal = mergeReported(applied, { value: 50, atMs: 2, quality: 'good', order })
    const drifted = mergeReported(applied, { value: 49, atMs: 2, quality: 'good', order })
    expect(writeState(equal, false)).toBe('synced')
    expect(writeState(drifted, false)).toBe('applied')
    expect(writeState(drifted, false, 1)).toBe('synced')
  })

  it('is stale while the source is silent, but keeps an end that is already known', () => {
    const rejected = mergeWrite(desired, { version: 2, state: 'rejected', atMs: 1, reason: 'too high' })
    expect(writeState(applied, true)).toBe('stale')
    expect(writeState(rejected, true)).toBe('rejected')
    expect(writeState(desired, true)).toBe('pending')
  })

  it('is absent when nothing is desired', () => {
    expect(writeState(emptyTwin, false)).toBeUndefined()
  })
})

describe('sameValue', () => {
  const json = fc.jsonValue({ noUnicodeString: false }) as fc.Arbitrary<Json>

  it('holds for a value and its JSON round trip', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(sameValue(value, JSON.parse(JSON.stringify(value)))).toBe(true)
      }),
    )
  })

  it('ignores the order of keys and notices every difference', () => {
    expect(sameValue({ a: 1, b: [1, 2] }, { b: [1, 2], a: 1 })).toBe(true)
    expect(sameValue({ a: 1 }, { a: 1, b: undefined as unknown as Json })).toBe(false)
    expect(sameValue([1, 2], [2, 1])).toBe(false)
    expect(sameValue({}, [])).toBe(false)
  })
})
