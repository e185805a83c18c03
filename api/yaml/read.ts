import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  type Scalar,
  visit,
} from 'yaml'
import type { Finding } from './findings.ts'
import { oddities } from './oddities.ts'

/** Largest text that is read, in UTF-16 units; a manifest of 10 000 devices stays far below. */
export const MAX_YAML_LENGTH = 8 * 1024 * 1024
/** How often aliases may unfold before a document counts as an attack. */
const MAX_ALIASES = 100

export interface LineColumn {
  /** Both count from 1. */
  readonly line: number
  readonly column: number
}

/** A finding with its place in a file. */
export interface LocatedFinding extends Finding, LineColumn {
  readonly file: string
  /** Where the text itself is, when `file` only refers to it. */
  readonly origin?: LineColumn & { readonly file: string }
  /** `Device plant/meter-3`, when the finding is about one object. */
  readonly object?: string
}

/** One document of a YAML file. */
export interface SourceDocument {
  readonly file: string
  /** Plain JSON. */
  readonly value: unknown
  readonly apiVersion: string | undefined
  readonly kind: string | undefined
  readonly name: string | undefined
  readonly namespace: string | undefined
  /** Where the document's first line is. */
  readonly line: number
  /**
   * Where a path's value is written, or its key when `part` says so. Of a path that does not exist, the nearest
   * ancestor that does.
   */
  positionOf(path: Finding['path'], part?: 'key' | 'value'): LineColumn
}

export interface YamlRead {
  readonly documents: readonly SourceDocument[]
  readonly findings: readonly LocatedFinding[]
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const textAt = (value: unknown, key: string): string | undefined => {
  const found = isRecord(value) ? value[key] : undefined
  return typeof found === 'string' ? found : undefined
}

const sourceStart = (node: unknown): number | undefined =>
  isScalar(node) || isCollection(node) || isAlias(node) ? node.range?.[0] : undefined

/** Source offset of what a path names. Walks nodes, so that what the reader sees is pointed at. */
function offsetOf(document: Document.Parsed, path: Finding['path'], part: 'key' | 'value'): number {
  let node: unknown = document.contents
  let at = sourceStart(node) ?? document.range[0]
  for (const [depth, step] of path.entries()) {
    const here: unknown = isAlias(node) ? node.resolve(document) : node
    const last = depth === path.length - 1
    if (isMap(here)) {
      const pair = here.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
      if (pair === undefined) return at
      const keyAt = sourceStart(pair.key) ?? at
      // The value of a nested block starts on the next line; its key is what a reader looks for.
      at = (last && part === 'key') || !isScalar(pair.value) ? keyAt : (sourceStart(pair.value) ?? keyAt)
      if (last && part === 'value' && isScalar(pair.value) && pair.value.source === '') at = keyAt
      node = pair.value
    } else if (isSeq(here)) {
      const item: unknown = typeof step === 'number' ? here.items[step] : undefined
      if (item === undefined) return at
      at = sourceStart(isPair(item) ? item.key : item) ?? at
      node = item
    } else return at
  }
  return at
}

class ParsedDocument implements SourceDocument {
  readonly file: string
  readonly value: unknown
  readonly line: number
  private readonly document: Document.Parsed
  private readonly lines: LineCounter

  constructor(file: string, document: Document.Parsed, value: unknown, lines: LineCounter) {
    this.file = file
    this.document = document
    this.value = value
    this.lines = lines
    this.line = this.positionOf([]).line
  }

  get apiVersion(): string | undefined {
    return textAt(this.value, 'apiVersion')
  }

  get kind(): string | undefined {
    return textAt(this.value, 'kind')
  }

  get name(): string | undefined {
    return isRecord(this.value) ? textAt(this.value['metadata'], 'name') : undefined
  }

  get namespace(): string | undefined {
    return isRecord(this.value) ? textAt(this.value['metadata'], 'namespace') : undefined
  }

  positionOf(path: Finding['path'], part: 'key' | 'value' = 'value'): LineColumn {
    return lineColumn(this.lines, offsetOf(this.document, path, part))
  }
}

function lineColumn(lines: LineCounter, offset: number): LineColumn {
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(1, line), column: Math.max(1, col) }
}

const problem = (file: string, at: LineColumn, code: string, message: string, hint: string): LocatedFinding => ({
  severity: 'error',
  code,
  message,
  hint,
  path: [],
  file,
  ...at,
})

