import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RolloutDevice } from '../../api/resources.ts'
import { planRollout, stagesOf } from './plan.ts'

type State = RolloutDevice['state']

const fleet = fc.record({
  count: fc.integer({ min: 1, max: 60 }),
  canary: fc.integer({ min: 1, max: 5 }),
  waves: fc.uniqueArray(fc.integer({ min: 1, max: 99 }), { maxLength: 4 }).map((waves) => [...waves, 100]),
  maxFailures: fc.integer({ min: 0, max: 3 }),
})
const ENDS = ['confirmed', 'confirmed', 'confirmed', 'failed', 'rolledBack', 'gone'] as const satisfies readonly State[]

/** Plays a rollout with a controller that forgets everything but the status, and devices that end as `ends` says. */
function play(
  { count, canary, waves, maxFailures }: { count: number; canary: number; waves: number[]; maxFailures: number },
  ends: readonly number[],
  look: (
    answer: ReturnType<typeof planRollout>,
    devices: readonly { name: string; state: State; stage: number }[],
  ) => void,
) {
  const names = Array.from({ length: count }, (_, index) => `d${String(index).padStart(3, '0')}`)
  const stages = stagesOf(names, canary, waves)
  const devices = names.map((name) => ({ name, state: 'pending' as State, stage: stages.get(name) ?? -1 }))
  for (let step = 0; step < count * 3 + 5; step++) {
    const answer = planRollout({ devices, paused: false, ready: true, maxFailures })
    look(answer, devices)
    for (const name of answer.begin) devices.find((device) => device.name === name)!.state = 'sending'
    const busy = devices.filter(({ state }) => state === 'sending')
    if (answer.phase === 'Done' || (answer.phase === 'Halted' && busy.length === 0)) return { answer, devices }
    const chosen = busy[(ends[step % ends.length] ?? 0) % Math.max(1, busy.length)]
    if (chosen !== undefined) chosen.state = ENDS[(ends[(step * 7) % ends.length] ?? 0) % ENDS.length]!
  }
  throw new Error('the rollout does not end')
}

const seeds = fc.array(fc.nat(1000), { minLength: 5, maxLength: 40 })

describe('a rollout', () => {
  it('updates devices of one stage at a time, and never more than that stage has', () => {
    fc.assert(
      fc.property(fleet, seeds, (shape, ends) => {
        play(shape, ends, ({ begin, stage }, devices) => {
          const busy = devices.filter(({ state }) => state === 'sending')
          for (const { stage: own } of busy) expect(own).toBeLessThanOrEqual(stage)
          for (const name of begin) expect(devices.find((device) => device.name === name)?.stage).toBe(stage)
          const earlier = devices.filter((device) => device.stage < stage)
          if (begin.length > 0) expect(earlier.every(({ state }) => ENDS.some((end) => end === state))).toBe(true)
        })
      }),
    )
  })

  it('never begins anything once a canary has failed', () => {
    fc.assert(
      fc.property(fleet, seeds, (shape, ends) => {
        const { answer, devices } = play(shape, ends, ({ begin, phase }, now) => {
          const canaryBad = now.some(
            ({ stage, state }) => stage === 0 && (state === 'failed' || state === 'rolledBack'),
          )
          if (!canaryBad) return
          expect(begin).toEqual([])
          expect(phase).toBe('Halted')
        })
        const canaryBad = devices.some(
          ({ stage, state }) => stage === 0 && (state === 'failed' || state === 'rolledBack'),
        )
        if (canaryBad)
          expect(devices.filter(({ stage }) => stage > 0).every(({ state }) => state === 'pending')).toBe(true)
        expect(answer.phase === 'Done' || answer.phase === 'Halted').toBe(true)
      }),
    )
  })

  it('ends, also when it begins anew from its status after every step, with every device served or halted', () => {
    fc.assert(
      fc.property(fleet, seeds, (shape, ends) => {
        const { answer, devices } = play(shape, ends, () => {})
        const failures = devices.filter(({ state }) => state === 'failed' || state === 'rolledBack').length
        if (answer.phase === 'Done') {
          expect(devices.some(({ state }) => state === 'pending' || state === 'sending')).toBe(false)
          expect(failures).toBeLessThanOrEqual(shape.maxFailures)
        } else expect(failures).toBeGreaterThan(0)
      }),
    )
  })

  it('gives every device a stage, as many to each as the percentages say', () => {
    fc.assert(
      fc.property(fleet, ({ count, canary, waves }) => {
        const names = Array.from({ length: count }, (_, index) => `${index}`)
        const stages = stagesOf(names, canary, waves)
        expect(stages.size).toBe(count)
        const upTo = (stage: number) => [...stages.values()].filter((own) => own <= stage).length
        expect(upTo(0)).toBe(Math.min(canary, count))
        for (const [index, percent] of [...waves].sort((a, b) => a - b).entries())
          expect(upTo(index + 1)).toBe(Math.max(Math.min(canary, count), Math.ceil((count * percent) / 100)))
      }),
    )
  })

  it('begins nothing while it is paused or the release is not ready', () => {
    const devices = [{ name: 'a', state: 'pending' as const, stage: 0 }]
    expect(planRollout({ devices, paused: true, ready: true, maxFailures: 0 })).toMatchObject({
      phase: 'Paused',
      begin: [],
    })
    expect(planRollout({ devices, paused: false, ready: false, maxFailures: 0 })).toMatchObject({
      phase: 'Waiting',
      begin: [],
    })
  })
})
