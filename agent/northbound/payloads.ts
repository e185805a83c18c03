import type { Json, ModelProperty } from '../../api/resources.ts'
import type { PropertyState } from '../twin/device-state.ts'

/** What `sluice/<namespace>/<device>/<property>` says. `value` is the last known one, `at` its time. */
export interface PropertyMessage {
  readonly value: Json
  readonly at?: string
  readonly quality: string
  readonly unit?: string
  readonly reason?: string
}

export function propertyMessage({ twin, definition }: PropertyState): PropertyMessage | undefined {
  const { reported, known } = twin
  if (reported === undefined) return undefined
  return {
    value: known?.value ?? null,
    at: iso((known ?? reported).atMs),
    quality: reported.quality,
    ...(definition?.unit === undefined ? {} : { unit: definition.unit }),
    ...(reported.reason === undefined ? {} : { reason: reported.reason }),
  }
}

/**
 * What a client wrote to `.../set`: a JSON value, `{"value": ...}`, or a text that is no JSON for what the property
 * takes as one.
 */
export function desiredFrom(payload: Uint8Array, property: ModelProperty | undefined): Json {
  const text = Buffer.from(payload).toString()
  let value: Json
  try {
    value = JSON.parse(text) as Json
  } catch {
    return text
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return property?.type === 'string' && typeof value !== 'string' ? text : value
  }
  const record = value as { readonly [key: string]: Json }
  return property?.type !== 'object' && Object.hasOwn(record, 'value') ? record['value']! : value
}

export const iso = (atMs: number): string => new Date(atMs).toISOString()
export const bytesOf = (message: object): Buffer => Buffer.from(JSON.stringify(message))
