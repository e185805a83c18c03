import type { LoraDevice } from './device-config.ts'
import {
  bytesIn,
  type Dialect,
  type JsonObject,
  listIn,
  numberIn,
  objectIn,
  type ServerEvent,
  timeIn,
} from './foreign-network.ts'
import { clampPercent, frameFacts, radioFactsOf } from './foreign-radio.ts'

/**
 * The Things Stack v3's MQTT server (thethingsindustries.com documentation, "MQTT server"). Our own id travels in
 * `correlation_ids`, which come back with every event about a downlink.
 */
export const tts: Dialect = {
  product: 'The Things Stack',

  filters(device) {
    const base = `v3/${applicationOf(device)}/devices/+`
    return [`${base}/up`, `${base}/join`, `${base}/down/+`]
  },

  address(topic) {
    const [, device, event] = /^v3\/[^/]+\/devices\/([^/]{1,64})\/(up|join|down\/[a-z]+)$/.exec(topic) ?? []
    return device === undefined || event === undefined ? undefined : { device, event }
  },

  nameOf: deviceOf,

  read(event, body) {
    switch (event) {
      case 'up':
        return readUp(body)
      case 'join':
        return { kind: 'joined', atMs: timeIn(body['received_at']) }
      case 'down/ack':
        return { kind: 'acknowledged', id: ownId(body, 'downlink_ack') }
      case 'down/nack':
        return { kind: 'failed', id: ownId(body, 'downlink_nack'), reason: 'the device did not acknowledge' }
      case 'down/sent':
        return { kind: 'sent', id: ownId(body, 'downlink_sent') }
      case 'down/failed':
        return { kind: 'failed', id: ownId(body, 'downlink_failed'), reason: failureText(body) }
      default:
        return { kind: 'ignored' }
    }
  },

  command(device, { confirmed, port, payload }, id) {
    return {
      topic: `v3/${applicationOf(device)}/devices/${deviceOf(device)}/down/push`,
      body: {
        downlinks: [
          {
            f_port: port,
            frm_payload: Buffer.from(payload).toString('base64'),
            priority: 'NORMAL',
            confirmed,
            correlation_ids: [`${OWN}${id}`],
          },
        ],
      },
    }
  },
}

const OWN = 'sluice:'

const applicationOf = ({ network }: LoraDevice): string => (network.kind === 'tts' ? network.options.application : '')

function deviceOf({ network, devEui }: LoraDevice): string {
  return (network.kind === 'tts' ? network.options.device : undefined) ?? `eui-${devEui.toLowerCase()}`
}

function ownId(body: JsonObject, part: string): string | undefined {
  const inner = objectIn(body[part])
  const lists = [
    body['correlation_ids'],
    inner?.['correlation_ids'],
    objectIn(inner?.['downlink'])?.['correlation_ids'],
  ]
  for (const list of lists) {
    const own = listIn(list).find((each) => typeof each === 'string' && each.startsWith(OWN))
    if (typeof own === 'string') return own.slice(OWN.length)
  }
  return undefined
}

function failureText(body: JsonObject): string {
  const error = objectIn(objectIn(body['downlink_failed'])?.['error'])
  const text = error?.['message_format'] ?? error?.['name']
  return `The Things Stack could not send it: ${typeof text === 'string' ? text : 'no reason given'}`.slice(0, 400)
}

function readUp(body: JsonObject): ServerEvent {
  const message = objectIn(body['uplink_message'])
  if (message === undefined) return { kind: 'malformed', reason: 'no uplink_message' }
  const payload = bytesIn(message['frm_payload'])
  if (payload === undefined) return { kind: 'malformed', reason: 'frm_payload is no base64' }
  const frame = frameFacts(message['f_cnt'], message['f_port'])
  const settings = objectIn(message['settings'])
  const lora = objectIn(objectIn(settings?.['data_rate'])?.['lora'])
  const atMs = timeIn(message['received_at']) ?? timeIn(body['received_at'])
  const battery = numberIn(objectIn(message['last_battery_percentage'])?.['value'])
  return {
    kind: 'uplink',
    id: `${String(message['session_key_id'] ?? '')} ${frame.fCnt} ${atMs ?? ''}`,
    atMs,
    ...frame,
    payload,
    object: message['decoded_payload'],
    radio: radioFactsOf({
      heard: message['rx_metadata'],
      frequencyHz: numberIn(settings?.['frequency']),
      spreadingFactor: numberIn(lora?.['spreading_factor']),
      bandwidthHz: numberIn(lora?.['bandwidth']),
      bytes: payload.length,
    }),
    ...(battery === undefined ? {} : { batteryPercent: clampPercent(battery) }),
  }
}
