import type { Json } from '../../../api/resources.ts'
import { openCcm } from './ccm.ts'
import { type DecodeContext, type Decoded, fields, malformed, NO_KEY, refused, tidy } from './fields.ts'

/** BTHome version 2, https://bthome.io/format and https://bthome.io/encryption; service data of UUID 0xFCD2. */
export const BTHOME_UUID = 'fcd2'

type Measure = readonly [name: string, bytes: number, signed: boolean, factor: number]

const u = (name: string, bytes: number, factor = 1): Measure => [name, bytes, false, factor]
const s = (name: string, bytes: number, factor = 1): Measure => [name, bytes, true, factor]

/** Numbers: object id, name, bytes, sign and factor of the published table. */
const MEASURES: Readonly<Record<number, Measure>> = {
  0: u('packetId', 1),
  1: u('battery', 1),
  2: s('temperature', 2, 0.01),
  3: u('humidity', 2, 0.01),
  4: u('pressure', 3, 0.01),
  5: u('illuminance', 3, 0.01),
  6: u('mass', 2, 0.01),
  7: u('massLb', 2, 0.01),
  8: s('dewPoint', 2, 0.01),
  9: u('count', 1),
  10: u('energy', 3, 0.001),
  11: u('power', 3, 0.01),
  12: u('voltage', 2, 0.001),
  13: u('pm25', 2),
  14: u('pm10', 2),
  18: u('co2', 2),
  19: u('tvoc', 2),
  20: u('moisture', 2, 0.01),
  46: u('humidity', 1),
  47: u('moisture', 1),
  61: u('count', 2),
  62: u('count', 4),
  63: s('rotation', 2, 0.1),
  64: u('distanceMm', 2),
  65: u('distance', 2, 0.1),
  66: u('duration', 3, 0.001),
  67: u('current', 2, 0.001),
  68: u('speed', 2, 0.01),
  69: s('temperature', 2, 0.1),
  70: u('uvIndex', 1, 0.1),
  71: u('volume', 2, 0.1),
  72: u('volumeMl', 2),
  73: u('volumeFlowRate', 2, 0.001),
  74: u('voltage', 2, 0.1),
  75: u('gas', 3, 0.001),
  76: u('gas', 4, 0.001),
  77: u('energy', 4, 0.001),
  78: u('volume', 4, 0.001),
  79: u('water', 4, 0.001),
  80: u('timestamp', 4),
  81: u('acceleration', 2, 0.001),
  82: u('gyroscope', 2, 0.001),
  85: u('volumeStorage', 4, 0.001),
  86: u('conductivity', 2),
  87: s('temperature', 1),
  88: s('temperature', 1, 0.35),
  89: s('count', 1),
  90: s('count', 2),
  91: s('count', 4),
  92: s('power', 4, 0.01),
  93: s('current', 2, 0.001),
  94: u('direction', 2, 0.01),
  95: u('precipitation', 2, 0.1),
  96: u('channel', 1),
  97: u('rotationalSpeed', 2),
  98: s('signedSpeed', 4, 0.000001),
  99: s('signedAcceleration', 4, 0.000001),
  240: u('deviceType', 2),
  241: u('firmwareVersion', 4),
  242: u('firmwareVersion', 3),
}

/** One byte, 0 or 1. */
const FLAGS: Readonly<Record<number, string>> = {
  15: 'generic',
  16: 'powerOn',
  17: 'opening',
  21: 'batteryLow',
  22: 'batteryCharging',
  23: 'carbonMonoxide',
  24: 'cold',
  25: 'connectivity',
  26: 'door',
  27: 'garageDoor',
  28: 'gasDetected',
  29: 'heat',
  30: 'light',
  31: 'lock',
  32: 'moistureDetected',
  33: 'motion',
  34: 'moving',
  35: 'occupancy',
  36: 'plug',
  37: 'presence',
  38: 'problem',
  39: 'running',
  40: 'safety',
  41: 'smoke',
  42: 'sound',
  43: 'tamper',
  44: 'vibration',
  45: 'window',
}

