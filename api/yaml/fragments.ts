import { didYouMean } from '../suggest.ts'
import type { Finding } from './findings.ts'
import { type LineColumn, type LocatedFinding, readYaml, type SourceDocument } from './read.ts'

/** The kind of a file that holds properties for several models. It is resolved when files are read and never applied. */
export const FRAGMENT_KIND = 'ModelFragment'

const MAX_DEPTH = 8
const MAX_PROPERTIES = 1024

export interface TextFile {
  readonly file: string
  readonly text: string
}

/** What files may refer to beyond themselves. All of it is read before anything is validated. */
export interface References {
  /** A fragment that is not among the files themselves; `from` is the file that names it. Throws when it is unreadable. */
  readonly fragmentOf?: (name: string, from: string) => TextFile | undefined
  /** For suggestions. */
  readonly fragmentNames?: () => readonly string[]
  /** A binding of a protocol with `by` added to its addresses; undefined where the protocol has none. */
  readonly moved?: (protocol: string, binding: Fields, by: number) => Fields | undefined
  /** The text of a file that a model names, relative to the file of the model. Throws when it is unreadable. */
  readonly textOf?: (path: string, from: string) => string
  /** Keys of a model's protocol options that name a file, and the key that takes its text: `decoderFile: decoder`. */
  readonly fileKeys?: Readonly<Record<string, Readonly<Record<string, string>>>>
}

export type Fields = Readonly<Record<string, unknown>>

export const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Where a property was written: in `document`, as item `index` of its properties. */
interface Place {
  readonly document: SourceDocument
  readonly index: number
}

interface Expanded {
  readonly value: unknown
  /** In the file of the model: the property itself, or the entry that uses it. */
  readonly index: number
  /** In a fragment; undefined for the model's own. */
  readonly origin: Place | undefined
}

/** What an entry says about taking properties; everything else in it overrides what is taken. */
const WORDS = ['use', 'only', 'except', 'at'] as const

/** A place in a fragment, beside the place of use. */
export interface Origin extends LineColumn {
  readonly file: string
}

export interface FragmentsResolved {
  readonly properties: readonly Expanded[]
  /** Protocol options of the fragments: what holds where the model itself says nothing. */
  readonly options: Fields
}

/** Puts the properties of fragments in the place of the entries that use them. */
export class FragmentResolver {
  readonly #references: References
  readonly #given: ReadonlyMap<string, SourceDocument>
  readonly #read = new Map<string, SourceDocument | undefined>()
  /** What is wrong inside fragments that were read on the way. */
  readonly findings: LocatedFinding[] = []
  readonly sources = new Map<string, string>()

  /** @param given fragments among the files themselves, by name. */
  constructor(given: ReadonlyMap<string, SourceDocument>, references: References) {
    this.#given = given
    this.#references = references
  }

  /** Findings have paths in `document`. */
  resolve(document: SourceDocument, tell: (finding: Finding) => void): FragmentsResolved {
    const options: Record<string, unknown> = {}
    // A model may be called like a fragment: it is never used itself.
    const stack = document.kind === FRAGMENT_KIND ? [document.name ?? document.file] : []
    const properties = this.#expand(document, stack, options, tell).slice(0, MAX_PROPERTIES + 1)
    return { properties, options }
  }

