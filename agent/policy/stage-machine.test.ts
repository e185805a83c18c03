import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { GatewayPolicy } from '../../api/schema/policy.ts'
import { type PolicyFacts, UNKNOWN_MS } from './conditions.ts'
import { DEFAULT_HOLD_MS, StageMachine } from './stage-machine.ts'

const policy: GatewayPolicy = {
  stages: [
    { name: 'saver', when: [{ onBattery: true, batteryBelow: 50 }, { hotterThan: 75 }], poll: 4 },
    { name: 'survival', when: [{ batteryBelow: 15 }, { emptyWithin: '30m' }], poll: 20, hold: '10m', after: '10s' },
  ],
}

/** Feeds one fact a second and notes every change. */
function drive(machine: StageMachine, facts: (second: number) => PolicyFacts, seconds: number, fromS = 0): string[] {
  const changes: string[] = []
  for (let second = fromS; second < fromS + seconds; second++) {
    const change = machine.take(facts(second), second * 1000)
    if (change !== undefined) changes.push(`${second}s ${change.from} -> ${change.to}: ${change.why}`)
  }
  return changes
}

describe('the stages of a policy', () => {
  it('begin after their conditions held for a while, and end by the margin and after their hold', () => {
    const machine = new StageMachine(policy)
    const percent = (second: number) => (second < 100 ? 60 : second < 400 ? 49 : second < 500 ? 54 : 56)
    expect(drive(machine, (second) => ({ onBattery: true, batteryPercent: percent(second) }), 900)).toEqual([
      '130s normal -> saver: on battery and charge below 50 %',
      '500s saver -> normal: no longer: on battery and charge below 50 %',
    ])
  })

  it('skip the milder ones when it is urgent, and go back one by one', () => {
    const machine = new StageMachine(policy)
    const facts = (second: number): PolicyFacts => ({ onBattery: true, batteryPercent: second < 60 ? 10 : 30 })
    expect(drive(machine, facts, 3000)).toEqual([
      '10s normal -> survival: charge below 15 %',
      '610s survival -> saver: on battery and charge below 50 %',
    ])
  })

  it('pass over a moment of heat', () => {
    const machine = new StageMachine(policy)
    expect(drive(machine, (second) => ({ celsius: second % 20 === 0 ? 90 : 60 }), 600)).toEqual([])
  })

  it('are not decided by what nobody knows: it leaves them as they are, and after ten minutes it ends them', () => {
    const machine = new StageMachine(policy)
    expect(drive(machine, () => ({}), 1000)).toEqual([])
    drive(machine, () => ({ onBattery: true, batteryPercent: 20 }), 100, 1000)
    expect(machine.name).toBe('saver')
    expect(drive(machine, () => ({ batteryPercent: Number.NaN }), 2000, 1100)).toEqual([
      `${1100 + UNKNOWN_MS / 1000}s saver -> normal: no longer: on battery and charge below 50 %`,
    ])
  })

  it('see a forecast of an empty battery, and none on mains', () => {
    const machine = new StageMachine(policy)
    drive(machine, () => ({ onBattery: true, batteryPercent: 80, timeToEmptyS: 1700 }), 20)
    expect(machine.name).toBe('survival')
    drive(machine, () => ({ onBattery: false, batteryPercent: 81 }), 700, 20)
    expect(machine.name).toBe('normal')
  })

  it('go on when the policy is edited and the stage is still in it', () => {
    const machine = new StageMachine(policy)
    drive(machine, () => ({ batteryPercent: 5 }), 60)
    const edited = new StageMachine({ stages: [{ name: 'survival', when: [{ batteryBelow: 10 }] }] }, machine)
    expect(edited.name).toBe('survival')
    expect(drive(edited, () => ({ batteryPercent: 5 }), 600, 60)).toEqual([])
    expect(new StageMachine({ stages: [] }, machine).name).toBe('normal')
  })

  it('whose condition asks nothing never begin', () => {
    const machine = new StageMachine({ stages: [{ name: 'odd', when: [{}], after: '1ms' }] })
    expect(drive(machine, () => ({ onBattery: true, batteryPercent: 1 }), 600)).toEqual([])
  })
})

