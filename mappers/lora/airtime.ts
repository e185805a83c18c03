/** A LoRa modulation as it is used on the air. */
export interface Modulation {
  /** Spreading factor, 5 to 12. */
  readonly sf: number
  readonly bandwidthHz: number
}

export interface AirtimeOptions {
  /** Coding rate 4/(4+n), n 1 to 4. Default 1 (4/5). */
  readonly codingRate?: 1 | 2 | 3 | 4
  /** Uplinks carry a CRC, downlinks do not. Default true. */
  readonly crc?: boolean
}

const PREAMBLE_SYMBOLS = 8

/**
 * Time on air in milliseconds of a frame of `phyBytes` with explicit header and 8 preamble symbols. Semtech SX1276
 * data sheet rev. 7, section 4.1.1.7; low data rate optimisation is on from 16 ms a symbol, as LoRaWAN demands.
 */
export function airtimeMs(phyBytes: number, { sf, bandwidthHz }: Modulation, options: AirtimeOptions = {}): number {
  const symbolMs = (2 ** sf * 1000) / bandwidthHz
  const lowRate = symbolMs >= 16 ? 2 : 0
  const crcBits = (options.crc ?? true) ? 16 : 0
  const bits = 8 * phyBytes - 4 * sf + 28 + crcBits
  const blocks = Math.max(Math.ceil(bits / (4 * (sf - lowRate))), 0)
  const payloadSymbols = 8 + blocks * ((options.codingRate ?? 1) + 4)
  return (PREAMBLE_SYMBOLS + 4.25 + payloadSymbols) * symbolMs
}

/** FSK at 50 kbit/s: 5 bytes preamble, 3 sync word, 1 length, 2 CRC (LoRaWAN Regional Parameters, FSK settings). */
export const fskAirtimeMs = (phyBytes: number): number => ((5 + 3 + 1 + phyBytes + 2) * 8) / 50

/**
 * Lowest signal-to-noise ratio a spreading factor is demodulated at, dB: SX1276 data sheet, section 4.1.1.2.
 * -7.5 dB at SF7, 2.5 dB less a step.
 */
export const requiredSnrDb = (sf: number): number => -7.5 - 2.5 * (sf - 7)

const MINUTE_MS = 60_000
const WINDOW_MINUTES = 60

/** Airtime used within the last hour, in slots of a minute, so that a duty-cycle limit holds over any hour. */
export class AirtimeLedger {
  readonly #slots = new Float64Array(WINDOW_MINUTES)
  readonly #stamps = new Float64Array(WINDOW_MINUTES).fill(-1)

  /** @param atMs monotonic milliseconds. */
  add(airtime: number, atMs: number): void {
    const stamp = Math.floor(atMs / MINUTE_MS)
    const slot = stamp % WINDOW_MINUTES
    if (this.#stamps[slot] !== stamp) {
      this.#stamps[slot] = stamp
      this.#slots[slot] = 0
    }
    this.#slots[slot]! += airtime
  }

  /** Milliseconds on the air in the hour before `atMs`. */
  usedMs(atMs: number): number {
    const oldest = Math.floor(atMs / MINUTE_MS) - WINDOW_MINUTES + 1
    let used = 0
    for (let slot = 0; slot < WINDOW_MINUTES; slot++) if (this.#stamps[slot]! >= oldest) used += this.#slots[slot]!
    return used
  }
}

export const HOUR_MS = WINDOW_MINUTES * MINUTE_MS
