import type { EnergyOptions } from './energy.ts'
import type { EnergySource, Sample, SourceHealth } from './source.ts'

const FRESH_MS = 600_000
/** A percentage that has not moved for so long says nothing of a direction. */
const DIRECTION_MS = 1_800_000

export interface TwinBatteryOptions {
  /** `namespace/name` of a UPS or a solar charge controller. */
  readonly device: string
  readonly percent: string | undefined
  readonly readTwin: NonNullable<EnergyOptions['readTwin']>
}

/** A battery behind a device. It gives its percentage; where that goes tells whether it charges. */
export class TwinBatterySource implements EnergySource {
  readonly name: string
  readonly #options: TwinBatteryOptions
  #last: { readonly percent: number; readonly atMs: number } | undefined
  #direction: { readonly state: 'charging' | 'discharging'; readonly atMs: number } | undefined
  #health: SourceHealth

  constructor(options: TwinBatteryOptions) {
    this.#options = options
    this.name = `device:${options.device}`
    this.#health = { source: this.name, state: 'absent', reason: 'The battery has not been read yet' }
  }

  discover(): void {}

  sample(sample: Sample): void {
    const { device, percent: property, readTwin } = this.#options
    const source = this.name
    const twin = readTwin(device, property, 'battery')
    if (twin === undefined) {
      const reason = `This gateway serves no device ${device} with the property ${property ?? 'of role battery'}`
      this.#health = { source, state: 'absent', reason, remedy: 'Correct spec.energy.battery of the gateway.' }
      return
    }
    const { value, good, reason } = twin
    const ageMs = sample.time.wallMs - (twin.atMs ?? sample.time.wallMs)
    if (!good || typeof value !== 'number' || !(value >= 0 && value <= 100) || ageMs > FRESH_MS) {
      const stale = ageMs > FRESH_MS ? `nothing new for ${Math.round(ageMs / 1000)} s` : undefined
      const why = stale ?? reason ?? `it says ${JSON.stringify(value)}, which is no percentage`
      this.#health = { source, state: 'faulty', reason: `${device}: ${why}` }
      return
    }
    this.#health = { source, state: 'ok' }
    this.#follow(value, sample.time.monotonicMs)
    const known = this.#direction
    const state = known !== undefined && sample.time.monotonicMs - known.atMs < DIRECTION_MS ? known.state : 'unknown'
    sample.packs.push({
      name: device,
      by: source,
      state: value === 100 && state !== 'discharging' ? 'full' : state,
      percent: value,
    })
  }

  /** A value that trembles by one step is no direction: it takes two steps the same way. */
  #follow(percent: number, nowMs: number): void {
    const last = this.#last
    if (last === undefined) this.#last = { percent, atMs: nowMs }
    else if (Math.abs(percent - last.percent) >= 2) {
      this.#direction = { state: percent > last.percent ? 'charging' : 'discharging', atMs: nowMs }
      this.#last = { percent, atMs: nowMs }
    }
  }

  health(): readonly SourceHealth[] {
    return [this.#health]
  }

  [Symbol.dispose](): void {}
}