const fact = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined, freq: 5 })
const factsArbitrary: fc.Arbitrary<PolicyFacts> = fc.record({
  onBattery: fact(fc.boolean()),
  batteryPercent: fact(fc.double({ min: 0, max: 100 })),
  timeToEmptyS: fact(fc.double({ min: 0, max: 1e5 })),
  celsius: fact(fc.double({ min: -40, max: 120 })),
  throttled: fact(fc.boolean()),
  linkQuality: fact(fc.double({ min: 0, max: 1 })),
  roundTripMs: fact(fc.double({ min: 0, max: 1e5 })),
  lossRatio: fact(fc.double({ min: 0, max: 1 })),
}) as fc.Arbitrary<PolicyFacts>
const whenArbitrary = fc.record(
  {
    onBattery: fc.boolean(),
    batteryBelow: fc.integer({ min: 0, max: 100 }),
    emptyWithin: fc.constantFrom('1m', '2h', '0s'),
    hotterThan: fc.integer({ min: 0, max: 100 }),
    throttled: fc.boolean(),
    linkBelow: fc.double({ min: 0, max: 1, noNaN: true }),
    roundTripAboveMs: fc.nat(5000),
    lossAbove: fc.double({ min: 0, max: 1, noNaN: true }),
  },
  { requiredKeys: [] },
)
const policyArbitrary = fc
  .array(
    fc.record({
      when: fc.array(whenArbitrary, { minLength: 1, maxLength: 3 }),
      after: fc.constantFrom('1ms', '5s', '30s'),
      hold: fc.constantFrom('1ms', '20s', '5m'),
    }),
    { maxLength: 4 },
  )
  .map((stages): GatewayPolicy => ({ stages: stages.map((stage, index) => ({ name: `s${index}`, ...stage })) }))

/** Runs of the same facts, as a real gateway has them. */
const historyArbitrary = fc
  .array(fc.tuple(factsArbitrary, fc.integer({ min: 1, max: 60 })), { minLength: 1, maxLength: 20 })
  .map((runs) => runs.flatMap(([facts, seconds]) => Array.from({ length: seconds }, () => facts)))

const holdMs = (policyOf: GatewayPolicy, name: string): number => {
  const hold = policyOf.stages.find((stage) => stage.name === name)?.hold
  return hold === '1ms' ? 1 : hold === '20s' ? 20_000 : DEFAULT_HOLD_MS
}

describe('whatever the battery, the heat and the link do', () => {
  it('a stage lasts for its hold before a milder one follows, and every change names its stages', () => {
    fc.assert(
      fc.property(policyArbitrary, historyArbitrary, (given, history) => {
        const machine = new StageMachine(given)
        const rank = (name: string) => given.stages.findIndex((stage) => stage.name === name)
        let sinceMs = Number.NEGATIVE_INFINITY
        for (const [second, facts] of history.entries()) {
          const before = machine.name
          const change = machine.take(facts, second * 1000)
          expect(change === undefined).toBe(before === machine.name)
          if (change === undefined) continue
          expect(change).toMatchObject({ from: before, to: machine.name })
          expect(change.why).not.toBe('')
          if (rank(change.to) < rank(before))
            expect(second * 1000 - sinceMs).toBeGreaterThanOrEqual(holdMs(given, before))
          sinceMs = second * 1000
        }
      }),
    )
  })

  it('facts that no longer change lead to one stage that stays', () => {
    fc.assert(
      fc.property(policyArbitrary, historyArbitrary, factsArbitrary, (given, history, last) => {
        const machine = new StageMachine(given)
        for (const [second, facts] of history.entries()) machine.take(facts, second * 1000)
        const settledMs = history.length * 1000 + UNKNOWN_MS + DEFAULT_HOLD_MS * 5
        for (let ms = history.length * 1000; ms < settledMs; ms += 10_000) machine.take(last, ms)
        const { name } = machine
        for (let ms = settledMs; ms < settledMs + 1_200_000; ms += 10_000)
          expect(machine.take(last, ms)).toBeUndefined()
        expect(machine.name).toBe(name)
      }),
    )
  })

  it('a figure that swings by less than the margin changes nothing after the first time', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 45.5, max: 54.5, noNaN: true }), { minLength: 600, maxLength: 900 }),
        (charge) => {
          const machine = new StageMachine({
            stages: [{ name: 'low', when: [{ batteryBelow: 50 }], after: '1ms', hold: '1ms' }],
          })
          const changes = drive(machine, (second) => ({ batteryPercent: charge[second]! }), charge.length)
          expect(changes.length).toBeLessThanOrEqual(1)
        },
      ),
    )
  })
})
