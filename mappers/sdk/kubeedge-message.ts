import type { Json, ModelProperty } from '../../api/resources.ts'

/** KubeEdge's event bus messages (edge/pkg/devicetwin/dttype of its sources): values are texts, times milliseconds since 1970. */
export interface MessageValue {
  readonly value: string
  readonly metadata: { readonly timestamp: number }
}

/** Without versions: KubeEdge keeps those to itself and its cloud. */
export interface MessageTwin {
  readonly expected?: MessageValue
  readonly actual?: MessageValue
  readonly optional: boolean
  readonly metadata: { readonly type: string }
}

/** What every request has, and what only some have, as it came. */
export interface RequestBody {
  readonly event_id: string
  readonly twin: Readonly<Record<string, Json>>
  readonly state: Json | undefined
}

export const EVENT_PREFIX = '$hw/events/device'

const MAX_BODY_BYTES = 256 * 1024
const MAX_EVENT_ID = 128
export const MAX_PROPERTIES = 256

/** A message that cannot be read counts as one without content. */
export function requestBody(payload: Uint8Array): RequestBody {
  let parsed: unknown
  try {
    parsed = payload.length > MAX_BODY_BYTES ? undefined : JSON.parse(Buffer.from(payload).toString())
  } catch {
    // Answered as a message without content.
  }
  const body = isRecord(parsed) ? parsed : {}
  const given = body['event_id']
  const twin = body['twin']
  return {
    event_id: typeof given === 'string' ? given.slice(0, MAX_EVENT_ID) : '',
    twin: isRecord(twin) && Object.keys(twin).length <= MAX_PROPERTIES ? twin : {},
    state: body['state'],
  }
}

/** `expected` or `actual` of one twin in a request: the text, and its time where it has one. */
export function valueIn(
  entry: Json | undefined,
  kind: 'expected' | 'actual',
): { readonly value: Json; readonly atMs: number | undefined } | undefined {
  const part = isRecord(entry) ? entry[kind] : undefined
  if (!isRecord(part)) return undefined
  const { value, metadata } = part
  if (value === undefined || value === null) return undefined
  // Old mappers write the time as a text.
  const atMs = isRecord(metadata) ? Number(metadata['timestamp'] ?? Number.NaN) : Number.NaN
  return { value, atMs: Number.isFinite(atMs) && atMs > 0 ? atMs : undefined }
}

export const textOf = (value: Json): string => (typeof value === 'string' ? value : JSON.stringify(value))

/** The property's type says what a text means. */
export function fromText(value: Json, property: ModelProperty | undefined): Json {
  const type = property?.type
  if (typeof value !== 'string' || type === 'string' || type === 'bytes') return value
  try {
    return JSON.parse(value) as Json
  } catch {
    return value
  }
}

const TYPES: Readonly<Record<string, string>> = { bool: 'boolean', object: 'string', array: 'string' }

/** KubeEdge's name of a property's type. */
export const typeName = (type: string): string => TYPES[type] ?? type

export const isRecord = (value: unknown): value is Record<string, Json> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
