import { type FSWatcher, mkdirSync, readdirSync, readFileSync, statSync, watch } from 'node:fs'
import { join } from 'node:path'
import type { Clock, Timer } from '../../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../../api/errors.ts'
import { MAX_STATIC_CHARACTERS, MAX_STATIC_PODS, type StaticPod } from '../../../api/link/static-pods.ts'
import type { LocatedFinding } from '../../../api/yaml/read.ts'
import { fieldText } from '../../../api/yaml/report.ts'
import type { MapperStorage } from '../../../mappers/sdk/mapper.ts'

export interface StaticFolderOptions {
  readonly folder: string
  readonly clock: Clock
  readonly gateway: string
  /** Keeps what was in force of each file, so that a file that went bad is not missed after a restart either. */
  readonly storage: MapperStorage
  /** All static pods there are now; never called for nothing. */
  readonly onPods: (pods: readonly StaticPod[]) => void
  /** What is wrong with a file, once, and once more when that changes. */
  readonly onTrouble: (error: SluiceError) => void
  /** Tells of changes in a folder until it is disposed; absent: the system's own. Throws where it cannot. */
  readonly watchFolder?: (folder: string, onChange: () => void, onError: () => void) => Disposable
}

/** An editor writes a file in several steps. */
const SETTLE_MS = 200
/** Where changes are not told of: as often as a kubelet looks. */
const POLL_MS = 20_000
const MAX_FILE_BYTES = 256 * 1024
const MANIFEST = /^[^.].*\.(ya?ml|json)$/

/**
 * The pods of the files in a folder. A file that cannot be used is told of, and what was in force of it stays; other files
 * are not disturbed. The folder is made when it is missing.
 */
export class StaticFolder implements AsyncDisposable {
  readonly #options: StaticFolderOptions
  #watching: Disposable | undefined
  #timer: Timer | undefined
  /** What was told of each file last. */
  readonly #told = new Map<string, string>()
  #given = '[]'
  #reading: Promise<void> = Promise.resolve()
  #disposed = false

  constructor(options: StaticFolderOptions) {
    this.#options = options
  }

  /** Reads what is there, and follows it from now on. */
  open(): Promise<void> {
    this.#reading = this.#reading.then(() => this.#read())
    return this.#reading
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    this.#unwatch()
    this.#timer?.cancel()
    await this.#reading
  }

  #later(ms: number): void {
    this.#timer?.cancel()
    if (!this.#disposed) this.#timer = this.#options.clock.after(ms, () => void this.open(), true)
  }

  #unwatch(): void {
    this.#watching?.[Symbol.dispose]()
    this.#watching = undefined
  }

  /** Before reading: what changes after that is told of. */
  #follow(): void {
    if (this.#watching !== undefined) return
    const { folder, watchFolder = watchSystem } = this.#options
    mkdirSync(folder, { recursive: true, mode: 0o750 })
    const onError = () => {
      this.#unwatch()
      this.#later(SETTLE_MS)
    }
    try {
      this.#watching = watchFolder(folder, () => this.#later(SETTLE_MS), onError)
    } catch {
      // No watches are left, or the file system has none: looked at again and again.
      this.#later(POLL_MS)
    }
  }

  async #read(): Promise<void> {
    if (this.#disposed) return
    const { folder, storage, onPods } = this.#options
    let names: readonly string[]
    let readable = true
    try {
      this.#follow()
      names = readdirSync(folder)
        .filter((name) => MANIFEST.test(name))
        .sort()
      this.#told.delete('')
    } catch (thrown) {
      // Nobody has said that the pods are to go.
      readable = false
      const why = `The folder ${folder} of static pods cannot be read: ${toSluiceError(thrown).message}.`
      if (!this.#told.has('')) this.#tell('', why, true)
      names = storage.keys('')
      this.#unwatch()
      this.#later(POLL_MS)
    }
    for (const gone of storage.keys('')) if (!names.includes(gone)) storage.put({ [gone]: undefined }, 'soon')
    for (const gone of [...this.#told.keys()]) if (gone !== '' && !names.includes(gone)) this.#told.delete(gone)
    const from = new Map<string, string>()
    const all: StaticPod[] = []
    for (const name of names) {
      const pods = await this.#pods(name, from, readable)
      for (const pod of pods) {
        from.set(pod.key, name)
        all.push(pod)
      }
    }
    const text = JSON.stringify(all)
    if (text === this.#given || this.#disposed) return
    this.#given = text
    onPods(all)
  }

  /** What is in force of a file: what it says, or what it said when it was last sound. */
  async #pods(name: string, from: ReadonlyMap<string, string>, readable: boolean): Promise<readonly StaticPod[]> {
    const { folder, gateway, storage } = this.#options
    const path = join(folder, name)
    const held = storage.get(name)
    const before = held === undefined ? [] : (JSON.parse(held) as readonly StaticPod[])
    const unheld = before.filter(({ key }) => !from.has(key))
    if (!readable) return unheld
    try {
      const { size } = statSync(path)
      if (size > MAX_FILE_BYTES) throw tooMuch(`it has ${size} bytes, more than ${MAX_FILE_BYTES}`)
      // Only gateways with static pods carry what reads them.
      const { readManifest } = await import('./read.ts')
      const { pods, errors } = readManifest(readFileSync(path, 'utf8'), path, gateway)
      if (errors.length > 0) {
        this.#tell(name, words(errors), unheld.length > 0)
        return unheld
      }
      const seen = new Map(from)
      for (const { key } of pods) {
        const other = seen.get(key)
        if (other !== undefined)
          throw tooMuch(`${other === name ? 'it' : join(folder, other)} already has the pod ${key}`)
        seen.set(key, name)
      }
      if (seen.size > MAX_STATIC_PODS)
        throw tooMuch(`with it there are ${seen.size} pods, more than ${MAX_STATIC_PODS}`)
      const text = JSON.stringify(pods)
      const others = storage.keys('').filter((other) => other !== name)
      const characters = others.reduce((sum, other) => sum + (storage.get(other)?.length ?? 0), text.length)
      if (characters > MAX_STATIC_CHARACTERS) throw tooMuch(`all of them together have ${characters} characters`)
      if (text !== held) storage.put({ [name]: text }, 'now')
      this.#told.delete(name)
      return pods
    } catch (thrown) {
      this.#tell(name, `${path}: ${toSluiceError(thrown).message}`, unheld.length > 0)
      return unheld
    }
  }

  #tell(name: string, what: string, kept = false): void {
    if (this.#told.get(name) === what) return
    this.#told.set(name, what)
    const stays = kept ? ' What was in force stays.' : ''
    const hint = 'Correct it; it is read again by itself.'
    this.#options.onTrouble(new SluiceError('SLUICE_POD_STATIC', `${what}${stays}`, { hint }))
  }
}

const tooMuch = (what: string): SluiceError => new SluiceError('SLUICE_POD_STATIC', `It is not used: ${what}`)

/** The first thing that is wrong, in a line; the rest is likely to follow from it. */
function words(errors: readonly LocatedFinding[]): string {
  const [{ file, line, column, path, message, hint }] = errors as readonly [LocatedFinding]
  const field = path.length === 0 ? '' : `${fieldText(path)}: `
  const more = errors.length === 1 ? '' : ` (and ${errors.length - 1} more)`
  return `${file}:${line}:${column}: ${field}${message}${more}. ${hint}`
}

function watchSystem(folder: string, onChange: () => void, onError: () => void): Disposable {
  const watcher: FSWatcher = watch(folder, { persistent: false }, onChange)
  watcher.on('error', onError)
  return { [Symbol.dispose]: () => watcher.close() }
}
