import type { Json } from '../resources.ts'

/** A device that a gateway saw and nobody configured, as the link and the local API carry it. */
export interface SightedItem {
  readonly protocol: string
  /** Stable within the protocol and the gateway. */
  readonly id: string
  /** What stands under the protocol in the Device that reaches it. */
  readonly address: { readonly [key: string]: Json }
  /** What the device calls itself. */
  readonly name?: string
  /** Best first; `score` from 0 to 1. */
  readonly candidates: readonly { readonly model: string; readonly score: number; readonly why: string }[]
  readonly facts: Readonly<Record<string, string>>
  readonly rssiDbm?: number
  /** When it was last seen, milliseconds since 1970 by the gateway's clock. */
  readonly atMs: number
  /** How often it was seen since the agent started. */
  readonly count: number
}

/** The limits of one item; they are those of the DiscoveredDevice schema, in UTF-16 units. */
export const SIGHTED_LIMITS = {
  protocol: 63,
  id: 256,
  addressBytes: 4096,
  name: 256,
  candidates: 8,
  model: 253,
  why: 256,
  facts: 32,
  factKey: 63,
  factValue: 512,
} as const

/** Items of one frame at most, and the characters after which the next frame begins. */
export const MAX_SIGHTED_ITEMS = 100
export const SIGHTED_FRAME_CHARACTERS = 256 * 1024

const LIMITS = SIGHTED_LIMITS

/** Whether something from outside is an item within the limits. */
export function isSightedItem(value: unknown): value is SightedItem {
  if (!isMap(value)) return false
  const { protocol, id, address, name, candidates, facts, rssiDbm, atMs, count } = value
  return (
    isText(protocol, LIMITS.protocol) &&
    isText(id, LIMITS.id) &&
    isAddress(address) &&
    (name === undefined || isText(name, LIMITS.name)) &&
    Array.isArray(candidates) &&
    candidates.length <= LIMITS.candidates &&
    candidates.every(isCandidate) &&
    isFacts(facts) &&
    (rssiDbm === undefined || Number.isFinite(rssiDbm)) &&
    typeof atMs === 'number' &&
    Math.abs(atMs) <= 8.64e15 &&
    Number.isSafeInteger(count) &&
    (count as number) >= 0
  )
}

/**
 * What a mapper told of a device, cut to the limits; undefined when nothing sensible is left because its id or address
 * does not fit.
 */
export function boundedItem(
  protocol: string,
  told: Omit<SightedItem, 'protocol' | 'count' | 'address'> & { readonly address: Json },
  count: number,
): SightedItem | undefined {
  const item = {
    protocol,
    id: told.id,
    address: told.address,
    ...(told.name === undefined || told.name === '' ? {} : { name: cut(told.name, LIMITS.name) }),
    candidates: told.candidates.slice(0, LIMITS.candidates).map(({ model, score, why }) => ({
      model: cut(model, LIMITS.model),
      score: Number.isFinite(score) ? Math.min(1, Math.max(0, score)) : 0,
      why: cut(why, LIMITS.why),
    })),
    facts: Object.fromEntries(
      Object.entries(told.facts)
        .slice(0, LIMITS.facts)
        .map(([key, value]) => [cut(key, LIMITS.factKey), cut(String(value), LIMITS.factValue)]),
    ),
    ...(told.rssiDbm === undefined || !Number.isFinite(told.rssiDbm) ? {} : { rssiDbm: told.rssiDbm }),
    atMs: told.atMs,
    count,
  }
  return isSightedItem(item) ? item : undefined
}

/** Never between the two halves of one character. */
const cut = (text: string, length: number): string =>
  text.length <= length ? text : text.slice(0, length).replace(/[\ud800-\udbff]$/, '')

function isCandidate(value: unknown): boolean {
  if (!isMap(value)) return false
  const { model, score, why } = value
  return (
    isText(model, LIMITS.model) &&
    typeof score === 'number' &&
    score >= 0 &&
    score <= 1 &&
    typeof why === 'string' &&
    why.length <= LIMITS.why
  )
}

const isAddress = (value: unknown): boolean => isMap(value) && JSON.stringify(value).length <= LIMITS.addressBytes

function isFacts(value: unknown): boolean {
  if (!isMap(value)) return false
  const entries = Object.entries(value)
  return (
    entries.length <= LIMITS.facts &&
    entries.every(
      ([key, text]) => key.length <= LIMITS.factKey && typeof text === 'string' && text.length <= LIMITS.factValue,
    )
  )
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isText = (value: unknown, maxLength: number): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= maxLength
