import type { KubeObject } from '../objects.ts'
import { stringAt } from '../objects.ts'
import type { Column } from './kind.ts'

export const nameColumn: Column = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'Name must be unique within a namespace. It is given at creation and cannot be changed afterwards.',
  cell: (object) => object.metadata.name,
}

export const ageColumn: Column = {
  name: 'Age',
  type: 'string',
  description: 'How long ago the object was created, by the clock of the server that created it. Set by the system.',
  cell: (object, nowMs) => age(object.metadata.creationTimestamp ?? undefined, nowMs),
}

/** A column that shows the text at a path, or `empty`. */
export function textColumn(
  name: string,
  description: string,
  path: readonly string[],
  empty = '',
  priority = 0,
): Column {
  return {
    name,
    type: 'string',
    description,
    priority,
    cell: (object: KubeObject) => stringAt(object, ...path) || empty,
  }
}

/** How long ago, as kubectl writes it: two units while they matter, then one (duration.HumanDuration). */
export function age(time: string | undefined, nowMs: number): string {
  const then = time === undefined ? Number.NaN : Date.parse(time)
  if (Number.isNaN(then)) return '<unknown>'
  const seconds = Math.floor((nowMs - then) / 1000)
  if (seconds < -1) return '<invalid>'
  if (seconds < 0) return '0s'
  if (seconds < 120) return `${seconds}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 10) return withRest(minutes, 'm', seconds % 60, 's')
  if (minutes < 180) return `${minutes}m`
  const hours = Math.floor(minutes / 60)
  if (hours < 8) return withRest(hours, 'h', minutes % 60, 'm')
  if (hours < 48) return `${hours}h`
  const days = Math.floor(hours / 24)
  if (days < 8) return withRest(days, 'd', hours % 24, 'h')
  if (days < 365 * 2) return `${days}d`
  const years = Math.floor(days / 365)
  return years < 8 ? withRest(years, 'y', days % 365, 'd') : `${years}y`
}

function withRest(value: number, unit: string, rest: number, restUnit: string): string {
  return rest === 0 ? `${value}${unit}` : `${value}${unit}${rest}${restUnit}`
}
