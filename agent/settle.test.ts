import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { settled } from './settle.ts'

describe('what the hub is told', () => {
  it('keeps a figure until it moved by its band, and takes everything else as it is', () => {
    const told = { power: { watts: 10, at: 'a' }, devices: { total: 3 }, list: [{ name: 'wlan0', signalDbm: -60 }] }
    const now = { power: { watts: 10.9, at: 'b' }, devices: { total: 4 }, list: [{ name: 'wlan0', signalDbm: -62 }] }
    expect(settled(told, now)).toEqual({
      power: { watts: 10, at: 'b' },
      devices: { total: 4 },
      list: [{ name: 'wlan0', signalDbm: -60 }],
    })
    expect(settled(told, { ...now, power: { watts: 11.1, at: 'c' } }).power.watts).toBe(11.1)
  })

  it('tells interfaces apart by their names, not by their places', () => {
    const told = [{ name: 'wlan0', signalDbm: -60 }]
    const now = [
      { name: 'wlan1', signalDbm: -61 },
      { name: 'wlan0', signalDbm: -62 },
    ]
    expect(settled(told, now)).toEqual([
      { name: 'wlan1', signalDbm: -61 },
      { name: 'wlan0', signalDbm: -60 },
    ])
  })

  it('is never further from the truth than the band, and has the shape of the newest', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            watts: fc.double({ min: 0, max: 1e4, noNaN: true }),
            celsius: fc.option(fc.double({ min: -40, max: 120, noNaN: true }), { nil: undefined }),
          }),
        ),
        (history) => {
          let told: (typeof history)[number] | undefined
          for (const now of history) {
            told = settled(told, now)
            expect(Object.keys(told)).toEqual(Object.keys(now))
            expect(Math.abs(told.watts - now.watts)).toBeLessThanOrEqual(Math.max(0.2, 0.1 * told.watts))
            if (now.celsius !== undefined) expect(Math.abs((told.celsius ?? 0) - now.celsius)).toBeLessThanOrEqual(2)
          }
        },
      ),
    )
  })
})
