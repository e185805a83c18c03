import { emptyingShare } from './cell-curve.ts'

/** What the gauge and the poles say at one moment. */
export interface ChargeSight {
  /** Of the gauge's whole scale, 0 to 1. */
  readonly share: number
  readonly volts: number | undefined
}

/** One moment of a discharge: what had been drawn by then, in joules (or seconds of load, where nobody measures it). */
export interface JournalPoint {
  readonly drawn: number
  readonly share: number
  readonly volts?: number | undefined
}

/** A discharge from which something was learned: it ran until the power went, `left` before that the gauge showed this. */
export interface LessonCurve {
  readonly unit: 'J' | 's'
  readonly points: readonly { readonly left: number; readonly share: number; readonly volts?: number | undefined }[]
}

export interface ChargeLeftOptions {
  readonly unit: 'J' | 's'
  /** What the gauge's whole scale is worth, where the battery says so itself. */
  readonly full: number | undefined
  /** Share that the gauge still showed when the power went. */
  readonly reserve: number
  readonly curves: readonly LessonCurve[]
}

/** Standard error, as a share of all that can be drawn, of what each of them says at best. */
const BEST = { counted: 0.01, percent: 0.06, learnedGauge: 0.04, learnedVolts: 0.03, cell: 0.06 }
/** A gauge that counts energy, before this battery was seen to run out: nobody knows how much of it stays in the cells. */
const UNPROVEN_COUNT = 0.04
/** How far the gauge's own scale is trusted against what this discharge shows, as a share of the scale. */
const SCALE_PRIOR = 0.02
const LEARNED_SCALE_PRIOR = 0.05
const SCALE_LIMITS = { min: 0.5, max: 1.7 }
/** The worth of the scale is taken from so long a stretch: it changes with load and temperature. */
const SCALE_S = 14_400
/** Before so much of a scale has been used, it says nothing of its worth. */
const MIN_USED = { gauge: 0.03, cell: 0.25 }
/** With which time constant what flows is pulled to what is seen; a leap is believed at once. */
const PULL_S = 600
const LEAP = 0.04
/** Totals are compared since this share of what has been drawn: before, nobody can know much. */
const LOOK_BACK = 0.25
/** What has wandered so far may well do so again, and all to the same side. */
const WANDER_WEIGHT = 1.5
/** Less than a thousandth of a joule in all is no battery. */
const LEAST = 1e-3
const MAX_HISTORY = 512
/** A gauge in whole percents, and a voltage under a load that trembles. */
const GRAIN = { share: 0.0075, volts: 0.012 }

interface Opinion {
  readonly best: number
  /** What could be drawn from the beginning of this discharge until the power goes: the same all the time, if it is right. */
  total: number | undefined
  readonly history: (number | undefined)[]
  /** Span in which the total lies by what is seen now; undefined while it cannot say. */
  readonly look: (sight: ChargeSight) => Span | undefined
}

interface Span {
  readonly low: number
  readonly high: number
}

/**
 * How much can still be drawn. Several opinions are asked: the gauge, the gauge and the voltage as they went in earlier
 * discharges, and the voltage of a lithium cell. What was drawn and what an opinion says is left have to add up to the same
 * total all the way; one whose total wanders is trusted the less the more it does. So a gauge that shows 1 % for hours is
 * found out by its own word.
 */
export class ChargeLeft {
  readonly #options: ChargeLeftOptions
  readonly #opinions: Opinion[]
  readonly #history: { readonly atS: number; readonly drawn: number; readonly share: number }[] = []
  #every = 1
  #skipped = 0
  #drawn = 0
  #atS = 0
  #journal: JournalPoint[] = []
  #journalStep = 0
  #cellBegan: { readonly share: number; readonly drawn: number } | undefined

