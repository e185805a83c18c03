import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Candidate, choose, type RoamingPolicy } from './choose.ts'

const POLICY: RoamingPolicy = { marginDb: 6, holdMs: 3000, lostAfterMs: 10_000 }
const NOW_MS = 100_000

const heard = (gateway: string, rssiDbm: number, agoMs = 0, present = true): Candidate => ({
  ...{ gateway, present, rssiDbm, heardMs: NOW_MS - agoMs },
})
const deaf = (gateway: string, present = true): Candidate => ({ gateway, present })

describe('choosing who serves a device', () => {
  it.each([
    ['the strongest begins', undefined, [heard('a', -70), heard('b', -60)], 'b', 'first'],
    ['somebody begins although nobody hears it', undefined, [deaf('b'), deaf('a'), deaf('0', false)], 'a', 'first'],
    ['nobody begins when nobody is there', undefined, [deaf('a', false)], undefined, 'first'],
    ['one without a link loses at once', 'a', [heard('a', -40, 0, false), heard('b', -90)], 'b', 'gone'],
    ['one without a link stays while nobody else hears it', 'a', [heard('a', -40, 0, false), deaf('b')], 'a', 'stays'],
    ['of a protocol that overhears nothing, one that is there', 'a', [deaf('a', false), deaf('b')], 'b', 'gone'],
    ['one that does not hear it any more loses', 'a', [heard('a', -40, 10_000), heard('b', -90)], 'b', 'lost'],
    ['a little better is not enough', 'a', [heard('a', -70), heard('b', -65)], 'a', 'stays'],
    ['one whose labels went has lost', 'z', [heard('a', -70), heard('b', -65)], 'b', 'gone'],
  ] as const)('%s', (_, active, candidates, gateway, why) => {
    expect(choose(active, undefined, candidates, POLICY, NOW_MS)).toMatchObject({ gateway, why })
  })

  it('takes the better one when it was better for the hold time, and not before', () => {
    const candidates = [heard('a', -70), heard('b', -60)]
    const first = choose('a', undefined, candidates, POLICY, NOW_MS)
    expect(first).toMatchObject({
      gateway: 'a',
      challenger: { gateway: 'b', sinceMs: NOW_MS },
      againAtMs: NOW_MS + 3000,
    })
    const held = { gateway: 'b', sinceMs: NOW_MS - 3000 }
    expect(choose('a', held, candidates, POLICY, NOW_MS)).toMatchObject({ gateway: 'b', why: 'better' })
    expect(choose('a', held, [heard('a', -70), heard('b', -66)], POLICY, NOW_MS).challenger).toBeUndefined()
  })

  it('never gives the device to somebody who is not there, and keeps who serves unless another one hears it', () => {
    const candidate = fc.record(
      {
        gateway: fc.constantFrom('a', 'b', 'c', 'd'),
        present: fc.boolean(),
        rssiDbm: fc.integer({ min: -120, max: 0 }),
        heardMs: fc.integer({ min: NOW_MS - 20_000, max: NOW_MS }),
      },
      { requiredKeys: ['gateway', 'present'] },
    )
    const candidates = fc.uniqueArray(candidate, { selector: ({ gateway }) => gateway, maxLength: 4 })
    fc.assert(
      fc.property(fc.option(fc.constantFrom('a', 'b'), { nil: undefined }), candidates, (active, all) => {
        const { gateway, why } = choose(active, undefined, all, POLICY, NOW_MS)
        if (gateway !== undefined && gateway !== active)
          expect(all.find((one) => one.gateway === gateway)?.present).toBe(true)
        if (why === 'stays') expect(gateway).toBe(active)
      }),
    )
  })
})
