import type { Clock } from '../../../api/clock.ts'
import { LinkMeter } from '../../sdk/link-meter.ts'
import type { LinkStats } from '../../sdk/mapper.ts'
import { AirtimeLedger, HOUR_MS } from '../airtime.ts'
import { dutyBandOf, type Region } from '../regions/region.ts'
import type { GatewayBackend } from './gateway.ts'

/** Without a sign of life for this long a gateway counts as gone: forwarders send status every 30 s by default. */
const SILENT_MS = 120_000
const MAX_GATEWAYS = 256

export interface KnownGateway {
  readonly eui: string
  backend: GatewayBackend
  lastMonoMs: number
  /** Why it is known to be gone, until it is heard again. */
  goneReason: string | undefined
  facts: Readonly<Record<string, string>>
  readonly meter: LinkMeter
  /** Airtime by the lower edge of a duty band; -1 for everything that has no limit. */
  readonly sent: Map<number, AirtimeLedger>
}

/** The gateways that talk to this server, what they send and how much of their allowance is left. */
export class GatewayBook {
  readonly #clock: Clock
  readonly #gateways = new Map<string, KnownGateway>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  alive(eui: string, backend: GatewayBackend, facts?: Readonly<Record<string, string>>): KnownGateway {
    let known = this.#gateways.get(eui)
    if (known === undefined) {
      if (this.#gateways.size >= MAX_GATEWAYS) this.#forgetOldest()
      known = {
        eui,
        backend,
        lastMonoMs: 0,
        goneReason: undefined,
        facts: {},
        meter: new LinkMeter(this.#clock),
        sent: new Map(),
      }
      this.#gateways.set(eui, known)
    }
    known.backend = backend
    known.lastMonoMs = this.#clock.monotonic()
    known.goneReason = undefined
    if (facts !== undefined) known.facts = facts
    return known
  }

  gone(eui: string, reason: string): void {
    const known = this.#gateways.get(eui)
    if (known !== undefined) known.goneReason = reason
  }

  get(eui: string): KnownGateway | undefined {
    return this.#gateways.get(eui)
  }

  /** Gateways heard from lately. */
  present(): KnownGateway[] {
    return [...this.#gateways.values()].filter((known) => this.#isPresent(known))
  }

  /** Whether the gateway may be on the air for `airtime` milliseconds at this frequency without breaking the limit. */
  mayUse(known: KnownGateway, region: Region, frequencyHz: number, airtime: number): boolean {
    const band = dutyBandOf(region, frequencyHz)
    if (band === undefined) return true
    const used = known.sent.get(band.fromHz)?.usedMs(this.#clock.monotonic()) ?? 0
    return used + airtime <= band.share * HOUR_MS
  }

  used(known: KnownGateway, region: Region, frequencyHz: number, airtime: number): void {
    const band = dutyBandOf(region, frequencyHz)?.fromHz ?? -1
    const ledger = known.sent.get(band) ?? new AirtimeLedger()
    known.sent.set(band, ledger)
    ledger.add(airtime, this.#clock.monotonic())
  }

  stats(): LinkStats[] {
    return [...this.#gateways.values()].map((known) => {
      const present = this.#isPresent(known)
      const reason = present ? this.#airtimeText(known) : (known.goneReason ?? 'not heard for two minutes')
      return {
        link: `lora gateway ${known.eui}`,
        protocol: 'lora',
        state: present ? 'up' : 'down',
        ...(reason === undefined ? {} : { reason }),
        devices: 0,
        use: known.meter.use(),
        planEfficiency: 1,
        requests: known.meter.requests,
        propertiesRead: known.meter.propertiesRead,
        errors: known.meter.errors,
      }
    })
  }

  #airtimeText(known: KnownGateway): string | undefined {
    let usedMs = 0
    for (const ledger of known.sent.values()) usedMs += ledger.usedMs(this.#clock.monotonic())
    return usedMs === 0 ? undefined : `${(usedMs / 1000).toFixed(1)} s sent within the last hour`
  }

  #isPresent(known: KnownGateway): boolean {
    return known.goneReason === undefined && this.#clock.monotonic() - known.lastMonoMs < SILENT_MS
  }

  #forgetOldest(): void {
    const oldest = [...this.#gateways.values()].sort((a, b) => a.lastMonoMs - b.lastMonoMs)[0]
    if (oldest !== undefined) this.#gateways.delete(oldest.eui)
  }
}
