import { describe, expect, it } from 'vitest'
import { AirtimeLedger, airtimeMs, requiredSnrDb } from '../airtime.ts'
import { REGIONS } from './all.ts'
import { dutyBandOf, maxPayloadOf, subBandChannels, uplinkDrOf } from './region.ts'

const { EU868, US915, AU915, AS923 } = REGIONS

describe('airtime', () => {
  // Application bytes, spreading factor, milliseconds, worked out from the data sheet's formula by hand.
  it.each([
    [1, 7, 46.3],
    [12, 7, 61.7],
    [12, 10, 411.6],
    [12, 12, 1482.8],
    [51, 12, 2793.5],
    [51, 9, 390.1],
  ])('%i bytes at SF%i take %f ms', (bytes, sf, ms) => {
    expect(airtimeMs(13 + bytes, { sf, bandwidthHz: 125_000 })).toBeCloseTo(ms, 0)
  })

  it('counts over any hour and forgets what is older', () => {
    const ledger = new AirtimeLedger()
    ledger.add(1000, 0)
    ledger.add(500, 30 * 60_000)
    expect(ledger.usedMs(59 * 60_000)).toBe(1500)
    expect(ledger.usedMs(61 * 60_000)).toBe(500)
    expect(ledger.usedMs(200 * 60_000)).toBe(0)
  })

  it('knows what each spreading factor needs', () => {
    expect([7, 8, 9, 10, 11, 12].map(requiredSnrDb)).toEqual([-7.5, -10, -12.5, -15, -17.5, -20])
  })
})

describe('first receive window', () => {
  it('EU868: the same channel, data rate less the offset', () => {
    expect(EU868.rx1FrequencyHz(867_100_000)).toBe(867_100_000)
    expect([0, 1, 5].map((offset) => EU868.rx1DataRate(3, offset, false))).toEqual([3, 2, 0])
  })

  it('US915: 500 kHz channels by the uplink channel modulo 8', () => {
    expect(US915.rx1FrequencyHz(902_300_000)).toBe(923_300_000)
    expect(US915.rx1FrequencyHz(903_900_000)).toBe(923_300_000)
    expect(US915.rx1FrequencyHz(905_300_000)).toBe(927_500_000)
    expect(US915.rx1FrequencyHz(904_600_000)).toBe(923_900_000)
    expect([0, 1, 2, 3, 4].map((dr) => US915.rx1DataRate(dr, 0, false))).toEqual([10, 11, 12, 13, 13])
    expect([0, 1, 2, 3].map((offset) => US915.rx1DataRate(0, offset, false))).toEqual([10, 9, 8, 8])
  })

  it('AU915: DR8 up', () => {
    expect([0, 1, 2, 3, 4, 5, 6].map((dr) => AU915.rx1DataRate(dr, 0, false))).toEqual([8, 9, 10, 11, 12, 13, 13])
    expect(AU915.rx1DataRate(5, 5, false)).toBe(8)
    expect(AU915.rx1FrequencyHz(915_200_000 + 9 * 200_000)).toBe(923_900_000)
  })

  it('AS923: not below DR2 while the dwell limit holds, faster with offsets 6 and 7', () => {
    expect(AS923.rx1DataRate(2, 3, true)).toBe(2)
    expect(AS923.rx1DataRate(2, 3, false)).toBe(0)
    expect([6, 7].map((offset) => AS923.rx1DataRate(2, offset, true))).toEqual([3, 4])
  })
})

describe('tables', () => {
  it('say how much a data rate carries, with and without dwell limit', () => {
    expect([0, 3, 5].map((dr) => maxPayloadOf(EU868, dr, false))).toEqual([51, 115, 242])
    expect([2, 3].map((dr) => maxPayloadOf(AS923, dr, true))).toEqual([11, 53])
    expect(maxPayloadOf(US915, 0, false)).toBe(11)
  })

  it('find a data rate by its modulation and refuse what a region does not have', () => {
    expect(uplinkDrOf(EU868, { sf: 7, bandwidthHz: 250_000 })).toBe(6)
    expect(uplinkDrOf(US915, { sf: 8, bandwidthHz: 500_000 })).toBe(4)
    expect(uplinkDrOf(US915, { sf: 12, bandwidthHz: 125_000 })).toBeUndefined()
  })

  it('know the duty cycle of every channel in use', () => {
    for (const { frequencyHz } of EU868.channels) expect(dutyBandOf(EU868, frequencyHz)?.share).toBe(0.01)
    expect(dutyBandOf(EU868, EU868.rx2.frequencyHz)?.share).toBe(0.1)
    expect(dutyBandOf(US915, 902_300_000)).toBeUndefined()
  })

  it('number the channels of a sub-band', () => {
    expect(subBandChannels(2)).toEqual([8, 9, 10, 11, 12, 13, 14, 15, 65])
    expect(US915.channels[8]!.frequencyHz).toBe(903_900_000)
    expect(US915.channels[65]!.frequencyHz).toBe(904_600_000)
  })

  it('hold together in every region', () => {
    for (const region of Object.values(REGIONS)) {
      expect(region.dataRates[region.rx2.dr], region.name).toBeDefined()
      for (const { frequencyHz } of region.channels) {
        expect(frequencyHz, region.name).toBeGreaterThanOrEqual(region.rangeHz[0])
        expect(frequencyHz, region.name).toBeLessThanOrEqual(region.rangeHz[1])
      }
      for (let dr = region.minDr; dr <= region.maxAdrDr; dr++) {
        for (let offset = 0; offset < 4; offset++) {
          expect(
            region.dataRates[region.rx1DataRate(dr, offset, region.dwellAtStart)],
            `${region.name} ${dr}`,
          ).toBeDefined()
        }
      }
    }
  })
})