  constructor(options: ChargeLeftOptions) {
    this.#options = options
    const counted = options.full !== undefined
    const curves = options.curves.filter(({ unit, points }) => unit === options.unit && points.length >= 4)
    this.#opinions = [
      opinion(counted ? (curves.length > 0 ? BEST.counted : UNPROVEN_COUNT) : BEST.percent, (sight) =>
        this.#byGauge(sight),
      ),
      opinion(BEST.cell, (sight) => this.#byCell(sight)),
      ...curves.flatMap((curve) => [
        opinion(BEST.learnedGauge, ({ share }) => this.#byCurve(curve, 'share', share)),
        opinion(BEST.learnedVolts, ({ volts }) => this.#byCurve(curve, 'volts', volts)),
      ]),
    ]
  }

  /** What has been drawn since the beginning. */
  get drawn(): number {
    return this.#drawn
  }

  /** At most 64 moments of this discharge, from its beginning to now. */
  get journal(): readonly JournalPoint[] {
    return this.#journal
  }

  /** What flowed since the last call; at least 0. */
  draw(amount: number): void {
    this.#drawn += amount
  }

  /** What is seen now, about once a minute. */
  look(sight: ChargeSight, elapsedS: number): void {
    this.#atS += elapsedS
    const first = this.#history.length === 0
    for (const each of this.#opinions) {
      const span = each.look(sight)
      if (span !== undefined) each.total = pulled(each.total, span, elapsedS)
    }
    if (first || ++this.#skipped >= this.#every) this.#remember(sight)
    this.#note(sight)
  }

  /** What is left and its standard error; undefined while nobody can say. */
  left(): { readonly amount: number; readonly error: number } | undefined {
    const known = this.#opinions.flatMap((each) => {
      const { total } = each
      if (total === undefined || !(total > LEAST)) return []
      const error = Math.max(each.best * total, this.#wander(each))
      return [{ total, weight: 1 / error ** 2 }]
    })
    if (known.length === 0) return undefined
    const middle = known.length > 2 ? weightedMedian(known) : undefined
    let weights = 0
    let sum = 0
    let squares = 0
    for (const each of known) {
      // Whoever is alone by more than its own error counts for less: its error is greater than it knows.
      const alone = middle === undefined ? 0 : each.weight * (each.total - middle) ** 2
      const weight = each.weight / (1 + alone)
      weights += weight
      sum += weight * each.total
      squares += weight * each.total ** 2
    }
    const total = sum / weights
    const variance = Math.max(0, squares / weights - total ** 2)
    return { amount: Math.max(0, total - this.#drawn), error: Math.sqrt(variance + 1 / weights) }
  }

  /** How far an opinion's total has come from what it was since a quarter of what was drawn had flowed. */
  #wander({ history, total }: Opinion): number {
    let squares = 0
    let count = 0
    for (let i = this.#history.length - 1; i >= 0 && this.#history[i]!.drawn >= this.#drawn * LOOK_BACK; i--) {
      const then = history[i]
      if (then === undefined) continue
      squares += (then - total!) ** 2
      count++
    }
    return count === 0 ? 0 : WANDER_WEIGHT * Math.sqrt(squares / count)
  }

  #byGauge({ share }: ChargeSight): Span | undefined {
    const { full, reserve } = this.#options
    const worth = this.#scaleWorth(share)
    if (worth === undefined) return undefined
    const left = Math.max(0, share - reserve) * worth
    const grain = full === undefined ? GRAIN.share * worth : 0
    return { low: this.#drawn + Math.max(0, left - grain), high: this.#drawn + left + grain }
  }

  /** What the whole scale of the gauge is worth by what flowed while it fell. */
  #scaleWorth(share: number): number | undefined {
    const { full, curves, reserve } = this.#options
    const from = this.#history.find(({ atS }) => this.#atS - atS <= SCALE_S)
    const used = from === undefined ? 0 : Math.max(0, from.share - share)
    const flowed = from === undefined ? 0 : this.#drawn - from.drawn
    const first = curves.at(-1)?.points[0]
    const learned =
      first === undefined || first.share - reserve < 0.1 ? undefined : first.left / (first.share - reserve)
    const prior = full ?? learned
    if (prior === undefined) return used < MIN_USED.gauge ? undefined : flowed / used
    const trust = full === undefined ? LEARNED_SCALE_PRIOR : SCALE_PRIOR
    const worth = (flowed + trust * prior) / (used + trust)
    return Math.min(SCALE_LIMITS.max * prior, Math.max(SCALE_LIMITS.min * prior, worth))
  }

  /** Where nobody has seen this battery run out: as lithium cells go by their voltage. */
  #byCell({ volts }: ChargeSight): Span | undefined {
    const share = volts === undefined ? undefined : emptyingShare(volts)
    if (share === undefined) return undefined
    this.#cellBegan ??= { share, drawn: this.#drawn }
    const used = this.#cellBegan.share - share
    if (used < MIN_USED.cell) return undefined
    const left = ((this.#drawn - this.#cellBegan.drawn) / used) * share
    return { low: this.#drawn + left, high: this.#drawn + left }
  }

  /** Where an earlier discharge showed the same, so much was left. Where it showed the same for long, it says a span. */
  #byCurve({ points }: LessonCurve, of: 'share' | 'volts', value: number | undefined): Span | undefined {
    if (value === undefined) return undefined
    let low: number | undefined
    let high: number | undefined
    for (const point of points) {
      const then = point[of]
      if (then === undefined) return undefined
      // Points go from full to empty.
      if (then >= value - GRAIN[of]) low = point.left
      if (high === undefined && then <= value + GRAIN[of]) high = point.left
    }
    // Fuller than it ever was, nobody knows by how much.
    if (low === undefined || high === undefined)
      return low === high ? undefined : spanAtEnd(points, low, high, this.#drawn)
    return { low: this.#drawn + Math.min(low, high), high: this.#drawn + Math.max(low, high) }
  }

  #remember({ share }: ChargeSight): void {
    this.#skipped = 0
    this.#history.push({ atS: this.#atS, drawn: this.#drawn, share })
    for (const each of this.#opinions) each.history.push(each.total)
    if (this.#history.length < MAX_HISTORY) return
    thin(this.#history)
    for (const each of this.#opinions) thin(each.history)
    this.#every *= 2
  }

  #note({ share, volts }: ChargeSight): void {
    const last = this.#journal.at(-1)
    if (last !== undefined && this.#drawn - last.drawn < this.#journalStep) return
    this.#journal.push({ drawn: this.#drawn, share, ...(volts === undefined ? {} : { volts }) })
    if (this.#journal.length <= 64) return
    thin(this.#journal)
    this.#journalStep = this.#drawn / 40
  }
}

const opinion = (best: number, look: Opinion['look']): Opinion => ({ best, look, total: undefined, history: [] })

/** Towards the span, if outside of it. */
function pulled(total: number | undefined, { low, high }: Span, elapsedS: number): number {
  if (total === undefined) return (low + high) / 2
  const off = total < low ? low - total : total > high ? high - total : 0
  return Math.abs(off) > LEAP * total ? total + off : total + off * (1 - Math.exp(-elapsedS / PULL_S))
}

/** Above or below all that an earlier discharge showed. */
function spanAtEnd(
  points: LessonCurve['points'],
  low: number | undefined,
  high: number | undefined,
  drawn: number,
): Span | undefined {
  if (high === undefined && low !== undefined) return { low: drawn, high: drawn + low }
  if (low === undefined && high !== undefined) {
    const most = points[0]!.left
    return { low: drawn + most, high: drawn + most * 1.1 }
  }
  return undefined
}

function weightedMedian(of: readonly { readonly total: number; readonly weight: number }[]): number {
  const sorted = of.toSorted((a, b) => a.total - b.total)
  let rest = sorted.reduce((sum, { weight }) => sum + weight, 0) / 2
  for (const { total, weight } of sorted) {
    rest -= weight
    if (rest <= 0) return total
  }
  return sorted.at(-1)!.total
}

/** Every other, and the newest. */
function thin<T>(list: T[]): void {
  const kept = list.filter((_, i) => i % 2 === 0 || i === list.length - 1)
  list.length = 0
  list.push(...kept)
}
