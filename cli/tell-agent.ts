import type { DeviceApi } from '../api/client/device-api.ts'
import { requestJson } from '../api/client/http.ts'
import { boundedItem, MAX_SIGHTED_ITEMS } from '../api/link/sighted.ts'
import type { Sighting } from '../mappers/sdk/mapper.ts'
import type { Output } from './output.ts'

export interface FoundDevice {
  readonly protocol: string
  readonly sighting: Sighting
}

/** Gives what a person looked for to the agent, so that it becomes a DiscoveredDevice; says when that does not work. */
export async function tellAgent({ endpoint }: DeviceApi, found: readonly FoundDevice[], out: Output): Promise<void> {
  const items = found.flatMap(({ protocol, sighting }) => boundedItem(protocol, sighting, 1) ?? [])
  try {
    for (let at = 0; at < items.length; at += MAX_SIGHTED_ITEMS) {
      const body = { items: items.slice(at, at + MAX_SIGHTED_ITEMS) }
      await requestJson(endpoint, { method: 'POST', path: '/v1/discovered', body, signal: AbortSignal.timeout(5000) })
    }
    if (items.length > 0)
      out.note(
        "The agent was told. What is no device yet is listed by 'sluice discover' and 'kubectl get discovereddevices'.",
      )
  } catch (thrown) {
    out.note(`The agent could not be told: ${thrown instanceof Error ? thrown.message : String(thrown)}`)
  }
}
