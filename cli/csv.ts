/** One record of a CSV file. */
export interface CsvRow {
  /** Where it starts, counted from 1. */
  readonly line: number
  readonly cells: readonly string[]
}

export interface CsvProblem {
  readonly line: number
  readonly message: string
}

export interface CsvRead {
  readonly rows: readonly CsvRow[]
  readonly problems: readonly CsvProblem[]
}

export const MAX_CSV_LENGTH = 8 * 1024 * 1024
export const MAX_CSV_ROWS = 20_000

/** What spreadsheets write between cells: a comma, or where the comma is the decimal sign a semicolon; or a tab. */
const separatorOf = (text: string): string => {
  const head = text.slice(0, text.search(/\r|\n|$/))
  const counts = [',', ';', '\t'].map((mark) => [head.split(mark).length, mark] as const)
  return counts.reduce((best, each) => (each[0] > best[0] ? each : best))[1]
}

/**
 * Reads RFC 4180 text: quoted cells may hold separators, line breaks and doubled quotes. Takes a byte order mark, CRLF,
 * LF and CR, skips empty lines and lines that begin with #. Never throws.
 */
export function readCsv(text: string): CsvRead {
  if (text.length > MAX_CSV_LENGTH) {
    return { rows: [], problems: [{ line: 1, message: `the file is longer than ${MAX_CSV_LENGTH} characters` }] }
  }
  const source = text.startsWith('\ufeff') ? text.slice(1) : text
  const separator = separatorOf(source)
  const rows: CsvRow[] = []
  const problems: CsvProblem[] = []
  let at = 0
  let line = 1
  while (at < source.length) {
    if (rows.length >= MAX_CSV_ROWS) {
      problems.push({ line, message: `there are more than ${MAX_CSV_ROWS} rows` })
      break
    }
    const start = line
    const cells: string[] = []
    for (;;) {
      const cell = readCell(source, at, separator)
      if (cell.problem !== undefined) problems.push({ line: start, message: cell.problem })
      line += cell.text.split(/\r\n|\r|\n/).length - 1
      cells.push(cell.text)
      at = cell.end
      if (source[at] !== separator) break
      at++
    }
    if (source[at] === '\r' && source[at + 1] === '\n') at++
    if (at < source.length) at++
    line++
    if (cells.some((cell) => cell.trim() !== '') && !cells[0]!.startsWith('#')) rows.push({ line: start, cells })
  }
  return { rows, problems }
}

function readCell(source: string, from: number, separator: string): { text: string; end: number; problem?: string } {
  if (source[from] !== '"') {
    let end = from
    while (end < source.length && source[end] !== separator && source[end] !== '\n' && source[end] !== '\r') end++
    return { text: source.slice(from, end), end }
  }
  let text = ''
  let at = from + 1
  for (;;) {
    const quote = source.indexOf('"', at)
    if (quote < 0) return { text: text + source.slice(at), end: source.length, problem: 'a quote is never closed' }
    text += source.slice(at, quote)
    if (source[quote + 1] !== '"') {
      at = quote + 1
      break
    }
    text += '"'
    at = quote + 2
  }
  let end = at
  while (end < source.length && source[end] !== separator && source[end] !== '\n' && source[end] !== '\r') end++
  const rest = source.slice(at, end)
  return rest.trim() === ''
    ? { text, end }
    : { text: text + rest, end, problem: `'${rest}' stands after a closing quote` }
}
