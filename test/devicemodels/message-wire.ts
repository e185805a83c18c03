import type { Json } from '../../api/resources.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { AdvertReader } from '../../mappers/ble/advert-reader.ts'
import { compileDevice as compileBle } from '../../mappers/ble/device-config.ts'
import { readingOf } from '../../mappers/ble/readings.ts'
import { Decoders } from '../../mappers/lora/decoder/decoders.ts'
import { compileDevice as compileLora } from '../../mappers/lora/device-config.ts'
import { compileDevice as compileMqtt } from '../../mappers/mqtt/device-config.ts'
import { Payload } from '../../mappers/mqtt/payload.ts'
import { fillPayload } from '../../mappers/mqtt/template.ts'
import type { DeviceBinding, MapperStorage } from '../../mappers/sdk/mapper.ts'
import { Unusable } from '../../mappers/sdk/no-value.ts'
import { topicMatches } from '../../mappers/sdk/topic-filter.ts'
import type { CommandVector, Vector } from './vectors.ts'

const KEY = '000102030405060708090A0B0C0D0E0F'

/** One sandbox process for all decoders, as on a gateway. Its clock stands still: only the sandbox's own limits count. */
const decoders = new Decoders(new VirtualClock())
export const closeDecoders = (): Promise<void> => decoders[Symbol.asyncDispose]()

/** What the mapper makes of one uplink, its decoder in the sandbox included. */
export async function readUplink(binding: DeviceBinding, vector: Vector): Promise<Map<string, Json>> {
  const device = compileLora(binding, () => ({ appKey: KEY }))
  const { port = 1, payload = '' } = vector.uplink ?? {}
  const bytes = Uint8Array.from(Buffer.from(payload, 'hex'))
  let decoded: Json | undefined
  if (device.decoder !== undefined) {
    const result = await decoders.call(device.decoder, { kind: 'decode', bytes, port, atMs: 0 })
    if (!result.ok) throw new Error(`${result.code}: ${result.reason}`)
    decoded = 'data' in result ? result.data : undefined
  }
  const uplink = { device: binding.key, atMs: 0, fCnt: 1, port, payload: bytes, radio: {} }
  const values = new Map<string, Json>()
  for (const point of device.points) {
    const value = point.read(uplink, decoded)
    if (value !== undefined) values.set(point.name, value instanceof Unusable ? `bad(${value.code})` : value)
  }
  return values
}

export function readMessages(binding: DeviceBinding, vector: Vector): Map<string, Json> {
  const { points } = compileMqtt(binding)
  const values = new Map<string, Json>()
  for (const { topic, payload } of vector.messages ?? []) {
    const message = new Payload(Uint8Array.from(Buffer.from(payload)))
    for (const point of points) {
      if (point.topic === undefined || !topicMatches(point.topic, topic)) continue
      const decoded = point.decode(message)
      if (decoded !== undefined) values.set(point.name, 'value' in decoded ? decoded.value : JSON.stringify(decoded))
    }
  }
  return values
}

const nothingStored: MapperStorage = { get: () => undefined, keys: () => [], put: () => {} }

export function readAdvertisement(binding: DeviceBinding, vector: Vector): Map<string, Json> {
  const { advertPoints: points, gattPoints } = compileBle(binding)
  const mac = '00:00:00:00:00:01'
  const clock = new VirtualClock()
  const onUnusable = () => undefined
  const reader = new AdvertReader({ device: binding.key, mac, points, clock, storage: nothingStored, onUnusable })
  const { readings } = reader.heard(Uint8Array.from(Buffer.from(vector.advertisement ?? '', 'hex')), 0)
  const held = gattPoints.flatMap((point) => {
    const bytes = vector.characteristics?.[point.source.characteristic]
    if (bytes === undefined || !point.readable) return []
    return [readingOf(binding.key, point, point.decode(Uint8Array.from(Buffer.from(bytes, 'hex'))), 0)]
  })
  return new Map(
    [...readings, ...held].map(({ property, value, quality }) => [
      property,
      quality === 'good' && value !== undefined ? value : String(quality),
    ]),
  )
}

/** What a desired value becomes on MQTT. */
export function commandOf(binding: DeviceBinding, { property, value }: CommandVector) {
  const point = compileMqtt(binding).points.find(({ name }) => name === property)
  if (point?.command === undefined) return undefined
  return { topic: point.command.topic, payload: fillPayload(point.command.payload, point.encode(value), 1) }
}
