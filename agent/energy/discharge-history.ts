import type { JournalPoint, LessonCurve } from './charge-left.ts'
import type { EnergyStorage } from './energy.ts'
import { type DischargeLessons, NO_LESSONS } from './forecast.ts'
import { LoadHistory } from './load-history.ts'
import { LoadPattern } from './load-pattern.ts'

const KEY = 'discharges'
const SAVE_MS = 300_000
const SAVE_LOW_MS = 30_000
/** Below this share of the full battery, a machine that ends without a word ran out of power. */
const LOW = 0.25
/** More than half, and not all: somebody may have pulled the plug. */
const LESSON_WEIGHT = 0.7
/** So many discharges that ran to their end are remembered; the newest is the last. */
const MAX_CURVES = 3
const MAX_POINTS = 65

interface Open {
  /** Share of the full battery it has come to. */
  readonly share: number
  readonly bootId: string | undefined
  readonly unit: 'J' | 's'
  readonly journal: readonly JournalPoint[]
}

interface Kept {
  readonly reserveShare: number
  readonly curves: readonly LessonCurve[]
  readonly pattern?: unknown
  readonly loads?: unknown
  /** A discharge that is going on. */
  readonly open?: Open
}

/**
 * What discharges teach the next forecast: at which charge the power really goes, how gauge and voltage fell until then,
 * and how the load goes by the time of day. A machine that goes out at 6 % cannot write that down any more, so it is
 * written on the way and read at the next start.
 */
export class DischargeHistory {
  readonly #storage: EnergyStorage
  readonly #bootId: string | undefined
  readonly pattern: LoadPattern
  readonly loads: LoadHistory
  #kept: Kept
  #savedMs = Number.NEGATIVE_INFINITY

  constructor(storage: EnergyStorage, bootId: string | undefined) {
    this.#storage = storage
    this.#bootId = bootId
    const kept = parse(storage.get(KEY))
    this.pattern = new LoadPattern(kept.pattern)
    this.loads = new LoadHistory(kept.loads)
    const { open, reserveShare, curves } = kept
    const ranOut = open !== undefined && open.share < LOW && open.bootId !== bootId
    this.#kept = ranOut
      ? { reserveShare: blend(reserveShare, open.share), curves: [...curves, curveOf(open)].slice(-MAX_CURVES) }
      : { reserveShare, curves }
    if (ranOut) this.#save('soon')
  }

  get lessons(): DischargeLessons {
    return { reserveShare: this.#kept.reserveShare, curves: this.#kept.curves }
  }

  discharging(share: number, unit: 'J' | 's', journal: readonly JournalPoint[], nowMs: number): void {
    if (nowMs - this.#savedMs < (share < LOW ? SAVE_LOW_MS : SAVE_MS)) return
    this.#savedMs = nowMs
    this.#kept = { ...this.#kept, open: { share, bootId: this.#bootId, unit, journal } }
    this.#save(share < LOW ? 'now' : 'soon')
  }

  /** What the gateway takes, on battery or not. */
  load(wallMs: number, watts: number, elapsedS: number): void {
    if (this.pattern.add(wallMs, watts, elapsedS)) this.#save('soon')
  }

  /** Power came back, or the agent is ended by somebody: that is not running out. */
  ended(): void {
    if (this.#kept.open === undefined) return
    const { open: _, ...rest } = this.#kept
    this.#kept = rest
    this.#savedMs = Number.NEGATIVE_INFINITY
    this.#save('soon')
  }

  #save(durability: 'now' | 'soon'): void {
    try {
      this.#storage.put(
        { [KEY]: JSON.stringify({ ...this.#kept, pattern: this.pattern, loads: this.loads }) },
        durability,
      )
    } catch {
      // The store tells of itself when it is full; a lesson less is no reason to stop.
    }
  }
}

const blend = (old: number, fresh: number): number => old + (fresh - old) * LESSON_WEIGHT

function curveOf({ unit, journal }: Open): LessonCurve {
  const end = journal.at(-1)?.drawn ?? 0
  return { unit, points: journal.map(({ drawn, share, volts }) => ({ left: end - drawn, share, volts })) }
}

const none: Kept = { reserveShare: NO_LESSONS.reserveShare, curves: [] }

function parse(text: string | undefined): Kept {
  if (text === undefined) return none
  try {
    const { reserveShare, curves = [], open, pattern, loads } = JSON.parse(text) as Partial<Kept>
    if (!finite(reserveShare) || reserveShare! >= LOW) return none
    if (!Array.isArray(curves) || curves.length > MAX_CURVES || !curves.every(isCurve)) return none
    // Of a discharge that cannot be read, what came before is still true.
    return {
      reserveShare: reserveShare!,
      curves,
      pattern,
      loads,
      ...(open !== undefined && isOpen(open) ? { open } : {}),
    }
  } catch {
    return none
  }
}

function isCurve({ unit, points }: LessonCurve): boolean {
  return (
    isUnit(unit) &&
    points.length <= MAX_POINTS &&
    points.every(({ left, share, volts }) => finite(left) && finite(share) && (volts === undefined || finite(volts)))
  )
}

function isOpen({ share, unit, journal }: Open): boolean {
  return (
    finite(share) &&
    isUnit(unit) &&
    Array.isArray(journal) &&
    journal.length <= MAX_POINTS &&
    journal.every((point) => finite(point.drawn) && finite(point.share))
  )
}

const isUnit = (unit: unknown): boolean => unit === 'J' || unit === 's'
const finite = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value) && value >= 0
