import type { Json } from '../../../api/resources.ts'
import { euiBytes } from '../codec.ts'
import type { Region } from '../regions/region.ts'
import { subBandChannels } from '../regions/region.ts'
import type { Heard, Transmission } from './gateway.ts'

/**
 * Messages of Basic Station's LNS protocol (doc.sm.tc/station, version 2), to values and back; pure. Its `xtime`,
 * `rctx` and `diid` are 64-bit integers: as JSON numbers they would lose their last digits, so they stay digits.
 */

const BIG = new Set(['xtime', 'rctx', 'txtime', 'gpstime', 'diid'])

type Reviver = (key: string, value: Json, context?: { readonly source?: string }) => Json

const keepDigits: Reviver = (key, value, context) =>
  typeof value === 'number' && BIG.has(key) && context?.source !== undefined ? context.source : value

export type JsonObject = { readonly [key: string]: Json }

/** The message, with 64-bit integers as strings of their digits; undefined for anything but an object. */
export function parseMessage(text: string): JsonObject | undefined {
  try {
    const value = JSON.parse(text, keepDigits) as Json
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined
  } catch {
    return undefined
  }
}

/** Writes a message whose `big` fields are digits of 64-bit integers. */
export function writeMessage(message: JsonObject, big: Readonly<Record<string, string>> = {}): string {
  const text = JSON.stringify(message)
  const tail = Object.entries(big).map(([key, digits]) => `,${JSON.stringify(key)}:${digits}`)
  return `${text.slice(0, -1)}${tail.join('')}}`
}

const DIGITS = /^-?\d{1,20}$/
const digitsOf = (value: Json | undefined): string | undefined =>
  typeof value === 'string' && DIGITS.test(value) ? value : undefined

const numberOf = (value: Json | undefined): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) ? value : undefined

const objectOf = (value: Json | undefined): JsonObject | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined

/** `58-A0-CB-FF-FE-80-00-01`, or Station's short `58a0:cbff:fe80:1`. Upper case without separators, or undefined. */
export function stationEui(text: Json | undefined): string | undefined {
  if (typeof text !== 'string' || text.length > 64) return undefined
  const plain = text.replace(/^router-/, '')
  if (/^([0-9a-fA-F]{2}-){7}[0-9a-fA-F]{2}$/.test(plain)) return plain.replaceAll('-', '').toUpperCase()
  if (/^[0-9a-fA-F]{16}$/.test(plain)) return plain.toUpperCase()
  return fromId6(plain)
}

/** Id6: an IPv6-like short form of four groups of 16 bits. */
function fromId6(text: string): string | undefined {
  if (!/^[0-9a-fA-F:]{2,19}$/.test(text) || !text.includes(':')) return undefined
  const [head, tail] = text.split('::') as [string, string | undefined]
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const missing = 4 - left.length - right.length
  if (tail === undefined ? missing !== 0 : missing < 0) return undefined
  const groups = [...left, ...Array.from({ length: missing }, () => '0'), ...right]
  if (groups.some((group) => !/^[0-9a-fA-F]{1,4}$/.test(group))) return undefined
  return groups
    .map((group) => group.padStart(4, '0'))
    .join('')
    .toUpperCase()
}

export const dashedEui = (eui: string): string => eui.match(/../g)!.join('-')

/** The frame an uplink message describes, as it was on the air; undefined when a field is missing or wrong. */
export function phyOf(message: JsonObject): Buffer | undefined {
  const mhdr = numberOf(message['MHdr'])
  const mic = numberOf(message['MIC'])
  switch (message['msgtype']) {
    case 'jreq': {
      const joinEui = stationEui(message['JoinEui'])
      const devEui = stationEui(message['DevEui'])
      const devNonce = numberOf(message['DevNonce'])
      if (
        mhdr === undefined ||
        mic === undefined ||
        joinEui === undefined ||
        devEui === undefined ||
        devNonce === undefined
      )
        return undefined
      return Buffer.concat([Buffer.from([mhdr & 0xff]), euiBytes(joinEui), euiBytes(devEui), u16(devNonce), i32(mic)])
    }
    case 'updf': {
      const devAddr = numberOf(message['DevAddr'])
      const control = numberOf(message['FCtrl'])
      const fCnt = numberOf(message['FCnt'])
      const port = numberOf(message['FPort']) ?? -1
      const options = hexOf(message['FOpts'])
      const payload = hexOf(message['FRMPayload'])
      if (
        mhdr === undefined ||
        mic === undefined ||
        devAddr === undefined ||
        control === undefined ||
        fCnt === undefined
      )
        return undefined
      if (options === undefined || payload === undefined) return undefined
      const body = port < 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([port & 0xff]), payload])
      return Buffer.concat([
        Buffer.from([mhdr & 0xff]),
        i32(devAddr),
        Buffer.from([control & 0xff]),
        u16(fCnt),
        options,
        body,
        i32(mic),
      ])
    }
    case 'propdf':
      return hexOf(message['FRMPayload'])
    default:
      return undefined
  }
}

