import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { SluiceError, toSluiceError } from '../../../api/errors.ts'
import { trustPublicAuthorities } from '../../../api/public-authorities.ts'
import type { RegistryAuth } from '../runtimes/runtime.ts'
import { planArtifact } from './artifact.ts'
import type { ImageSource } from './layout.ts'
import { choose, descriptor, digestOf, isIndex, MAX_DOCUMENT_BYTES, planImage, readDocument } from './manifest.ts'
import { type ImageReference, parseReference } from './reference.ts'
import { check } from './unpack.ts'

const MANIFESTS = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ')

/** Where else the images of a registry are looked for, first; by the registry's name. See `readMirrors`. */
export type Mirrors = Readonly<Record<string, readonly string[]>>

/**
 * Fetches an image by the registry's HTTP API (OCI distribution specification 1.1) into a folder. With a digest in the
 * name, exactly that is taken or nothing. Mirrors are asked before the registry itself, and get no password of it. Throws
 * `SLUICE_REGISTRY_*` and the errors of reading an image.
 */
export async function fetchImage(
  reference: string,
  auth: RegistryAuth | undefined,
  folder: string,
  signal: AbortSignal,
  mirrors: Mirrors = {},
): Promise<ImageSource> {
  const parsed = parseReference(reference)
  for (const mirror of mirrors[parsed.registry] ?? []) {
    try {
      return await fetchFrom(new Registry(parsed, undefined, signal, mirror), reference, folder)
    } catch (error) {
      // Whatever is wrong with it: the registry itself has the last word. What it has written so far is in the way.
      if (signal.aborted) throw error
      rmSync(join(folder, 'blobs'), { recursive: true, force: true })
    }
  }
  return await fetchFrom(new Registry(parsed, auth, signal), reference, folder)
}

async function fetchFrom(registry: Registry, reference: string, folder: string): Promise<ImageSource> {
  const parsed = parseReference(reference)
  const top = await registry.manifest(parsed.digest ?? parsed.tag ?? 'latest')
  const topDigest = digestOf(top)
  const document = readDocument(top, parsed.digest)
  let manifest = document
  if (isIndex(document)) {
    const { digest } = choose(document)
    manifest = readDocument(await registry.manifest(digest), digest)
  }
  const config = descriptor(manifest['config'])
  const plan =
    planArtifact(manifest) ??
    planImage(manifest, config.digest, readDocument(await registry.document(config.digest), config.digest))
  const blobs = join(folder, 'blobs')
  mkdirSync(blobs)
  const path = (digest: string) => join(blobs, digest.replace(':', '-'))
  const stored = (digest: string) => createReadStream(path(digest)) as AsyncIterable<Buffer>
  for (const { digest, size } of plan.layers) await registry.blob(digest, size, path(digest))
  // Proven as they came, so that a mirror that lies is passed over; nobody has to read them for that once more.
  const layers = plan.layers.map((layer) => ({ ...layer, storedDigest: undefined }))
  return { plan: { ...plan, layers }, names: [reference], manifestDigest: topDigest, layer: stored }
}

class Registry {
  readonly #reference: ImageReference
  readonly #auth: RegistryAuth | undefined
  readonly #signal: AbortSignal
  readonly #base: string
  #authorization: string | undefined

  constructor(reference: ImageReference, auth: RegistryAuth | undefined, signal: AbortSignal, mirror?: string) {
    trustPublicAuthorities()
    this.#reference = reference
    this.#auth = auth
    this.#signal = signal
    const host = reference.registry === 'docker.io' ? 'registry-1.docker.io' : reference.registry
    // As every container engine does: a registry on this machine needs no certificate.
    const scheme = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(host) ? 'http' : 'https'
    this.#base = `${mirror ?? `${scheme}://${host}`}/v2/${reference.repository}`
  }

  manifest(name: string): Promise<Buffer> {
    return this.#small(`${this.#base}/manifests/${name}`, MANIFESTS)
  }

  document(digest: string): Promise<Buffer> {
    return this.#small(`${this.#base}/blobs/${digest}`, '*/*')
  }

