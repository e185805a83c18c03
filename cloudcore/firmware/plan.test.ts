import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RolloutDevice } from '../../api/resources.ts'
import { seededRandom } from '../../hil/random.ts'
import { isDeviceEnd, type PlanAnswer, type PlanInput, planRollout, stagesOf } from './plan.ts'

type State = RolloutDevice['state']
interface Device {
  readonly name: string
  state: State
  readonly stage: number
}

const shapes = fc.record({
  count: fc.integer({ min: 1, max: 60 }),
  canary: fc.integer({ min: 1, max: 5 }),
  waves: fc.uniqueArray(fc.integer({ min: 1, max: 99 }), { maxLength: 4 }).map((waves) => [...waves, 100]),
  maxFailures: fc.integer({ min: 0, max: 3 }),
  onFailure: fc.constantFrom('rollBack' as const, 'halt' as const),
})
type Shape = typeof shapes extends fc.Arbitrary<infer T> ? T : never
const ENDS = ['confirmed', 'confirmed', 'confirmed', 'failed', 'rolledBack', 'gone'] as const satisfies readonly State[]
const WAYS = ['asking', 'fetching', 'sending', 'trying', 'checking'] as const satisfies readonly State[]
const seeds = fc.nat(1_000_000)
const failed = ({ state }: Device) => state === 'failed' || state === 'rolledBack'
const underWay = ({ state }: Device) => state !== 'pending' && !isDeviceEnd(state)
const quiet = { paused: false, ready: true, rollBack: false } as const

const fleetOf = ({ count, canary, waves }: Shape): Device[] => {
  const names = Array.from({ length: count }, (_, index) => `d${String(index).padStart(3, '0')}`)
  const stages = stagesOf(names, canary, waves)
  return names.map((name) => ({ name, state: 'pending', stage: stages.get(name) ?? -1 }))
}

function act(answer: PlanAnswer, devices: readonly Device[]): void {
  const set = (names: readonly string[], state: State) => {
    for (const device of devices) if (names.includes(device.name)) device.state = state
  }
  set(answer.begin, 'waiting')
  set(answer.goBack, 'reverting')
  set(answer.callOff, 'pending')
}

/** Plays a rollout with a controller that forgets everything but the status, and devices that end as the seed says. */
function play(
  shape: Shape,
  seed: number,
  look: (answer: PlanAnswer, devices: readonly Device[], input: PlanInput) => void,
  wish: (step: number) => Partial<PlanInput> = () => ({}),
) {
  const devices = fleetOf(shape)
  const random = seededRandom(seed)
  const draw = (most: number) => Math.floor(random() * most)
  const { maxFailures, onFailure } = shape
  for (let step = 0; step < shape.count * 12 + 20; step++) {
    const input = { ...quiet, devices, maxFailures, onFailure, ...wish(step) }
    const answer = planRollout(input)
    look(answer, devices, input)
    act(answer, devices)
    const busy = devices.filter(underWay)
    const over = answer.phase === 'Done' || answer.phase === 'RolledBack' || answer.phase === 'Halted'
    if (over && busy.length === 0) return { answer, devices }
    const chosen = busy[draw(busy.length)]
    if (chosen === undefined) continue
    if (chosen.state === 'reverting') chosen.state = draw(5) === 0 ? 'kept' : 'reverted'
    else chosen.state = draw(3) === 0 ? WAYS[draw(WAYS.length)]! : ENDS[draw(ENDS.length)]!
  }
  throw new Error('the rollout does not end')
}

