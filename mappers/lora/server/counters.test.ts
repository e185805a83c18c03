import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { judgeCounter } from './counters.ts'
import { DevNonces } from './session.ts'

/** A device whose true counter is `true_`: only for that the MIC fits. */
const judge = (last: number, counter: number) => judgeCounter(last, counter % 65_536, (fCnt) => fCnt === counter)

describe('frame counters', () => {
  it('finds the 32 bits of every frame that is at most 65 535 ahead', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1, max: 0xfff0_0000 }), fc.integer({ min: 1, max: 65_535 }), (last, ahead) => {
        // Before the first uplink there is no upper half to guess from.
        fc.pre(last >= 0 || last + ahead < 65_536)
        expect(judge(last, last + ahead)).toEqual({ kind: 'next', fCnt: last + ahead, missed: ahead - 1 })
      }),
    )
  })

  it('never takes a frame twice, and knows an old one for a replay', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_0000 }), fc.integer({ min: 0, max: 65_535 }), (last, back) => {
        fc.pre(back <= last)
        const { kind } = judge(last, last - back)
        expect(kind).toBe(back === 0 ? 'repeat' : 'replay')
      }),
    )
  })

  it('calls everything else a wrong MIC', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1, max: 0xffff_0000 }), fc.integer({ min: 0, max: 65_535 }), (last, fCnt16) => {
        expect(judgeCounter(last, fCnt16, () => false)).toEqual({ kind: 'wrongMic' })
      }),
    )
  })
})

describe('DevNonces', () => {
  it('are all remembered, however many, through any restart', () => {
    const nonces = new DevNonces()
    for (let nonce = 0; nonce < 10_000; nonce += 2) nonces.add(nonce)
    const again = new DevNonces(nonces.toString())
    expect(again.has(0) && again.has(9998)).toBe(true)
    expect(again.has(1) || again.has(10_000)).toBe(false)
    expect(nonces.toString().length).toBeLessThan(12_000)
    const few = new DevNonces(new DevNonces().toString())
    few.add(7)
    expect(new DevNonces(few.toString()).has(7)).toBe(true)
  })
})
