import type { LocalBroker } from '../../mappers/sdk/mapper.ts'

/** What a broker has seen and lost since it started. */
export interface BrokerStats {
  readonly clients: number
  readonly subscriptions: number
  readonly retained: number
  readonly received: number
  readonly sent: number
  /** By reason: `slow-subscriber`, `queue-full`, `retained-full`, `too-large`, `forbidden`, `refused`, `protocol-version`. */
  readonly dropped: Readonly<Record<string, number>>
}

/** The broker that the agent speaks to: its own, or another on the network. */
export interface GatewayBroker extends AsyncDisposable {
  readonly local: LocalBroker
  /** Ports on which it listens, where it is the agent's own. */
  readonly port: number | undefined
  readonly tlsPort: number | undefined
  stats(): BrokerStats
  /** Whether anybody may be listening to this topic; what costs much to say is said only then. */
  wants(topic: string): boolean
  /** Topics that only the agent itself may publish to. */
  protect(isProtected: (topic: string) => boolean): void
}

/** What belongs to one connection of the agent to a broker that outlives it. */
export interface SessionHooks {
  /** The message the broker is to publish when the agent is gone without a word; asked before every connection. */
  will?(): { readonly topic: string; readonly payload: Uint8Array } | undefined
  /** The connection is there, for the first time or again. */
  connected?(): void
}
