import type { EnergySnapshot, PartFigure } from '../agent/energy/snapshot.ts'
import type { Forecast } from '../api/schema/power.ts'
import { scaled, spanWords } from '../api/vital-words.ts'
import type { Style } from './output.ts'
import { printable, table } from './text.ts'

/** What `sluice energy top` lists: the whole, then whatever takes a part of it. */
export interface EnergyRow {
  readonly kind: 'whole' | 'idle' | 'pod' | 'slice' | 'agent' | 'mapper' | 'device' | 'rest'
  readonly name: string
  readonly watts: number
  readonly joules: number
  /** Of the whole's power, 0 to 1; absent where the whole is nothing. */
  readonly share?: number
}

export type EnergySort = 'watts' | 'joules'

const tookSomething = ({ watts, joules }: PartFigure): boolean => watts > 0 || joules > 0

/** How many pods and slices are left out of the list because they have taken nothing. */
export function idleParts({ attribution }: EnergySnapshot): number {
  const { pods = [], slices = [] } = attribution ?? {}
  return [...pods, ...slices].filter((part) => !tookSomething(part)).length
}

/** Parts sorted by what they take; devices stay below their mapper, mappers below the agent. */
export function energyRows({ attribution }: EnergySnapshot, sort: EnergySort): EnergyRow[] {
  if (attribution === undefined) return []
  const { whole, idle, rest, pods, slices, agent } = attribution
  const row = (kind: EnergyRow['kind'], figure: PartFigure, name = figure.name): EnergyRow => ({
    kind,
    name,
    watts: figure.watts,
    joules: figure.joules,
    ...(whole.watts > 0 ? { share: figure.watts / whole.watts } : {}),
  })
  const bySize = (a: PartFigure, b: PartFigure) => b[sort] - a[sort]
  const inner = agent.mappers
    .toSorted(bySize)
    .flatMap((mapper) => [
      row('mapper', mapper),
      ...mapper.devices.toSorted(bySize).map((device) => row('device', device)),
    ])
  const parts: { readonly figure: PartFigure; readonly rows: readonly EnergyRow[] }[] = [
    { figure: idle, rows: [row('idle', idle, 'switched on')] },
    { figure: rest, rows: [row('rest', rest, 'everything else')] },
    { figure: agent, rows: [row('agent', agent, 'sluice agent'), ...inner] },
    ...pods.filter(tookSomething).map((pod) => ({ figure: pod, rows: [row('pod', pod)] })),
    ...slices.filter(tookSomething).map((slice) => ({ figure: slice, rows: [row('slice', slice)] })),
  ]
  parts.sort((a, b) => bySize(a.figure, b.figure))
  return [row('whole', whole, 'gateway'), ...parts.flatMap(({ rows }) => rows)]
}

const INDENT: Readonly<Partial<Record<EnergyRow['kind'], string>>> = { mapper: '  ', device: '    ' }

/** The table; `floor` keeps column widths between pictures. */
export function energyTable(rows: readonly EnergyRow[], style: Style, width: number, floor: number[] = []): string[] {
  const columns = [
    { title: 'WHAT', flexible: true, max: 44 },
    { title: 'KIND' },
    { title: 'POWER', align: 'right' as const },
    { title: 'SHARE', align: 'right' as const },
    { title: 'ENERGY', align: 'right' as const },
    { title: '' },
  ]
  const cells = rows.map(({ kind, name, watts, joules, share }) => [
    `${INDENT[kind] ?? ''}${printable(name.replace(/^default\//, ''))}`,
    kind,
    scaled(watts, 'W'),
    share === undefined ? '' : `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)}%`,
    joulesWords(joules),
    share === undefined ? '' : bar(share),
  ])
  return table(columns, cells, width, style.dim, floor)
}

const BAR = 20

function bar(share: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * BAR * 8)
  return '█'.repeat(Math.floor(eighths / 8)) + (eighths % 8 === 0 ? '' : '▏▎▍▌▋▊▉'[(eighths % 8) - 1]!)
}

/** Joules until they are many, then watt hours: what a bill and a battery speak of. */
export function joulesWords(joules: number): string {
  return joules < 36_000 ? scaled(joules, 'J') : scaled(joules / 3600, 'Wh')
}

/**
 * The power is known each second and divided each five: above a table of parts stands the mean that they are parts of, and
 * not a newer figure that they do not add up to.
 */
export function asDivided(snapshot: EnergySnapshot): EnergySnapshot {
  const { power, attribution } = snapshot
  if (power === undefined || attribution === undefined) return snapshot
  return { ...snapshot, power: { ...power, watts: attribution.whole.watts } }
}

/** Power, source, error, supply and battery in one to three lines. */
export function headLines({ power, energy, battery, thermal }: EnergySnapshot, style: Style): string[] {
  const lines: string[] = []
  if (power === undefined) lines.push(style.yellow('Nothing tells the power of this gateway yet.'))
  else {
    const error = power.errorPercent === undefined ? '' : ` ±${Math.round(power.errorPercent)}%`
    const source = power.source === 'measured' ? style.green('measured') : style.yellow('estimated')
    const supply = power.supply === undefined || power.supply === 'unknown' ? '' : `, on ${power.supply}`
    lines.push(`${style.bold(scaled(power.watts, 'W'))} ${source} by ${printable(power.by)}${error}${supply}`)
  }
  if (energy?.todayJ !== undefined) {
    const carbon = energy.todayCarbonG === undefined ? '' : `, ${scaled(energy.todayCarbonG, 'g')} CO2`
    const boot = energy.sinceBootJ === undefined ? '' : `, ${joulesWords(energy.sinceBootJ)} since boot`
    lines.push(`today ${joulesWords(energy.todayJ)}${carbon}${boot} (${energy.source})`)
  }
  if (battery !== undefined) {
    const percent = battery.percent === undefined ? 'charge unknown' : `${battery.percent.toFixed(0)}%`
    const until =
      battery.timeToEmpty !== undefined
        ? `, empty in ${forecastWords(battery.timeToEmpty)}`
        : battery.timeToFull !== undefined
          ? `, full in ${forecastWords(battery.timeToFull)}`
          : ''
    const watts = battery.watts === undefined ? '' : ` ${scaled(battery.watts, 'W')}`
    lines.push(`battery ${percent} ${battery.state}${watts}${until}`)
  }
  if (thermal?.throttled === true)
    lines.push(style.red(`slowed down: ${thermal.reasons?.join(', ') ?? 'no reason told'}`))
  return lines
}

/** `3h12m (2h50m to 3h40m)`. */
const forecastWords = ({ seconds, lowSeconds, highSeconds }: Forecast): string =>
  `${spanWords(seconds)} (${spanWords(lowSeconds)} to ${spanWords(highSeconds)})`
