import type { BatteryStatus } from '../../api/schema/power.ts'
import { DischargeHistory } from './discharge-history.ts'
import type { EnergyStorage } from './energy.ts'
import { BatteryForecast, type BatterySample } from './forecast.ts'
import type { PackReading, Sample, SampleTime } from './source.ts'

/** All packs of the gateway as one battery, with its forecasts. */
export class Battery {
  readonly #history: DischargeHistory
  readonly #forecast: BatteryForecast
  #capacityJ: number | undefined
  #status: BatteryStatus | undefined

  constructor(storage: EnergyStorage, bootId: string | undefined) {
    this.#history = new DischargeHistory(storage, bootId)
    this.#forecast = new BatteryForecast(this.#history.lessons, this.#history.pattern, this.#history.loads)
  }

  /** Usable energy of a battery that only knows its percentage. */
  set capacityJ(capacityJ: number | undefined) {
    this.#capacityJ = capacityJ
  }

  get status(): BatteryStatus | undefined {
    return this.#status
  }

  /** `loadWatts`: what the gateway takes, on battery or not, for its habits; undefined where nobody knows. */
  add({ packs, time }: Sample, loadWatts?: number): void {
    if (packs.length === 0) {
      this.#status = undefined
      return
    }
    const whole = merge(packs, this.#capacityJ)
    if (loadWatts !== undefined) this.#history.load(time.wallMs, loadWatts, time.elapsedS)
    const sample = forecastSample(whole, time)
    if (sample !== undefined) this.#follow(sample)
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

  #follow(sample: BatterySample): void {
    this.#forecast.add(sample)
    if (sample.charging || !(sample.full > 0)) return
    const { unit, journal } = this.#forecast
    this.#history.discharging(sample.energy / sample.full, unit, journal, sample.monotonicMs)
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

function forecastSample(whole: Whole, { monotonicMs, wallMs }: SampleTime): BatterySample | undefined {
  const { state, energyJ, fullJ, watts, percent, celsius, volts } = whole
  if (state !== 'charging' && state !== 'discharging') return undefined
  const flow = watts === undefined ? undefined : Math.abs(watts)
  const common = { monotonicMs, wallMs, charging: state === 'charging', volts, celsius, flow }
  if (energyJ !== undefined && fullJ !== undefined && fullJ > 0)
    return { ...common, unit: 'J', energy: energyJ, full: fullJ }
  if (percent === undefined) return undefined
  // Watts say nothing of how fast a percentage rises; of how fast it falls they do, as soon as it has fallen a little.
  return { ...common, unit: '%', energy: percent, full: 100, flow: common.charging ? undefined : flow }
}
