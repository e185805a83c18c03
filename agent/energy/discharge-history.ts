import type { EnergyStorage } from './energy.ts'
import { type DischargeLessons, NO_LESSONS } from './forecast.ts'

const KEY = 'discharges'
const SAVE_MS = 300_000
const SAVE_LOW_MS = 30_000
/** Below this share of the full battery, a machine that ends without a word ran out of power. */
const LOW = 0.25
const LESSON_WEIGHT = 0.5

interface Kept {
  readonly reserveShare: number
  readonly gaugeFactor: number
  /** A discharge that is going on: the share of the full battery it had come to. */
  readonly open?: { readonly share: number; readonly bootId: string | undefined }
}

/**
 * What discharges teach the next forecast: at which charge the power really goes, and how the gauge falls. A machine
 * that goes out at 6 % cannot write that down any more, so it is written on the way and read at the next start.
 */
export class DischargeHistory {
  readonly #storage: EnergyStorage
  readonly #bootId: string | undefined
  #kept: Kept
  #savedMs = Number.NEGATIVE_INFINITY

  constructor(storage: EnergyStorage, bootId: string | undefined) {
    this.#storage = storage
    this.#bootId = bootId
    const kept = parse(storage.get(KEY))
    const ranOut = kept.open !== undefined && kept.open.share < LOW && kept.open.bootId !== bootId
    const { reserveShare, gaugeFactor } = kept
    this.#kept = ranOut
      ? { reserveShare: blend(reserveShare, kept.open!.share), gaugeFactor }
      : { reserveShare, gaugeFactor }
    if (ranOut) this.#save('soon')
  }

  /** In the unit of `full`. */
  lessons(full: number): DischargeLessons {
    return { reserve: this.#kept.reserveShare * full, gaugeFactor: this.#kept.gaugeFactor }
  }

  discharging(share: number, gaugeFactor: number | undefined, nowMs: number): void {
    if (nowMs - this.#savedMs < (share < LOW ? SAVE_LOW_MS : SAVE_MS)) return
    this.#savedMs = nowMs
    const { reserveShare } = this.#kept
    const factor = gaugeFactor === undefined ? this.#kept.gaugeFactor : blend(this.#kept.gaugeFactor, gaugeFactor, 0.02)
    this.#kept = { reserveShare, gaugeFactor: factor, open: { share, bootId: this.#bootId } }
    this.#save(share < LOW ? 'now' : 'soon')
  }

  /** Power came back, or the agent is ended by somebody: that is not running out. */
  ended(): void {
    if (this.#kept.open === undefined) return
    const { reserveShare, gaugeFactor } = this.#kept
    this.#kept = { reserveShare, gaugeFactor }
    this.#savedMs = Number.NEGATIVE_INFINITY
    this.#save('soon')
  }

  #save(durability: 'now' | 'soon'): void {
    try {
      this.#storage.put({ [KEY]: JSON.stringify(this.#kept) }, durability)
    } catch {
      // The store tells of itself when it is full; a lesson less is no reason to stop.
    }
  }
}

const blend = (old: number, fresh: number, weight = LESSON_WEIGHT): number => old + (fresh - old) * weight

function parse(text: string | undefined): Kept {
  const none: Kept = { reserveShare: NO_LESSONS.reserve, gaugeFactor: NO_LESSONS.gaugeFactor }
  if (text === undefined) return none
  try {
    const kept = JSON.parse(text) as Kept
    const { reserveShare, gaugeFactor, open } = kept
    const sound = reserveShare >= 0 && reserveShare < LOW && gaugeFactor > 0.5 && gaugeFactor < 2
    return sound && (open === undefined || typeof open.share === 'number') ? kept : none
  } catch {
    return none
  }
}
