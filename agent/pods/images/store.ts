import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import type { ImageState, ImageStore, RegistryAuth } from '../runtimes/runtime.ts'
import { type ImageSource, readLayout, unpackArchive } from './layout.ts'
import type { ImageConfig } from './manifest.ts'
import { canonicalName, parseReference } from './reference.ts'
import { DEFAULT_LIMITS, prove, type UnpackLimits, unpackLayer } from './unpack.ts'

export interface FolderImagesOptions {
  /** Made when missing. */
  readonly folder: string
  readonly clock: Clock
  readonly limits?: UnpackLimits
  /** Brings what is to be unpacked into a temporary folder; absent where nothing is pulled. */
  readonly fetch?: Fetch
}

export type Fetch = (
  reference: string,
  auth: RegistryAuth | undefined,
  folder: string,
  signal: AbortSignal,
) => Promise<ImageSource>

export interface StoredImage extends ImageState {
  readonly config: ImageConfig
}

const FACTS = 'image.json'

/**
 * Images as folders, for runtimes without an engine: one tree of files each, already laid together, read-only to whoever
 * runs in it. A folder gets its name only when every layer is in place and every digest is right, so a kill at any moment
 * leaves an image that is whole or none.
 */
export class FolderImages implements ImageStore {
  readonly #options: FolderImagesOptions
  readonly #images = new Map<string, StoredImage>()
  /** Two pods that want the same image fetch it once. */
  readonly #pulls = new Map<string, Promise<StoredImage>>()

  constructor(options: FolderImagesOptions) {
    this.#options = options
    mkdirSync(options.folder, { recursive: true, mode: 0o711 })
    for (const name of readdirSync(options.folder)) {
      const path = join(options.folder, name)
      if (!existsSync(join(path, FACTS))) rmSync(path, { recursive: true, force: true })
      else {
        const image = JSON.parse(readFileSync(join(path, FACTS), 'utf8')) as StoredImage
        this.#images.set(image.id, image)
      }
    }
  }

  list(): Promise<readonly StoredImage[]> {
    return Promise.resolve([...this.#images.values()])
  }

  find(reference: string): Promise<StoredImage | undefined> {
    return Promise.resolve(this.#find(reference))
  }

  get(id: string): StoredImage | undefined {
    return this.#images.get(id)
  }

  /** The tree of files of an image. */
  rootOf(id: string): string {
    return join(this.#folderOf(id), 'rootfs')
  }

  /** Remembers that it is in use now; what has not been used for longest is removed first when the disk is full. */
  used(id: string): void {
    const image = this.#images.get(id)
    if (image !== undefined) this.#keep({ ...image, lastUsedMs: this.#options.clock.now() })
  }

  pull(reference: string, auth: RegistryAuth | undefined, signal: AbortSignal): Promise<StoredImage> {
    const name = canonicalName(parseReference(reference))
    const running = this.#pulls.get(name)
    if (running !== undefined) return running
    const pull = this.#pull(name, reference, auth, signal).finally(() => this.#pulls.delete(name))
    this.#pulls.set(name, pull)
    return pull
  }

  async import(path: string, name: string | undefined, signal: AbortSignal): Promise<readonly StoredImage[]> {
    using work = this.#workFolder()
    let folder = path
    if (statSync(path).isFile()) {
      folder = join(work.path, 'archive')
      mkdirSync(folder)
      await unpackArchive(path, folder, this.#limits.bytes, signal)
    }
    const stored: StoredImage[] = []
    for (const source of readLayout(folder)) {
      const names = name === undefined ? source.names.filter((each) => each !== '') : [name]
      stored.push(await this.#store(source, names.map(nameOf), work.path, signal))
    }
    return stored
  }

  remove(id: string): Promise<void> {
    this.#images.delete(id)
    const folder = this.#folderOf(id)
    if (existsSync(folder)) {
      // Out of sight first: a kill in the middle of removing must not leave half an image with a name.
      const gone = `${folder}.gone`
      renameSync(folder, gone)
      rmSync(gone, { recursive: true, force: true })
    }
    return Promise.resolve()
  }

  async #pull(
    name: string,
    reference: string,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
  ): Promise<StoredImage> {
    const { fetch } = this.#options
    if (fetch === undefined) {
      throw new SluiceError('SLUICE_POD_IMAGE_MISSING', `The image ${reference} is not on this gateway`, {
        hint: 'Put its archive into the folder import/ of the pods and start the agent again, or let it be pulled.',
      })
    }
    using work = this.#workFolder()
    const source = await fetch(reference, auth, work.path, signal)
    return await this.#store(source, [name], work.path, signal)
  }

  async #store(source: ImageSource, names: readonly string[], work: string, signal: AbortSignal): Promise<StoredImage> {
    const { plan, manifestDigest } = source
    const digests =
      manifestDigest === undefined
        ? []
        : names.map((name) => `${name.replace(/(?:@.*|:[^:/]*)$/, '')}@${manifestDigest}`)
    const known = this.#images.get(plan.id)
    const merged = {
      names: [...new Set([...(known?.names ?? []), ...names])],
      digests: [...new Set([...(known?.digests ?? []), ...digests])],
      lastUsedMs: this.#options.clock.now(),
    }
    for (const other of this.#images.values()) {
      if (other.id !== plan.id && other.names.some((each) => names.includes(each))) {
        this.#keep({ ...other, names: other.names.filter((each) => !names.includes(each)) })
      }
    }
    if (known !== undefined) return this.#keep({ ...known, ...merged })
    const tree = join(work, 'image')
    const root = join(tree, 'rootfs')
    mkdirSync(root, { recursive: true, mode: 0o755 })
    let bytes = 0
    for (const layer of plan.layers) {
      const left = { ...this.#limits, bytes: this.#limits.bytes - bytes }
      if (layer.storedDigest !== undefined) await prove(source.layer(layer.digest), layer.storedDigest, signal)
      bytes += (await unpackLayer(source.layer(layer.digest), layer, root, left, signal)).bytes
    }
    const image: StoredImage = { id: plan.id, ...merged, bytes, config: plan.config }
    writeFileSync(join(tree, FACTS), JSON.stringify(image), { mode: 0o600, flush: true })
    renameSync(tree, this.#folderOf(plan.id))
    this.#images.set(image.id, image)
    return image
  }

  #find(reference: string): StoredImage | undefined {
    const direct = this.#images.get(reference)
    if (direct !== undefined) return direct
    const parsed = parseReference(reference)
    const name = canonicalName(parsed)
    return [...this.#images.values()].find(({ names, digests }) =>
      // A name is only what somebody wrote; of a digest only what was computed counts.
      parsed.digest === undefined ? names.includes(name) : digests.includes(name),
    )
  }

  #keep(image: StoredImage): StoredImage {
    this.#images.set(image.id, image)
    const path = join(this.#folderOf(image.id), FACTS)
    writeFileSync(`${path}.new`, JSON.stringify(image), { mode: 0o600 })
    renameSync(`${path}.new`, path)
    return image
  }

  #folderOf(id: string): string {
    return join(this.#options.folder, id.replace(':', '-'))
  }

  get #limits(): UnpackLimits {
    return this.#options.limits ?? DEFAULT_LIMITS
  }

  #workFolder(): Disposable & { readonly path: string } {
    const path = mkdtempSync(join(this.#options.folder, 'work-'))
    return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
  }
}

const nameOf = (name: string): string => canonicalName(parseReference(name))
