import type { Clock, Timer } from '../api/clock.ts'
import { MAX_DEVICE_SERIES } from '../api/metrics/families.ts'
import type { GatewayStatus } from '../api/resources.ts'
import type { NodeCondition } from '../api/schema/node-conditions.ts'
import type { Protocol } from '../mappers/sdk/mapper.ts'
import type { AgentCore } from './core.ts'
import type { EnergyVitals } from './energy/energy.ts'
import type { EnergySnapshot } from './energy/snapshot.ts'
import type { LinkStatus } from './link/status.ts'
import type { NetworkView } from './local-api/vital-routes.ts'
import { protocolOf } from './mappers/host.ts'
import { robotsOf } from './metrics/robots.ts'
import type { VitalMetrics } from './metrics/vitals-page.ts'
import type { PolicyFacts } from './policy/conditions.ts'
import { explainPolicy, type PolicyExplanation } from './policy/explain.ts'
import { PolicyKeeper } from './policy/keeper.ts'
import { Radio, type WayStatus } from './radio/radio.ts'
import { lookAtStation } from './radio/station.ts'
import { settled } from './settle.ts'
import { deviceVitals } from './twin/views.ts'

export interface VitalsOptions {
  readonly core: AgentCore
  readonly clock: Clock
  readonly link: () => LinkStatus | undefined
  readonly energy: () => EnergySnapshot | undefined
  /** Of it what a policy looks at every second; the whole is dearer. */
  readonly energyVitals?: () => EnergyVitals | undefined
  /** Something that the hub should hear soon has changed. */
  readonly onChange: () => void
  /** Default `/proc` and `/sys`. */
  readonly procRoot?: string
  readonly sysRoot?: string
}

type VitalStatus = Pick<GatewayStatus, 'power' | 'energy' | 'battery' | 'thermal' | 'networks' | 'policy'>

const SAMPLE_MS = 1000

/** What keeps a gateway alive: its power, its heat, its link; sampled once a second, and what its policy does about it. */
export class Vitals implements Disposable {
  readonly radio: Radio
  readonly policy: PolicyKeeper
  readonly #options: VitalsOptions
  #timer: Timer | undefined
  #told: GatewayStatus | undefined

  constructor(options: VitalsOptions) {
    this.#options = options
    const { core, clock, link, procRoot, sysRoot } = options
    this.radio = new Radio({
      clock,
      hub: link,
      look: lookAtStation,
      ...(procRoot === undefined ? {} : { procRoot }),
      ...(sysRoot === undefined ? {} : { sysRoot }),
    })
    this.policy = new PolicyKeeper({ core, clock, onChange: options.onChange })
  }

  start(): void {
    this.#sample()
  }

  get energy(): EnergySnapshot | undefined {
    return this.#options.energy()
  }

  get way(): WayStatus {
    return this.radio.way
  }

  /** As it is now. */
  current(): VitalStatus {
    const { power, energy, battery, thermal } = this.#options.energy() ?? {}
    const networks = this.radio.networks()
    const policy = this.policy.status
    return {
      ...(power === undefined ? {} : { power }),
      ...(energy === undefined ? {} : { energy }),
      ...(battery === undefined ? {} : { battery }),
      ...(thermal === undefined ? {} : { thermal }),
      ...(networks.length === 0 ? {} : { networks }),
      ...(policy === undefined ? {} : { policy }),
    }
  }

  /** A status as the hub is told it: figures that hardly moved stay as they were told. */
  settle(status: GatewayStatus): GatewayStatus {
    this.#told = settled(this.#told, status)
    return this.#told
  }

  /** What each stage of the policy would do to each device. */
  explain(protocols: readonly Protocol[]): PolicyExplanation {
    const { core } = this.#options
    const devices = [...core.engine.devices.values()].map(({ key, spec, model }) => {
      const listens = protocolOf(protocols, spec)?.listens
      return { key, spec, model, ...(listens === undefined ? {} : { listens }) }
    })
    const pods = core.objects
      .podObjects()
      .flatMap((one) => (one.kind === 'Pod' ? [{ key: one.key, pod: one.object }] : []))
    return explainPolicy(core.gatewaySpec, devices, this.facts(), this.policy.status, pods)
  }

  /** What the metrics page shows; of devices only so many that the page stays readable. */
  metrics(gateway: string, link: GatewayStatus['link']): VitalMetrics {
    const { devices } = this.#options.core.engine
    return {
      gateway,
      energy: this.#options.energy(),
      networks: this.radio.networks(),
      link,
      policy: this.policy.status,
      devices: devices.size > MAX_DEVICE_SERIES ? [] : [...devices.values()].map(deviceVitals),
      robots: robotsOf(devices.values()),
    }
  }

  /** The way to the hub and the interfaces; with `look`, after asking nl80211. */
  async network(look: boolean): Promise<Omit<NetworkView, 'link'>> {
    if (look) await this.radio.lookNow()
    const looks = this.radio.looks()
    const link = this.#options.link()
    return {
      hub: link?.hubUrl ?? null,
      connected: link?.connected ?? false,
      networks: this.radio.networks().map((network) => {
        const station = looks.get(network.name)
        return station === undefined ? network : { ...network, station }
      }),
    }
  }

  /** What a policy decides by. */
  facts(): PolicyFacts {
    return policyFacts(this.#options.energy(), this.radio.way, this.#options.link())
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel()
    this.policy[Symbol.dispose]()
    this.radio[Symbol.dispose]()
  }

  #sample(): void {
    this.radio.sample()
    const { energy: whole, energyVitals = whole } = this.#options
    const energy = energyVitals()
    const throttled = energy?.thermal?.reasons?.join(', ')
    const why: Partial<Record<NodeCondition, string>> = throttled === undefined ? {} : { Throttled: throttled }
    this.policy.take(policyFacts(energy, this.radio.way, this.#options.link()), why)
    this.#timer = this.#options.clock.after(SAMPLE_MS, () => this.#sample(), true)
  }
}

/** Facts of a policy from what was sampled; what is not known is not there. */
export function policyFacts(
  energy: Pick<EnergySnapshot, 'power' | 'battery' | 'thermal'> | undefined,
  way: Pick<WayStatus, 'quality'>,
  link: Pick<LinkStatus, 'roundTripMs' | 'lossRatio'> | undefined,
): PolicyFacts {
  const { power, battery, thermal } = energy ?? {}
  const onBattery = power?.supply === 'battery' ? true : power?.supply === 'mains' ? false : byState(battery?.state)
  const percent = battery?.percent
  const emptyS = battery?.timeToEmpty?.seconds
  return {
    ...(onBattery === undefined ? {} : { onBattery }),
    ...(percent === undefined ? {} : { batteryPercent: percent }),
    ...(emptyS === undefined ? {} : { timeToEmptyS: emptyS }),
    ...(thermal?.celsius === undefined ? {} : { celsius: thermal.celsius }),
    ...(thermal === undefined ? {} : { throttled: thermal.throttled }),
    ...(way.quality === undefined ? {} : { linkQuality: way.quality }),
    ...(link?.roundTripMs === undefined ? {} : { roundTripMs: link.roundTripMs }),
    ...(link?.lossRatio === undefined ? {} : { lossRatio: link.lossRatio }),
  }
}

const byState = (state: string | undefined): boolean | undefined =>
  state === 'discharging' ? true : state === 'charging' || state === 'full' ? false : undefined
