import { requestJson } from '../../api/client/http.ts'
import type { SightedItem } from '../../api/link/sighted.ts'
import { dataFolder, openDeviceApi, TARGET_OPTIONS } from '../device-api.ts'
import { discoveredTable, listDiscovered, rowOfItem } from '../discovered.ts'
import { printable } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

/** What to do next is said for so many; the rest says it with --json. */
const MAX_HINTS = 8

export const discover = defineVerb({
  name: 'discover',
  summary: 'What gateways see that nobody configured',
  description:
    'Asks the agent on this gateway through its socket, elsewhere the cluster, where each is a DiscoveredDevice: ' +
    'kubectl get discovereddevices. Nothing becomes a device by itself. A protocol listens once a device of it is ' +
    "configured; 'sluice discover modbus' and 'sluice discover mdns' ask actively.",
  options: {
    ...TARGET_OPTIONS,
    protocol: { kind: 'text', value: 'NAME', help: 'Only devices of this protocol.' },
    all: { kind: 'flag', help: 'Also those that are approved, ignored or gone.' },
  },
  examples: [
    { command: 'sluice discover', says: 'What this gateway sees' },
    { command: 'sluice discover --cloud --protocol ble', says: 'What all gateways hear over Bluetooth' },
    { command: "sluice discover --json | jq '.items[] | {id, facts, candidates}'", says: 'With facts and reasons' },
  ],
  async run({ options, out, signal, env }) {
    const { endpoint } = openDeviceApi(options, env)
    const rows = await (async () => {
      if (endpoint.kind === 'socket') {
        const { items } = await requestJson<{ items: SightedItem[] }>(endpoint, { path: '/v1/discovered', signal })
        return items.map(rowOfItem)
      }
      const { openKube } = await import('../kube.ts')
      await using kube = openKube(dataFolder(options.data, env))
      return await listDiscovered(kube, signal)
    })()
    const items = rows.filter(
      ({ protocol, state }) =>
        (options.protocol === undefined || protocol === options.protocol) && (options.all || state === 'new'),
    )
    if (out.json) out.value({ items })
    else if (items.length === 0) out.note('Nothing new was seen.')
    else {
      for (const line of discoveredTable(items, Date.now(), out.style, out.width)) out.line(line)
      for (const { id, facts } of items.filter(({ facts }) => facts['next'] !== undefined).slice(0, MAX_HINTS)) {
        out.note(`${printable(id)}: ${printable(facts['next'] ?? '')}`)
      }
      out.note("'sluice discover approve ID --model MODEL --name NAME' makes one of them a device.")
    }
    return EXIT.ok
  },
})
