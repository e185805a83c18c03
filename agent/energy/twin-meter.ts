import type { TwinValue } from './energy.ts'
import type { EnergySource, MeterReading, Sample, SourceHealth } from './source.ts'

/** A reading counts for this long after its time, whatever its usual pace. */
const MIN_FRESH_MS = 30_000
const MAX_FRESH_MS = 600_000
/** Of the integrated power, how much the counter may correct a second, so that no sample shows a leap. */
const MAX_CORRECTION = 0.5

export interface TwinMeterOptions {
  /** `namespace/name`. */
  readonly device: string
  readonly power: string | undefined
  readonly energy: string | undefined
  readonly readTwin: (device: string, property: string | undefined, role: 'power' | 'energy') => TwinValue | undefined
}

const WATTS: Readonly<Record<string, number>> = { W: 1, kW: 1000, mW: 1e-3, '': 1 }
const JOULES: Readonly<Record<string, number>> = { J: 1, kJ: 1000, MJ: 1e6, Wh: 3600, kWh: 3.6e6, MWh: 3.6e9 }

/**
 * A meter that is itself a device: the twin of its power is this gateway's power source. Where it also has a counter,
 * the counter has the last word on energy: power is read now and then, the counter misses nothing.
 */
export class TwinMeterSource implements EnergySource {
  readonly name: string
  readonly #options: TwinMeterOptions
  readonly #counter = new CounterCorrection()
  #power: { readonly watts: number; readonly atMs: number } | undefined
  #gapMs = 0
  #health: SourceHealth

  constructor(options: TwinMeterOptions) {
    this.#options = options
    this.name = `device:${options.device}`
    this.#health = { source: this.name, state: 'absent', reason: 'The meter has not been read yet' }
  }

  discover(): void {}

  sample(sample: Sample): void {
    const { device, power, energy, readTwin } = this.#options
    const source = this.name
    const value = readTwin(device, power, 'power')
    if (value === undefined) {
      const reason = `This gateway serves no device ${device} with the property ${power ?? 'of role power'}`
      this.#health = { source, state: 'absent', reason, remedy: 'Correct spec.energy.meter of the gateway.' }
      return
    }
    const watts = scaled(value, WATTS)
    if (typeof watts === 'string' || watts < 0) {
      const said = typeof watts === 'string' ? watts : `it says ${watts} W; a load that gives power is wired wrongly`
      this.#health = { source, state: 'faulty', reason: `${device}: ${said}` }
      return
    }
    const { wallMs } = sample.time
    const atMs = value.atMs ?? wallMs
    if (this.#power !== undefined && atMs > this.#power.atMs) this.#gapMs = atMs - this.#power.atMs
    if (this.#power === undefined || atMs !== this.#power.atMs) this.#power = { watts, atMs }
    const freshMs = Math.min(MAX_FRESH_MS, Math.max(MIN_FRESH_MS, 3 * this.#gapMs))
    if (wallMs - atMs > freshMs) {
      this.#health = {
        source,
        state: 'faulty',
        reason: `${device}: nothing new for ${Math.round((wallMs - atMs) / 1000)} s`,
      }
      return
    }
    this.#health = { source, state: 'ok' }
    sample.meters.push({ ...this.#reading(watts), ...this.#joules(sample, watts, readTwin(device, energy, 'energy')) })
  }

  #reading(watts: number): MeterReading {
    return { meter: this.name, by: this.name, covers: 'machine', source: 'measured', watts }
  }

  #joules(sample: Sample, watts: number, counter: TwinValue | undefined): Pick<MeterReading, 'joules' | 'doubt'> {
    const joules = counter === undefined ? undefined : scaled(counter, JOULES)
    if (typeof joules !== 'number') return {}
    const { elapsedS } = sample.time
    const { doubt, correctionJ } = this.#counter.advance(joules, watts * elapsedS)
    if (elapsedS <= 0) return {}
    return { joules: Math.max(0, watts * elapsedS + correctionJ), ...(doubt === undefined ? {} : { doubt }) }
  }

  health(): readonly SourceHealth[] {
    return [this.#health]
  }

  [Symbol.dispose](): void {}
}

/** A value in W or J, or why it is none. */
function scaled({ value, good, unit, reason }: TwinValue, units: Readonly<Record<string, number>>): number | string {
  if (!good) return reason ?? 'the last reading failed'
  if (typeof value !== 'number' || !Number.isFinite(value)) return 'the value is no number'
  const factor = units[unit ?? '']
  return factor === undefined
    ? `the unit ${unit ?? 'none'} is not one of ${Object.keys(units).join(', ').trim()}`
    : value * factor
}

/**
 * Pulls integrated power towards a counter. The counter is coarse (often 10 Wh), but right in the moment it steps: what
 * was integrated between two steps must be what it counted between them.
 */
export class CounterCorrection {
  #counterJ: number | undefined
  #integratedJ = 0
  #stepped = false
  #owedJ = 0

  advance(counterJ: number, integratedJ: number): { readonly correctionJ: number; readonly doubt?: string } {
    const last = this.#counterJ
    this.#counterJ = counterJ
    this.#integratedJ += integratedJ
    let doubt: string | undefined
    if (last !== undefined && counterJ < last) {
      doubt = 'The meter counts backwards: its counter started anew'
      this.#stepped = false
      this.#integratedJ = 0
    } else if (last !== undefined && counterJ > last) {
      // The first step only tells where in its grain the counter stands.
      if (this.#stepped) this.#owedJ += counterJ - last - this.#integratedJ
      this.#stepped = true
      this.#integratedJ = 0
    }
    const mostJ = integratedJ * MAX_CORRECTION
    const correctionJ = Math.max(-mostJ, Math.min(mostJ, this.#owedJ))
    this.#owedJ -= correctionJ
    return { correctionJ, ...(doubt === undefined ? {} : { doubt }) }
  }
}