describe('a rollout', () => {
  it('updates devices of one stage at a time, and never more than that stage has', () => {
    fc.assert(
      fc.property(shapes, seeds, (shape, seed) => {
        play(shape, seed, ({ begin, stage }, devices) => {
          const busy = devices.filter((device) => underWay(device) && device.state !== 'reverting')
          for (const { stage: own } of busy) expect(own).toBeLessThanOrEqual(stage)
          for (const name of begin) expect(devices.find((device) => device.name === name)?.stage).toBe(stage)
          const earlier = devices.filter((device) => device.stage < stage)
          if (begin.length > 0) expect(earlier.every(({ state }) => isDeviceEnd(state))).toBe(true)
        })
      }),
    )
  })

  it('never begins anything once a canary has failed, and calls off what was not tried yet', () => {
    fc.assert(
      fc.property(shapes, seeds, (shape, seed) => {
        const canaryBad = (devices: readonly Device[]) => devices.some((each) => each.stage === 0 && failed(each))
        const { answer, devices } = play(shape, seed, ({ begin, phase }, now) => {
          if (!canaryBad(now)) return
          expect(begin).toEqual([])
          expect(['Halted', 'RollingBack', 'RolledBack']).toContain(phase)
        })
        if (!canaryBad(devices)) return
        expect(devices.filter(({ stage }) => stage > 0).every(({ state }) => state === 'pending')).toBe(true)
        expect(answer.phase).not.toBe('Done')
      }),
    )
  })

  it('takes every device back once the image was not well on one of too many, and leaves none on it', () => {
    fc.assert(
      fc.property(shapes, seeds, (shape, seed) => {
        const { answer, devices } = play({ ...shape, onFailure: 'rollBack' }, seed, () => {})
        const failures = devices.filter(failed)
        const halted = failures.some(({ stage }) => stage === 0) || failures.length > shape.maxFailures
        if (!halted || !failures.some(({ state }) => state === 'rolledBack')) return
        expect(answer.phase).toBe('RolledBack')
        expect(devices.some(({ state }) => state === 'confirmed')).toBe(false)
      }),
    )
  })

  it('leaves confirmed devices as they are where onFailure says halt, and where no board found the image bad', () => {
    fc.assert(
      fc.property(shapes, seeds, (shape, seed) => {
        play({ ...shape, onFailure: 'halt' }, seed, ({ goBack }) => expect(goBack).toEqual([]))
      }),
    )
    const devices: Device[] = [
      { name: 'a', state: 'confirmed', stage: 0 },
      { name: 'b', state: 'failed', stage: 1 },
    ]
    const answer = planRollout({ ...quiet, devices, maxFailures: 0, onFailure: 'rollBack' })
    expect(answer).toMatchObject({ phase: 'Halted', goBack: [] })
  })

  it('goes back whenever it is told to, from any state, and then begins nothing any more', () => {
    fc.assert(
      fc.property(shapes, seeds, fc.nat(200), (shape, seed, from) => {
        const { answer, devices } = play(
          shape,
          seed,
          ({ begin }, _, { rollBack }) => {
            if (rollBack) expect(begin).toEqual([])
          },
          (step) => ({ rollBack: step >= from }),
        )
        if (answer.phase !== 'RolledBack') return
        expect(devices.some(({ state }) => state === 'confirmed')).toBe(false)
      }),
    )
  })

  it('ends, also when it begins anew from its status after every step, with every device served or halted', () => {
    fc.assert(
      fc.property(shapes, seeds, (shape, seed) => {
        const { answer, devices } = play(shape, seed, () => {})
        const failures = devices.filter(failed).length
        if (answer.phase === 'Done') {
          expect(devices.some((device) => device.state === 'pending' || underWay(device))).toBe(false)
          expect(failures).toBeLessThanOrEqual(shape.maxFailures)
        } else expect(failures).toBeGreaterThan(0)
      }),
    )
  })

  it('touches no device while it is paused, and goes on from there', () => {
    fc.assert(
      fc.property(shapes, seeds, fc.nat(7), (shape, seed, every) => {
        play(
          shape,
          seed,
          ({ begin, goBack }, _, { paused }) => {
            if (paused) expect([...begin, ...goBack]).toEqual([])
          },
          (step) => ({ paused: step % (every + 2) < every }),
        )
      }),
    )
  })

  it('gives every device a stage, as many to each as the percentages say', () => {
    fc.assert(
      fc.property(shapes, ({ count, canary, waves }) => {
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
    const still = { ...quiet, devices, maxFailures: 0, onFailure: 'rollBack' } as const
    expect(planRollout({ ...still, paused: true })).toMatchObject({ phase: 'Paused', begin: [] })
    expect(planRollout({ ...still, ready: false })).toMatchObject({ phase: 'Waiting', begin: [] })
  })
})
