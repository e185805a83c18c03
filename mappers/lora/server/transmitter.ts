import type { Clock } from '../../../api/clock.ts'
import { airtimeMs, type Modulation } from '../airtime.ts'
import { maxPayloadOf, type Region } from '../regions/region.ts'
import type { Copies } from './dedup.ts'
import type { Heard, SendResult, Transmission } from './gateway.ts'
import type { GatewayBook, KnownGateway } from './gateway-book.ts'

/** A chance to send: a receive window of the device, or any time for class C. */
export interface Opportunity {
  readonly window: 1 | 2 | 'now'
  readonly rx1DelayS: number
  readonly frequencyHz: number
  readonly dr: number
  readonly modulation: Modulation
  /** Longest application payload, FOpts empty. */
  readonly maxPayload: number
}

export interface Sent {
  readonly opportunity: Opportunity
  readonly gateway: string
  readonly airtimeMs: number
}

export type TransmitResult = Sent | { readonly failed: string }

/** Time a frame needs from here to the gateway's concentrator. */
const LEAD_MS = 100

/** Windows after an uplink: RX1 as the uplink and the session say, RX2 as the session says. */
export function windowsAfter(
  region: Region,
  uplink: { readonly frequencyHz: number; readonly dr: number },
  radio: {
    readonly rx1Delay: number
    readonly rx1DrOffset: number
    readonly rx2Dr: number
    readonly rx2Hz: number
    readonly dwell: boolean
  },
): Opportunity[] {
  const rx1Dr = region.rx1DataRate(uplink.dr, radio.rx1DrOffset, radio.dwell)
  return [
    opportunity(region, 1, radio, region.rx1FrequencyHz(uplink.frequencyHz), rx1Dr),
    opportunity(region, 2, radio, radio.rx2Hz, radio.rx2Dr),
  ].filter((one) => one !== undefined)
}

export function anyTime(
  region: Region,
  radio: { readonly rx2Dr: number; readonly rx2Hz: number; readonly dwell: boolean },
): Opportunity[] {
  const one = opportunity(region, 'now', { ...radio, rx1Delay: 0 }, radio.rx2Hz, radio.rx2Dr)
  return one === undefined ? [] : [one]
}

function opportunity(
  region: Region,
  window: 1 | 2 | 'now',
  radio: { readonly rx1Delay: number; readonly dwell: boolean },
  frequencyHz: number,
  dr: number,
): Opportunity | undefined {
  const rate = region.dataRates[dr]
  if (rate === undefined || rate.fsk === true) return undefined
  return {
    window,
    rx1DelayS: radio.rx1Delay,
    frequencyHz,
    dr,
    modulation: { sf: rate.sf, bandwidthHz: rate.bandwidthHz },
    maxPayload: maxPayloadOf(region, dr, radio.dwell),
  }
}

/** Finds window and gateway for a downlink, keeps within duty cycle and dwell time, and counts the airtime. */
export class Transmitter {
  readonly #clock: Clock
  readonly #region: Region
  readonly #book: GatewayBook

  constructor(clock: Clock, region: Region, book: GatewayBook) {
    this.#clock = clock
    this.#region = region
    this.#book = book
  }

  /** Why a frame of this length cannot be sent at all; undefined when it is worth trying. */
  obstacle(phyBytes: number, opportunities: readonly Opportunity[], copies: Copies | readonly []): string | undefined {
    const reasons = new Set<string>()
    for (const chance of opportunities) {
      const airtime = airtimeMs(phyBytes, chance.modulation, { crc: false })
      const late = this.#breaksDwell(chance, airtime)
      if (late !== undefined) reasons.add(late)
      else {
        for (const { gateway, heard } of this.#candidates(copies)) {
          const why = this.#obstacle(gateway, heard, chance, airtime)
          if (why === undefined) return undefined
          reasons.add(why)
        }
      }
    }
    return reasonText(reasons)
  }

