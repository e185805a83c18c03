import type { PolicyWhen } from '../../api/schema/policy.ts'
import { durationMs } from '../../api/twin/duration.ts'

/** What a policy decides by. A fact that nobody knows is absent, and then decides nothing. */
export interface PolicyFacts {
  readonly onBattery?: boolean
  readonly batteryPercent?: number
  readonly timeToEmptyS?: number
  readonly celsius?: number
  readonly throttled?: boolean
  /** 0 unusable to 1 perfect. */
  readonly linkQuality?: number
  readonly roundTripMs?: number
  readonly lossRatio?: number
}

/** What is not known any more leaves a condition as it was for this long; then it does not hold. */
export const UNKNOWN_MS = 600_000

const CHARGE_MARGIN = 5
const HEAT_MARGIN_K = 5
const QUALITY_MARGIN = 0.1
/** Share of the threshold, for figures without a scale of their own. */
const SHARE_MARGIN = 0.2

/** One comparison with a margin: what began at the threshold ends only beyond the margin. */
class Latch {
  readonly #fact: (facts: PolicyFacts) => number | undefined
  readonly #begins: (value: number) => boolean
  readonly #ends: (value: number) => boolean
  #unknownSinceMs: number | undefined
  holds = false

  constructor(
    fact: (facts: PolicyFacts) => number | undefined,
    begins: (value: number) => boolean,
    ends: (value: number) => boolean,
  ) {
    this.#fact = fact
    this.#begins = begins
    this.#ends = ends
  }

  take(facts: PolicyFacts, nowMs: number): void {
    const value = this.#fact(facts)
    if (value === undefined || !Number.isFinite(value)) {
      this.#unknownSinceMs ??= nowMs
      if (nowMs - this.#unknownSinceMs >= UNKNOWN_MS) this.holds = false
      return
    }
    this.#unknownSinceMs = undefined
    if (this.holds ? this.#ends(value) : this.#begins(value)) this.holds = !this.holds
  }
}

const below = (fact: (facts: PolicyFacts) => number | undefined, threshold: number, margin: number): Latch =>
  new Latch(
    fact,
    (value) => value < threshold,
    (value) => value >= threshold + margin,
  )

const above = (fact: (facts: PolicyFacts) => number | undefined, threshold: number, margin: number): Latch =>
  new Latch(
    fact,
    (value) => value > threshold,
    (value) => value <= threshold - margin,
  )

const is = (fact: (facts: PolicyFacts) => boolean | undefined, wanted: boolean): Latch => {
  const number = (facts: PolicyFacts) => {
    const value = fact(facts)
    return value === undefined ? undefined : Number(value === wanted)
  }
  return new Latch(
    number,
    (value) => value === 1,
    (value) => value === 0,
  )
}

/** Everything one alternative asks for. */
function latchesOf(when: PolicyWhen): Latch[] {
  const latches: Latch[] = []
  const { onBattery, batteryBelow, emptyWithin, hotterThan, throttled, linkBelow, roundTripAboveMs, lossAbove } = when
  if (onBattery !== undefined) latches.push(is((facts) => facts.onBattery, onBattery))
  if (throttled !== undefined) latches.push(is((facts) => facts.throttled, throttled))
  if (batteryBelow !== undefined) {
    // Near 100 % the margin would never be reached.
    const margin = Math.min(CHARGE_MARGIN, Math.max(0, 100 - batteryBelow))
    latches.push(below((facts) => facts.batteryPercent, batteryBelow, margin))
  }
  if (emptyWithin !== undefined) {
    const seconds = durationMs(emptyWithin) / 1000
    // A battery that is not being emptied has no such forecast: that is far away, not unknown.
    const fact = ({ timeToEmptyS, onBattery: drained }: PolicyFacts) =>
      timeToEmptyS ?? (drained === false ? Number.MAX_VALUE : undefined)
    latches.push(below(fact, seconds, seconds * SHARE_MARGIN))
  }
  if (hotterThan !== undefined) latches.push(above((facts) => facts.celsius, hotterThan, HEAT_MARGIN_K))
  if (linkBelow !== undefined) {
    const margin = Math.min(QUALITY_MARGIN, Math.max(0, 1 - linkBelow))
    latches.push(below((facts) => facts.linkQuality, linkBelow, margin))
  }
  if (roundTripAboveMs !== undefined)
    latches.push(above((facts) => facts.roundTripMs, roundTripAboveMs, roundTripAboveMs * SHARE_MARGIN))
  if (lossAbove !== undefined) latches.push(above((facts) => facts.lossRatio, lossAbove, lossAbove * SHARE_MARGIN))
  return latches
}

/** The conditions of one stage with their memory. */
export class StageConditions {
  readonly #alternatives: readonly { readonly when: PolicyWhen; readonly latches: readonly Latch[] }[]

  constructor(when: readonly PolicyWhen[]) {
    this.#alternatives = when.map((alternative) => ({ when: alternative, latches: latchesOf(alternative) }))
  }

  /** Takes the facts of now; answers the first alternative of which everything holds. One that asks nothing never does. */
  take(facts: PolicyFacts, nowMs: number): PolicyWhen | undefined {
    let found: PolicyWhen | undefined
    for (const { when, latches } of this.#alternatives) {
      for (const latch of latches) latch.take(facts, nowMs)
      if (latches.length > 0 && latches.every(({ holds }) => holds)) found ??= when
    }
    return found
  }
}

/** An alternative in words: `on battery and charge below 40 %`. */
export function whenWords(when: PolicyWhen): string {
  const words: string[] = []
  if (when.onBattery !== undefined) words.push(when.onBattery ? 'on battery' : 'on mains')
  if (when.batteryBelow !== undefined) words.push(`charge below ${when.batteryBelow} %`)
  if (when.emptyWithin !== undefined) words.push(`empty within ${when.emptyWithin}`)
  if (when.hotterThan !== undefined) words.push(`hotter than ${when.hotterThan} °C`)
  if (when.throttled !== undefined) words.push(when.throttled ? 'throttled' : 'not throttled')
  if (when.linkBelow !== undefined) words.push(`link quality below ${when.linkBelow}`)
  if (when.roundTripAboveMs !== undefined) words.push(`round trip above ${when.roundTripAboveMs} ms`)
  if (when.lossAbove !== undefined) words.push(`loss above ${Math.round(when.lossAbove * 1000) / 10} %`)
  return words.length === 0 ? 'nothing (never begins)' : words.join(' and ')
}
