import { didYouMean, shown } from '../../api/suggest.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import { type Fields, isFields } from '../../api/yaml/fragments.ts'
import { locateFindings } from '../../api/yaml/load.ts'
import type { LocatedFinding, SourceDocument } from '../../api/yaml/read.ts'

export type Path = Finding['path']

/** Collects what is to be said about one document. */
export class Notes {
  readonly document: SourceDocument
  readonly #findings: Finding[] = []

  constructor(document: SourceDocument) {
    this.document = document
  }

  get failed(): boolean {
    return this.#findings.some(({ severity }) => severity === 'error')
  }

  get located(): LocatedFinding[] {
    return locateFindings(this.document, this.#findings)
  }

  /** What cannot be carried over: nothing of the document is used then. */
  refuse(path: Path, message: string, hint: string): void {
    this.#findings.push({ severity: 'error', code: 'SLUICE_KUBEEDGE', path, message, hint })
  }

  /** What is left out although the device works without it. */
  leaveOut(path: Path, message: string, hint: string): void {
    this.#findings.push({ severity: 'warning', code: 'SLUICE_KUBEEDGE_LEFT_OUT', path, message, hint })
  }
}

/** A map of a manifest, read field by field; what nobody asked for is refused by `end`. */
export class Reader {
  readonly path: Path
  readonly #notes: Notes
  readonly #fields: Fields
  readonly #asked = new Set<string>()

  constructor(value: unknown, path: Path, notes: Notes) {
    this.path = path
    this.#notes = notes
    this.#fields = isFields(value) ? value : {}
    if (value !== undefined && value !== null && !isFields(value)) {
      notes.refuse(path, `a map is needed here, not ${shown(value)}`, 'See the resource in the KubeEdge documentation.')
    }
  }

  at(key: string): Path {
    return [...this.path, key]
  }

  has(key: string): boolean {
    return this.#get(key) !== undefined
  }

  any(key: string): unknown {
    return this.#get(key)
  }

  text(key: string): string | undefined {
    const value = this.#get(key)
    if (value === undefined || typeof value === 'string') return value
    if (typeof value === 'number' || typeof value === 'boolean') return String(value)
    return this.#wrong(key, value, 'text')
  }

  number(key: string): number | undefined {
    const value = this.#get(key)
    if (value === undefined || typeof value === 'number') return value
    // Written in quotes as often as not: the fields are free-form.
    if (typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value))) return Number(value)
    return this.#wrong(key, value, 'a number')
  }

  flag(key: string): boolean | undefined {
    const value = this.#get(key)
    if (value === undefined || typeof value === 'boolean') return value
    if (value === 'true' || value === 'false') return value === 'true'
    return this.#wrong(key, value, 'true or false')
  }

  /** One of a few words, whatever their case. */
  word<W extends string>(key: string, words: readonly W[]): W | undefined {
    const value = this.text(key)
    if (value === undefined) return undefined
    const found = words.find((word) => word.toLowerCase() === value.toLowerCase())
    if (found === undefined) {
      this.#notes.refuse(this.at(key), `${shown(value)} is not known`, didYouMean(value, words, 'Known are:'))
    }
    return found
  }

  map(key: string): Reader {
    return new Reader(this.#get(key), this.at(key), this.#notes)
  }

  list(key: string): Reader[] {
    const value = this.#get(key)
    if (value === undefined) return []
    if (Array.isArray(value)) return value.map((item, index) => new Reader(item, [...this.at(key), index], this.#notes))
    this.#wrong(key, value, 'a list')
    return []
  }

  /** The same place, with `under` for what is not written here. */
  over(under: Fields): Reader {
    return new Reader({ ...under, ...this.#fields }, this.path, this.#notes)
  }

  /** Fields that change nothing here. */
  skip(...keys: readonly string[]): void {
    for (const key of keys) this.#asked.add(key)
  }

  leaveOut(key: string, hint: string): void {
    if (this.has(key)) this.#notes.leaveOut(this.at(key), `${key} is not carried over`, hint)
  }

  /** Refuses every field that was not asked for. */
  end(): void {
    for (const key of Object.keys(this.#fields)) {
      if (this.#asked.has(key)) continue
      const hint = didYouMean(key, [...this.#asked], 'Known here:')
      this.#notes.refuse(this.at(key), `the field '${key}' cannot be carried over`, hint)
    }
  }

  #get(key: string): unknown {
    this.#asked.add(key)
    return this.#fields[key] ?? undefined
  }

  #wrong(key: string, value: unknown, wanted: string): undefined {
    this.#notes.refuse(this.at(key), `${wanted} is needed here, not ${shown(value)}`, 'Correct the value.')
    return undefined
  }
}
