import { withoutSecrets } from '../secrets.ts'
import type { Finding } from './findings.ts'
import type { LocatedFinding } from './read.ts'

export interface ReportOptions {
  /** Text of each file by name, for the excerpts; without it only the places are printed. */
  readonly sources?: ReadonlyMap<string, string>
  /** ANSI colours; off unless asked for. */
  readonly colour?: boolean
}

/** `spec.properties[2].modbus`; keys that are no plain words are quoted: `spec.desired["flow rate"]`. */
export function fieldText(path: Finding['path']): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else if (/^[\w-]+$/.test(step)) text += text === '' ? step : `.${step}`
    else text += `[${JSON.stringify(step)}]`
  }
  return text
}

/** Nothing that a file contains may steer the terminal it is shown on. */
const harmless = (text: string): string => text.replace(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, '\u00b7')

const STYLES = { error: '31', warning: '33', hint: '36', quiet: '2', bold: '1' } as const
type Style = keyof typeof STYLES

const painter =
  (colour: boolean) =>
  (style: Style, text: string): string =>
    colour ? `\u001b[${STYLES[style]}m${text}\u001b[0m` : text

const WIDEST_EXCERPT = 110

/** How much of the line the finding speaks of: a quoted text, or up to the next separator. */
function markLength(line: string, start: number): number {
  const rest = line.slice(start)
  const match = /^(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s,:{}[\]#][^\s,:{}[\]]*)/.exec(rest)
  return Math.max(1, match?.[0].length ?? 1)
}

function excerpt(finding: LocatedFinding, source: string, paint: ReturnType<typeof painter>): string[] {
  const written = source.split(/\r\n|\r|\n/, finding.line)[finding.line - 1]
  if (written === undefined || written.trim() === '') return []
  const line = withoutSecrets(written)
  let start = Math.min(finding.column - 1, line.length)
  let shownLine = line
  if (line.length > WIDEST_EXCERPT) {
    const from = Math.max(0, start - WIDEST_EXCERPT / 2)
    shownLine = `${from > 0 ? '…' : ''}${line.slice(from, from + WIDEST_EXCERPT)}…`
    start = start - from + (from > 0 ? 1 : 0)
  }
  const length = Math.min(markLength(shownLine, start), Math.max(1, shownLine.length - start))
  const number = String(finding.line)
  const gutter = paint('quiet', `  ${number} |`)
  const empty = paint('quiet', `  ${' '.repeat(number.length)} |`)
  return [
    `${gutter} ${harmless(shownLine)}`,
    `${empty} ${' '.repeat(start)}${paint(finding.severity, '^'.repeat(length))}`,
  ]
}

function formatOne(
  finding: LocatedFinding,
  sources: ReportOptions['sources'],
  paint: ReturnType<typeof painter>,
): string {
  const { file, line, column, severity, code, message, hint, path, origin } = finding
  const field = path.length === 0 ? '' : `${fieldText(path)}: `
  const source = sources?.get(file)
  return [
    `${paint('bold', harmless(`${file}:${line}:${column}`))} ${paint(severity, severity)} ${code}: ${harmless(field + message)}`,
    ...(source === undefined ? [] : excerpt(finding, source, paint)),
    ...(origin === undefined
      ? []
      : [`  ${paint('quiet', 'from:')} ${harmless(`${origin.file}:${origin.line}:${origin.column}`)}`]),
    `  ${paint('hint', 'hint:')} ${harmless(hint)}`,
  ].join('\n')
}

const counted = (count: number, word: string): string => `${count} ${word}${count === 1 ? '' : 's'}`

/** `2 errors and 1 warning`; empty when there is nothing to say. */
export function summary(findings: readonly Finding[]): string {
  const errors = findings.filter(({ severity }) => severity === 'error').length
  const warnings = findings.length - errors
  const parts = [errors > 0 ? counted(errors, 'error') : '', warnings > 0 ? counted(warnings, 'warning') : '']
  return parts.filter((part) => part !== '').join(' and ')
}

/**
 * Findings for a person:
 *
 *     plant.yaml:14:15 error SLUICE_INVALID_VALUE: spec.properties[2].access: "readwrit" is not one of read, ...
 *       14 |       access: readwrit
 *          |               ^^^^^^^^
 *       hint: Did you mean 'readwrite'?
 *
 * Ends without a newline; empty when there are none.
 */
export function formatFindings(findings: readonly LocatedFinding[], options: ReportOptions = {}): string {
  if (findings.length === 0) return ''
  const paint = painter(options.colour ?? false)
  const blocks = findings.map((finding) => formatOne(finding, options.sources, paint))
  return [...blocks, summary(findings)].join('\n\n')
}

/** Findings for a program: `{errors, warnings, findings: [{file, line, column, severity, code, field, ...}]}`. */
export function findingsJson(findings: readonly LocatedFinding[]): Readonly<Record<string, unknown>> {
  const errors = findings.filter(({ severity }) => severity === 'error').length
  return {
    errors,
    warnings: findings.length - errors,
    findings: findings.map(({ file, line, column, severity, code, message, hint, path, object, origin }) => ({
      file,
      line,
      column,
      severity,
      code,
      field: fieldText(path),
      message,
      hint,
      ...(object === undefined ? {} : { object }),
      ...(origin === undefined ? {} : { origin }),
    })),
  }
}
