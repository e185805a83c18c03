import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { planRollout, type RolloutPlan, resolveShare, type SetView } from './rollout.ts'

describe('the steps of a rollout', () => {
  it('rounds a surge up and what may be missing down', () => {
    expect([
      resolveShare('25%', 3, 'up'),
      resolveShare('25%', 3, 'down'),
      resolveShare(2, 9, 'up'),
      resolveShare('x', 9, 'up'),
    ]).toEqual([1, 0, 2, 0])
  })

  it('end with the newest alone, within the bounds at every step, whatever becomes ready when (property)', () => {
    const scenario = fc.record({
      wanted: fc.integer({ min: 0, max: 12 }),
      surge: fc.integer({ min: 0, max: 4 }),
      unavailable: fc.integer({ min: 0, max: 4 }),
      recreate: fc.boolean(),
      old: fc.array(fc.record({ replicas: fc.integer({ min: 0, max: 6 }), sick: fc.integer({ min: 0, max: 6 }) }), {
        maxLength: 3,
      }),
      luck: fc.array(fc.nat(2), { minLength: 1, maxLength: 20 }),
    })
    fc.assert(
      fc.property(scenario, ({ wanted, surge, unavailable, recreate, old, luck }) => {
        const plan: RolloutPlan = { wanted, surge, unavailable: surge + unavailable === 0 ? 1 : unavailable, recreate }
        let sets: SetView[] = [
          ...old.map(({ replicas, sick }, index) => ({
            ...{ name: `old-${index}`, newest: false, createdAt: String(index), replicas, existing: replicas },
            available: Math.max(0, replicas - sick),
          })),
          { name: 'new', newest: true, createdAt: '9', replicas: 0, existing: 0, available: 0 },
        ]
        const before = sets.reduce((sum, set) => sum + set.replicas, 0)
        for (let round = 0; round < 200; round++) {
          const serving = sets.reduce((sum, set) => sum + set.available, 0)
          const steps = planRollout(sets, plan)
          sets = sets.map((set) => {
            const replicas = steps.find(({ name }) => name === set.name)?.replicas ?? set.replicas
            const available = Math.min(set.available, replicas)
            const more = set.newest ? (luck[round % luck.length] ?? 0) + (round > 20 ? 1 : 0) : 0
            return { ...set, replicas, existing: replicas, available: Math.min(replicas, available + more) }
          })
          const total = sets.reduce((sum, set) => sum + set.replicas, 0)
          expect(total).toBeLessThanOrEqual(Math.max(before, wanted + surge))
          const now = sets.reduce((sum, set) => sum + set.available, 0)
          if (!recreate) expect(now).toBeGreaterThanOrEqual(Math.min(serving, wanted - plan.unavailable))
        }
        expect(sets.map(({ replicas }) => replicas)).toEqual([...old.map(() => 0), wanted])
      }),
    )
  })
})
