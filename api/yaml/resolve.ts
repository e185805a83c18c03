import type { Finding } from './findings.ts'
import {
  type Fields,
  FRAGMENT_KIND,
  FragmentResolver,
  type FragmentsResolved,
  isFields,
  merged,
  type Origin,
  propertiesOf,
  type References,
} from './fragments.ts'
import type { LineColumn, LocatedFinding, SourceDocument } from './read.ts'

/** A document whose references were put in; findings about it point at both places. */
export interface ResolvedDocument extends SourceDocument {
  /** Where a path's value was written, when that is another file than the document's own. */
  originOf(path: Finding['path'], part?: 'key' | 'value'): Origin | undefined
}

export interface Resolution {
  readonly document: ResolvedDocument
  /** Paths are those of the document as it was written. */
  readonly findings: readonly Finding[]
}

const plain = (document: SourceDocument): ResolvedDocument => {
  // Documents are instances with getters: what is added must not hide them.
  const resolved = new Whole(document, document.value, undefined)
  return resolved
}

class Whole implements ResolvedDocument {
  readonly value: unknown
  readonly #document: SourceDocument
  readonly #properties: FragmentsResolved['properties'] | undefined

  constructor(document: SourceDocument, value: unknown, properties: FragmentsResolved['properties'] | undefined) {
    this.#document = document
    this.value = value
    this.#properties = properties
  }

  get file(): string {
    return this.#document.file
  }
  get line(): number {
    return this.#document.line
  }
  get apiVersion(): string | undefined {
    return this.#document.apiVersion
  }
  get kind(): string | undefined {
    return this.#document.kind
  }
  get name(): string | undefined {
    return this.#document.name
  }
  get namespace(): string | undefined {
    return this.#document.namespace
  }

  positionOf(path: Finding['path'], part?: 'key' | 'value'): LineColumn {
    const property = this.#property(path)
    if (property === undefined) return this.#document.positionOf(path, part)
    return this.#document.positionOf(['spec', 'properties', property.index, ...path.slice(3)], part)
  }

  originOf(path: Finding['path'], part?: 'key' | 'value'): Origin | undefined {
    const origin = this.#property(path)?.origin
    if (origin === undefined) return undefined
    const { document, index } = origin
    return { file: document.file, ...document.positionOf(['spec', 'properties', index, ...path.slice(3)], part) }
  }

  #property(path: Finding['path']) {
    const [spec, list, index] = path
    return spec === 'spec' && list === 'properties' && typeof index === 'number' ? this.#properties?.[index] : undefined
  }
}

/** Resolves what the models of one set of files refer to: fragments, and files whose text belongs into the model. */
export class Resolver {
  readonly #references: References
  readonly #fragments: FragmentResolver

  constructor(documents: readonly SourceDocument[], references: References) {
    this.#references = references
    const given = documents.filter(({ kind, name }) => kind === FRAGMENT_KIND && name !== undefined)
    this.#fragments = new FragmentResolver(new Map(given.map((document) => [document.name!, document])), references)
  }

  /** What is wrong in files that were read on the way, and their texts. */
  get read(): { readonly findings: readonly LocatedFinding[]; readonly sources: ReadonlyMap<string, string> } {
    return this.#fragments
  }

  resolve(document: SourceDocument): Resolution {
    const spec = isFields(document.value) ? document.value['spec'] : undefined
    if (!isFields(document.value) || !isFields(spec)) return { document: plain(document), findings: [] }
    const findings: Finding[] = []
    const tell = (finding: Finding) => findings.push(finding)
    const uses = propertiesOf(document).some((entry) => isFields(entry) && 'use' in entry)
    const fragments = uses ? this.#fragments.resolve(document, tell) : undefined
    const texts = this.#texts(spec, document.file, tell)
    if (fragments === undefined && texts === undefined) return { document: plain(document), findings }
    const own: Fields = texts ?? spec
    const whole =
      fragments === undefined
        ? own
        : { ...merged(fragments.options, own), properties: fragments.properties.map(({ value }) => value) }
    return { document: new Whole(document, { ...document.value, spec: whole }, fragments?.properties), findings }
  }

  #texts(spec: Fields, file: string, tell: (finding: Finding) => void): Fields | undefined {
    let whole: Fields | undefined
    for (const [protocol, keys] of Object.entries(this.#references.fileKeys ?? {})) {
      const options = spec[protocol]
      if (!isFields(options)) continue
      for (const [key, target] of Object.entries(keys)) {
        const path = options[key]
        if (path === undefined) continue
        const text = this.#text(path, ['spec', protocol, key], file, tell)
        const { [key]: _, ...rest } = isFields(whole?.[protocol]) ? whole[protocol] : options
        if (text !== undefined && rest[target] !== undefined) {
          const message = `${key} and ${target} are both given`
          tell({ ...error(['spec', protocol, key], message, `Remove one of them.`), code: 'SLUICE_REFERENCE' })
        }
        whole = { ...(whole ?? spec), [protocol]: text === undefined ? rest : { ...rest, [target]: text } }
      }
    }
    return whole
  }

  #text(path: unknown, at: Finding['path'], from: string, tell: (finding: Finding) => void): string | undefined {
    const hint = 'Give the path of a text file; it is relative to this one.'
    if (typeof path !== 'string' || path === '') {
      tell(error(at, 'this is no path of a file', hint))
      return undefined
    }
    try {
      const text = this.#references.textOf?.(path, from)
      if (text !== undefined) return text
      tell(error(at, 'files cannot be named here', 'Write the text itself.'))
    } catch (thrown) {
      tell(error(at, thrown instanceof Error ? thrown.message : String(thrown), hint))
    }
    return undefined
  }
}

const error = (path: Finding['path'], message: string, hint: string): Finding => ({
  severity: 'error',
  code: 'SLUICE_REFERENCE',
  path,
  message,
  hint,
})
