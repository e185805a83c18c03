import { execFile } from 'node:child_process'
import { createReadStream, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { SluiceError } from '../../../../api/errors.ts'
import { readLayout, unpackArchive } from '../../images/layout.ts'
import { canonicalName, parseReference } from '../../images/reference.ts'
import { DEFAULT_LIMITS, prove } from '../../images/unpack.ts'
import type { ImageState, ImageStore, RegistryAuth } from '../runtime.ts'
import { asList, numberAt, type PodmanApi, Refused, textAt, textsAt } from './api.ts'

const PULL_MS = 3_600_000
const run = promisify(execFile)

type Trouble = (error: unknown, what: string) => SluiceError

/** The images of podman: fetched, proven and unpacked by it. */
export class PodmanImages implements ImageStore {
  readonly #api: PodmanApi
  readonly #folder: string
  readonly #now: () => number
  readonly #trouble: Trouble
  readonly #usedMs = new Map<string, number>()

  constructor(api: PodmanApi, folder: string, now: () => number, trouble: Trouble) {
    this.#api = api
    this.#folder = folder
    this.#now = now
    this.#trouble = trouble
  }

  async list(signal: AbortSignal): Promise<readonly ImageState[]> {
    try {
      return asList(await this.#api.call('GET', '/images/json', { signal })).map((one) => this.#state(one))
    } catch (error) {
      throw this.#trouble(error, 'its images cannot be listed')
    }
  }

  async find(reference: string, signal: AbortSignal): Promise<ImageState | undefined> {
    const name = nameOf(reference)
    return (await this.list(signal)).find(
      ({ id, names, digests }) => id === name || names.includes(name) || digests.includes(name),
    )
  }

  async pull(reference: string, auth: RegistryAuth | undefined, signal: AbortSignal): Promise<ImageState> {
    const name = nameOf(reference)
    const words = auth === undefined ? undefined : JSON.stringify({ username: auth.username, password: auth.password })
    const local = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?\//.test(name)
    let id = ''
    try {
      // What goes wrong is told in the lines of an answer that began well.
      const lines = this.#api.listen('/images/pull', {
        signal: AbortSignal.any([signal, AbortSignal.timeout(PULL_MS)]),
        query: { reference: name, policy: 'always', quiet: true, ...(local ? { tlsVerify: false } : {}) },
        ...(words === undefined ? {} : { headers: { 'x-registry-auth': Buffer.from(words).toString('base64url') } }),
        method: 'POST',
      })
      for await (const line of lines) {
        const error = textAt(line, 'error') || textAt(line, 'message')
        if (error !== '') throw new Refused(500, error)
        id = textAt(line, 'id') || id
      }
    } catch (error) {
      throw error instanceof Refused
        ? pullError(reference, error)
        : this.#trouble(error, `${reference} cannot be fetched`)
    }
    const image = await this.find(id === '' ? name : `sha256:${id}`, signal)
    if (image !== undefined) return image
    throw new SluiceError('SLUICE_REGISTRY_FAILED', `${reference} was fetched and is not here`, {
      hint: 'Look at the log of podman.',
    })
  }

  async import(path: string, name: string | undefined, signal: AbortSignal): Promise<readonly ImageState[]> {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    const work = mkdtempSync(join(this.#folder, 'import-'))
    try {
      let layout = path
      let archive = path
      if (statSync(path).isFile()) {
        layout = join(work, 'layout')
        mkdirSync(layout)
        await unpackArchive(path, layout, DEFAULT_LIMITS.bytes, signal)
      } else {
        archive = join(work, 'archive.tar')
        await run('tar', ['-C', path, '-cf', archive, '.'], { signal })
      }
      const sources = readLayout(layout)
      // podman proves what is in a layer and says it in many ways; the digests of an archive are proven here first.
      for (const { plan, layer } of sources) {
        for (const { digest, storedDigest } of plan.layers) {
          if (storedDigest !== undefined) await prove(layer(digest), storedDigest, signal)
        }
      }
      const upload = createReadStream(archive)
      await this.#api.call('POST', '/images/load', { signal, upload, timeoutMs: PULL_MS })
      const states: ImageState[] = []
      for (const { plan, names } of sources) {
        const wanted = (name === undefined ? names.filter((each) => each !== '') : [name]).map(nameOf)
        for (const each of wanted) await this.#tag('tag', plan.id, each, signal)
        const loaded = await this.find(plan.id, signal)
        // podman takes a short name for one of its own.
        for (const each of loaded?.names ?? []) {
          if (each.startsWith('localhost/') && !wanted.includes(each)) await this.#tag('untag', plan.id, each, signal)
        }
        const state = await this.find(plan.id, signal)
        if (state !== undefined) states.push(state)
      }
      return states
    } catch (error) {
      throw this.#trouble(error, `${path} cannot be imported`)
    } finally {
      rmSync(work, { recursive: true, force: true })
    }
  }

  async remove(id: string, signal: AbortSignal): Promise<void> {
    await this.#api.call('DELETE', `/images/${encodeURIComponent(id)}`, { signal }).catch((error: unknown) => {
      if (!(error instanceof Refused) || error.status !== 404) throw this.#trouble(error, `${id} cannot be removed`)
    })
    this.#usedMs.delete(id)
  }

  used(id: string): void {
    this.#usedMs.set(id, this.#now())
  }

  async #tag(what: 'tag' | 'untag', id: string, name: string, signal: AbortSignal): Promise<void> {
    const at = name.lastIndexOf(':')
    if (at <= name.lastIndexOf('/') || name.includes('@')) return
    const query = { repo: name.slice(0, at), tag: name.slice(at + 1) }
    await this.#api.call('POST', `/images/${encodeURIComponent(id)}/${what}`, { signal, query })
  }

  #state(words: unknown): ImageState {
    const id = `sha256:${textAt(words, 'Id').replace(/^sha256:/, '')}`
    if (!this.#usedMs.has(id)) this.used(id)
    return {
      id,
      names: textsAt(words, 'RepoTags'),
      digests: textsAt(words, 'RepoDigests'),
      bytes: numberAt(words, 'Size'),
      lastUsedMs: this.#usedMs.get(id) ?? 0,
    }
  }
}

const nameOf = (reference: string): string =>
  /^sha256:[0-9a-f]{64}$/.test(reference) ? reference : canonicalName(parseReference(reference))

function pullError(reference: string, { message }: Refused): SluiceError {
  if (/digest.*(?:mismatch|did not match|does not match)|does not match (?:the )?(?:expected )?digest/i.test(message)) {
    return new SluiceError('SLUICE_POD_IMAGE_DIGEST', `A part of ${reference} has not the digest it says: ${message}`, {
      hint: 'Do not use it: it was damaged on the way or exchanged. Fetch the image again from where you trust it.',
    })
  }
  if (/unauthorized|authentication required|denied|\b401\b|\b403\b/i.test(message)) {
    return new SluiceError('SLUICE_REGISTRY_DENIED', `${reference} may not be read: ${message}`, {
      hint: 'Give the pod an imagePullSecret for this registry, or correct the name.',
    })
  }
  if (/manifest unknown|not found|name unknown/i.test(message)) {
    return new SluiceError('SLUICE_REGISTRY_NOT_FOUND', `${reference} is not in the registry`, {
      hint: 'Correct the name or the tag of the image.',
    })
  }
  return new SluiceError('SLUICE_REGISTRY_FAILED', `${reference} cannot be fetched: ${message}`, {
    hint: 'Check the network of the gateway; it is tried again. Without one, import the image as an archive.',
  })
}