  #expand(
    document: SourceDocument,
    stack: readonly string[],
    options: Record<string, unknown>,
    tell: (finding: Finding) => void,
  ): Expanded[] {
    const out: Expanded[] = []
    for (const [index, entry] of propertiesOf(document).entries()) {
      if (!isFields(entry) || !('use' in entry)) out.push({ value: entry, index, origin: undefined })
      else out.push(...this.#use({ document, index }, entry, stack, options, tell))
    }
    return out
  }

  #use(
    place: Place,
    entry: Fields,
    stack: readonly string[],
    options: Record<string, unknown>,
    tell: (finding: Finding) => void,
  ): Expanded[] {
    const path = ['spec', 'properties', place.index]
    const wrong = (code: string, part: (string | number)[], message: string, hint: string) =>
      tell({ severity: 'error', code, path: [...path, ...part], message, hint })
    const { use: name } = entry
    if (typeof name !== 'string' || name === '') {
      wrong('SLUICE_FRAGMENT_FORM', ['use'], 'use takes the name of a fragment', 'Write use: sunspec-common.')
      return []
    }
    const fragment = this.#find(name, place.document.file, wrong)
    if (fragment === undefined) return []
    const key = fragment.name ?? fragment.file
    if (stack.includes(key) || stack.length > MAX_DEPTH) {
      const way = [...stack, key].join(' uses ')
      wrong('SLUICE_FRAGMENT_CYCLE', ['use'], `this never ends: ${way}`, 'Take one of these uses out.')
      return []
    }
    const inner: Finding[] = []
    const nested = this.#expand(fragment, [...stack, key], options, (finding) => inner.push(finding))
    for (const finding of inner) {
      const { line, column } = fragment.positionOf(finding.path, finding.at)
      const message = `in fragment ${name} (${fragment.file}:${line}:${column}): ${finding.message}`
      tell({ ...finding, path: [...path, 'use'], message })
    }
    mergeOptions(options, optionsOf(fragment))
    const taken = select(nested, entry, name, wrong)
    return taken.map(({ value, index, origin }) => ({
      value: isFields(value) ? this.#adapt(value, entry, wrong) : value,
      index: place.index,
      origin: origin ?? { document: fragment, index },
    }))
  }

  #find(name: string, from: string, wrong: Wrong): SourceDocument | undefined {
    const known = this.#given.get(name)
    if (known !== undefined) return known
    let source: TextFile | undefined
    try {
      source = this.#references.fragmentOf?.(name, from)
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : String(thrown)
      wrong('SLUICE_FRAGMENT_UNKNOWN', ['use'], `fragment '${name}' cannot be read: ${reason}`, 'Correct the name.')
      return undefined
    }
    if (source === undefined) {
      const names = [...new Set([...this.#given.keys(), ...(this.#references.fragmentNames?.() ?? [])])].sort()
      const none = names.length === 0 ? 'Give the file that holds it too.' : 'There are:'
      wrong('SLUICE_FRAGMENT_UNKNOWN', ['use'], `there is no fragment '${name}'`, didYouMean(name, names, none))
      return undefined
    }
    if (!this.#read.has(source.file)) this.#read.set(source.file, this.#parse(source))
    const document = this.#read.get(source.file)
    if (document === undefined) {
      const message = `fragment '${name}' in ${source.file} cannot be used`
      wrong('SLUICE_FRAGMENT_BROKEN', ['use'], message, `Correct ${source.file}: it needs one ${FRAGMENT_KIND}.`)
    }
    return document
  }

  #parse({ file, text }: TextFile): SourceDocument | undefined {
    const { documents, findings } = readYaml(text, file)
    this.findings.push(...findings)
    this.sources.set(file, text)
    return documents.find(({ kind }) => kind === FRAGMENT_KIND)
  }

  /** A taken property with the addresses moved and the entry's own words on top. */
  #adapt(value: Fields, entry: Fields, wrong: Wrong): Fields {
    const { at } = entry
    let moved: Fields = value
    if (at !== undefined) {
      if (typeof at !== 'number' || !Number.isInteger(at)) {
        wrong(
          'SLUICE_FRAGMENT_FORM',
          ['at'],
          'at takes a whole number that is added to every address',
          'Write at: 40069.',
        )
        return value
      }
      moved = Object.fromEntries(
        Object.entries(value).map(([key, part]) => [
          key,
          (isFields(part) ? this.#references.moved?.(key, part, at) : undefined) ?? part,
        ]),
      )
      if (Object.keys(value).every((key) => moved[key] === value[key])) {
        const message = `'${String(value['name'])}' has no address that could be moved by ${at}`
        wrong('SLUICE_FRAGMENT_FORM', ['at'], message, 'Remove at, or leave the property out with except.')
      }
    }
    const own = Object.entries(entry).filter(([key]) => !WORDS.some((word) => word === key))
    return merged(moved, Object.fromEntries(own))
  }
}

type Wrong = (code: string, part: (string | number)[], message: string, hint: string) => void

export const propertiesOf = (document: SourceDocument): readonly unknown[] => {
  const spec = isFields(document.value) ? document.value['spec'] : undefined
  const properties = isFields(spec) ? spec['properties'] : undefined
  return Array.isArray(properties) ? properties : []
}

function optionsOf(fragment: SourceDocument): Fields {
  const spec = isFields(fragment.value) ? fragment.value['spec'] : undefined
  return Object.fromEntries(Object.entries(isFields(spec) ? spec : {}).filter(([, value]) => isFields(value)))
}

/** What is there stays. */
function mergeOptions(target: Record<string, unknown>, more: Fields): void {
  for (const [key, value] of Object.entries(more)) {
    const own = target[key]
    target[key] = isFields(own) && isFields(value) ? merged(value, own) : (own ?? value)
  }
}

/** `over` wins; maps are merged, everything else is replaced, and what is null in it is taken away. */
export const merged = (under: Fields, over: Fields): Fields => {
  const out: Record<string, unknown> = { ...under }
  for (const [key, value] of Object.entries(over)) {
    const below = out[key]
    if (value === null && key in out) delete out[key]
    else out[key] = isFields(below) && isFields(value) ? merged(below, value) : value
  }
  return out
}

const nameOf = ({ value }: Expanded): string | undefined =>
  isFields(value) && typeof value['name'] === 'string' ? value['name'] : undefined

function select(all: readonly Expanded[], entry: Fields, fragment: string, wrong: Wrong): readonly Expanded[] {
  const names = all.flatMap((each) => nameOf(each) ?? [])
  const wanted = (word: 'only' | 'except'): readonly string[] | undefined => {
    const list = entry[word]
    if (list === undefined) return undefined
    if (!Array.isArray(list) || list.length === 0) {
      wrong('SLUICE_FRAGMENT_FORM', [word], `${word} takes a list of property names`, `Write ${word}: [power, energy].`)
      return undefined
    }
    for (const [index, name] of list.entries()) {
      if (names.includes(String(name))) continue
      const hint = didYouMean(String(name), names, `Properties of ${fragment}:`)
      wrong('SLUICE_FRAGMENT_PROPERTY', [word, index], `fragment ${fragment} has no property '${String(name)}'`, hint)
    }
    return list.map(String)
  }
  const only = wanted('only')
  const except = wanted('except')
  // In the order of `only`, which is the order somebody chose.
  const taken = only === undefined ? all : only.flatMap((name) => all.find((each) => nameOf(each) === name) ?? [])
  const left = taken.filter((each) => except?.includes(nameOf(each) ?? '') !== true)
  if (entry['name'] !== undefined && left.length > 1) {
    const message = `${left.length} properties of ${fragment} cannot all be called '${String(entry['name'])}'`
    wrong('SLUICE_FRAGMENT_FORM', ['name'], message, 'Name the one to take: only: [power].')
  }
  return left
}
