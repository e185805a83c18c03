import type { LoraDevice } from './device-config.ts'
import {
  bytesIn,
  type Dialect,
  type JsonObject,
  numberIn,
  objectIn,
  type ServerEvent,
  timeIn,
} from './foreign-network.ts'
import { clampPercent, frameFacts, radioFactsOf } from './foreign-radio.ts'

/**
 * ChirpStack v4's MQTT integration with its JSON marshaler. It writes proto3 JSON: fields that are zero, false or empty
 * are missing, and mean just that. (chirpstack.io documentation, "MQTT integration" and "Event types".)
 */
export const chirpstack: Dialect = {
  product: 'ChirpStack',

  filters: (device) => [`application/${applicationOf(device)}/device/+/event/+`],

  address(topic) {
    const [, device, event] = /^application\/[^/]+\/device\/([0-9a-fA-F]{16})\/event\/([a-z]+)$/.exec(topic) ?? []
    return device === undefined || event === undefined ? undefined : { device: device.toLowerCase(), event }
  },

  nameOf: (device) => device.devEui.toLowerCase(),

  read(event, body) {
    switch (event) {
      case 'up':
        return readUp(body)
      case 'join':
        return { kind: 'joined', atMs: timeIn(body['time']) }
      case 'status':
        return readStatus(body)
      case 'ack':
        // `acknowledged` is missing when it is false: the device did not, and ChirpStack has given up.
        return body['acknowledged'] === true
          ? { kind: 'acknowledged', id: textIn(body['queueItemId']) }
          : { kind: 'failed', id: textIn(body['queueItemId']), reason: 'the device did not acknowledge' }
      case 'txack':
        return { kind: 'sent', id: textIn(body['queueItemId']) }
      case 'log':
        return body['level'] === 'ERROR'
          ? { kind: 'failed', id: textIn(objectIn(body['context'])?.['queue_item_id']), reason: logText(body) }
          : { kind: 'ignored' }
      default:
        return { kind: 'ignored' }
    }
  },

  command(device, { confirmed, port, payload }, id, expiresAtMs) {
    const devEui = device.devEui.toLowerCase()
    return {
      topic: `application/${applicationOf(device)}/device/${devEui}/command/down`,
      body: {
        id,
        devEui,
        confirmed,
        fPort: port,
        data: Buffer.from(payload).toString('base64'),
        expiresAt: new Date(expiresAtMs).toISOString(),
      },
    }
  },
}

const applicationOf = ({ network }: LoraDevice): string =>
  network.kind === 'chirpstack' ? network.options.application : ''

const textIn = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)

function logText(body: JsonObject): string {
  const code = textIn(body['code']) ?? 'error'
  return `ChirpStack says ${code}: ${textIn(body['description']) ?? 'no description'}`.slice(0, 400)
}

function readUp(body: JsonObject): ServerEvent {
  const payload = bytesIn(body['data'])
  if (payload === undefined) return { kind: 'malformed', reason: 'data is no base64' }
  const frame = frameFacts(body['fCnt'], body['fPort'])
  const txInfo = objectIn(body['txInfo'])
  const lora = objectIn(objectIn(txInfo?.['modulation'])?.['lora'])
  return {
    kind: 'uplink',
    id: textIn(body['deduplicationId']) ?? `${frame.fCnt} ${textIn(body['time']) ?? ''}`,
    atMs: timeIn(body['time']),
    ...frame,
    payload,
    object: body['object'],
    radio: radioFactsOf({
      heard: body['rxInfo'],
      frequencyHz: numberIn(txInfo?.['frequency']),
      spreadingFactor: numberIn(lora?.['spreadingFactor']),
      bandwidthHz: numberIn(lora?.['bandwidth']),
      bytes: payload.length,
    }),
  }
}

function readStatus(body: JsonObject): ServerEvent {
  const external = body['externalPowerSource'] === true
  const known = !external && body['batteryLevelUnavailable'] !== true
  return {
    kind: 'status',
    atMs: timeIn(body['time']),
    marginDb: numberIn(body['margin']) ?? 0,
    ...(external ? { externalPower: true } : {}),
    ...(known ? { batteryPercent: clampPercent(numberIn(body['batteryLevel']) ?? 0) } : {}),
  }
}
