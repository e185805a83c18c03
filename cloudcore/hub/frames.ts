import { SluiceError } from '../../api/errors.ts'
import { isFirmwareStatusItem, MAX_FIRMWARE_ITEMS } from '../../api/link/firmware.ts'
import { isMachineFacts } from '../../api/link/machine.ts'
import {
  type AgentFrame,
  type BatchBody,
  type HeardBy,
  LINK_KINDS,
  MAX_CARRY,
  MAX_HEARD_BY,
  MAX_HEARD_ITEMS,
} from '../../api/link/messages.ts'
import { isNoticeItem, MAX_NOTICE_ITEMS } from '../../api/link/notices.ts'
import { isPodStatusItem, MAX_POD_STATUS_ITEMS } from '../../api/link/pods.ts'
import { isSightedItem, MAX_SIGHTED_ITEMS } from '../../api/link/sighted.ts'
import { isStaticPod, MAX_STATIC_PODS } from '../../api/link/static-pods.ts'
import { isDialRefused } from '../../api/link/streams.ts'

/**
 * Reads a frame from an agent. The checks are written out because this runs for every batch of every gateway: a schema
 * compiler would cost more than the parsing. Throws SLUICE_LINK_BAD_FRAME; nothing of such a frame is used.
 */
export function readAgentFrame(text: string): AgentFrame {
  let frame: unknown
  try {
    frame = JSON.parse(text)
  } catch (cause) {
    throw new SluiceError('SLUICE_LINK_BAD_FRAME', 'a frame is not JSON', { cause })
  }
  if (!isRecord(frame)) throw bad('a frame is not an object')
  check(frame)
  return frame as AgentFrame & Record<string, unknown>
}

function check(frame: Record<string, unknown>): void {
  switch (frame['t']) {
    case 'batch':
      need(isCount(frame['seq']) && frame['seq'] > 0, 'batch.seq')
      need(frame['lane'] === 'live' || frame['lane'] === 'backfill', 'batch.lane')
      checkBody(frame['body'])
      return
    case 'snapshot':
      need(isCount(frame['seq']), 'snapshot.seq')
      need(typeof frame['last'] === 'boolean', 'snapshot.last')
      checkBody(frame['body'])
      return
    case 'ping':
      need(isCount(frame['id']), 'ping.id')
      need(frame['offsetMs'] === undefined || isTime(frame['offsetMs']), 'ping.offsetMs')
      return
    case 'objectsAck':
      checkAcks(frame['items'])
      return
    case 'status':
      need(isRecord(frame['status']), 'status.status')
      return
    case 'sighted': {
      const { items } = frame
      need(Array.isArray(items) && items.length <= MAX_SIGHTED_ITEMS && items.every(isSightedItem), 'sighted.items')
      return
    }
    case 'events': {
      const { items } = frame
      need(Array.isArray(items) && items.length <= MAX_NOTICE_ITEMS && items.every(isNoticeItem), 'events.items')
      return
    }
    case 'heard': {
      const { items } = frame
      need(Array.isArray(items) && items.length <= MAX_HEARD_ITEMS && items.every(isHeardItem), 'heard.items')
      return
    }
    case 'pods': {
      const { items, statics } = frame
      need(Array.isArray(items) && items.length <= MAX_POD_STATUS_ITEMS && items.every(isPodStatusItem), 'pods.items')
      if (statics === undefined) return
      need(Array.isArray(statics) && statics.length <= MAX_STATIC_PODS && statics.every(isStaticPod), 'pods.statics')
      return
    }
    case 'firmware': {
      const { items } = frame
      need(
        Array.isArray(items) && items.length <= MAX_FIRMWARE_ITEMS && items.every(isFirmwareStatusItem),
        'firmware.items',
      )
      return
    }
    case 'gap': {
      const range = frame['range']
      need(Array.isArray(range) && range.length === 2 && isCount(range[0]) && isCount(range[1]), 'gap.range')
      need(range[0] > 0 && range[0] <= range[1], 'gap.range')
      need(isCount(frame['values']), 'gap.values')
      return
    }
    case 'desire':
      need(isText(frame['id'], 128) && isText(frame['device'], 320) && isText(frame['property'], 63), 'desire')
      need(frame['device'].includes('/') && 'value' in frame && frame['value'] !== null, 'desire')
      need(isCount(frame['version']) && isCount(frame['local']) && isTime(frame['atMs']), 'desire')
      need(frame['by'] === undefined || isText(frame['by'], 256), 'desire.by')
      return
    case 'hello':
      need(isCount(frame['v']), 'hello.v')
      // Whatever another version says, the answer about the version has to be possible.
      if (frame['v'] !== 1) return
      need(isText(frame['gateway'], 253) && isText(frame['epoch'], 64) && isText(frame['agentVersion'], 64), 'hello')
      need(isCount(frame['lastSeq']) && isCount(frame['firstSeq']), 'hello.lastSeq')
      checkHolds(frame['holds'])
      need(frame['kinds'] === undefined || isWords(frame['kinds']), 'hello.kinds')
      need(frame['machine'] === undefined || isMachineFacts(frame['machine']), 'hello.machine')
      need(frame['streams'] === undefined || isCount(frame['streams']), 'hello.streams')
      return
    case 'dialRefused':
      need(isDialRefused(frame), 'dialRefused')
      return
    case 'error':
      need(isText(frame['code'], 128) && isText(frame['message'], 4096), 'error')
      return
    default:
      throw bad(`a frame is of an unknown kind '${String(frame['t']).slice(0, 40)}'`)
  }
}

