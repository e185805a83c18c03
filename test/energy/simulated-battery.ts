import { seeded } from '../../agent/energy/seeded.test-helper.ts'
import type { PackReading } from '../../agent/energy/source.ts'

export type LoadKind = 'duty' | 'daily' | 'bursty' | 'restless'

/** Open-circuit volts of a lithium-ion cell by its charge: flat in the middle, a knee at the end. */
const OPEN_CIRCUIT: readonly (readonly [number, number])[] = [
  [0, 2.9],
  [0.03, 3.3],
  [0.08, 3.48],
  [0.2, 3.6],
  [0.4, 3.68],
  [0.6, 3.83],
  [0.8, 3.99],
  [1, 4.18],
]
/** Below this the converter of the gateway gives up. */
const CUT_OFF_V = 3.1

/**
 * A gateway on lithium cells whose end is not where the gauge says: the converter cuts off by voltage, so the harder the load,
 * the colder and the older the cell, the more stays in it. The gauge counts what flows with an error of its own, against a
 * capacity from when the battery was new, in grains of a percent or ten milliwatt hours.
 */
export class SimulatedGateway {
  readonly #random: () => number
  readonly #kind: LoadKind
  readonly #newJ: number
  readonly #baseW: number
  readonly #ohms: number
  readonly #gaugeScale: number
  readonly #grain: number
  readonly #bias: number
  readonly #warm: number
  readonly #swing: number
  readonly #period: { readonly s: number; readonly duty: number; readonly factor: number }
  readonly #busyFrom: number
  readonly #busyFactor: number
  readonly #says: 'energy' | 'percent'
  #health = 1
  #charge = 1
  #shown = 1
  #burstS = 0
  #mood = 1

  constructor(seed: number, kind: LoadKind) {
    const random = seeded(seed)
    const between = (low: number, high: number) => low + random() * (high - low)
    this.#random = random
    this.#kind = kind
    this.#baseW = between(3, 7)
    this.#newJ = this.#baseW * between(8, 20) * 3600
    // A fifth of its capacity an hour sags by 0.03 to 0.08 V, new and worn cells.
    this.#ohms = (between(0.03, 0.08) * 3.7 * 18_000) / this.#newJ
    this.#gaugeScale = between(0.97, 1.03)
    this.#grain = random() < 0.5 ? 0.01 : 36 / this.#newJ
    this.#bias = between(0.98, 1.02)
    this.#warm = between(8, 25)
    this.#swing = between(0, 8)
    this.#period = { s: between(180, 900), duty: between(0.2, 0.4), factor: between(1.4, 2) }
    this.#busyFrom = between(6, 12)
    this.#busyFactor = between(1.8, 3)
    this.#says = random() < 0.7 ? 'energy' : 'percent'
  }

  /** As after a night at the mains. Each time the battery has grown a little older. */
  recharge(): void {
    this.#health *= 1 - 0.03 * this.#random()
    this.#charge = 0.97 + 0.03 * this.#random()
    this.#shown = 1
  }

  /** What it takes at this time of the day. */
  watts(wallS: number, stepS: number): number {
    const random = this.#random
    const { s, duty, factor } = this.#period
    const inDuty = wallS % s < duty * s ? factor : 1
    const noise = 0.94 + random() * 0.12
    const hour = (wallS / 3600) % 24
    switch (this.#kind) {
      case 'duty':
        return this.#baseW * inDuty * noise
      case 'daily': {
        const busy = hour >= this.#busyFrom && hour < this.#busyFrom + 9
        return this.#baseW * (busy ? this.#busyFactor : 1) * inDuty * noise
      }
      case 'bursty':
        // A job of ten to forty minutes, about every three hours.
        if (this.#burstS <= 0 && random() < stepS / 10_800) this.#burstS = 600 + random() * 1800
        this.#burstS -= stepS
        return this.#baseW * (this.#burstS > 0 ? 2.5 : 1) * noise
      case 'restless':
        if (random() < stepS / 3600) this.#mood = 0.6 + random() * 0.9
        return this.#baseW * this.#mood * noise
    }
  }

  /** Draws the load; undefined when the power went. */
  discharge(wallS: number, stepS: number): PackReading | undefined {
    const random = this.#random
    const watts = this.watts(wallS, stepS)
    const hour = (wallS / 3600) % 24
    const celsius = this.#warm + this.#swing * Math.sin(((hour - 9) / 24) * 2 * Math.PI)
    const ohms = (this.#ohms * (1 + Math.max(0, 25 - celsius) * 0.03)) / this.#health
    const open = openCircuit(this.#charge)
    const volts = open - (watts / open) * ohms
    if (volts < CUT_OFF_V || this.#charge <= 0) return undefined
    // What the cell turns into heat is gone, too.
    const drawnJ = watts * stepS * (open / volts)
    this.#charge -= drawnJ / (this.#newJ * this.#health)
    this.#shown -= (watts * stepS * this.#gaugeScale) / (this.#newJ * Math.sqrt(this.#health))
    const shown = Math.max(0, Math.round((this.#shown + (random() - 0.5) * 0.002) / this.#grain) * this.#grain)
    return {
      name: 'BAT0',
      by: 'battery',
      state: 'discharging',
      watts: -watts * this.#bias * (0.98 + random() * 0.04),
      volts: Math.round((volts + (random() - 0.5) * 0.01) * 1000) / 1000,
      celsius: Math.round(celsius * 10) / 10,
      ...(this.#says === 'energy'
        ? { energyJ: Math.min(1, shown) * this.#newJ, fullJ: this.#newJ }
        : { percent: Math.min(100, Math.round(shown * 100)) }),
    }
  }

  /** At the mains, full. */
  rest(): PackReading {
    return { name: 'BAT0', by: 'battery', state: 'full', percent: 100 }
  }
}

function openCircuit(charge: number): number {
  for (let i = 1; i < OPEN_CIRCUIT.length; i++) {
    const [low, lowV] = OPEN_CIRCUIT[i - 1]!
    const [high, highV] = OPEN_CIRCUIT[i]!
    if (charge <= high) return lowV + ((charge - low) / (high - low)) * (highV - lowV)
  }
  return OPEN_CIRCUIT.at(-1)![1]
}
