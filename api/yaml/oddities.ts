import {
  type Alias,
  type Document,
  isAlias,
  isCollection,
  isPair,
  isScalar,
  type Pair,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'
import type { Finding } from './findings.ts'

/** YAML that is fine by itself but that JSON cannot hold, or that kubectl reads as something else. */
export interface Oddity extends Finding {
  readonly offset: number
}

/** A JSON object deeper than this is nobody's manifest; every reader of ours may rely on it. */
const MAX_DEPTH = 64

/** Words that YAML 1.1, which kubectl still reads, takes for booleans. */
const OLD_BOOLEAN = /^(?:[yYnN]|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$/
const OLD_TRUE = /^(?:y|yes|on)$/i
/** Digits that YAML 1.1 takes for octal and YAML 1.2 for decimal. */
const OLD_OCTAL = /^[-+]?0[0-7]+$/

function scalarOddity(scalar: Scalar): Omit<Oddity, 'offset' | 'path'> | undefined {
  const { value, source = '' } = scalar
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) {
      return {
        severity: 'error',
        code: 'SLUICE_YAML_NOT_JSON',
        message: `${source} is a number that JSON cannot hold`,
        hint: 'Write a finite number, or leave the field out.',
      }
    }
    if (Number.isInteger(value) && !Number.isSafeInteger(value) && /^[-+]?(\d+|0x[\da-f]+|0o[0-7]+)$/i.test(source)) {
      return {
        severity: 'error',
        code: 'SLUICE_YAML_INEXACT',
        message: `${source} is too long to be exact; it would be read as ${value}`,
        hint: 'Put it in quotes, or stay within 9007199254740991.',
      }
    }
  }
  if (scalar.type !== 'PLAIN') return undefined
  if (typeof value === 'string' && OLD_BOOLEAN.test(value)) {
    const meaning = OLD_TRUE.test(value) ? 'true' : 'false'
    return {
      severity: 'warning',
      code: 'SLUICE_YAML_AMBIGUOUS',
      message: `${value} is text here, but kubectl reads it as ${meaning}`,
      hint: `Put it in quotes ('${value}'), or write ${meaning} if that is meant.`,
    }
  }
  if (typeof value === 'number' && OLD_OCTAL.test(source) && Number.parseInt(source, 8) !== value) {
    return {
      severity: 'warning',
      code: 'SLUICE_YAML_AMBIGUOUS',
      message: `${source} is ${value} here, but kubectl reads it as octal ${Number.parseInt(source, 8)}`,
      hint: `Write ${value} without leading zeros.`,
    }
  }
  return undefined
}

const tooDeep = (path: Finding['path'], offset: number): Oddity => ({
  severity: 'error',
  code: 'SLUICE_YAML_TOO_DEEP',
  message: 'lists and maps are nested too deeply',
  hint: `No manifest needs more than ${MAX_DEPTH} levels.`,
  path,
  offset,
})

function keyOddity(key: unknown, path: Finding['path'], offset: number): Oddity | undefined {
  if (isScalar(key) && (typeof key.value !== 'object' || key.value === null)) {
    const { value, type } = key
    if (type !== 'PLAIN' || typeof value !== 'string' || !OLD_BOOLEAN.test(value)) return undefined
    return {
      severity: 'warning',
      code: 'SLUICE_YAML_AMBIGUOUS',
      message: `the key ${value} is text here, but kubectl reads it as ${OLD_TRUE.test(value)}`,
      hint: `Put it in quotes: '${value}'.`,
      path: [...path, value],
      offset: key.range?.[0] ?? offset,
    }
  }
  return {
    severity: 'error',
    code: 'SLUICE_YAML_NOT_JSON',
    message: 'a key has to be a word or a number, not a list or a map',
    hint: 'Write key: value. Braces that are meant as text need quotes.',
    path,
    offset,
  }
}

/** Walks a document once, in the order it is written, so that every anchor is known before its aliases. */
class Walk {
  readonly found: Oddity[] = []
  private readonly anchors = new Map<string, unknown>()
  private readonly open = new Set<unknown>()

  visit(node: unknown, path: Finding['path']): void {
    if (isAlias(node)) this.alias(node, path)
    else if (isScalar(node) || isCollection(node)) this.written(node, path)
  }

  private written(node: Scalar | YAMLMap | YAMLSeq, path: Finding['path']): void {
    if (!isCollection(node)) {
      if (node.anchor !== undefined) this.anchors.set(node.anchor, node)
      const oddity = isScalar(node) ? scalarOddity(node) : undefined
      if (oddity !== undefined) this.found.push({ ...oddity, path, offset: node.range?.[0] ?? 0 })
      return
    }
    if (node.anchor !== undefined) this.anchors.set(node.anchor, node)
    if (this.open.size > MAX_DEPTH) {
      this.found.push(tooDeep(path, node.range?.[0] ?? 0))
      return
    }
    this.open.add(node)
    for (const [index, item] of node.items.entries()) {
      if (isPair(item)) this.pair(item, path, node.range?.[0] ?? 0)
      else this.visit(item, [...path, index])
    }
    this.open.delete(node)
  }

  private pair({ key, value }: Pair, path: Finding['path'], offset: number): void {
    const oddity = isAlias(key) ? undefined : keyOddity(key, path, offset)
    if (oddity !== undefined) this.found.push(oddity)
    if (oddity?.severity === 'error') return
    if (isScalar(key) && key.anchor !== undefined) this.anchors.set(key.anchor, key)
    this.visit(value, [...path, isScalar(key) ? String(key.value) : ''])
  }

  private alias({ source, range }: Alias, path: Finding['path']): void {
    const offset = range?.[0] ?? 0
    const known = this.anchors.has(source)
    if (known && !this.open.has(this.anchors.get(source))) return
    this.found.push({
      severity: 'error',
      code: 'SLUICE_YAML_ALIASES',
      message: known
        ? `*${source} stands inside the very thing it refers to`
        : `there is no anchor &${source} before *${source}`,
      hint: known
        ? 'Write the value out; JSON cannot contain itself.'
        : 'Define the anchor first, or put the text in quotes.',
      path,
      offset,
    })
  }
}

/** Everything of that kind in a document, top to bottom. */
export function oddities(document: Document.Parsed): Oddity[] {
  const walk = new Walk()
  walk.visit(document.contents, [])
  return walk.found
}
