import { fixedChannels, fixedRx1, lora, type Region, wideDownlink } from './region.ts'

const wide = (sf: number) => lora(sf, 500_000)

/** RP002-1.0.4 section 2.5; dwell time of 400 ms from FCC 15.247. */
export const US915: Region = {
  name: 'US915',
  stationName: 'US902',
  rangeHz: [902_000_000, 928_000_000],
  dataRates: [
    lora(10),
    lora(9),
    lora(8),
    lora(7),
    wide(8),
    undefined,
    undefined,
    undefined,
    wide(12),
    wide(11),
    wide(10),
    wide(9),
    wide(8),
    wide(7),
  ],
  maxPayload: [11, 53, 125, 242, 242, undefined, undefined, undefined, 53, 129, 242, 242, 242, 242],
  dwellAtStart: false,
  dwellMs: 400,
  channels: fixedChannels(902_300_000, 903_000_000, 3, 4),
  extraHz: [],
  fixedPlan: true,
  rx2: { frequencyHz: 923_300_000, dr: 8 },
  rx1Delay: 1,
  rx1FrequencyHz: fixedRx1(902_300_000, 903_000_000),
  rx1DataRate: (dr, offset) => (dr === 4 ? Math.max(8, 13 - offset) : wideDownlink(10)(dr, offset)),
  maxEirpDbm: 30,
  downlinkEirpDbm: () => 27,
  maxTxPower: 14,
  maxAdrDr: 3,
  minDr: 0,
  dutyBands: [],
}
