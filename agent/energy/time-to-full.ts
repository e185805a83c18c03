import type { Forecast } from '../../api/schema/power.ts'
import { BLOCK_S } from './load-ahead.ts'

const MAX_BLOCKS = 240
/** How far the gauge's own word is trusted, as a share of the full battery. */
const PRIOR = 0.02
const LIMITS = { min: 0.6, max: 2 }
const GAUGE_S = 600
const GAUGE_LEAP = 0.04
const FLOW_BLOCKS = 5
/** Charging is at constant current up to here, and then tapers off to this share of it (CC-CV of lithium cells). */
const TAPER_FROM = 0.8
const TAPER_TO = 0.05

/** How long a battery still charges: what flows, what the gauge makes of it, and that charging slows down at its end. */
export class TimeToFull {
  readonly #blocks: { readonly flow: number; readonly energy: number }[] = []
  #startEnergy: number
  #energy: number
  #full: number
  #fullFlow = 0

  constructor(energy: number, full: number) {
    this.#startEnergy = energy
    this.#energy = energy
    this.#full = full
  }

  add(energy: number, full: number, flow: number | undefined, elapsedS: number): void {
    this.#full = full
    this.#energy += (flow ?? 0) * this.#factor() * elapsedS
    const off = energy - this.#energy
    const leap = Math.abs(off) > GAUGE_LEAP * full || flow === undefined
    this.#energy += leap ? off : off * (1 - Math.exp(-elapsedS / GAUGE_S))
  }

  /** A minute with its mean flow; NaN where nothing tells it. */
  block(flow: number, energy: number): void {
    const before = this.#blocks.at(-1)?.energy ?? this.#startEnergy
    this.#blocks.push({ flow: Number.isNaN(flow) ? Math.max(0, energy - before) / BLOCK_S : flow, energy })
    if (this.#blocks.length > MAX_BLOCKS) this.#startEnergy = this.#blocks.shift()!.energy
    this.#fullFlow = Math.max(this.#fullFlow, this.#mean())
  }

  forecast(): Forecast | undefined {
    const factor = this.#factor()
    const flow = this.#mean() * factor
    const missing = this.#full - this.#energy
    if (!(flow > 0)) return undefined
    if (missing <= 0) return within(0, 0)
    const taperMissing = (1 - TAPER_FROM) * this.#full
    // In the taper the flow is proportional to what is missing, so what is missing falls exponentially.
    const turns = Math.log(1 / TAPER_TO)
    if (missing > taperMissing) return within((missing - taperMissing + taperMissing * turns) / flow, 0.15)
    const full = Math.max(this.#fullFlow * factor, (flow * taperMissing) / missing)
    return within((missing / flow) * Math.max(0, Math.log(flow / (full * TAPER_TO))), 0.25)
  }

  #mean(): number {
    const newest = this.#blocks.slice(-FLOW_BLOCKS)
    return newest.length === 0 ? 0 : newest.reduce((sum, { flow }) => sum + flow, 0) / newest.length
  }

  /** Rise of the gauge for each unit that flowed: what the charger and the cell lose. */
  #factor(): number {
    const flowed = this.#blocks.reduce((sum, { flow }) => sum + flow * BLOCK_S, 0)
    const risen = Math.max(0, (this.#blocks.at(-1)?.energy ?? this.#startEnergy) - this.#startEnergy)
    const prior = PRIOR * this.#full
    const factor = flowed + prior > 0 ? (risen + prior) / (flowed + prior) : 1
    return Math.min(LIMITS.max, Math.max(LIMITS.min, factor))
  }
}

const Z90 = 1.645

function within(seconds: number, deviation: number): Forecast {
  const spread = 1 + Z90 * deviation
  return { seconds, lowSeconds: seconds / spread, highSeconds: seconds * spread }
}
