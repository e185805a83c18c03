import type { Json } from '../../api/resources.ts'

/** A value as a gateway told it, its source time brought to the hub's clock. */
export interface ToldValue {
  readonly property: string
  readonly value: Json
  readonly atMs: number
}

/** One that is remembered, to be known again when another gateway tells it. */
export interface FirstValue {
  /** Undefined for one too large to be kept; then the time alone decides. */
  readonly value: Json | undefined
  /** Source time by the hub's clock. */
  readonly atMs: number
}

/**
 * Offsets between clocks are known to the time a message takes. An equal value within this is the same transmission,
 * heard twice.
 */
export const SAME_TRANSMISSION_MS = 500
const MAX_KEPT_CHARACTERS = 64

export const keptValue = ({ value, atMs }: ToldValue): FirstValue => ({
  value: JSON.stringify(value).length > MAX_KEPT_CHARACTERS ? undefined : value,
  atMs,
})
