import { FSK, lora, type Region, steppedDown } from './region.ts'

/** RP002-1.0.4 section 2.4; duty cycles from ETSI EN 300 220-2 V3.2.1, annex B (bands K to Q). */
export const EU868: Region = {
  name: 'EU868',
  stationName: 'EU863',
  rangeHz: [863_000_000, 870_000_000],
  dataRates: [lora(12), lora(11), lora(10), lora(9), lora(8), lora(7), lora(7, 250_000), FSK],
  maxPayload: [51, 51, 51, 115, 242, 242, 242, 242],
  dwellAtStart: false,
  channels: [868_100_000, 868_300_000, 868_500_000].map((frequencyHz) => ({ frequencyHz, minDr: 0, maxDr: 5 })),
  extraHz: [867_100_000, 867_300_000, 867_500_000, 867_700_000, 867_900_000],
  fixedPlan: false,
  rx2: { frequencyHz: 869_525_000, dr: 0 },
  rx1Delay: 1,
  rx1FrequencyHz: (uplinkHz) => uplinkHz,
  rx1DataRate: steppedDown(7),
  maxEirpDbm: 16,
  // 500 mW e.r.p. in 869.4 to 869.65 MHz, 25 mW elsewhere; 2.15 dB between e.r.p. and e.i.r.p.
  downlinkEirpDbm: (frequencyHz) => (frequencyHz >= 869_400_000 && frequencyHz <= 869_650_000 ? 29 : 16),
  maxTxPower: 7,
  maxAdrDr: 5,
  minDr: 0,
  dutyBands: [
    { fromHz: 863_000_000, toHz: 865_000_000, share: 0.001 },
    { fromHz: 865_000_000, toHz: 868_000_000, share: 0.01 },
    { fromHz: 868_000_000, toHz: 868_600_000, share: 0.01 },
    { fromHz: 868_700_000, toHz: 869_200_000, share: 0.001 },
    { fromHz: 869_400_000, toHz: 869_650_000, share: 0.1 },
    { fromHz: 869_700_000, toHz: 870_000_000, share: 0.01 },
  ],
}
