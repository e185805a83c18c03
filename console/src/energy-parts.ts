import type { EnergySeriesView } from '../../api/console/insight.ts'
import type { SankeyNode } from './sankey.ts'

export interface Part {
  readonly name: string
  readonly watts: number
  readonly joules: number
}

/** The part of the gateway's answer that is drawn. */
export interface EnergyAnswer {
  readonly power?: { readonly supply?: string; readonly source?: string; readonly by?: string }
  readonly attribution?: {
    readonly source: string
    readonly errorPercent?: number
    readonly whole: Part
    readonly idle: Part
    readonly rest: Part
    readonly pods: readonly (Part & { readonly state: string })[]
    readonly slices: readonly Part[]
    readonly agent: Part & {
      readonly own: Part
      readonly mappers: readonly (Part & { readonly devices: readonly Part[] })[]
    }
    readonly reason?: string
  }
}

type Attribution = NonNullable<EnergyAnswer['attribution']>

/** What each part is called and painted, wherever it is shown: `idle`, `rest`, `agent`, `pod:NAME`, `device:NAME`. */
export type PartKind = 'idle' | 'rest' | 'agent' | 'pod' | 'device' | 'slice' | 'other'

export function partOf(id: string): { readonly kind: PartKind; readonly name: string } {
  const at = id.indexOf(':')
  const kind = (at < 0 ? id : id.slice(0, at)) as PartKind
  return { kind, name: at < 0 ? '' : id.slice(at + 1) }
}

const TONES: Readonly<Record<PartKind, number>> = { idle: 0, rest: 1, slice: 1, agent: 2, device: 3, pod: 4, other: 6 }

export const toneOf = (id: string): number => TONES[partOf(id).kind]

/** All parts there are, by id, with what they take now. */
export function partsNow({
  idle,
  rest,
  pods,
  slices,
  agent,
}: Attribution): readonly (Part & { readonly id: string })[] {
  const devices = agent.mappers.flatMap((mapper) => mapper.devices)
  return [
    { ...idle, id: 'idle' },
    { ...rest, id: 'rest' },
    ...slices.map((part) => ({ ...part, id: `slice:${part.name}` })),
    ...pods.filter(({ state }) => state === 'running').map((part) => ({ ...part, id: `pod:${part.name}` })),
    { ...agent.own, id: 'agent' },
    ...devices.map((part) => ({ ...part, id: `device:${part.name}` })),
  ]
}

/** Slices are work of the system, under the names of their units. */
const groupOf = (id: string): PartKind => (partOf(id).kind === 'slice' ? 'rest' : partOf(id).kind)

const MOST_LEAVES = 7

/** Supply, groups, and within the groups of pods and devices each of them; `words` names what has no name of its own. */
export function flowOf(found: Attribution, supply: string, words: (kind: PartKind) => string): SankeyNode[] {
  const parts = partsNow(found).filter(({ watts }) => watts > 0)
  const whole = parts.reduce((sum, { watts }) => sum + watts, 0)
  const nodes: SankeyNode[] = [{ id: 'supply', label: supply, value: whole, column: 0, tone: 5 }]
  const leaves: SankeyNode[] = []
  for (const kind of ['idle', 'rest', 'agent', 'device', 'pod'] as const) {
    const own = parts.filter(({ id }) => groupOf(id) === kind).sort((a, b) => b.watts - a.watts)
    const value = own.reduce((sum, { watts }) => sum + watts, 0)
    if (value <= 0) continue
    nodes.push({ id: kind, label: words(kind), value, column: 1, from: 'supply', tone: TONES[kind] })
    if (kind !== 'device' && kind !== 'pod') continue
    const shown = own.length > MOST_LEAVES ? own.slice(0, MOST_LEAVES - 1) : own
    for (const { id, name, watts } of shown)
      leaves.push({ id, label: name, value: watts, column: 2, from: kind, tone: TONES[kind] })
    const rest = own.slice(shown.length)
    const value2 = rest.reduce((sum, { watts }) => sum + watts, 0)
    const label = `${words('other')} (${rest.length})`
    if (rest.length > 0)
      leaves.push({ id: `${kind}/other`, label, value: value2, column: 2, from: kind, tone: TONES[kind] })
  }
  return [...nodes, ...leaves]
}

/** Stacked from the bottom: times in seconds, and for each band its upper edge. */
export interface Stack {
  readonly atS: readonly number[]
  readonly bands: readonly { readonly id: string; readonly top: readonly (number | null)[]; readonly last: number }[]
}

const MOST_BANDS = 8

/** The parts of a series one on top of the other, the steady ones at the bottom; the smallest are taken together. */
export function stackOf({ atMs, parts }: EnergySeriesView): Stack {
  const weigh = (watts: readonly (number | null)[]) => watts.reduce<number>((sum, each) => sum + (each ?? 0), 0)
  const order: readonly PartKind[] = ['idle', 'rest', 'slice', 'agent', 'device', 'pod', 'other']
  const heavy = parts.map(({ name, watts }) => ({ id: name, watts, sum: weigh(watts) })).sort((a, b) => b.sum - a.sum)
  const kept = heavy.slice(0, heavy.length > MOST_BANDS ? MOST_BANDS - 1 : MOST_BANDS)
  const rest = heavy.slice(kept.length)
  const bands = kept.map(({ id, watts }) => ({ id, watts }))
  if (rest.length > 0) {
    bands.push({ id: 'other', watts: atMs.map((_, at) => rest.reduce((sum, { watts }) => sum + (watts[at] ?? 0), 0)) })
  }
  bands.sort((a, b) => order.indexOf(partOf(a.id).kind) - order.indexOf(partOf(b.id).kind) || (a.id < b.id ? -1 : 1))
  const base = atMs.map(() => 0)
  return {
    atS: atMs.map((ms) => ms / 1000),
    bands: bands.map(({ id, watts }) => ({
      id,
      top: watts.map((value, at) => (base[at]! += value ?? 0)),
      last: watts.at(-1) ?? 0,
    })),
  }
}
