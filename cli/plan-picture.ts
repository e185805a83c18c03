import type { PlanExplanation, PlannedRequest } from '../mappers/sdk/mapper.ts'
import type { Style } from './output.ts'
import { displayWidth, padEnd, padStart, printable, wrap } from './text.ts'

/** Where one property lies in the protocol's address space. */
export interface PropertyPlace {
  readonly table: string
  readonly start: number
  readonly length: number
}

export interface PictureOptions {
  readonly style: Style
  readonly width: number
  /** By property name; without it a strip shows how much is filler, not where. */
  readonly places?: ReadonlyMap<string, PropertyPlace>
}

const INDENT = '     '
/** Neighbouring properties alternate between the two, so that each is seen as one piece. */
const USED = ['█', '▓'] as const
const FILLER = '░'

/** The planner's explanation as lines of text: load, then each request with its strip, its properties and the reason. */
export function planPicture(plan: PlanExplanation, options: PictureOptions): string[] {
  const { style, width } = options
  const lines = [`${style.bold(printable(plan.device))}  ${style.dim('on')} ${printable(plan.link)}`, '']
  lines.push(...loadBars(plan, style, width), '')
  for (const [index, request] of plan.requests.entries()) lines.push(...requestLines(request, index, options), '')
  if (plan.requests.length === 0) lines.push('  Nothing is read from this device.', '')
  for (const note of plan.notes) {
    const [first, ...rest] = wrap(printable(note), width - 4)
    lines.push(`  ${style.yellow('•')} ${first ?? ''}`, ...rest.map((line) => `    ${line}`))
  }
  if (plan.requests.length > 0) lines.push(...legend(plan, options))
  return lines
}

function loadBars(plan: PlanExplanation, style: Style, width: number): string[] {
  const room = Math.min(40, Math.max(10, width - 60))
  const scale = Math.max(1, plan.load, Math.min(plan.naiveLoad, 4))
  const bar = (load: number, color: (text: string) => string) => {
    const cells = Math.min(room, (load / scale) * room)
    const full = Math.floor(cells)
    const part = ' ▏▎▍▌▋▊▉'[Math.floor((cells - full) * 8)]!.trim()
    const drawn = full + (part === '' ? 0 : 1)
    return color('█'.repeat(full) + part) + style.dim('·'.repeat(Math.max(0, room - drawn)))
  }
  const color = plan.load > 1 ? style.red : plan.load > 0.7 ? style.yellow : style.green
  const saved = plan.load > 0 ? plan.naiveLoad / plan.load : 0
  const factor = saved >= 1.05 ? `  ${saved.toFixed(1)} times as much` : ''
  const verdict = plan.load > 1 ? style.red('  more than the link can carry') : ''
  return [
    `  planned      ${bar(plan.load, color)} ${padStart(percent(plan.load), 7)} of the link${verdict}`,
    `  one by one   ${bar(plan.naiveLoad, style.dim)} ${padStart(percent(plan.naiveLoad), 7)}${factor}`,
  ]
}

export function percent(share: number): string {
  const value = share * 100
  if (value > 0 && value < 0.1) return '< 0.1 %'
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} %`
}

export const milliseconds = (ms: number): string => (ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`)

const period = (ms: number): string => {
  if (ms % 3_600_000 === 0) return `${ms / 3_600_000}h`
  if (ms % 60_000 === 0) return `${ms / 60_000}m`
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`
}

function requestLines(request: PlannedRequest, index: number, options: PictureOptions): string[] {
  const { style, width } = options
  const facts =
    request.everyMs === 0 ? 'whenever it comes' : `every ${period(request.everyMs)}   ${milliseconds(request.busMs)}`
  const lines = [
    `${padStart(String(index + 1), 3)}  ${style.bold(printable(request.request))}   ${style.dim(facts)}`,
    ...strip(request, options).map((line) => INDENT + line),
  ]
  const entry = (label: string, text: string) =>
    wrap(printable(text), width - INDENT.length - 8).map(
      (line, row) => `${INDENT}${style.dim(padEnd(row === 0 ? label : '', 8))}${line}`,
    )
  lines.push(...entry('serves', request.properties.join(', ')))
  if (request.why !== '') lines.push(...entry('why', request.why))
  return lines
}

type Cell = { readonly property: number } | 'filler'

/** Which property each address of the request belongs to, in address order. */
function cellsOf(request: PlannedRequest, places: ReadonlyMap<string, PropertyPlace> | undefined): Cell[] {
  const length = request.length ?? 0
  const start = request.start ?? 0
  const cells: Cell[] = Array.from({ length }, () => 'filler')
  const located = request.properties
    .map((name) => places?.get(name))
    .filter((place) => place !== undefined && place.table === request.table)
    .sort((a, b) => a!.start - b!.start)
  if (located.length > 0) {
    for (const [order, place] of located.entries()) {
      const from = Math.max(place!.start - start, 0)
      for (let i = from; i < Math.min(from + place!.length, length); i++) cells[i] = { property: order }
    }
    return cells
  }
  const used = length - (request.filler ?? 0)
  const each = Math.max(1, used / Math.max(1, request.properties.length))
  for (let i = 0; i < used; i++) cells[i] = { property: Math.floor(i / each) }
  return cells
}

/** The addresses of one request, left to right: what is asked for and what is only read along. */
function strip(request: PlannedRequest, options: PictureOptions): string[] {
  if (request.start === undefined || request.length === undefined || request.length === 0) return []
  const { style, width, places } = options
  const cells = cellsOf(request, places)
  const perCell = Math.max(1, Math.ceil(cells.length / Math.min(96, width - 30)))
  const zoom = perCell > 1 ? 1 : Math.max(1, Math.min(2, Math.floor(Math.min(64, width - 30) / cells.length)))
  let drawn = ''
  for (let at = 0; at < cells.length; at += perCell) {
    const group = cells.slice(at, at + perCell)
    const used = group.find((cell) => cell !== 'filler')
    if (used === undefined) drawn += style.dim(FILLER.repeat(zoom))
    else {
      const odd = used.property % 2
      drawn += (odd === 0 ? style.cyan : style.blue)(USED[odd]!.repeat(zoom))
    }
  }
  const last = request.start + request.length - 1
  const filler = request.filler ?? 0
  const share = filler === 0 ? '' : style.dim(`  ${filler} of ${request.length} read along`)
  return [`${style.dim(hex(request.start))} ${drawn} ${style.dim(hex(last))}${share}`]
}

const hex = (address: number): string => `0x${address.toString(16).toUpperCase().padStart(4, '0')}`

function legend(plan: PlanExplanation, { style, places, width }: PictureOptions): string[] {
  if (!plan.requests.some((request) => request.length !== undefined)) return []
  const filler = plan.requests.some((request) => (request.filler ?? 0) > 0)
  const words = [
    `${USED.join('')} asked for, a shade a property`,
    ...(filler ? [`${FILLER} read along, because asking twice takes longer`] : []),
    ...(filler && places === undefined ? ['(drawn at the end, whatever its place)'] : []),
  ]
  const line = `  ${words.join('   ')}`
  return ['', ...(displayWidth(line) <= width ? [line] : words.map((each) => `  ${each}`)).map(style.dim)]
}
