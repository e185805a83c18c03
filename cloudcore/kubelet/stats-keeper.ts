import type { Clock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { type GatewayStats, readStats } from '../../api/link/pod-streams.ts'
import type { StreamBroker } from '../streams/broker.ts'

export interface StatsKeeperOptions {
  readonly broker: StreamBroker
  readonly clock: Clock
  /** Every gateway that is connected. */
  readonly gateways: () => readonly string[]
}

/** Readings are shared by whoever asks within this time. */
const FRESH_MS = 10_000
const WITHIN_MS = 5_000

/** What gateways and their pods use, asked of them when somebody wants to know. */
export class StatsKeeper {
  readonly #options: StatsKeeperOptions
  readonly #held = new Map<string, { readonly reading: Promise<GatewayStats>; readonly sinceMs: number }>()

  constructor(options: StatsKeeperOptions) {
    this.#options = options
  }

  get gateways(): readonly string[] {
    return this.#options.gateways()
  }

  /** The gateway a path names, or the only one there is. Throws SLUICE_KUBELET_PATH. */
  oneGateway(named: string | undefined): string {
    if (named !== undefined) return named
    const [first, ...others] = this.gateways
    if (first !== undefined && others.length === 0) return first
    throw new SluiceError('SLUICE_KUBELET_PATH', 'this listener stands for several gateways', {
      hint: 'Name one: /gateways/NAME/stats/summary',
    })
  }

  async of(gateway: string): Promise<GatewayStats> {
    const { broker, clock } = this.#options
    const held = this.#held.get(gateway)
    if (held !== undefined && clock.monotonic() - held.sinceMs < FRESH_MS) return held.reading
    const reading = this.#read(broker, gateway)
    this.#held.set(gateway, { reading, sinceMs: clock.monotonic() })
    reading.catch(() => {
      if (this.#held.get(gateway)?.reading === reading) this.#held.delete(gateway)
    })
    return reading
  }

  async #read(broker: StreamBroker, gateway: string): Promise<GatewayStats> {
    const signal = AbortSignal.timeout(WITHIN_MS)
    const stream = await broker.dial({ gateway, kind: 'stats', target: {}, signal, withinMs: WITHIN_MS })
    return readStats(await stream.outcome)
  }
}
