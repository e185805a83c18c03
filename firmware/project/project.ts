import { existsSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { LineCounter, parseDocument } from 'yaml'
import { SluiceError, type SourcePosition } from '../../api/errors.ts'
import type { Json } from '../../api/resources.ts'
import { suggest } from '../../api/suggest.ts'
import type { PropertyOptions } from '../generator/plan.ts'
import { type ImageVersion, parseVersion } from '../tools/image.ts'
import { readIfThere } from './files.ts'

export const PROJECT_FILE = 'sluice-fw.yaml'
export const LOCK_FILE = 'firmware.lock.yaml'

/** A firmware project: a folder with `sluice-fw.yaml`, a model, `app/`, and what is made of them. */
export interface Project {
  /** Name of the folder; also of the device in what the gateway is given. */
  readonly name: string
  readonly folder: string
  readonly file: string
  /** As it is written; an alias is allowed. */
  readonly board: string
  /** Where that is written. */
  readonly boardAt: SourcePosition
  /** Path of the model's YAML. */
  readonly model: string
  readonly version: ImageVersion
  readonly unit: number
  readonly line: {
    readonly baud: number
    readonly parity: 'none' | 'even' | 'odd'
    readonly stopBits: 1 | 2
    readonly shared: boolean
  }
  /** Port of the board at its gateway, and the namespace of the device there. */
  readonly port: string
  readonly namespace: string | undefined
  readonly properties: ReadonlyMap<string, PropertyOptions>
  /** Whether it can be updated over its line. */
  readonly update: boolean
  /** A second line on which it is managed (SMP), beside the one that serves its registers. */
  readonly managedOn: { readonly uart: number; readonly baud: number } | undefined
  readonly budget: { readonly flashBytes?: number; readonly ramBytes?: number }
  /** What other verbs keep here (signing, flashing), as it is written. */
  readonly more: Readonly<Record<string, unknown>>
}

const KEYS = [
  'board',
  'model',
  'version',
  'unit',
  'line',
  'gateway',
  'properties',
  'update',
  'management',
  'budget',
  'signing',
  'flash',
]

/** Reads the project in a folder. SLUICE_FW_PROJECT_INVALID with file, line and field. */
export function loadProject(path: string): Project {
  const folder = resolve(path)
  const file = join(folder, PROJECT_FILE)
  const text = existsSync(folder) && statSync(folder).isDirectory() ? readIfThere(file) : undefined
  if (text === undefined) {
    throw new SluiceError(
      'SLUICE_FW_PROJECT_INVALID',
      `there is no firmware project in '${path}': ${PROJECT_FILE} is missing`,
      {
        hint: `Make one with "sluice fw init ${basename(folder)} --board rp2040", or give the folder of one.`,
      },
    )
  }
  return projectOf(folder, text)
}

/** A project from the text of its file. */
export function projectOf(folder: string, text: string): Project {
  const file = join(folder, PROJECT_FILE)
  const top = new Reader(text, file)
  top.known([], KEYS)
  top.known(['line'], ['baud', 'parity', 'stopBits', 'shared'])
  top.known(['gateway'], ['port', 'namespace'])
  top.known(['budget'], ['flash', 'ram'])
  top.known(['management'], ['uart', 'baud'])
  const properties = new Map<string, PropertyOptions>()
  for (const [name] of Object.entries(top.map(['properties']))) {
    top.known(['properties', name], ['default', 'persist'])
    const at = top.map(['properties', name])
    const wish: PropertyOptions = {
      ...(at['default'] === undefined ? {} : { default: at['default'] as Json }),
      ...(at['persist'] === undefined ? {} : { persist: top.flag(['properties', name, 'persist'], false) }),
    }
    properties.set(name, wish)
  }
  const flashBytes = top.optionalWhole(['budget', 'flash'], 1, 1 << 30)
  const ramBytes = top.optionalWhole(['budget', 'ram'], 1, 1 << 30)
  return {
    name: nameOf(folder),
    folder,
    file,
    board: top.text(['board']),
    boardAt: top.place(['board']),
    model: resolve(folder, top.text(['model'], 'model.yaml')),
    version: top.convert(['version'], '0.1.0', parseVersion),
    unit: top.optionalWhole(['unit'], 1, 247) ?? 1,
    line: {
      baud: top.optionalWhole(['line', 'baud'], 300, 4_000_000) ?? 115_200,
      parity: top.word(['line', 'parity'], ['none', 'even', 'odd'] as const),
      stopBits: top.optionalWhole(['line', 'stopBits'], 1, 2) === 2 ? 2 : 1,
      shared: top.flag(['line', 'shared'], false),
    },
    port: top.text(['gateway', 'port'], '/dev/ttyACM0'),
    namespace: top.optionalText(['gateway', 'namespace']),
    properties,
    update: top.flag(['update'], true),
    managedOn:
      top.value(['management']) === undefined
        ? undefined
        : {
            uart: top.optionalWhole(['management', 'uart'], 1, 15) ?? 1,
            baud: top.optionalWhole(['management', 'baud'], 1200, 4_000_000) ?? 115_200,
          },
    budget: { ...(flashBytes === undefined ? {} : { flashBytes }), ...(ramBytes === undefined ? {} : { ramBytes }) },
    more: Object.fromEntries(Object.entries(top.map([])).filter(([key]) => key === 'signing' || key === 'flash')),
  }
}

/** A name that Kubernetes takes. */
const nameOf = (folder: string): string =>
  basename(folder)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63) || 'board'

