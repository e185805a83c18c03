import type { BatterySample } from './forecast.ts'

/** A small seeded generator (mulberry32), so that a discharge that fails can be run again. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

export interface Discharge {
  readonly samples: readonly BatterySample[]
  /** When the power went, in the time of the samples. */
  readonly emptyMs: number
}

export interface DischargeOptions {
  readonly seed: number
  /** Share of the gauge's scale at which the power goes: 0 for a gauge that knows its cell. */
  readonly cutOff?: number
  /** Random load steps all the way, which no forecast can know, instead of a duty cycle and one early step. */
  readonly restless?: boolean
}

const STEP_S = 10

/**
 * A gateway on a lithium pack until its power goes. The cell gives less the harder it is drawn on (Peukert, exponent
 * 1.02 to 1.08) and the colder it is (the night falls by up to 25 °C); the load has a duty cycle, noise and a lasting
 * step; the gauge counts in 10 mWh or in whole percent and trembles; the power reading is up to 2 % off.
 */
export function discharge({ seed, cutOff = 0, restless = false }: DischargeOptions): Discharge {
  const random = seeded(seed)
  const between = (low: number, high: number) => low + random() * (high - low)
  const fullJ = between(90_000, 300_000)
  const baseW = between(3, 7)
  const periodS = between(180, 600)
  const duty = between(0.2, 0.4)
  const burst = between(0.3, 0.8)
  const stepAt = between(0.65, 0.9)
  const step = between(0.75, 1.35)
  const peukert = between(1.02, 1.08)
  const warm = between(5, 30)
  const fall = between(0, 25)
  const frost = between(0.25, 0.5)
  const grainJ = random() < 0.5 ? 36 : fullJ / 100
  const bias = between(0.98, 1.02)
  const samples: BatterySample[] = []
  let soc = between(0.9, 1)
  let restlessFactor = 1
  for (let s = 0; soc > cutOff; s += STEP_S) {
    if (restless && random() < STEP_S / 900) restlessFactor = between(0.6, 1.5)
    const inBurst = s % periodS < duty * periodS
    const lasting = !restless && soc < stepAt ? step : restlessFactor
    const watts = baseW * lasting * (inBurst ? 1 + burst : 1) * between(0.94, 1.06)
    const celsius = warm - fall * Math.min(1, s / 36_000)
    soc -= ((watts * STEP_S) / fullJ) * (watts / baseW) ** (peukert - 1) * coldLoss(celsius, frost)
    const shown = Math.max(0, soc) * fullJ + between(-10, 10)
    samples.push({
      monotonicMs: s * 1000,
      charging: false,
      energy: Math.max(0, Math.round(shown / grainJ) * grainJ),
      full: fullJ,
      flow: watts * bias * between(0.98, 1.02),
      celsius: Math.round(celsius * 10) / 10,
    })
  }
  return { samples, emptyMs: samples.at(-1)!.monotonicMs }
}

/** By how much more a cold cell loses for the same energy: data sheets' curves, from 0.5 to 0.75 left at -20 °C. */
const coldLoss = (celsius: number, frost: number): number => 1 / (1 - frost * Math.exp(-(celsius + 20) / 20))
