import type { BatteryStatus } from '../../api/schema/power.ts'
import { DischargeHistory } from './discharge-history.ts'
import type { EnergyStorage } from './energy.ts'
import { BatteryForecast, type BatterySample, NO_LESSONS } from './forecast.ts'
import type { PackReading, Sample } from './source.ts'

/** All packs of the gateway as one battery, with its forecasts. */
export class Battery {
  readonly #history: DischargeHistory
  readonly #forecast = new BatteryForecast()
  #capacityJ: number | undefined
  #status: BatteryStatus | undefined
  #unit: 'J' | '%' | undefined

  constructor(storage: EnergyStorage, bootId: string | undefined) {
    this.#history = new DischargeHistory(storage, bootId)
  }

  /** Usable energy of a battery that only knows its percentage. */
  set capacityJ(capacityJ: number | undefined) {
    this.#capacityJ = capacityJ
  }

  get status(): BatteryStatus | undefined {
    return this.#status
  }

  add({ packs, time }: Sample): void {
    if (packs.length === 0) {
      this.#status = undefined
      return
    }
    const whole = merge(packs, this.#capacityJ)
    const sample = forecastSample(whole, time.monotonicMs)
    if (sample !== undefined) this.#follow(sample.sample, sample.unit, time.monotonicMs)
    if (whole.state !== 'discharging') this.#history.ended()
    const toEmpty = whole.state === 'discharging' ? this.#forecast.get(false, time.monotonicMs) : undefined
    const toFull = whole.state === 'charging' ? this.#forecast.get(true, time.monotonicMs) : undefined
    this.#status = {
      ...whole,
      ...(toEmpty === undefined ? {} : { timeToEmpty: toEmpty }),
      ...(toFull === undefined ? {} : { timeToFull: toFull }),
      at: new Date(time.wallMs).toISOString(),
    }
  }

  #follow(sample: BatterySample, unit: 'J' | '%', nowMs: number): void {
    if (unit !== this.#unit) {
      this.#unit = unit
      this.#forecast.learn(sample.full > 0 ? this.#history.lessons(sample.full) : NO_LESSONS)
    }
    this.#forecast.add(sample)
    if (!sample.charging) this.#history.discharging(sample.energy / sample.full, this.#forecast.gaugeFactor, nowMs)
  }

  /** The agent ends in an orderly way: what the battery shows now is not where it ran out. */
  close(): void {
    this.#history.ended()
  }
}

type Whole = Omit<BatteryStatus, 'at' | 'timeToEmpty' | 'timeToFull'>

/** Energies add up, percentages do not: a full small pack beside an empty large one is not half full. */
export function merge(packs: readonly PackReading[], capacityJ: number | undefined): Whole {
  const first = packs[0]!
  const sized = packs.map((pack) => withCapacity(pack, packs.length === 1 ? capacityJ : undefined))
  const energyJ = sumOfAll(sized, ({ energyJ: joules }) => joules)
  const fullJ = sumOfAll(sized, ({ fullJ: joules }) => joules)
  const designJ = sumOfAll(sized, ({ designJ: joules }) => joules)
  const watts = sumOfAll(sized, ({ watts: power }) => power)
  const percent = packs.length === 1 ? first.percent : percentOfAll(sized, energyJ, fullJ)
  const warmest = Math.max(...packs.map(({ celsius }) => celsius ?? Number.NEGATIVE_INFINITY))
  const cycles = Math.max(...packs.map((pack) => pack.cycles ?? -1))
  const volts = packs.length === 1 ? first.volts : undefined
  const reason = packs.find(({ doubt }) => doubt !== undefined)?.doubt
  return {
    state: stateOfAll(packs, watts),
    source: 'measured',
    by: first.by,
    ...(percent === undefined ? {} : { percent }),
    ...(volts === undefined ? {} : { volts }),
    ...(watts === undefined ? {} : { watts }),
    ...(energyJ === undefined ? {} : { energyJ }),
    ...(fullJ === undefined ? {} : { fullJ }),
    ...(designJ === undefined ? {} : { designJ }),
    ...(cycles < 0 ? {} : { cycles }),
    ...(Number.isFinite(warmest) ? { celsius: warmest } : {}),
    ...(packs.length > 1 ? { packs: packs.length } : {}),
    ...(reason === undefined ? {} : { reason }),
  }
}

function withCapacity(pack: PackReading, capacityJ: number | undefined): PackReading {
  const fullJ = pack.fullJ ?? capacityJ
  if (pack.energyJ !== undefined || fullJ === undefined || pack.percent === undefined) return pack
  return { ...pack, fullJ, energyJ: (pack.percent / 100) * fullJ }
}

/** Undefined as soon as one does not say: a sum with a part missing is no sum. */
function sumOfAll(packs: readonly PackReading[], of: (pack: PackReading) => number | undefined): number | undefined {
  let sum = 0
  for (const pack of packs) {
    const value = of(pack)
    if (value === undefined) return undefined
    sum += value
  }
  return sum
}

function percentOfAll(packs: readonly PackReading[], energyJ: number | undefined, fullJ: number | undefined) {
  if (energyJ !== undefined && fullJ !== undefined && fullJ > 0) return Math.min(100, (energyJ / fullJ) * 100)
  // Where sizes are unknown, the emptiest pack is the one to worry about.
  const known = packs.flatMap(({ percent }) => (percent === undefined ? [] : [percent]))
  return known.length === 0 ? undefined : Math.min(...known)
}

/** One pack may charge another: what flows in sum decides, then what any of them says. */
function stateOfAll(packs: readonly PackReading[], watts: number | undefined): BatteryStatus['state'] {
  const states = new Set(packs.map(({ state }) => state))
  if (states.size === 1) return packs[0]!.state
  if (states.has('charging') && states.has('discharging') && watts !== undefined && watts !== 0) {
    return watts > 0 ? 'charging' : 'discharging'
  }
  for (const state of ['discharging', 'charging', 'idle', 'full'] as const) if (states.has(state)) return state
  return 'unknown'
}

function forecastSample({ state, energyJ, fullJ, watts, percent, celsius }: Whole, monotonicMs: number) {
  if (state !== 'charging' && state !== 'discharging') return undefined
  const charging = state === 'charging'
  const flow = watts === undefined ? undefined : Math.abs(watts)
  if (energyJ !== undefined && fullJ !== undefined && fullJ > 0) {
    return { unit: 'J' as const, sample: { monotonicMs, charging, energy: energyJ, full: fullJ, flow, celsius } }
  }
  if (percent === undefined) return undefined
  return { unit: '%' as const, sample: { monotonicMs, charging, energy: percent, full: 100, flow: undefined, celsius } }
}
