import { stripVTControlCharacters } from 'node:util'

export interface Style {
  bold(text: string): string
  dim(text: string): string
  red(text: string): string
  green(text: string): string
  yellow(text: string): string
  blue(text: string): string
  cyan(text: string): string
}

const plain = (text: string): string => text
const sgr = (open: number, close: number) => (text: string) => `\x1b[${open}m${text}\x1b[${close}m`

export const colorful: Style = {
  bold: sgr(1, 22),
  dim: sgr(2, 22),
  red: sgr(31, 39),
  green: sgr(32, 39),
  yellow: sgr(33, 39),
  blue: sgr(34, 39),
  cyan: sgr(36, 39),
}

export const colorless: Style = {
  bold: plain,
  dim: plain,
  red: plain,
  green: plain,
  yellow: plain,
  blue: plain,
  cyan: plain,
}

/** Where a verb writes: results to stdout, remarks to stderr. */
export interface Output {
  readonly style: Style
  /** Whether `style` colours. */
  readonly color: boolean
  /** `--json` was given: results are JSON, remarks stay words on stderr. */
  readonly json: boolean
  /** Both a person and a terminal are there. */
  readonly interactive: boolean
  readonly width: number
  readonly height: number
  line(text?: string): void
  /** Unchanged text, for redrawing. */
  raw(text: string): void
  note(text: string): void
  value(value: unknown): void
}

export interface Terminal {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
}

/** `NO_COLOR` (any value) and `TERM=dumb` switch colour off, `FORCE_COLOR` on; otherwise it takes a terminal. */
export function wantsColor(stream: Terminal, env: Readonly<Record<string, string | undefined>>): boolean {
  if (env['NO_COLOR'] !== undefined && env['NO_COLOR'] !== '') return false
  if (env['FORCE_COLOR'] !== undefined && env['FORCE_COLOR'] !== '0') return true
  return stream.isTTY === true && env['TERM'] !== 'dumb'
}

export function createOutput(
  stdout: Terminal,
  stderr: Terminal,
  options: { json: boolean; color: boolean; env: Readonly<Record<string, string | undefined>> },
): Output {
  const style = options.color && wantsColor(stdout, options.env) ? colorful : colorless
  return {
    style,
    color: style === colorful,
    json: options.json,
    interactive: stdout.isTTY === true && options.env['TERM'] !== 'dumb' && options.env['CI'] === undefined,
    get width() {
      return Math.max(40, stdout.columns ?? (Number(options.env['COLUMNS']) || 100))
    },
    get height() {
      return Math.max(10, stdout.rows ?? 40)
    },
    line: (text = '') => void stdout.write(`${text}\n`),
    raw: (text) => void stdout.write(text),
    note: (text) => void stderr.write(`${style === colorful ? text : stripVTControlCharacters(text)}\n`),
    value: (value) => void stdout.write(`${JSON.stringify(value)}\n`),
  }
}
