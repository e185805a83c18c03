import { randomUUID } from 'node:crypto'
import { createReadStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ImageSource } from '../../images/layout.ts'
import { descriptor, descriptors, digestOf, isIndex, readDocument } from '../../images/manifest.ts'
import { canonicalName, parseReference } from '../../images/reference.ts'
import { DEFAULT_LIMITS } from '../../images/unpack.ts'
import { type Blob, inMemory, type WholeImage } from '../whole-image.ts'
import { type Channel, Refusal } from './channel.ts'
import { CONTAINERD, CRI, WRITE } from './cri.ts'

/** Below what a message of containerd may hold. */
const CHUNK_BYTES = 1024 * 1024
const LEASE_MS = 3_600_000
const INDEX_MS = 30_000
const LOOK_MS = 10
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json'

/**
 * Puts an image into containerd's store: every blob is proven by containerd against its digest, and nothing has a name
 * before all of it is there. Layers are unpacked when the first container wants them.
 */
export async function storeImage(channel: Channel, image: WholeImage, signal: AbortSignal): Promise<void> {
  const lease = `sluice-import-${randomUUID()}`
  const expires = new Date(Date.now() + LEASE_MS).toISOString()
  await channel.call(CONTAINERD.createLease, { id: lease, labels: { 'containerd.io/gc.expire': expires } }, { signal })
  try {
    for (const blob of image.blobs) await writeBlob(channel, blob, {}, lease, signal)
    const { bytes, mediaType } = image.manifest
    const digest = digestOf(bytes)
    // What a manifest names is kept for as long as the manifest is.
    const kept = image.blobs.map((blob, at) => [`containerd.io/gc.ref.content.${at}`, blob.digest] as const)
    await writeBlob(channel, inMemory(bytes), Object.fromEntries(kept), lease, signal)
    for (const name of image.names) {
      const record = {
        image: {
          name,
          labels: { 'io.cri-containerd.image': 'managed' },
          target: { mediaType, digest, size: bytes.length },
        },
      }
      await channel.call(CONTAINERD.createImage, record, { signal }).catch((error: unknown) => {
        if (!(error instanceof Refusal) || error.status !== 'exists') throw error
        return channel.call(CONTAINERD.updateImage, record, { signal })
      })
    }
    await listed(channel, image, signal)
  } finally {
    await channel.call(CONTAINERD.deleteLease, { id: lease }, { signal: AbortSignal.timeout(INDEX_MS) }).catch(() => {
      // It ends by itself.
    })
  }
}

