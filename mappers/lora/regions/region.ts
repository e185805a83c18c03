import type { Modulation } from '../airtime.ts'

/** A data rate of a region; FSK has no spreading factor. */
export type DataRate = ({ readonly fsk?: false } & Modulation) | { readonly fsk: true }

/** Part of the spectrum with a limit on the share of time one sender may use it. */
export interface DutyBand {
  readonly fromHz: number
  readonly toHz: number
  /** 0.01 is 1 %. */
  readonly share: number
}

export interface Channel {
  readonly frequencyHz: number
  readonly minDr: number
  readonly maxDr: number
}

/**
 * What the LoRaWAN Regional Parameters (RP002-1.0.4) say about one region, as data. Indices into `dataRates`,
 * `maxPayload` and so on are the DR numbers of the specification.
 */
export interface Region {
  readonly name: string
  /** What Basic Station calls it. */
  readonly stationName: string
  readonly rangeHz: readonly [number, number]
  readonly dataRates: readonly (DataRate | undefined)[]
  /** Longest application payload N by DR with empty FOpts, no repeater; undefined where a DR is not to be used. */
  readonly maxPayload: readonly (number | undefined)[]
  /** The same while a 400 ms dwell time limit is in force. */
  readonly maxPayloadDwell?: readonly (number | undefined)[]
  /** Whether devices start with the dwell limit on. */
  readonly dwellAtStart: boolean
  /** Longest transmission of a device or gateway in a channel, where there is a limit. */
  readonly dwellMs?: number
  /** Channels every device of the region knows. For a fixed plan: all of them, 125 kHz first. */
  readonly channels: readonly Channel[]
  /** Further channels told in the join accept; empty for fixed plans. */
  readonly extraHz: readonly number[]
  /** 64 + 8 channels of which eight are switched on by sub-band, instead of a list of frequencies. */
  readonly fixedPlan: boolean
  readonly rx2: { readonly frequencyHz: number; readonly dr: number }
  /** Seconds. */
  readonly rx1Delay: number
  /** Frequency of RX1 for an uplink. */
  readonly rx1FrequencyHz: (uplinkHz: number) => number
  readonly rx1DataRate: (uplinkDr: number, offset: number, dwell: boolean) => number
  readonly maxEirpDbm: number
  /** What a gateway may send with. */
  readonly downlinkEirpDbm: (frequencyHz: number) => number
  /** Highest TXPower index; each step is 2 dB less. */
  readonly maxTxPower: number
  /** Highest DR that ADR may choose. */
  readonly maxAdrDr: number
  readonly minDr: number
  readonly dutyBands: readonly DutyBand[]
}

export const lora = (sf: number, bandwidthHz = 125_000): DataRate => ({ sf, bandwidthHz })
export const FSK: DataRate = { fsk: true }

const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value))

/** RX1 data rate of the regions whose downlinks use the uplinks' own data rates: the offset steps down. */
export const steppedDown =
  (maxDr: number, lowest = 0) =>
  (uplinkDr: number, offset: number): number =>
    clamp(uplinkDr - offset, lowest, maxDr)

/** RX1 data rate of the 500 kHz downlinks in US915 and AU915. */
export const wideDownlink =
  (uplinkDr0: number) =>
  (uplinkDr: number, offset: number): number =>
    clamp(uplinkDr0 + uplinkDr - offset, 8, 13)

/** 64 channels of 125 kHz and 8 of 500 kHz, RP002 sections 2.5.3 and 2.8.2. */
export function fixedChannels(first125Hz: number, first500Hz: number, maxDr125: number, dr500: number): Channel[] {
  const narrow = Array.from({ length: 64 }, (_, index) => ({
    frequencyHz: first125Hz + 200_000 * index,
    minDr: 0,
    maxDr: maxDr125,
  }))
  const wide = Array.from({ length: 8 }, (_, index) => ({
    frequencyHz: first500Hz + 1_600_000 * index,
    minDr: dr500,
    maxDr: dr500,
  }))
  return [...narrow, ...wide]
}

/** RX1 of a fixed plan: eight downlink channels from 923.3 MHz, chosen by the uplink channel modulo 8. */
export const fixedRx1 =
  (first125Hz: number, first500Hz: number) =>
  (uplinkHz: number): number => {
    const narrow = (uplinkHz - first125Hz) / 200_000
    const wide = (uplinkHz - first500Hz) / 1_600_000
    // Some 500 kHz channels lie between the narrow ones, so only what falls on the raster of 200 kHz is narrow.
    const index = Number.isInteger(narrow) && narrow >= 0 && narrow < 64 ? narrow : Math.round(wide)
    return 923_300_000 + 600_000 * (((index % 8) + 8) % 8)
  }

/** The LoRa data rate number of a modulation as heard in an uplink; undefined when the region has none such. */
export function uplinkDrOf(region: Region, { sf, bandwidthHz }: Modulation): number | undefined {
  const index = region.dataRates.findIndex(
    (rate) => rate !== undefined && rate.fsk !== true && rate.sf === sf && rate.bandwidthHz === bandwidthHz,
  )
  return index < 0 ? undefined : index
}

export const maxPayloadOf = (region: Region, dr: number, dwell: boolean): number =>
  (dwell ? (region.maxPayloadDwell ?? region.maxPayload) : region.maxPayload)[dr] ?? 0

export const dutyBandOf = (region: Region, frequencyHz: number): DutyBand | undefined =>
  region.dutyBands.find(({ fromHz, toHz }) => frequencyHz >= fromHz && frequencyHz <= toHz)

/** Numbers of the eight 125 kHz channels and the 500 kHz channel of a sub-band, 1 to 8. */
export function subBandChannels(subBand: number): number[] {
  const first = (subBand - 1) * 8
  return [...Array.from({ length: 8 }, (_, index) => first + index), 64 + subBand - 1]
}
