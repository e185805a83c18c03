import { SluiceError } from '../../api/errors.ts'
import { isFirmwareOrder } from '../../api/link/firmware.ts'
import { type HubFrame, LINK_KINDS, LINK_VERSION, MAX_FRAME_BYTES, type SeqRange } from '../../api/link/messages.ts'
import { isDial } from '../../api/link/streams.ts'

type Fields = Readonly<Record<string, unknown>>

/** Reads a frame of the hub; throws `SLUICE_LINK_BAD_FRAME` or `SLUICE_LINK_VERSION`. */
export function parseHubFrame(text: string | undefined): HubFrame {
  if (text === undefined) throw broken('is binary')
  if (text.length > MAX_FRAME_BYTES)
    throw broken(`has ${text.length} characters, at most ${MAX_FRAME_BYTES} are allowed`)
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw broken('is not JSON')
  }
  const frame = isMap(parsed) ? parsed : {}
  if (typeof frame['t'] !== 'string') throw broken('has no type')
  const check = Object.hasOwn(CHECKS, frame['t']) ? CHECKS[frame['t'] as HubFrame['t']] : undefined
  if (check === undefined) throw broken(`has the unknown type '${frame['t'].slice(0, 32)}'`)
  if (frame['t'] === 'welcome' && frame['v'] !== LINK_VERSION) {
    throw new SluiceError(
      'SLUICE_LINK_VERSION',
      `The hub speaks link version ${String(frame['v'])}, this agent ${LINK_VERSION}`,
      {
        hint: 'Bring the agent and the cloud core to releases that fit together.',
      },
    )
  }
  if (!check(frame)) throw broken(`of type '${frame['t']}' lacks a field or has a wrong one`)
  return parsed as HubFrame
}

const CHECKS: Readonly<Record<HubFrame['t'], (frame: Fields) => boolean>> = {
  welcome: ({ session, nowMs, heartbeatMs, received, window }) =>
    typeof session === 'string' &&
    isCount(nowMs) &&
    isCount(heartbeatMs) &&
    heartbeatMs >= 100 &&
    isRanges(received) &&
    isMap(window) &&
    isCount(window['batches']) &&
    isCount(window['bytes']) &&
    window['batches'] > 0 &&
    window['bytes'] > 0,
  objects: ({ upserts, deletes }) => isListOf(upserts, isObject) && isListOf(deletes, isDelete),
  ack: ({ received }) => isRanges(received),
  desireResult: ({ id, ok }) => typeof id === 'string' && typeof ok === 'boolean',
  pong: ({ id, nowMs, lease }) =>
    isCount(id) && (nowMs === undefined || Number.isFinite(nowMs)) && (lease === undefined || isLease(lease)),
  dial: (frame) => isDial(frame),
  error: ({ code, message }) => typeof code === 'string' && typeof message === 'string',
}

const isMap = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value)

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const isListOf = (value: unknown, item: (value: unknown) => boolean): boolean =>
  Array.isArray(value) && value.every(item)

const isRanges = (value: unknown): value is SeqRange[] =>
  isListOf(value, (range) => {
    if (!Array.isArray(range) || range.length !== 2) return false
    const [first, last]: unknown[] = range
    return isCount(first) && isCount(last) && first <= last
  })

const isKind = (value: unknown): boolean => LINK_KINDS.some((kind) => kind === value)

/** Objects of kinds without a namespace have an empty one. */
const isKey = (kind: unknown, value: unknown): boolean =>
  typeof value === 'string' && (kind === 'Gateway' ? /^\/[^/]+$/ : /^[^/]+\/[^/]+$/).test(value)

const isDelete = (value: unknown): boolean =>
  isMap(value) && isKind(value['kind']) && isKey(value['kind'], value['key'])

function isObject(value: unknown): boolean {
  if (!isMap(value) || !isKind(value['kind']) || !isKey(value['kind'], value['key'])) return false
  if (typeof value['rev'] !== 'string') return false
  const object = value['object']
  if (!isMap(object) || typeof object['uid'] !== 'string') return false
  if (value['kind'] === 'ConfigMap' || value['kind'] === 'Secret') return isPayload(object)
  if (!isMap(object['spec'])) return false
  if (value['kind'] === 'FirmwareUpdate') return isFirmwareOrder(object['spec'])
  if (value['kind'] === 'Pod') return isMap(object['metadata']) && Array.isArray(object['spec']['containers'])
  if (value['kind'] === 'DeviceModel') return Array.isArray(object['spec']['properties'])
  if (value['kind'] === 'Gateway') return object['labels'] === undefined || isMap(object['labels'])
  return (
    typeof object['spec']['model'] === 'string' &&
    isMap(object['desired']) &&
    Object.values(object['desired']).every(
      (item) => isMap(item) && 'value' in item && isCount(item['version']) && isCount(item['atMs']),
    ) &&
    (object['removed'] === undefined ||
      (isMap(object['removed']) && Object.values(object['removed']).every(isCount))) &&
    (object['roaming'] === undefined || isRole(object['roaming']))
  )
}

const isPayload = (object: Fields): boolean =>
  ['data', 'binaryData'].every(
    (name) => object[name] === undefined || isMapOf(object[name], (text) => typeof text === 'string'),
  )

const isRole = (value: unknown): boolean =>
  isMap(value) &&
  (value['role'] === 'active' || value['role'] === 'standby') &&
  isCount(value['term']) &&
  (value['since'] === undefined || isMapOf(value['since'], (item) => isPair(item) && Number.isFinite(item[1]))) &&
  (value['ended'] === undefined || isMapOf(value['ended'], isEnd)) &&
  (value['writeAfterMs'] === undefined || isCount(value['writeAfterMs']))

const isMapOf = (value: unknown, item: (value: unknown) => boolean): boolean =>
  isMap(value) && Object.values(value).every(item)

const isPair = (value: unknown): value is unknown[] => Array.isArray(value) && value.length === 2

const isEnd = (value: unknown): boolean =>
  Array.isArray(value) &&
  isCount(value[0]) &&
  ['applied', 'rejected', 'timedOut'].includes(String(value[1])) &&
  Number.isFinite(value[2]) &&
  (value[3] === undefined || typeof value[3] === 'string')

function broken(what: string): SluiceError {
  return new SluiceError('SLUICE_LINK_BAD_FRAME', `A frame of the hub ${what}`, {
    hint: 'Check that the address is that of a Sluice hub and that no proxy changes WebSocket frames.',
  })
}

const isLease = (lease: unknown): boolean =>
  isMap(lease) &&
  isCount(lease['term']) &&
  typeof lease['spanMs'] === 'number' &&
  lease['spanMs'] > 0 &&
  lease['spanMs'] < 1e9

/** What a session says of a frame that is well formed and has no place in its present phase. */
export function unexpected(type: string, when: string): SluiceError {
  return new SluiceError('SLUICE_LINK_BAD_FRAME', `A frame of the hub came unexpectedly: '${type}' ${when}`, {
    hint: 'Bring the agent and the cloud core to releases that fit together.',
  })
}