  /**
   * Tries the opportunities in order, in each the gateways from the best signal down, until one takes the frame.
   * @param copies how the uplink to answer was heard; empty for class C at any time.
   */
  async send(
    devEui: string,
    phy: Uint8Array,
    opportunities: readonly Opportunity[],
    copies: Copies | readonly [],
  ): Promise<TransmitResult> {
    const reasons = new Set<string>()
    for (const chance of opportunities) {
      const airtime = airtimeMs(phy.length, chance.modulation, { crc: false })
      const late = this.#breaksDwell(chance, airtime)
      if (late !== undefined) {
        reasons.add(late)
        continue
      }
      for (const { gateway, heard } of this.#candidates(copies)) {
        const why = this.#obstacle(gateway, heard, chance, airtime)
        if (why !== undefined) {
          reasons.add(why)
          continue
        }
        // Counted beforehand: two downlinks at once must not both take the last of the allowance.
        this.#book.used(gateway, this.#region, chance.frequencyHz, airtime)
        const result = await this.#try(gateway, heard, chance, phy, devEui)
        if (result.sent) {
          gateway.meter.answered(airtime, 0)
          return { opportunity: chance, gateway: gateway.eui, airtimeMs: airtime }
        }
        this.#book.used(gateway, this.#region, chance.frequencyHz, -airtime)
        gateway.meter.failed(`tx-${result.reason.slice(0, 32)}`)
        reasons.add(result.reason)
      }
    }
    return { failed: reasonText(reasons) }
  }

  #breaksDwell({ modulation }: Opportunity, airtime: number): string | undefined {
    const { dwellMs, fixedPlan } = this.#region
    // The 500 kHz downlinks of the fixed plans have no such limit.
    if (dwellMs === undefined || fixedPlan || airtime <= dwellMs) return undefined
    return `${Math.round(airtime)} ms at SF${modulation.sf} break the dwell time limit`
  }

  #candidates(copies: Copies | readonly []): { gateway: KnownGateway; heard: Heard | undefined }[] {
    if (copies.length === 0) {
      return this.#book
        .present()
        .filter(({ backend, eui }) => backend.reaches(eui))
        .slice(0, 4)
        .map((gateway) => ({ gateway, heard: undefined }))
    }
    return copies.flatMap((heard) => {
      const gateway = this.#book.get(heard.gateway)
      return gateway === undefined ? [] : [{ gateway, heard }]
    })
  }

  #obstacle(gateway: KnownGateway, heard: Heard | undefined, chance: Opportunity, airtime: number): string | undefined {
    if (!gateway.backend.reaches(gateway.eui)) return `gateway ${gateway.eui} does not ask for downlinks`
    if (chance.window !== 'now' && heard !== undefined) {
      const opensMs = heard.atMonoMs + (chance.rx1DelayS + (chance.window === 2 ? 1 : 0)) * 1000
      if (this.#clock.monotonic() + LEAD_MS > opensMs) return 'the receive window is over'
    }
    if (!this.#book.mayUse(gateway, this.#region, chance.frequencyHz, airtime)) {
      return `the duty cycle of gateway ${gateway.eui} at ${chance.frequencyHz / 1e6} MHz is used up`
    }
    return undefined
  }

  #try(
    gateway: KnownGateway,
    heard: Heard | undefined,
    chance: Opportunity,
    phy: Uint8Array,
    devEui: string,
  ): Promise<SendResult> {
    const timed = chance.window !== 'now' && heard !== undefined
    const transmission: Transmission = {
      gateway: gateway.eui,
      devEui,
      phy,
      when: timed
        ? { window: chance.window as 1 | 2, rx1DelayS: chance.rx1DelayS, context: heard.context }
        : { window: 'now' },
      frequencyHz: chance.frequencyHz,
      modulation: chance.modulation,
      dr: chance.dr,
      powerDbm: this.#region.downlinkEirpDbm(chance.frequencyHz),
    }
    return gateway.backend.send(transmission)
  }
}

const reasonText = (reasons: ReadonlySet<string>): string =>
  reasons.size === 0 ? 'no gateway is in reach' : [...reasons].slice(0, 4).join('; ')