/** The parser's codes that a reader can do something specific about. */
const SYNTAX_HINTS: Readonly<Record<string, string>> = {
  BAD_INDENT: 'Indent with the same number of spaces as the lines around it.',
  TAB_AS_INDENT: 'Replace the tab by spaces.',
  MISSING_CHAR: 'Look for a missing colon, comma, quote or bracket on this line or the one before.',
  UNEXPECTED_TOKEN: 'Look for a missing colon, comma, quote or bracket on this line or the one before.',
  BLOCK_AS_IMPLICIT_KEY: 'A colon inside a value needs quotes around the value.',
  MULTILINE_IMPLICIT_KEY: 'Look for a missing colon or a closing quote on the line before.',
  TAG_RESOLVE_FAILED: 'Remove the tag (the word that begins with !).',
  BAD_ALIAS: 'Define the anchor (&name) before it is used (*name).',
}

function syntaxFindings(file: string, document: Document.Parsed, lines: LineCounter): LocatedFinding[] {
  return [...document.errors, ...document.warnings].map(({ code, message, pos }) => {
    const at = lineColumn(lines, pos[0])
    if (code === 'DUPLICATE_KEY') {
      const hint = 'Remove or rename one of the two; a reader would see only one of them.'
      return problem(file, at, 'SLUICE_YAML_DUPLICATE_KEY', 'this key is there twice in the same map', hint)
    }
    return problem(file, at, 'SLUICE_YAML_SYNTAX', message, SYNTAX_HINTS[code] ?? 'Correct the YAML here.')
  })
}

const START: LineColumn = { line: 1, column: 1 }
/** More would be a flood: after a first syntax error most of the rest follows from it. */
const MAX_SYNTAX_FINDINGS = 20

function readDocument(file: string, document: Document.Parsed, lines: LineCounter): YamlRead {
  const syntax = syntaxFindings(file, document, lines)
  if (syntax.length > 0) return { documents: [], findings: syntax.slice(0, MAX_SYNTAX_FINDINGS) }
  const contents: Node | null = document.contents
  if (contents === null || (isScalar(contents) && contents.value === null)) return { documents: [], findings: [] }
  const odd = oddities(document).map(({ offset, ...finding }) => ({ ...finding, file, ...lineColumn(lines, offset) }))
  if (odd.some(({ severity }) => severity === 'error')) return { documents: [], findings: odd }
  try {
    visit(document, { Scalar: oneZero })
    const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES })
    return { documents: [new ParsedDocument(file, document, value, lines)], findings: odd }
  } catch (thrown) {
    const at = lineColumn(lines, sourceStart(contents) ?? 0)
    if (thrown instanceof RangeError) return { documents: [], findings: [tooDeep(file, at)] }
    const hint = 'Write the values out instead of referring to anchors so often.'
    const message = 'the aliases of this document unfold into too much or into themselves'
    return { documents: [], findings: [problem(file, at, 'SLUICE_YAML_ALIASES', message, hint)] }
  }
}

/** JSON has no -0. */
function oneZero(_: unknown, scalar: Scalar): void {
  if (scalar.value === 0) scalar.value = 0
}

const tooDeep = (file: string, at: LineColumn): LocatedFinding =>
  problem(
    file,
    at,
    'SLUICE_YAML_TOO_DEEP',
    'lists and maps are nested too deeply',
    'No manifest needs more than 64 levels.',
  )

/**
 * Reads a YAML (1.2, core schema) or JSON text of any number of documents. Never throws: what is wrong becomes a
 * finding with its place, and the documents that are sound are returned all the same. Empty documents are skipped.
 * `file` is only a name.
 */
export function readYaml(text: string, file: string): YamlRead {
  if (text.length > MAX_YAML_LENGTH) {
    const message = `this text is ${text.length} characters long, more than ${MAX_YAML_LENGTH}`
    const finding = problem(file, START, 'SLUICE_YAML_TOO_LARGE', message, 'Split it into several files.')
    return { documents: [], findings: [finding] }
  }
  const lines = new LineCounter()
  try {
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      version: '1.2',
      // kubectl unfolds `<<` too.
      merge: true,
      uniqueKeys: true,
      strict: true,
      logLevel: 'silent',
      prettyErrors: false,
      // Whatever a %YAML directive says: other schemas yield dates, sets and bytes, which are not JSON.
      schema: 'core',
      resolveKnownTags: false,
    })
    const reads = (Array.isArray(parsed) ? parsed : []).map((document) => readDocument(file, document, lines))
    return {
      documents: reads.flatMap(({ documents }) => documents),
      findings: reads.flatMap(({ findings }) => findings),
    }
  } catch (thrown) {
    if (thrown instanceof RangeError) return { documents: [], findings: [tooDeep(file, START)] }
    const message = thrown instanceof Error ? thrown.message : String(thrown)
    return { documents: [], findings: [problem(file, START, 'SLUICE_YAML_SYNTAX', message, 'Correct the YAML.')] }
  }
}
