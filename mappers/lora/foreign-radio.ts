import { type HeardBy, MAX_HEARD_BY } from '../../api/link/messages.ts'
import type { Json } from '../../api/resources.ts'
import { airtimeMs } from './airtime.ts'
import { DATA_OVERHEAD } from './codec.ts'
import { listIn, numberIn, objectIn } from './foreign-network.ts'
import type { RadioFacts } from './network.ts'

/** What a network server says of how it heard an uplink, in its own words. */
export interface ServerRadio {
  /** One object a gateway that heard it, each with `rssi` and `snr`. */
  readonly heard: Json | undefined
  readonly frequencyHz: number | undefined
  readonly spreadingFactor: number | undefined
  readonly bandwidthHz: number | undefined
  /** Bytes of the application's payload. */
  readonly bytes: number
}

/** The link as the gateway heard it that heard it best. A missing `snr` is 0: proto3 leaves zeros out. */
export function radioFactsOf({ heard, frequencyHz, spreadingFactor, bandwidthHz, bytes }: ServerRadio): RadioFacts {
  const gateways = listIn(heard)
    .map(objectIn)
    .filter((one) => one !== undefined)
  const bestFirst = gateways.toSorted((a, b) => (numberIn(b['snr']) ?? 0) - (numberIn(a['snr']) ?? 0))
  const [best] = bestFirst
  const named = bestFirst.flatMap(heardByOf)
  // A gateway with two antennas is there twice: its better one counts.
  const heardBy = named.filter(({ id }, index) => named.findIndex((one) => one.id === id) === index)
  const rssiDbm = numberIn(best?.['rssi'])
  return {
    ...(rssiDbm === undefined ? {} : { rssiDbm }),
    ...(best === undefined ? {} : { snrDb: numberIn(best['snr']) ?? 0, gateways: gateways.length }),
    ...(heardBy.length === 0 ? {} : { heardBy: heardBy.slice(0, MAX_HEARD_BY) }),
    ...(frequencyHz === undefined ? {} : { frequencyHz }),
    ...airtimeFacts(spreadingFactor, bandwidthHz, bytes),
  }
}

/** ChirpStack says `gatewayId`, The Things Stack `gateway_ids.gateway_id`. One without a name is only counted. */
function heardByOf(one: Readonly<Record<string, Json>>): HeardBy[] {
  const id = one['gatewayId'] ?? objectIn(one['gateway_ids'])?.['gateway_id']
  if (typeof id !== 'string' || id === '') return []
  const rssiDbm = numberIn(one['rssi'])
  return [{ id: id.slice(0, 64), ...(rssiDbm === undefined ? {} : { rssiDbm }), snrDb: numberIn(one['snr']) ?? 0 }]
}

function airtimeFacts(sf: number | undefined, bandwidthHz: number | undefined, bytes: number): RadioFacts {
  if (sf === undefined || bandwidthHz === undefined || sf < 5 || sf > 12 || bandwidthHz < 1000) return {}
  return { spreadingFactor: sf, airtimeMs: airtimeMs(bytes + DATA_OVERHEAD + 1, { sf, bandwidthHz }) }
}

/** Counters and port of an uplink; what is missing is zero, and port 0 carries nothing of the application's. */
export const frameFacts = (
  fCnt: Json | undefined,
  fPort: Json | undefined,
): { readonly fCnt: number; readonly port: number | undefined } => ({
  fCnt: numberIn(fCnt) ?? 0,
  port: numberIn(fPort) || undefined,
})

export const clampPercent = (value: number): number => Math.min(100, Math.max(0, Math.round(value * 10) / 10))
