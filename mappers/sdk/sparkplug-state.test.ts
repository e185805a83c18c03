import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeState, encodeState } from './sparkplug-state.ts'

describe('the state of a host application', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.maxSafeNat(), (online, timestampMs) => {
        expect(decodeState(encodeState({ online, timestampMs }))).toEqual({ online, timestampMs })
      }),
    )
  })

  it('has the words of the specification', () => {
    const text = Buffer.from(encodeState({ online: true, timestampMs: 1_700_000_000_000 })).toString()
    expect(text).toBe('{"online":true,"timestamp":1700000000000}')
  })

  it('of anything else is none', () => {
    const none = ['', 'ONLINE', '{}', '[]', 'null', '{"online":1,"timestamp":2}', '{"online":true,"timestamp":"2"}']
    for (const text of none) expect(decodeState(Buffer.from(text))).toBeUndefined()
    const long = `{"online":true,"timestamp":1,"more":"${'x'.repeat(2000)}"}`
    expect(decodeState(Buffer.from(long))).toBeUndefined()
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        decodeState(bytes)
      }),
    )
  })
})