function hexOf(value: Json | undefined): Buffer | undefined {
  if (value === undefined) return Buffer.alloc(0)
  if (typeof value !== 'string' || value.length > 510 || !/^([0-9a-fA-F]{2})*$/.test(value)) return undefined
  return Buffer.from(value, 'hex')
}

function u16(value: number): Buffer {
  const out = Buffer.alloc(2)
  out.writeUInt16LE(Math.trunc(value) & 0xffff)
  return out
}

/** Station prints DevAddr and MIC as signed numbers; the bits are the same. */
function i32(value: number): Buffer {
  const out = Buffer.alloc(4)
  out.writeUInt32LE(value >>> 0)
  return out
}

/** A received frame, or undefined when the message does not carry one. */
export function readUplink(message: JsonObject, gateway: string, region: Region, atMonoMs: number): Heard | undefined {
  const phy = phyOf(message)
  const upinfo = objectOf(message['upinfo'])
  const xtime = digitsOf(upinfo?.['xtime'])
  const dr = numberOf(message['DR'])
  const frequencyHz = numberOf(message['Freq'])
  if (phy === undefined || phy.length === 0 || xtime === undefined || dr === undefined || frequencyHz === undefined)
    return undefined
  const rate = region.dataRates[dr]
  return {
    gateway,
    phy,
    rssiDbm: numberOf(upinfo?.['rssi']) ?? -150,
    snrDb: numberOf(upinfo?.['snr']) ?? 0,
    frequencyHz,
    ...(rate === undefined || rate.fsk === true ? {} : { modulation: { sf: rate.sf, bandwidthHz: rate.bandwidthHz } }),
    atMonoMs,
    context: { via: 'station', xtime, rctx: digitsOf(upinfo?.['rctx']) ?? '0' },
  }
}

/** `dnmsg` for one transmission: class A in one of its windows, or class C at once. */
export function downMessage(transmission: Transmission, diid: number): string {
  const { when, dr, frequencyHz } = transmission
  const common = {
    msgtype: 'dnmsg',
    DevEui: dashedEui(transmission.devEui),
    diid,
    pdu: Buffer.from(transmission.phy).toString('hex'),
    priority: 0,
  }
  if (when.window === 'now' || when.context.via !== 'station') {
    return writeMessage({ ...common, dC: 2, RX2DR: dr, RX2Freq: frequencyHz, RxDelay: 0 }, { rctx: '0' })
  }
  const { xtime, rctx } = when.context
  const window = when.window === 1 ? { RX1DR: dr, RX1Freq: frequencyHz } : { RX2DR: dr, RX2Freq: frequencyHz }
  return writeMessage({ ...common, dC: 0, RxDelay: when.rx1DelayS, ...window }, { xtime, rctx })
}

/** What a station needs to know of the region: data rates, frequencies and which channels to listen on. */
export function routerConfig(region: Region, subBand: number, netId?: number): JsonObject {
  const rates = Array.from({ length: 16 }, (_, dr): [number, number, number] => {
    const rate = region.dataRates[dr]
    if (rate === undefined) return [-1, 0, 0]
    if (rate.fsk === true) return [0, 0, 0]
    return [rate.sf, rate.bandwidthHz / 1000, region.fixedPlan && dr >= 8 ? 1 : 0]
  })
  return {
    msgtype: 'router_config',
    NetID: netId === undefined ? null : [netId],
    JoinEui: null,
    region: region.stationName,
    hwspec: 'sx1301/1',
    freq_range: [...region.rangeHz],
    DRs: rates,
    sx1301_conf: [concentrator(region, subBand)],
    nocca: false,
    nodc: false,
    nodwell: false,
  }
}

const IF_RANGE_HZ = 400_000

/** Two radios of an SX1301, each for the channels within 400 kHz of its centre. */
function concentrator(region: Region, subBand: number): JsonObject {
  const narrow = region.fixedPlan
    ? subBandChannels(subBand)
        .slice(0, 8)
        .map((channel) => region.channels[channel]!.frequencyHz)
    : [...region.channels.map(({ frequencyHz }) => frequencyHz), ...region.extraHz]
  const wanted = narrow.toSorted((a, b) => a - b).slice(0, 8)
  const first = wanted[0]! + IF_RANGE_HZ
  const upper = wanted.filter((hz) => Math.abs(hz - first) > IF_RANGE_HZ)
  const second = (upper[0] ?? first) + IF_RANGE_HZ
  const conf: Record<string, Json> = {
    radio_0: { enable: true, freq: first },
    radio_1: { enable: upper.length > 0, freq: second },
  }
  for (let index = 0; index < 8; index++) {
    const hz = wanted[index]
    const radio = hz !== undefined && Math.abs(hz - first) <= IF_RANGE_HZ ? 0 : 1
    conf[`chan_multiSF_${index}`] =
      hz === undefined ? { enable: false } : { enable: true, radio, if: hz - (radio === 0 ? first : second) }
  }
  const wide = region.fixedPlan ? region.channels[64 + subBand - 1]!.frequencyHz : undefined
  conf['chan_Lora_std'] =
    wide === undefined
      ? { enable: false }
      : { enable: true, radio: 1, if: wide - second, bandwidth: 500_000, spread_factor: 8 }
  conf['chan_FSK'] = { enable: false }
  return conf
}