type Path = readonly string[]

/** The YAML, whose errors have a place. */
class Reader {
  readonly #file: string
  readonly #document: ReturnType<typeof parseDocument>
  readonly #lines = new LineCounter()
  readonly #top: unknown

  constructor(text: string, file: string) {
    this.#file = file
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false })
    const [broken] = this.#document.errors
    if (broken !== undefined) throw this.#error([], broken.message, 'Correct the YAML.', broken.pos[0])
    this.#top = this.#document.toJS() ?? {}
    if (typeof this.#top !== 'object' || Array.isArray(this.#top))
      throw this.#error([], 'this is no map', 'Write key: value.')
  }

  /** Where a value stands. */
  place(path: Path, offset?: number): SourcePosition {
    const node: unknown = path.length === 0 ? this.#document.contents : this.#document.getIn(path, true)
    const range = typeof node === 'object' && node !== null && 'range' in node ? (node.range as number[] | null) : null
    const { line, col } = this.#lines.linePos(offset ?? range?.[0] ?? 0)
    return { file: this.#file, line, column: col }
  }

  #error(path: Path, message: string, hint: string, offset?: number): SluiceError {
    const field = path.join('.')
    return new SluiceError('SLUICE_FW_PROJECT_INVALID', field === '' ? message : `${field}: ${message}`, {
      hint,
      field,
      position: this.place(path, offset),
    })
  }

  value(path: Path): unknown {
    let at: unknown = this.#top
    for (const key of path) {
      if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined
      at = (at as Record<string, unknown>)[key]
    }
    return at ?? undefined
  }

  map(path: Path): Readonly<Record<string, unknown>> {
    const value = this.value(path) ?? {}
    if (typeof value !== 'object' || Array.isArray(value)) throw this.#error(path, 'must be a map', 'Write key: value.')
    return value as Record<string, unknown>
  }

  known(path: Path, keys: readonly string[]): void {
    for (const key of Object.keys(this.map(path))) {
      if (keys.includes(key)) continue
      const meant = suggest(key, keys)
      throw this.#error(
        [...path, key],
        'nobody knows this key',
        meant === undefined ? `There are: ${keys.join(', ')}.` : `Did you mean '${meant}'?`,
      )
    }
  }

  optionalText(path: Path): string | undefined {
    const value = this.value(path)
    if (value === undefined || (typeof value === 'string' && value !== '')) return value
    throw this.#error(path, 'must be text', 'Write a word.')
  }

  text(path: Path, otherwise?: string): string {
    const value = this.optionalText(path) ?? otherwise
    if (value === undefined) throw this.#error([], `${path.join('.')} is missing`, 'Name a board: board: rp2040.')
    return value
  }

  flag(path: Path, otherwise: boolean): boolean {
    const value = this.value(path) ?? otherwise
    if (typeof value === 'boolean') return value
    throw this.#error(path, 'must be true or false', 'Write true or false.')
  }

  word<T extends string>(path: Path, words: readonly [T, ...T[]]): T {
    const value = this.value(path) ?? words[0]
    const found = words.find((word) => word === value)
    if (found === undefined)
      throw this.#error(path, `must be one of ${words.join(', ')}`, `Write ${words[0]}, for example.`)
    return found
  }

  optionalWhole(path: Path, min: number, max: number): number | undefined {
    const value = this.value(path)
    if (value === undefined) return undefined
    const kibi = typeof value === 'string' ? /^(\d+)K$/.exec(value)?.[1] : undefined
    const number = kibi === undefined ? value : Number(kibi) * 1024
    if (typeof number === 'number' && Number.isInteger(number) && number >= min && number <= max) return number
    throw this.#error(path, `must be a whole number from ${min} to ${max}`, `Write ${min}, for example.`)
  }

  convert<T>(path: Path, otherwise: string, make: (text: string) => T): T {
    const value = this.value(path) ?? otherwise
    try {
      return make(String(value))
    } catch (error) {
      throw this.#error(path, error instanceof Error ? error.message : String(error), 'Write it in quotes: "0.1.0".')
    }
  }
}
