import { fixedChannels, fixedRx1, lora, type Region, wideDownlink } from './region.ts'

const wide = (sf: number) => lora(sf, 500_000)

/** RP002-1.0.4 section 2.8. */
export const AU915: Region = {
  name: 'AU915',
  stationName: 'AU915',
  rangeHz: [915_000_000, 928_000_000],
  dataRates: [
    lora(12),
    lora(11),
    lora(10),
    lora(9),
    lora(8),
    lora(7),
    wide(8),
    undefined,
    wide(12),
    wide(11),
    wide(10),
    wide(9),
    wide(8),
    wide(7),
  ],
  maxPayload: [51, 51, 51, 115, 242, 242, 242, undefined, 53, 129, 242, 242, 242, 242],
  maxPayloadDwell: [undefined, undefined, 11, 53, 125, 242, 242, undefined, 53, 129, 242, 242, 242, 242],
  dwellAtStart: true,
  dwellMs: 400,
  channels: fixedChannels(915_200_000, 915_900_000, 5, 6),
  extraHz: [],
  fixedPlan: true,
  rx2: { frequencyHz: 923_300_000, dr: 8 },
  rx1Delay: 1,
  rx1FrequencyHz: fixedRx1(915_200_000, 915_900_000),
  rx1DataRate: (dr, offset) => (dr === 6 ? Math.max(8, 13 - offset) : wideDownlink(8)(dr, offset)),
  maxEirpDbm: 30,
  downlinkEirpDbm: () => 27,
  maxTxPower: 14,
  maxAdrDr: 5,
  minDr: 2,
  dutyBands: [],
}
