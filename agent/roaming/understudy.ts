import type { Json } from '../../api/resources.ts'
import { sameValue } from '../../api/twin/twin.ts'
import type { Reading } from '../../mappers/sdk/mapper.ts'

/** Readings kept of one device that another gateway serves, and for how long. */
const MAX_READINGS = 256
const MAX_AGE_MS = 60_000
/** Characters of a value that are worth keeping; a larger one is not kept, and is told when it is heard again. */
const MAX_VALUE_CHARACTERS = 4096

/**
 * Two gateways hear the same transmission within this: clocks that nobody sets, and what a radio stack holds back. Equal
 * values further apart are two transmissions.
 */
const SAME_TRANSMISSION_MS = 2000

/**
 * The radio stack of whoever takes over may be this far behind the one before, which told what has yet to be heard here.
 * Counted from the source time of the value that was handed over, so that a device that is seldom heard is not waited for.
 */
export const CATCH_UP_MS = 800

/** What is handed over of one property: the newest value accepted from whoever served before, times of this gateway. */
export interface HandedValue {
  readonly value: Json
  readonly atMs: number
}

/** By property. */
export type Handed = ReadonlyMap<string, HandedValue>

/** What an understudy overheard lately, oldest first. Bounded in number, time and size. */
export class Understudy {
  #readings: Reading[] = []

  take(reading: Reading, nowMs: number): void {
    if (reading.value === undefined || sizeOf(reading.value) > MAX_VALUE_CHARACTERS) return
    this.#readings.push(reading)
    if (this.#readings.length <= MAX_READINGS && this.#readings[0]!.atMs >= nowMs - MAX_AGE_MS) return
    const from = Math.max(0, this.#readings.length - MAX_READINGS)
    this.#readings = this.#readings.slice(from).filter(({ atMs }) => atMs >= nowMs - MAX_AGE_MS)
  }

  /**
   * Whether a transmission whose value was handed over may still be on its way through the radio stack here: it is not among
   * what was overheard, others of its property are, and it was sent just now.
   */
  isBehind(handed: Handed, nowMs: number): boolean {
    for (const [property, last] of handed) {
      if (nowMs >= last.atMs + CATCH_UP_MS || !this.#readings.some((each) => each.property === property)) continue
      if (indexOfTransmission(this.#readings, property, last) === undefined) return true
    }
    return false
  }

  /** What is to be told after `handed`, oldest first; what was kept is forgotten. */
  release(handed: Handed): Reading[] {
    const kept = this.#readings
    this.#readings = []
    const starts = new Map<string, number>()
    for (const [property, last] of handed) starts.set(property, startAfter(kept, property, last))
    return kept.filter((reading, index) => index >= (starts.get(reading.property) ?? 0))
  }
}

/**
 * Index of the first reading of a property that came after the value that was handed over. The very transmission that
 * carried that value is looked for first: counting from it is exact, whatever the clocks say. Where it was not heard
 * here, the source times decide.
 */
export function startAfter(readings: readonly Reading[], property: string, last: HandedValue): number {
  const transmission = indexOfTransmission(readings, property, last)
  if (transmission !== undefined) return transmission + 1
  const later = readings.findIndex((reading) => reading.property === property && reading.atMs > last.atMs)
  return later === -1 ? readings.length : later
}

/** Of equal values near the time of the one that was handed over, the nearest. */
function indexOfTransmission(
  readings: readonly Reading[],
  property: string,
  { value, atMs }: HandedValue,
): number | undefined {
  let nearest: number | undefined
  let nearestMs = SAME_TRANSMISSION_MS
  for (let index = readings.length - 1; index >= 0; index--) {
    const reading = readings[index]!
    if (reading.property !== property) continue
    const apartMs = Math.abs(reading.atMs - atMs)
    if (apartMs > nearestMs || !sameValue(reading.value, value)) continue
    if (nearest !== undefined && apartMs >= nearestMs) continue
    nearest = index
    nearestMs = apartMs
  }
  return nearest
}

function sizeOf(value: Json): number {
  if (typeof value === 'string') return value.length
  return typeof value === 'object' && value !== null ? JSON.stringify(value).length : 0
}
