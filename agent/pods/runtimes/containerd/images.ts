import { SluiceError } from '../../../../api/errors.ts'
import { readLayout, unpackArchive } from '../../images/layout.ts'
import { canonicalName, parseReference } from '../../images/reference.ts'
import type { ImageState, ImageStore, RegistryAuth } from '../runtime.ts'
import { type Channel, Refusal } from './channel.ts'
import { CRI } from './cri.ts'
import { importImages } from './import.ts'

/** A slow line and a large image: containerd itself gives up a pull that does not go on. */
const PULL_MS = 3_600_000

type Trouble = (error: unknown, what: string) => SluiceError

/** The images of containerd: fetched and unpacked by it, with every digest proven by it. */
export class ContainerdImages implements ImageStore {
  readonly #channel: Channel
  readonly #trouble: Trouble
  readonly #folder: string
  readonly #usedMs = new Map<string, number>()
  readonly #now: () => number

  constructor(channel: Channel, folder: string, now: () => number, trouble: Trouble) {
    this.#channel = channel
    this.#folder = folder
    this.#now = now
    this.#trouble = trouble
  }

  async list(signal: AbortSignal): Promise<readonly ImageState[]> {
    try {
      const { images } = await this.#channel.call(CRI.listImages, {}, { signal })
      return images.map((image) => this.#state(image))
    } catch (error) {
      throw this.#trouble(error, 'its images cannot be listed')
    }
  }

  async find(reference: string, signal: AbortSignal): Promise<ImageState | undefined> {
    const name = /^sha256:[0-9a-f]{64}$/.test(reference) ? reference : canonicalName(parseReference(reference))
    try {
      const { image } = await this.#channel.call(CRI.imageStatus, { image: { image: name } }, { signal })
      return image === undefined ? undefined : this.#state(image)
    } catch (error) {
      throw this.#trouble(error, `the image ${reference} cannot be looked up`)
    }
  }

  async pull(reference: string, auth: RegistryAuth | undefined, signal: AbortSignal): Promise<ImageState> {
    const name = canonicalName(parseReference(reference))
    try {
      const { ref } = await this.#channel.call(
        CRI.pullImage,
        { image: { image: name }, ...(auth === undefined ? {} : { auth }) },
        { signal, timeoutMs: PULL_MS },
      )
      const image = await this.find(ref, signal)
      if (image !== undefined) return image
      throw new SluiceError('SLUICE_REGISTRY_FAILED', `${reference} was fetched and is not here`, {
        hint: 'Somebody removes images of containerd: look for another manager of it on this machine.',
      })
    } catch (error) {
      throw error instanceof Refusal && error.status !== 'unavailable'
        ? pullError(reference, error)
        : this.#trouble(error, `${reference} cannot be fetched`)
    }
  }

  async import(path: string, name: string | undefined, signal: AbortSignal): Promise<readonly ImageState[]> {
    const ids = await importImages(
      { channel: this.#channel, folder: this.#folder, read: readLayout, unpack: unpackArchive },
      path,
      name,
      signal,
    ).catch((error: unknown) => {
      throw error instanceof Refusal && DIGEST.test(error.message)
        ? digestError(path, error)
        : this.#trouble(error, `${path} cannot be imported`)
    })
    const states: ImageState[] = []
    for (const id of ids) {
      const state = await this.find(id, signal)
      if (state !== undefined) states.push(state)
    }
    return states
  }

  async remove(id: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#channel.call(CRI.removeImage, { image: { image: id } }, { signal })
      this.#usedMs.delete(id)
    } catch (error) {
      throw this.#trouble(error, `the image ${id} cannot be removed`)
    }
  }

  used(id: string): void {
    this.#usedMs.set(id, this.#now())
  }

  #state({
    id,
    tags,
    digests,
    bytes,
  }: {
    id: string
    tags: readonly string[]
    digests: readonly string[]
    bytes: number
  }) {
    // What was never used since the agent began counts as used then: it is not the first to be removed.
    if (!this.#usedMs.has(id)) this.used(id)
    return { id, names: tags, digests, bytes, lastUsedMs: this.#usedMs.get(id) ?? 0 }
  }
}

const DIGEST = /unexpected commit (?:digest|size)|digest.*(?:mismatch|not match)|failed (?:size|digest) validation/i

const digestError = (what: string, { message, cause }: Refusal): SluiceError =>
  new SluiceError('SLUICE_POD_IMAGE_DIGEST', `A part of ${what} has not the digest it says: ${message}`, {
    hint: 'Do not use it: it was damaged on the way or exchanged. Fetch the image again from where you trust it.',
    cause,
  })

function pullError(reference: string, refusal: Refusal): SluiceError {
  const { message, cause } = refusal
  if (DIGEST.test(message)) return digestError(reference, refusal)
  if (/\b401\b|\b403\b|authorization failed|unauthorized|denied/i.test(message)) {
    return new SluiceError('SLUICE_REGISTRY_DENIED', `${reference} may not be read: ${message}`, {
      hint: 'Give the pod an imagePullSecret for this registry, or correct the name.',
      cause,
    })
  }
  if (refusal.status === 'notFound' || /not found|manifest unknown/i.test(message)) {
    return new SluiceError('SLUICE_REGISTRY_NOT_FOUND', `${reference} is not in the registry`, {
      hint: 'Correct the name or the tag of the image.',
      cause,
    })
  }
  if (/no match for platform/i.test(message)) {
    return new SluiceError('SLUICE_POD_IMAGE_PLATFORM', `${reference} is not made for this machine: ${message}`, {
      hint: 'Build the image for this platform too.',
      cause,
    })
  }
  return new SluiceError('SLUICE_REGISTRY_FAILED', `${reference} cannot be fetched: ${message}`, {
    hint: 'Check the network of the gateway; it is tried again. Without one, import the image as an archive.',
    cause,
  })
}
