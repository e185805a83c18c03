import { FSK, lora, type Region } from './region.ts'

/**
 * RP002-1.0.4 section 2.10: four groups with the same plan at different offsets. Listening before talking, which
 * Japan and Korea demand, is the gateway's own business; a packet forwarder does it where it must.
 */
function as923(name: string, offsetHz: number): Region {
  return {
    name,
    stationName: name === 'AS923' ? 'AS923-1' : name,
    rangeHz: [915_000_000, 928_000_000],
    dataRates: [lora(12), lora(11), lora(10), lora(9), lora(8), lora(7), lora(7, 250_000), FSK],
    maxPayload: [51, 51, 51, 115, 242, 242, 242, 242],
    maxPayloadDwell: [undefined, undefined, 11, 53, 125, 242, 242, 242],
    dwellAtStart: true,
    dwellMs: 400,
    channels: [923_200_000, 923_400_000].map((frequencyHz) => ({
      frequencyHz: frequencyHz + offsetHz,
      minDr: 0,
      maxDr: 5,
    })),
    extraHz: [923_600_000, 923_800_000, 924_000_000, 924_200_000, 924_400_000].map((hz) => hz + offsetHz),
    fixedPlan: false,
    rx2: { frequencyHz: 923_200_000 + offsetHz, dr: 2 },
    rx1Delay: 1,
    rx1FrequencyHz: (uplinkHz) => uplinkHz,
    rx1DataRate: (dr, offset, dwell) => {
      const effective = offset >= 6 ? 5 - offset : offset
      return Math.min(5, Math.max(dwell ? 2 : 0, dr - effective))
    },
    maxEirpDbm: 16,
    downlinkEirpDbm: () => 16,
    maxTxPower: 7,
    maxAdrDr: 5,
    minDr: 2,
    dutyBands: [{ fromHz: 915_000_000, toHz: 928_000_000, share: 0.01 }],
  }
}

export const AS923 = as923('AS923', 0)
export const AS923_2 = as923('AS923-2', -1_800_000)
export const AS923_3 = as923('AS923-3', -6_600_000)
export const AS923_4 = as923('AS923-4', -5_900_000)
