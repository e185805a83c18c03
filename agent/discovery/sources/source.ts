import type { Clock } from '../../../api/clock.ts'
import type { Json } from '../../../api/resources.ts'
import type { Sighting } from '../../../mappers/sdk/mapper.ts'
import type { Log } from '../../log.ts'

/** What a source of discoveries is given. Calls never throw and never block. */
export interface SourceHost {
  readonly clock: Clock
  readonly log: Log
  /** Addresses of the devices that are configured, as they stand under their protocol. */
  addresses(): Iterable<Json>
  /** Things that were seen, by the protocol that would reach them; repeated sightings of one id are welcome and cheap. */
  sighted(protocol: string, sightings: readonly Sighting[]): void
  /** What is known to be gone, or to be in use now. */
  withdrawn(protocol: string, ids: readonly string[]): void
}

/**
 * A way of noticing devices that belongs to no protocol: the network's announcements, adapters being plugged in. One file
 * of this folder each, and one line in `registry.ts`; what it needs is imported when it is started.
 */
export interface DiscoverySource {
  readonly name: string
  readonly summary: string
  load(): Promise<(host: SourceHost) => AsyncDisposable>
}