/** The interface for pods has a list of its own, which follows a moment later. */
async function listed(channel: Channel, { names, configDigest }: WholeImage, signal: AbortSignal): Promise<void> {
  const soon = AbortSignal.any([signal, AbortSignal.timeout(INDEX_MS)])
  for (const name of names) {
    for (;;) {
      const { image } = await channel.call(CRI.imageStatus, { image: { image: name } }, { signal: soon })
      if (image?.id === configDigest) break
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  }
}

async function writeBlob(
  channel: Channel,
  { digest, size, content }: Blob,
  labels: Readonly<Record<string, string>>,
  lease: string,
  signal: AbortSignal,
): Promise<void> {
  const ref = `sluice-${lease}-${digest}`
  const whole = { ref, total: size, expected: digest }
  async function* messages() {
    let offset = 0
    for await (const part of content()) {
      for (let from = 0; from < part.length; from += CHUNK_BYTES) {
        const data = part.subarray(from, from + CHUNK_BYTES)
        yield { ...whole, action: WRITE.write, offset, data }
        offset += data.length
      }
    }
    yield { ...whole, action: WRITE.commit, offset, labels }
  }
  try {
    await channel.converse(CONTAINERD.write, messages(), signal, lease)
  } catch (error) {
    if (!(error instanceof Refusal) || error.status !== 'exists') throw error
  }
}

export interface ImportParts {
  readonly channel: Channel
  /** For what is unpacked on the way. */
  readonly folder: string
  readonly read: (folder: string) => ImageSource[]
  readonly unpack: (path: string, folder: string, maxBytes: number, signal: AbortSignal) => Promise<void>
}

/** Imports an archive or a folder with a layout; resolves to the ids of its images. */
export async function importImages(
  { channel, folder, read, unpack }: ImportParts,
  path: string,
  name: string | undefined,
  signal: AbortSignal,
): Promise<readonly string[]> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const work = mkdtempSync(join(folder, 'import-'))
  try {
    let layout = path
    if (statSync(path).isFile()) {
      layout = join(work, 'archive')
      mkdirSync(layout)
      await unpack(path, layout, DEFAULT_LIMITS.bytes, signal)
    }
    const ids: string[] = []
    for (const source of read(layout)) {
      const names = (name === undefined ? source.names.filter((each) => each !== '') : [name]).map((each) =>
        canonicalName(parseReference(each)),
      )
      await storeImage(channel, { ...wholeImage(layout, source), names }, signal)
      ids.push(source.plan.id)
    }
    return ids
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** The documents of an image, as they are in a layout, or made where an archive has none. */
function wholeImage(layout: string, source: ImageSource): Omit<WholeImage, 'names'> {
  const { plan, manifestDigest } = source
  const layers = plan.layers.map(({ digest, size }) => ({ digest, size, content: () => source.layer(digest) }))
  if (manifestDigest === undefined) return savedImage(layout, source)
  const document = (digest: string) => readFileSync(join(layout, 'blobs', 'sha256', digest.slice('sha256:'.length)))
  const top = document(manifestDigest)
  const read = readDocument(top, manifestDigest)
  const bytes = isIndex(read)
    ? descriptors(read['manifests'])
        .map(({ digest }) => fileOf(layout, digest))
        .find((one) => one !== undefined && configOf(one) === plan.id)!
    : top
  const { mediaType } = readDocument(bytes, undefined)
  return {
    configDigest: plan.id,
    manifest: { mediaType: typeof mediaType === 'string' ? mediaType : MANIFEST_TYPE, bytes },
    blobs: [inMemory(document(plan.id)), ...layers],
  }
}

const configOf = (manifest: Uint8Array): string => descriptor(readDocument(manifest, undefined)['config']).digest

function fileOf(layout: string, digest: string): Buffer | undefined {
  const path = join(layout, 'blobs', 'sha256', digest.slice('sha256:'.length))
  return existsSync(path) ? readFileSync(path) : undefined
}

/** What `docker save` wrote names its files and has no manifest in the words of a registry. */
function savedImage(layout: string, { plan }: ImageSource): Omit<WholeImage, 'names'> {
  const saved = JSON.parse(readFileSync(join(layout, 'manifest.json'), 'utf8')) as {
    readonly Config: string
    readonly Layers: readonly string[]
  }[]
  const item = saved.find(({ Config }) => digestOf(readFileSync(join(layout, Config))) === plan.id)!
  const config = inMemory(readFileSync(join(layout, item.Config)))
  const layers = item.Layers.map((file, at) => {
    const path = join(layout, file)
    const bytes = readFileSync(path)
    return {
      blob: {
        digest: digestOf(bytes),
        size: bytes.length,
        content: () => createReadStream(path) as AsyncIterable<Buffer>,
      },
      mediaType: `application/vnd.oci.image.layer.v1.tar${plan.layers[at]?.mediaType === 'gzip' ? '+gzip' : ''}`,
    }
  })
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: { mediaType: CONFIG_TYPE, digest: config.digest, size: config.size },
    layers: layers.map(({ blob: { digest, size }, mediaType }) => ({ mediaType, digest, size })),
  }
  return {
    configDigest: plan.id,
    manifest: { mediaType: MANIFEST_TYPE, bytes: Buffer.from(JSON.stringify(manifest)) },
    blobs: [config, ...layers.map(({ blob }) => blob)],
  }
}