function checkBody(body: unknown): asserts body is BatchBody {
  need(isRecord(body), 'body')
  const { d, r, w, s, n } = body
  need(Array.isArray(d), 'body.d')
  for (const device of d) {
    need(Array.isArray(device) && isText(device[0], 320) && isText(device[1], 64), 'body.d')
    need(device[2] === undefined || isCount(device[2]), 'body.d')
  }
  const count = d.length
  if (r !== undefined) {
    need(Array.isArray(r), 'body.r')
    for (const row of r) {
      need(Array.isArray(row) && isIndex(row[0], count) && isText(row[1], 63) && isTime(row[3]), 'body.r')
      need(row[2] !== undefined && (row[4] === undefined || row[4] === null || isQuality(row[4])), 'body.r')
      need(row[5] === undefined || row[5] === null || typeof row[5] === 'string', 'body.r')
    }
  }
  if (w !== undefined) {
    need(Array.isArray(w), 'body.w')
    for (const row of w) {
      need(Array.isArray(row) && isIndex(row[0], count) && isText(row[1], 63) && isCount(row[2]), 'body.w')
      need((row[3] === 'applied' || row[3] === 'rejected' || row[3] === 'timedOut') && isTime(row[4]), 'body.w')
      need(row[5] === undefined || row[5] === null || typeof row[5] === 'string', 'body.w')
      need(row[6] === undefined || row[6] === null || isCount(row[6]), 'body.w')
    }
  }
  if (s !== undefined) {
    need(Array.isArray(s), 'body.s')
    for (const row of s) {
      need(Array.isArray(row) && isIndex(row[0], count) && (row[1] === 0 || row[1] === 1) && isTime(row[2]), 'body.s')
      need(row[3] === undefined || row[3] === null || typeof row[3] === 'string', 'body.s')
      need(isOptionalNumber(row[4]) && isOptionalNumber(row[5]), 'body.s')
      need(row[6] === undefined || isFacts(row[6]), 'body.s')
    }
  }
  if (n !== undefined) {
    need(Array.isArray(n), 'body.n')
    for (const row of n) {
      need(Array.isArray(row) && isIndex(row[0], count) && isText(row[1], 63) && isCount(row[2]), 'body.n')
      need(isTime(row[3]) && isText(row[4], 1024), 'body.n')
      need(row[5] === undefined || row[5] === null || isCount(row[5]), 'body.n')
    }
  }
}

