import type { Json } from '../../../api/resources.ts'
import { type Decoded, fields, malformed, tidy } from './fields.ts'

/** Eddystone UID, URL and TLM: service data of UUID 0xFEAA (protocol-specification.md of google/eddystone). */
export const EDDYSTONE_UUID = 'feaa'
/** iBeacon: manufacturer data of Apple, type 2, length 21. */
export const APPLE_COMPANY = 0x004c

const SCHEMES = ['http://www.', 'https://www.', 'http://', 'https://']
const ENDINGS = ['.com', '.org', '.edu', '.net', '.info', '.biz', '.gov']

export const EDDYSTONE_FIELDS: readonly string[] = [
  'frame',
  'txPower',
  'namespace',
  'instance',
  'url',
  'voltage',
  'temperature',
  'adverts',
  'uptime',
]
export const IBEACON_FIELDS: readonly string[] = ['uuid', 'major', 'minor', 'txPower']

const int8 = (byte: number) => (byte << 24) >> 24

export function decodeEddystone(bytes: Uint8Array): Decoded {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  switch (data[0]) {
    case 0x00:
      if (data.length < 18) return malformed('Eddystone UID frame is too short')
      return fields([
        ['frame', 'uid'],
        ['txPower', int8(data[1]!)],
        ['namespace', data.toString('hex', 2, 12)],
        ['instance', data.toString('hex', 12, 18)],
      ])
    case 0x10:
      return decodeUrl(data)
    case 0x20:
      return decodeTelemetry(data)
    default:
      return malformed(`Eddystone frame type 0x${(data[0] ?? 0).toString(16)} is not known`)
  }
}

function decodeUrl(data: Buffer): Decoded {
  const scheme = SCHEMES[data[2] ?? -1]
  if (scheme === undefined) return malformed('Eddystone URL frame without a known scheme')
  let url = scheme
  for (const byte of data.subarray(3)) {
    const ending = ENDINGS[byte % 7]
    if (byte < 14) url += byte < 7 ? `${ending}/` : ending
    else if (byte > 0x20 && byte < 0x7f) url += String.fromCharCode(byte)
    else return malformed(`Eddystone URL holds the byte 0x${byte.toString(16)}`)
  }
  return fields([
    ['frame', 'url'],
    ['txPower', int8(data[1]!)],
    ['url', url],
  ])
}

function decodeTelemetry(data: Buffer): Decoded {
  if (data[1] !== 0) return malformed('encrypted Eddystone telemetry is not supported')
  if (data.length < 14) return malformed('Eddystone TLM frame is too short')
  const found: [string, Json][] = [['frame', 'tlm']]
  const millivolts = data.readUInt16BE(2)
  if (millivolts !== 0) found.push(['voltage', millivolts / 1000])
  const temperature = data.readInt16BE(4)
  if (temperature !== -0x8000) found.push(['temperature', tidy(temperature / 256)])
  found.push(['adverts', data.readUInt32BE(6)], ['uptime', tidy(data.readUInt32BE(10) / 10)])
  return fields(found)
}

/** Manufacturer data with the company identifier. */
export function decodeIbeacon(manufacturer: Uint8Array): Decoded {
  const data = Buffer.from(manufacturer.buffer, manufacturer.byteOffset, manufacturer.length)
  if (data[2] !== 0x02 || data[3] !== 0x15 || data.length < 25) return malformed('not an iBeacon frame')
  const hex = data.toString('hex', 4, 20)
  const uuid = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  return fields([
    ['uuid', uuid],
    ['major', data.readUInt16BE(20)],
    ['minor', data.readUInt16BE(22)],
    ['txPower', int8(data[24]!)],
  ])
}
