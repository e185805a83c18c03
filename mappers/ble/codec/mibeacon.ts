import type { Json } from '../../../api/resources.ts'
import { openCcm } from './ccm.ts'
import { type DecodeContext, type Decoded, malformed, NO_KEY, refused, tidy } from './fields.ts'

/** Xiaomi MiBeacon versions 2 to 5: service data of UUID 0xFE95, as the vendor's IoT developer pages describe it. */
export const MIBEACON_UUID = 'fe95'

const FRAME = { encrypted: 0x08, mac: 0x10, capability: 0x20, object: 0x40 } as const
const CAPABILITY_IO = 0x20
const ASSOCIATED = Uint8Array.of(0x11)

type Read = (data: Buffer, put: (name: string, value: Json) => void) => void

const whole = (name: string, bytes: number, factor = 1): { size: number; read: Read } => ({
  size: bytes,
  read: (data, put) => put(name, tidy(data.readUIntLE(0, bytes) * factor)),
})
const flag = (name: string): { size: number; read: Read } => ({
  size: 1,
  read: (data, put) => put(name, data[0] !== 0),
})

/** Attribute id to what is in it. */
const OBJECTS: Readonly<Record<number, { readonly size: number; readonly read: Read }>> = {
  3: flag('motion'),
  15: {
    size: 3,
    read: (data, put) => {
      put('motion', true)
      put('illuminance', data.readUIntLE(0, 3))
    },
  },
  4100: { size: 2, read: (data, put) => put('temperature', tidy(data.readInt16LE(0) * 0.1)) },
  4101: {
    size: 2,
    read: (data, put) => {
      put('switch', data[0] !== 0)
      put('temperature', data[1]!)
    },
  },
  4102: whole('humidity', 2, 0.1),
  4103: whole('illuminance', 3),
  4104: whole('moisture', 1),
  4105: whole('conductivity', 2),
  4106: whole('battery', 1),
  4109: {
    size: 4,
    read: (data, put) => {
      put('temperature', tidy(data.readInt16LE(0) * 0.1))
      put('humidity', tidy(data.readUInt16LE(2) * 0.1))
    },
  },
  4112: whole('formaldehyde', 2, 0.01),
  4114: flag('switch'),
  4115: whole('consumable', 1),
  4116: flag('moistureDetected'),
  4117: flag('smoke'),
  4119: whole('idleTime', 4),
  4120: flag('light'),
  // 0 open, 1 closed, 2 left open, 3 reset.
  4121: { size: 1, read: (data, put) => put('opening', data[0] === 0 || data[0] === 2) },
  18435: whole('battery', 1),
  19457: { size: 4, read: (data, put) => put('temperature', tidy(Math.fround(data.readFloatLE(0)))) },
  19458: whole('humidity', 1),
  19464: { size: 4, read: (data, put) => put('humidity', tidy(Math.fround(data.readFloatLE(0)))) },
}

export const MIBEACON_FIELDS: readonly string[] = [
  'temperature',
  'humidity',
  'battery',
  'illuminance',
  'moisture',
  'conductivity',
  'formaldehyde',
  'consumable',
  'motion',
  'idleTime',
  'light',
  'opening',
  'switch',
  'smoke',
  'moistureDetected',
]

/** Decodes the service data after the UUID. Frames without an object (a greeting) give no fields. */
export function decodeMibeacon(data: Uint8Array, context: DecodeContext): Decoded {
  if (data.length < 5) return malformed('MiBeacon frame is too short')
  const control = data[0]! | (data[1]! << 8)
  const version = control >> 12
  const frameCounter = data[4]!
  let at = 5
  let mac: Uint8Array = context.mac
  if ((control & FRAME.mac) !== 0) {
    if (data.length < at + 6) return malformed('MiBeacon frame is cut off in its address')
    mac = Uint8Array.from(data.subarray(at, at + 6)).reverse()
    at += 6
  }
  if ((control & FRAME.capability) !== 0) {
    if (data.length <= at) return malformed('MiBeacon frame is cut off in its capabilities')
    at += (data[at]! & CAPABILITY_IO) === 0 ? 1 : 3
  }
  if ((control & FRAME.object) === 0) return { ok: true, fields: new Map() }
  if ((control & FRAME.encrypted) === 0) return decodeObjects(data.subarray(at))
  if (version < 4) return refused('unsupported', `encryption of MiBeacon version ${version} is not known`)
  if (data.length < at + 7 + 3) return malformed('encrypted MiBeacon frame is too short')
  if (context.key === undefined) return NO_KEY
  const extended = data.subarray(data.length - 7, data.length - 4)
  const nonce = Buffer.concat([Uint8Array.from(mac).reverse(), data.subarray(2, 5), extended])
  const open = openCcm(context.key, nonce, data.subarray(at, data.length - 7), data.subarray(-4), ASSOCIATED)
  if (open === undefined) return refused('mic', 'the payload does not open with this bindKey')
  const decoded = decodeObjects(open)
  const high = extended[0]! | (extended[1]! << 8) | (extended[2]! << 16)
  return decoded.ok ? { ...decoded, counter: high * 256 + frameCounter } : decoded
}

function decodeObjects(data: Uint8Array): Decoded {
  const found = new Map<string, Json>()
  let at = 0
  while (at + 3 <= data.length) {
    const id = data[at]! | (data[at + 1]! << 8)
    const length = data[at + 2]!
    const end = at + 3 + length
    if (end > data.length) return malformed(`MiBeacon object 0x${id.toString(16)} is cut off`)
    const object = OBJECTS[id]
    if (object !== undefined && length >= object.size) {
      object.read(Buffer.from(data.subarray(at + 3, end)), (name, value) => {
        if (typeof value !== 'number' || Number.isFinite(value)) found.set(name, value)
      })
    }
    at = end
  }
  return { ok: true, fields: found }
}
