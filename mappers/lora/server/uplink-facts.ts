import { MAX_HEARD_BY } from '../../../api/link/messages.ts'
import { airtimeMs, fskAirtimeMs } from '../airtime.ts'
import type { DataFrame } from '../codec.ts'
import type { RadioFacts } from '../network.ts'
import { type Region, uplinkDrOf } from '../regions/region.ts'
import type { Copies } from './dedup.ts'
import type { UplinkFacts } from './mac-layer.ts'

/** What the twin is told of the radio. */
export function radioFacts(copies: Copies): RadioFacts {
  const { rssiDbm, snrDb, modulation, phy, frequencyHz } = copies[0]
  return {
    rssiDbm,
    snrDb,
    gateways: copies.length,
    heardBy: copies.slice(0, MAX_HEARD_BY).map((one) => ({ id: one.gateway, rssiDbm: one.rssiDbm, snrDb: one.snrDb })),
    frequencyHz,
    ...(modulation === undefined
      ? { airtimeMs: fskAirtimeMs(phy.length) }
      : { spreadingFactor: modulation.sf, airtimeMs: airtimeMs(phy.length, modulation) }),
  }
}

/** What windows and rate adaptation need; undefined when the region has no such data rate, so that nothing can follow. */
export function uplinkFacts(
  region: Region,
  frame: DataFrame,
  copies: Copies,
  atMs: number,
): (UplinkFacts & { readonly frequencyHz: number }) | undefined {
  const { modulation, snrDb, frequencyHz } = copies[0]
  const dr = modulation === undefined ? undefined : uplinkDrOf(region, modulation)
  if (modulation === undefined || dr === undefined) return undefined
  const { adr, adrAckReq } = frame
  return { atMs, snrDb, sf: modulation.sf, dr, frequencyHz, gateways: copies.length, adr, adrAckReq }
}
