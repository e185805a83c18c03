import type { Json } from '../../../api/resources.ts'
import type { Modulation } from '../airtime.ts'
import type { Heard, Transmission } from './gateway.ts'

/**
 * Semtech's UDP protocol between packet forwarder and server (GWMP version 2, PROTOCOL.TXT of packet_forwarder):
 * datagrams to values and back, pure. Nothing throws on what comes from the network.
 */

const VERSION = 2
const ID = { pushData: 0, pushAck: 1, pullData: 2, pullResp: 3, pullAck: 4, txAck: 5 } as const
/** A forwarder sends at most eight or so; more is an attack or a mistake. */
const MAX_RXPK = 64

export type GatewayDatagram =
  | { readonly kind: 'push'; readonly token: number; readonly gateway: string; readonly body: Buffer }
  | { readonly kind: 'pull'; readonly token: number; readonly gateway: string }
  | { readonly kind: 'txAck'; readonly token: number; readonly gateway: string; readonly error: string | undefined }
  | { readonly kind: 'malformed'; readonly reason: string }

export function parseDatagram(bytes: Buffer): GatewayDatagram {
  if (bytes.length < 12) return { kind: 'malformed', reason: `a datagram of ${bytes.length} bytes` }
  // Version 1 differs in nothing that a server sees.
  if (bytes[0] !== VERSION && bytes[0] !== 1) return { kind: 'malformed', reason: `protocol version ${bytes[0]}` }
  const token = bytes.readUInt16BE(1)
  const gateway = bytes.toString('hex', 4, 12).toUpperCase()
  switch (bytes[3]) {
    case ID.pushData:
      return { kind: 'push', token, gateway, body: bytes.subarray(12) }
    case ID.pullData:
      return { kind: 'pull', token, gateway }
    case ID.txAck:
      return { kind: 'txAck', token, gateway, error: txError(bytes.subarray(12)) }
    default:
      return { kind: 'malformed', reason: `packet type ${bytes[3]} is not one of a gateway` }
  }
}

function txError(body: Buffer): string | undefined {
  if (body.length === 0) return undefined
  const ack = objectOf(objectOf(parseJson(body))?.['txpk_ack'])
  const error = ack?.['error']
  if (typeof error === 'string' && error !== 'NONE' && error !== '') return error.slice(0, 64)
  // Newer forwarders warn when they lowered the power, and send.
  return undefined
}

export const buildAck = (kind: 'push' | 'pull', token: number): Buffer =>
  Buffer.from([VERSION, token >> 8, token & 0xff, kind === 'push' ? ID.pushAck : ID.pullAck])

const parseJson = (body: Buffer): Json | undefined => {
  try {
    return JSON.parse(body.toString('utf8')) as Json
  } catch {
    return undefined
  }
}

const objectOf = (value: Json | undefined): { readonly [key: string]: Json } | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as { readonly [key: string]: Json })
    : undefined

export interface PushContent {
  readonly heard: readonly Heard[]
  /** What the gateway tells of itself: counters, position. */
  readonly stat?: Readonly<Record<string, string>>
  /** Frames that were left out, by reason. */
  readonly dropped: Readonly<Record<string, number>>
}

/** What a PUSH_DATA carries; undefined when its body is no JSON object. */
export function readPush(body: Buffer, gateway: string, atMonoMs: number): PushContent | undefined {
  const content = objectOf(parseJson(body))
  if (content === undefined) return undefined
  const heard: Heard[] = []
  const dropped: Record<string, number> = {}
  const packets = content['rxpk']
  const list = Array.isArray(packets) ? (packets as readonly Json[]) : []
  for (const packet of list.slice(0, MAX_RXPK)) {
    const frame = readRxpk(objectOf(packet), gateway, atMonoMs)
    if (typeof frame === 'string') dropped[frame] = (dropped[frame] ?? 0) + 1
    else heard.push(frame)
  }
  if (list.length > MAX_RXPK) dropped['too-many'] = list.length - MAX_RXPK
  const stat = objectOf(content['stat'])
  return stat === undefined ? { heard, dropped } : { heard, dropped, stat: factsOf(stat) }
}

const factsOf = (stat: { readonly [key: string]: Json }): Record<string, string> =>
  Object.fromEntries(
    Object.entries(stat)
      .slice(0, 24)
      .map(([key, value]) => [
        key.slice(0, 32),
        (typeof value === 'object' ? JSON.stringify(value) : String(value)).slice(0, 64),
      ]),
  )

const finite = (value: Json | undefined): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) ? value : undefined

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

/** A received frame, or why it is left out. */
function readRxpk(
  packet: { readonly [key: string]: Json } | undefined,
  gateway: string,
  atMonoMs: number,
): Heard | string {
  if (packet === undefined) return 'bad-rxpk'
  // -1 is a failed CRC: a forwarder that passes those on means them for statistics only.
  if (packet['stat'] === -1) return 'crc'
  const { data } = packet
  const tmst = finite(packet['tmst'])
  const frequency = finite(packet['freq'])
  if (typeof data !== 'string' || data.length > 344 || !BASE64.test(data)) return 'bad-rxpk'
  if (tmst === undefined || frequency === undefined || tmst < 0 || tmst > 0xffff_ffff) return 'bad-rxpk'
  const phy = Buffer.from(data, 'base64')
  const modulation = typeof packet['datr'] === 'string' ? parseDatr(packet['datr']) : undefined
  return {
    gateway,
    phy,
    rssiDbm: finite(packet['rssi']) ?? -150,
    snrDb: finite(packet['lsnr']) ?? 0,
    frequencyHz: Math.round(frequency * 1e6),
    ...(modulation === undefined ? {} : { modulation }),
    atMonoMs,
    context: { via: 'udp', tmst: Math.trunc(tmst) },
  }
}

/** `SF7BW125` */
export function parseDatr(text: string): Modulation | undefined {
  const match = /^SF(\d{1,2})BW(\d{2,4})$/.exec(text)
  if (match === null) return undefined
  return { sf: Number(match[1]), bandwidthHz: Number(match[2]) * 1000 }
}

const MICROSECONDS_A_SECOND = 1_000_000

/** A PULL_RESP for one transmission. Throws nothing; a context of another backend counts as "at once". */
export function buildPullResp(token: number, transmission: Transmission): Buffer {
  const { when, modulation } = transmission
  const timed = when.window !== 'now' && when.context.via === 'udp' ? { when, tmst: when.context.tmst } : undefined
  const delayS = timed === undefined ? 0 : timed.when.rx1DelayS + (timed.when.window === 2 ? 1 : 0)
  const txpk = {
    ...(timed === undefined
      ? { imme: true }
      : { imme: false, tmst: (timed.tmst + delayS * MICROSECONDS_A_SECOND) % 2 ** 32 }),
    freq: transmission.frequencyHz / 1e6,
    rfch: 0,
    powe: transmission.powerDbm,
    modu: 'LORA',
    datr: `SF${modulation.sf}BW${modulation.bandwidthHz / 1000}`,
    codr: '4/5',
    ipol: true,
    ncrc: true,
    size: transmission.phy.length,
    data: Buffer.from(transmission.phy).toString('base64'),
  }
  return Buffer.concat([
    Buffer.from([VERSION, token >> 8, token & 0xff, ID.pullResp]),
    Buffer.from(JSON.stringify({ txpk })),
  ])
}