  async blob(digest: string, size: number, path: string): Promise<void> {
    const answer = await this.#get(`${this.#base}/blobs/${digest}`, '*/*')
    if (answer.body === null) throw this.#failed('an answer without a body')
    let left = size
    const hash = createHash('sha256')
    const bounded = new Transform({
      transform(chunk: Buffer, _, done) {
        left -= chunk.length
        hash.update(chunk)
        done(left < 0 ? new Error('a layer is longer than its manifest says') : null, chunk)
      },
    })
    try {
      await pipeline(Readable.fromWeb(answer.body), bounded, createWriteStream(path, { mode: 0o600 }), {
        signal: this.#signal,
      })
    } catch (cause) {
      throw this.#failed(toSluiceError(cause).message, cause)
    }
    check(hash, digest, 'layer')
  }

  async #small(url: string, accept: string): Promise<Buffer> {
    const answer = await this.#get(url, accept)
    const parts: Uint8Array[] = []
    let bytes = 0
    for await (const part of answer.body ?? []) {
      bytes += part.length
      if (bytes > MAX_DOCUMENT_BYTES) throw this.#failed('a document is too large')
      parts.push(part)
    }
    return Buffer.concat(parts)
  }

  async #get(url: string, accept: string): Promise<Response> {
    for (let attempt = 0; ; attempt++) {
      const headers = { accept, ...(this.#authorization === undefined ? {} : { authorization: this.#authorization }) }
      let answer: Response
      try {
        answer = await fetch(url, { headers, signal: this.#signal })
      } catch (cause) {
        const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause)
        throw this.#failed(inner, cause)
      }
      if (answer.ok) return answer
      await answer.body?.cancel()
      if (answer.status === 401 && attempt === 0) {
        await this.#authenticate(answer.headers.get('www-authenticate') ?? '')
        continue
      }
      if (answer.status === 401 || answer.status === 403) {
        throw new SluiceError('SLUICE_REGISTRY_DENIED', `${this.#name} may not be read: ${answer.status}`, {
          hint: 'Give the pod an imagePullSecret for this registry, or correct the name.',
        })
      }
      if (answer.status === 404) {
        throw new SluiceError('SLUICE_REGISTRY_NOT_FOUND', `${this.#name} is not in the registry`, {
          hint: 'Correct the name or the tag of the image.',
        })
      }
      throw this.#failed(`it answered ${answer.status}`)
    }
  }

  /** Basic, or a token from the place the registry names. */
  async #authenticate(challenge: string): Promise<void> {
    const basic =
      this.#auth === undefined
        ? undefined
        : `Basic ${Buffer.from(`${this.#auth.username}:${this.#auth.password}`).toString('base64')}`
    if (/^basic/i.test(challenge)) {
      this.#authorization = basic
      return
    }
    const named = new Map([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name!, value!]))
    const realm = named.get('realm')
    if (realm === undefined || !/^https?:\/\//.test(realm)) return
    const url = new URL(realm)
    // A password goes only where the image's own traffic would be as safe.
    if (basic !== undefined && url.protocol !== 'https:' && !this.#base.startsWith('http:')) {
      throw this.#failed('it asks for the password over plain HTTP')
    }
    url.searchParams.set('service', named.get('service') ?? '')
    url.searchParams.set('scope', named.get('scope') ?? `repository:${this.#reference.repository}:pull`)
    const answer = await fetch(url, {
      headers: basic === undefined ? {} : { authorization: basic },
      signal: this.#signal,
    })
    if (!answer.ok) {
      await answer.body?.cancel()
      return
    }
    const body = (await answer.json()) as { token?: string; access_token?: string }
    const token = body.token ?? body.access_token
    if (token !== undefined) this.#authorization = `Bearer ${token}`
  }

  get #name(): string {
    const { registry, repository, tag, digest } = this.#reference
    return `${registry}/${repository}${digest === undefined ? `:${tag}` : `@${digest}`}`
  }

  #failed(why: string, cause?: unknown): SluiceError {
    return new SluiceError('SLUICE_REGISTRY_FAILED', `${this.#name} cannot be fetched: ${why}`, {
      hint: 'Check the network of the gateway; it is tried again. Without one, put its archive into the folder import/ of the pods.',
      ...(cause === undefined ? {} : { cause }),
    })
  }
}