const BUTTON: Readonly<Record<number, string>> = {
  0: 'none',
  1: 'press',
  2: 'doublePress',
  3: 'triplePress',
  4: 'longPress',
  5: 'longDoublePress',
  6: 'longTriplePress',
  128: 'holdPress',
}
const DIMMER: Readonly<Record<number, string>> = { 0: 'none', 1: 'rotateLeft', 2: 'rotateRight' }

export const BTHOME_FIELDS: readonly string[] = [
  ...new Set([
    ...Object.values(MEASURES).map(([name]) => name),
    ...Object.values(FLAGS),
    'button',
    'dimmer',
    'dimmerSteps',
    'text',
    'raw',
  ]),
]

const DEVICE_INFO_MAC = 0x02

/**
 * Decodes the service data after the UUID. A measurement that comes more than once is named `temperature`,
 * `temperature2`, `temperature3` in the order of the payload, as several probes of one device are sent.
 */
export function decodeBthome(data: Uint8Array, context: DecodeContext): Decoded {
  const info = data[0]
  if (info === undefined) return malformed('empty BTHome payload')
  if (info >> 5 !== 2) return malformed(`BTHome version ${info >> 5}, only 2 is known`)
  const start = (info & DEVICE_INFO_MAC) === 0 ? 1 : 7
  if ((info & 1) === 0) return decodeObjects(data.subarray(start))
  if (data.length < start + 8) return malformed('encrypted BTHome payload is too short')
  if (context.key === undefined) return NO_KEY
  const counter = data.subarray(data.length - 8, data.length - 4)
  const nonce = Buffer.concat([context.mac, Uint8Array.of(0xd2, 0xfc, info), counter])
  const open = openCcm(context.key, nonce, data.subarray(start, -8), data.subarray(-4))
  if (open === undefined) return refused('mic', 'the payload does not open with this bindKey')
  const decoded = decodeObjects(open)
  return decoded.ok ? { ...decoded, counter: Buffer.from(counter).readUInt32LE(0) } : decoded
}

function decodeObjects(data: Uint8Array): Decoded {
  const found = new Map<string, Json>()
  let at = 0
  while (at < data.length) {
    const id = data[at]!
    const size = decodeObject(found, id, data.subarray(at + 1))
    if (size === undefined) {
      // Ids are sorted and a newer one has an unknown length: what came before it counts.
      return found.size > 0 ? fields(found) : malformed(`BTHome object 0x${id.toString(16)} is unknown or cut off`)
    }
    at += 1 + size
  }
  return fields(found)
}

function decodeObject(found: Map<string, Json>, id: number, rest: Uint8Array): number | undefined {
  const measure = MEASURES[id]
  if (measure !== undefined) {
    const [name, size, signed, factor] = measure
    if (rest.length < size) return undefined
    const bytes = Buffer.from(rest.buffer, rest.byteOffset, size)
    put(found, name, tidy((signed ? bytes.readIntLE(0, size) : bytes.readUIntLE(0, size)) * factor))
    return size
  }
  const flag = FLAGS[id]
  if (flag !== undefined) {
    if (rest.length < 1) return undefined
    put(found, flag, rest[0] !== 0)
    return 1
  }
  if (id === 0x3a) {
    if (rest.length < 1) return undefined
    put(found, 'button', BUTTON[rest[0]!] ?? 'unknown')
    return 1
  }
  if (id === 0x3c) {
    if (rest.length < 2) return undefined
    put(found, 'dimmer', DIMMER[rest[0]!] ?? 'unknown')
    put(found, 'dimmerSteps', rest[1]!)
    return 2
  }
  if (id === 0x53 || id === 0x54) {
    const length = rest[0]
    if (length === undefined || rest.length < 1 + length) return undefined
    const bytes = Buffer.from(rest.subarray(1, 1 + length))
    put(found, id === 0x53 ? 'text' : 'raw', bytes.toString(id === 0x53 ? 'utf8' : 'base64'))
    return 1 + length
  }
  return undefined
}

function put(found: Map<string, Json>, name: string, value: Json): void {
  let key = name
  for (let number = 2; found.has(key); number++) key = `${name}${number}`
  found.set(key, value)
}
