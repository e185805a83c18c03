import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  AUTONOMOUS,
  type Given,
  giveLease,
  initialTether,
  leash,
  MAX_DRIFT,
  mayMoveFromMs,
  nextTetherMs,
  passTime,
  type TetherPolicy,
  type TetherState,
  takeGrant,
} from './tether.ts'

const tethered = (onLoss: 'keep' | 'freeze' | 'stop', graceMs = 1000): TetherPolicy => ({
  mode: 'tethered',
  onLoss,
  graceMs,
})

describe('a tethered gateway', () => {
  const policy = tethered('stop')

  it('is led while its lease lasts, waits out the grace, and then does what it was told to', () => {
    let state: TetherState = initialTether(policy, 0, 0)
    state = takeGrant(state, { term: 1, askedMs: 0, spanMs: 500 }, 20).state
    expect(leash(state, policy)).toEqual({ begins: true, ownWill: false, work: 'runs' })
    expect(nextTetherMs(state, policy)).toBe(500)
    state = passTime(state, policy, 500)
    expect(leash(state, policy)).toEqual({ begins: false, ownWill: false, work: 'runs' })
    expect(nextTetherMs(state, policy)).toBe(1500)
    state = passTime(state, policy, 1499)
    expect(state.is).toBe('slack')
    state = passTime(state, policy, 1500)
    expect(leash(state, policy)).toEqual({ begins: false, ownWill: true, work: 'stopped' })
    state = takeGrant(state, { term: 1, askedMs: 2000, spanMs: 500 }, 2010).state
    expect(state).toEqual({ is: 'led', term: 1, untilMs: 2500 })
  })

  it('makes up for a sleep in which both lease and grace ran out', () => {
    const led = takeGrant(initialTether(policy, 0, 0), { term: 1, askedMs: 0, spanMs: 500 }, 1).state
    expect(passTime(led, policy, 60_000)).toEqual({ is: 'lost', term: 1, sinceMs: 1500 })
  })

  it('never listens to a supernode that was replaced, also after a reboot', () => {
    const led = takeGrant(initialTether(policy, 0, 0), { term: 7, askedMs: 0, spanMs: 500 }, 1).state
    expect(takeGrant(led, { term: 6, askedMs: 1, spanMs: 500 }, 2)).toEqual({ state: led, refused: 'staleTerm' })
    const rebooted = initialTether(policy, 7, 0)
    expect(takeGrant(rebooted, { term: 6, askedMs: 0, spanMs: 500 }, 1).refused).toBe('staleTerm')
  })

  it('does not take an answer that was under way for longer than it is good for', () => {
    const state = initialTether(policy, 3, 0)
    expect(takeGrant(state, { term: 4, askedMs: 0, spanMs: 500 }, 600)).toEqual({
      state: { ...state, term: 4 },
      refused: 'expired',
    })
  })

  it('begins after a reboot only what it keeps in any case', () => {
    expect(leash(initialTether(tethered('stop'), 1, 0), tethered('stop')).work).toBe('stopped')
    expect(leash(initialTether(tethered('freeze'), 1, 0), tethered('freeze')).work).toBe('frozen')
    expect(leash(initialTether(tethered('keep'), 1, 0), tethered('keep')).work).toBe('runs')
  })

  it('is free as soon as it is made autonomous, and waits for a lease as soon as it is tethered', () => {
    const led = takeGrant(initialTether(policy, 0, 0), { term: 1, askedMs: 0, spanMs: 500 }, 1).state
    const free = passTime(led, AUTONOMOUS, 2)
    expect(leash(free, AUTONOMOUS)).toEqual({ begins: true, ownWill: true, work: 'runs' })
    expect(passTime(free, policy, 10)).toEqual({ is: 'slack', term: 1, sinceMs: 10 })
  })
})

/** One supernode after another leads a gateway over a network that delays, loses, doubles and reorders. */
describe('supernodes and a gateway over any network', () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(400) }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('ask' as const) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('answer' as const), which: fc.nat(9) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('arrive' as const), which: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('lose' as const), which: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('replace' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('reboot' as const) }) },
  )

  it('nothing may begin elsewhere while the gateway may still run it, whatever happens', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 80 }),
        fc.double({ min: 1 - MAX_DRIFT / 2.1, max: 1 + MAX_DRIFT / 2.1, noNaN: true }),
        fc.constantFrom('freeze' as const, 'stop' as const),
        (steps, speed, onLoss) => {
          const policy = tethered(onLoss, 300)
          const spanMs = 500
          // True time; the gateway's clock runs faster or slower, and starts anew with every boot.
          let trueMs = 0
          let bootMs = 0
          const gatewayMs = () => (trueMs - bootMs) * speed
          let term = 1
          let highest = 0
          let given: Given | undefined
          let state = initialTether(policy, 0, 0)
          const questions: { askedMs: number; boot: number }[] = []
          const answers: { term: number; askedMs: number; boot: number }[] = []
          const accepted: number[] = []
          for (const each of steps) {
            if (each.do === 'wait') trueMs += each.ms
            else if (each.do === 'ask') questions.push({ askedMs: gatewayMs(), boot: bootMs })
            else if (each.do === 'answer') {
              const question = questions[each.which % Math.max(1, questions.length)]
              if (question !== undefined) {
                given = giveLease(given, term, spanMs, trueMs)
                answers.push({ term, ...question })
              }
            } else if (each.do === 'arrive') {
              const answer = answers[each.which % Math.max(1, answers.length)]
              // A connection ends with the process: answers to an earlier boot never arrive.
              if (answer !== undefined && answer.boot === bootMs) {
                state = passTime(state, policy, gatewayMs())
                const taken = takeGrant(state, { ...answer, spanMs }, gatewayMs())
                state = taken.state
                if (taken.refused === undefined) accepted.push(answer.term)
                highest = Math.max(highest, state.term)
              }
            } else if (each.do === 'lose') answers.splice(each.which % Math.max(1, answers.length), 1)
            else if (each.do === 'replace') term++
            else {
              bootMs = trueMs
              state = initialTether(policy, highest, 0)
            }
            state = passTime(state, policy, gatewayMs())
            const { work } = leash(state, policy)
            const movable = given === undefined ? undefined : mayMoveFromMs(given, policy)
            if (movable !== undefined && trueMs >= movable) expect(work).not.toBe('runs')
            if (state.is === 'led') expect(leash(state, policy).begins).toBe(true)
          }
          // Once a newer supernode was heard, an older one is never heard again.
          expect(accepted).toEqual([...accepted].sort((a, b) => a - b))
        },
      ),
      { numRuns: 2000 },
    )
  })
})
