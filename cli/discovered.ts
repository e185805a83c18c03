import { SluiceError } from '../api/errors.ts'
import type { SightedItem } from '../api/link/sighted.ts'
import type { DiscoveredDevice } from '../api/resources.ts'
import type { KubeClient } from '../cloudcore/kube/client.ts'
import { collectionPath, DISCOVERED_DEVICES, type KubeResource } from '../cloudcore/kube/paths.ts'
import type { Style } from './output.ts'
import { age, printable, table } from './text.ts'

/** A discovery as the table shows it, from the agent (which knows no object's name and no state) or the cloud. */
export interface DiscoveredRow {
  /** Name of the DiscoveredDevice; absent from an agent. */
  readonly object?: string
  readonly namespace?: string
  readonly gateway?: string
  readonly protocol: string
  readonly id: string
  readonly name?: string
  readonly address: DiscoveredDevice['spec']['address']
  readonly candidates: SightedItem['candidates']
  readonly facts: Readonly<Record<string, string>>
  readonly rssiDbm?: number
  readonly lastSeen?: string
  readonly sightings: number
  readonly state: string
  readonly device?: string
}

export const rowOfItem = ({ atMs, count, ...item }: SightedItem): DiscoveredRow => ({
  ...item,
  lastSeen: new Date(atMs).toISOString(),
  sightings: count,
  state: 'new',
})

export function rowOfObject({ metadata, spec, status = {} }: DiscoveredDevice): DiscoveredRow {
  const { approve: _, ignore: __, candidates = [], facts = {}, ...seen } = spec
  const { lastSeen, rssiDbm, sightings = 0, state = 'new', device } = status
  return {
    object: metadata.name,
    ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
    ...seen,
    candidates,
    facts,
    sightings,
    state,
    ...(lastSeen === undefined ? {} : { lastSeen }),
    ...(rssiDbm === undefined ? {} : { rssiDbm }),
    ...(device === undefined ? {} : { device }),
  }
}

/** Every object of a kind in a cluster, page by page. */
export async function listAll<T>(kube: KubeClient, resource: KubeResource, signal: AbortSignal): Promise<readonly T[]> {
  const items: T[] = []
  let next: string | undefined
  do {
    const page = await kube.list<T>(collectionPath(resource), { query: { limit: 500, continue: next }, signal })
    items.push(...page.items)
    next = page.metadata.continue === '' ? undefined : page.metadata.continue
  } while (next !== undefined)
  return items
}

export const listDiscovered = async (kube: KubeClient, signal: AbortSignal): Promise<readonly DiscoveredRow[]> =>
  (await listAll<DiscoveredDevice>(kube, DISCOVERED_DEVICES, signal)).map(rowOfObject)

/** The one that a person means by the object's name or by the device's own id. */
export function findDiscovered(rows: readonly DiscoveredRow[], wanted: string): DiscoveredRow {
  const byObject = rows.filter(({ object }) => object === wanted)
  const found = byObject.length > 0 ? byObject : rows.filter(({ id }) => id.toLowerCase() === wanted.toLowerCase())
  if (found.length === 1) return found[0]!
  if (found.length === 0) {
    throw new SluiceError('SLUICE_CLI_NOT_DISCOVERED', `Nothing that was discovered is called '${wanted}'`, {
      hint: "'sluice discover --cloud' lists what there is; give the id or the object's name.",
    })
  }
  throw new SluiceError('SLUICE_CLI_DISCOVERED_TWICE', `${found.length} gateways see a device '${wanted}'`, {
    hint: `Give the object's name: ${found.map(({ object }) => object).join(', ')}.`,
  })
}

/** One line a discovery, the one seen last first. */
export function discoveredTable(rows: readonly DiscoveredRow[], nowMs: number, style: Style, width: number): string[] {
  const columns = [
    { title: 'ID', max: 44 },
    { title: 'PROTOCOL' },
    { title: 'GATEWAY', max: 20 },
    { title: 'NAME', max: 24, flexible: true },
    { title: 'RESEMBLES', max: 40, flexible: true },
    { title: 'RSSI', align: 'right' as const },
    { title: 'SEEN', align: 'right' as const },
    { title: 'STATE', max: 20 },
  ]
  const newest = rows.toSorted((a, b) => (b.lastSeen ?? '').localeCompare(a.lastSeen ?? ''))
  const lines = newest.map((row) => {
    const [best] = row.candidates
    return [
      style.bold(printable(row.id)),
      printable(row.protocol),
      printable(row.gateway ?? ''),
      printable(row.name ?? ''),
      best === undefined
        ? style.dim('–')
        : `${printable(best.model)} ${style.dim(`${Math.round(best.score * 100)} %`)}`,
      row.rssiDbm === undefined ? '' : `${Math.round(row.rssiDbm)} dBm`,
      row.lastSeen === undefined ? '' : age(nowMs - Date.parse(row.lastSeen)),
      row.state === 'new' ? style.green(row.state) : style.dim(row.state),
    ]
  })
  return table(columns, lines, width, style.dim)
}
