import type { Clock } from '../../api/clock.ts'
import type { GatewaySpec } from '../../api/schema/gateway.ts'
import type { EnergyOptions } from './energy.ts'
import { IpmiSource } from './ipmi.ts'
import type { EnergySource, Sample, SourceHealth } from './source.ts'
import { TwinBatterySource } from './twin-battery.ts'
import { TwinMeterSource } from './twin-meter.ts'

type EnergyConfig = NonNullable<GatewaySpec['energy']>

/** Sources that `Gateway.spec.energy` asks for: a meter or a battery behind a device, and a BMC. */
export function configuredSources(
  { meter, battery, ipmi }: EnergyConfig,
  clock: Clock,
  readTwin: NonNullable<EnergyOptions['readTwin']>,
): EnergySource[] {
  return [
    ...(meter === undefined
      ? []
      : [new TwinMeterSource({ device: meter.device, power: meter.power, energy: meter.energy, readTwin })]),
    ...(battery === undefined
      ? []
      : [new TwinBatterySource({ device: battery.device, percent: battery.percent, readTwin })]),
    new IpmiSource(ipmi, clock),
  ]
}

/** What may be replaced while the sampler runs. */
export class ConfiguredSources implements EnergySource {
  readonly name = 'configured'
  #sources: readonly EnergySource[] = []

  replace(sources: readonly EnergySource[]): void {
    this[Symbol.dispose]()
    this.#sources = sources
    this.discover()
  }

  discover(): void {
    for (const source of this.#sources) source.discover()
  }

  sample(sample: Sample): void {
    for (const source of this.#sources) source.sample(sample)
  }

  health(): readonly SourceHealth[] {
    return this.#sources.flatMap((source) => source.health())
  }

  [Symbol.dispose](): void {
    for (const source of this.#sources) source[Symbol.dispose]()
    this.#sources = []
  }
}