function checkAcks(items: unknown): void {
  need(Array.isArray(items), 'objectsAck.items')
  for (const item of items) {
    need(isRecord(item) && isKind(item['kind']) && isText(item['key'], 320), 'objectsAck.items')
    need(typeof item['rev'] === 'string' && typeof item['ok'] === 'boolean', 'objectsAck.items')
    const { code, message } = item
    need(code === undefined || isText(code, 128), 'objectsAck.code')
    need(message === undefined || typeof message === 'string', 'objectsAck.message')
  }
}

function checkHolds(holds: unknown): void {
  need(Array.isArray(holds), 'hello.holds')
  for (const item of holds) {
    need(Array.isArray(item) && isKind(item[0]) && isText(item[1], 320) && typeof item[2] === 'string', 'hello.holds')
  }
}

function need(condition: boolean, where: string): asserts condition {
  if (!condition) throw bad(`${where} is not as it has to be`)
}

const bad = (message: string) =>
  new SluiceError('SLUICE_LINK_BAD_FRAME', message, { hint: 'Use an agent and a hub of the same release.' })

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const isIndex = (value: unknown, count: number): boolean => isCount(value) && value < count

/** Milliseconds that a Date can hold. */
const isTime = (value: unknown): value is number => typeof value === 'number' && Math.abs(value) <= 8.64e15

const isText = (value: unknown, maxLength: number): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= maxLength

const isKind = (value: unknown) => LINK_KINDS.some((kind) => kind === value)

const isWords = (value: unknown) =>
  Array.isArray(value) && value.length <= 64 && value.every((word) => isText(word, 63))

const isOptionalNumber = (value: unknown) => value === undefined || value === null || Number.isFinite(value)

/** Figures that a Device's status can hold: whatever else a gateway says of signal and battery is refused. */
function isFacts(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { rssiDbm, snrDb, spreadingFactor, marginDb, gateways, batteryPercent, unusable, carry } = value
  return (
    isFigure(rssiDbm, -200, 50) &&
    isFigure(snrDb, -100, 100) &&
    isFigure(marginDb, -200, 200) &&
    isFigure(batteryPercent, 0, 100) &&
    isFigure(spreadingFactor, 5, 12) &&
    (spreadingFactor === undefined || Number.isInteger(spreadingFactor)) &&
    isFigure(unusable, 0, Number.MAX_SAFE_INTEGER) &&
    (unusable === undefined || Number.isInteger(unusable)) &&
    (carry === undefined || isText(carry, MAX_CARRY)) &&
    (gateways === undefined ||
      (Array.isArray(gateways) && gateways.length <= MAX_HEARD_BY && gateways.every(isHeardBy) && haveNames(gateways)))
  )
}

function isHeardBy(value: unknown): value is HeardBy {
  if (!isRecord(value)) return false
  const { id, rssiDbm, snrDb } = value
  return isText(id, 64) && id !== '' && isFigure(rssiDbm, -200, 50) && isFigure(snrDb, -100, 100)
}

/** In a status they are a list with a key: two alike would be refused, and everything else of the device with them. */
const haveNames = (gateways: readonly HeardBy[]): boolean =>
  new Set(gateways.map(({ id }) => id)).size === gateways.length

const isFigure = (value: unknown, low: number, high: number) =>
  value === undefined || (typeof value === 'number' && value >= low && value <= high)

function isHeardItem(value: unknown): boolean {
  if (!Array.isArray(value)) return false
  const [key, uid, rssiDbm, ageMs]: unknown[] = value
  return isText(key, 320) && isText(uid, 64) && isNumber(rssiDbm, -200, 50) && isNumber(ageMs, 0, 86_400_000)
}

const isNumber = (value: unknown, low: number, high: number) => value !== undefined && isFigure(value, low, high)

function isQuality(value: unknown): boolean {
  if (value === 'good' || value === 'uncertain' || value === 'stale') return true
  return typeof value === 'string' && value.length <= 64 && value.startsWith('bad(') && value.endsWith(')')
}
