import type { ServerResponse } from 'node:http'
import type { GatewayStatus } from '../../api/resources.ts'
import type { NetworkStatus } from '../../api/schema/power.ts'
import type { EnergySnapshot } from '../energy/snapshot.ts'
import type { PolicyExplanation } from '../policy/explain.ts'
import type { StationLook } from '../radio/station.ts'
import { answer } from './server.ts'

/** `GET /v1/network`: the way to the hub and every interface that leads out. */
export interface NetworkView {
  readonly link: GatewayStatus['link']
  readonly hub: string | null
  readonly connected: boolean
  readonly networks: readonly (NetworkStatus & { readonly station?: StationLook })[]
}

export interface VitalRoutes {
  readonly energy: () => EnergySnapshot | undefined
  /** `look`: what only nl80211 knows is asked for first. */
  readonly network: (look: boolean) => Promise<NetworkView>
  readonly policy: () => PolicyExplanation
}

/**
 *     GET /v1/energy          EnergySnapshot, or {} where nothing measures
 *     GET /v1/network         NetworkView; `?look=now` asks nl80211 first
 *     GET /v1/policy          PolicyExplanation
 *
 * Answers whether it was one of them.
 */
export async function answerVitals(
  routes: VitalRoutes,
  response: ServerResponse,
  path: string | undefined,
  query: URLSearchParams,
): Promise<boolean> {
  if (path === 'energy') answer(response, 200, routes.energy() ?? {})
  else if (path === 'network') answer(response, 200, await routes.network(query.get('look') === 'now'))
  else if (path === 'policy') answer(response, 200, routes.policy())
  else return false
  return true
}
