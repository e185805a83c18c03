import type { LinkStats } from '../../sdk/mapper.ts'
import type { RateLimitedLog } from '../../sdk/rate-limited-log.ts'

/** Counts what the network server does and what goes wrong, and tells of the latter now and then. */
export class ServerStats {
  readonly #log: RateLimitedLog
  readonly #isKnown: (devEui: string) => boolean
  readonly #problems = new Map<string, number>()
  #uplinks = 0

  /** @param isKnown whether a DevEUI is that of a configured device. */
  constructor(log: RateLimitedLog, isKnown: (devEui: string) => boolean) {
    this.#log = log
    this.#isKnown = isKnown
  }

  accepted(uplinks: number): void {
    this.#uplinks += uplinks
  }

  count(kind: string): void {
    this.#problems.set(kind, (this.#problems.get(kind) ?? 0) + 1)
  }

  problem(kind: string, reason: string, from: string): void {
    this.count(kind)
    // Addresses of strangers can be made up without end: they share one line a minute.
    this.#log.warn(this.#isKnown(from) ? `${kind} ${from}` : kind, `lora: ${reason}`)
  }

  /** The server's own row, before those of its gateways. */
  links(devices: number, gateways: readonly LinkStats[]): LinkStats[] {
    const up = gateways.filter(({ state }) => state === 'up').length
    const own: LinkStats = {
      link: 'lora network server',
      protocol: 'lora',
      state: up > 0 ? 'up' : 'idle',
      reason: up > 0 ? `${up} gateway${up === 1 ? '' : 's'}` : 'no gateway has been heard yet',
      devices,
      use: Math.max(0, ...gateways.map(({ use }) => use)),
      planEfficiency: 1,
      requests: this.#uplinks,
      propertiesRead: 0,
      errors: Object.fromEntries(this.#problems),
    }
    return [own, ...gateways]
  }
}
