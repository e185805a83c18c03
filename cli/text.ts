import { stripVTControlCharacters } from 'node:util'

const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' })
const WIDE =
  /\p{Emoji_Presentation}|\ufe0f|[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{20000}-\u{3fffd}]/u
const INVISIBLE = /^(?:\p{Mn}|\p{Me}|\p{Cf})+$/u

/** Columns a terminal needs for `text`; colour codes count nothing. */
export function displayWidth(text: string): number {
  const clean = stripVTControlCharacters(text)
  if (/^[\x20-\x7e]*$/.test(clean)) return clean.length
  let width = 0
  for (const { segment } of segmenter.segment(clean)) {
    if (INVISIBLE.test(segment)) continue
    width += WIDE.test(segment) ? 2 : 1
  }
  return width
}

/**
 * Text that came from a device, a model or a server, made safe for a terminal: control characters and escape sequences
 * become visible instead of being obeyed, and nothing may reorder what stands beside it.
 */
export const printable = (text: string): string =>
  text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (char) =>
    char === '\t' ? ' ' : char === '\n' || char === '\r' ? '⏎' : '�',
  )

/** Cuts to `width` columns, with an ellipsis when something was cut. Colour codes are lost when it cuts. */
export function clip(text: string, width: number): string {
  if (displayWidth(text) <= width) return text
  let out = ''
  let used = 0
  for (const { segment } of segmenter.segment(stripVTControlCharacters(text))) {
    const next = displayWidth(segment)
    if (used + next > width - 1) break
    out += segment
    used += next
  }
  return `${out}…`
}

export const padEnd = (text: string, width: number): string =>
  text + ' '.repeat(Math.max(0, width - displayWidth(text)))

export const padStart = (text: string, width: number): string =>
  ' '.repeat(Math.max(0, width - displayWidth(text))) + text

export interface Column {
  readonly title: string
  readonly align?: 'left' | 'right'
  /** Gets narrower when the terminal is too small; the others keep their width. */
  readonly flexible?: boolean
  /** Never wider than this. */
  readonly max?: number
}

const GUTTER = 2

/**
 * Rows as aligned lines, header first. A line is never wider than `width`. `floor` is where a table that is drawn again
 * and again remembers its column widths, so that columns do not jump with every value.
 */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
  header: (text: string) => string = (text) => text,
  floor: number[] = [],
): string[] {
  const widths = columns.map((column, index) =>
    Math.min(
      column.max ?? Number.POSITIVE_INFINITY,
      Math.max(floor[index] ?? 0, displayWidth(column.title), ...rows.map((row) => displayWidth(row[index] ?? ''))),
    ),
  )
  floor.splice(0, floor.length, ...widths)
  let excess = widths.reduce((sum, each) => sum + each + GUTTER, -GUTTER) - width
  for (const [index, column] of columns.entries()) {
    if (excess <= 0) break
    if (column.flexible !== true) continue
    const taken = Math.min(excess, Math.max(0, widths[index]! - Math.max(6, displayWidth(column.title))))
    widths[index]! -= taken
    excess -= taken
  }
  const draw = (cells: readonly string[], finish = (text: string) => text) => {
    const parts = columns.map((column, index) => {
      const cell = finish(clip(cells[index] ?? '', widths[index]!))
      return column.align === 'right' ? padStart(cell, widths[index]!) : padEnd(cell, widths[index]!)
    })
    return clip(parts.join(' '.repeat(GUTTER)).trimEnd(), Math.max(width, 1))
  }
  return [
    draw(
      columns.map((column) => column.title),
      header,
    ),
    ...rows.map((row) => draw(row)),
  ]
}

/** Breaks words at `width`, every line indented by `indent`. */
export function wrap(text: string, width: number, indent = ''): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    if (line !== '' && displayWidth(indent + line) + 1 + displayWidth(word) > width) {
      lines.push(indent + line)
      line = ''
    }
    line = line === '' ? word : `${line} ${word}`
  }
  if (line !== '') lines.push(indent + line)
  return lines
}

/** `3s`, `2m`, `5h`, `3d`: how old something is, in two to four columns. */
export function age(ms: number): string {
  const seconds = Math.max(0, ms) / 1000
  if (seconds < 100) return `${Math.floor(seconds)}s`
  if (seconds < 6000) return `${Math.floor(seconds / 60)}m`
  if (seconds < 360_000) return `${Math.floor(seconds / 3600)}h`
  return `${Math.floor(seconds / 86_400)}d`
}

/** The candidates nearest to a mistyped word, best first. */
export function nearest(word: string, candidates: readonly string[], limit = 3): string[] {
  const scored = candidates
    .map((candidate) => ({ candidate, distance: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(
      ({ candidate, distance }) =>
        distance <= Math.max(1, Math.floor(Math.max(word.length, candidate.length) / 3)) ||
        (word.length >= 2 && candidate.startsWith(word)),
    )
  return scored
    .sort((a, b) => a.distance - b.distance)
    .slice(0, limit)
    .map(({ candidate }) => candidate)
}

/** Optimal string alignment: insert, delete, replace, swap neighbours. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + same)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, rows[i - 2]![j - 2]! + 1)
      row.push(best)
    }
    rows.push(row)
  }
  return rows[a.length]![b.length]!
}
