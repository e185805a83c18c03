import { closeSync, createReadStream, existsSync, mkdirSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { planArtifact } from './artifact.ts'
import { inside } from './inside.ts'
import {
  broken,
  choose,
  type Descriptor,
  descriptor,
  descriptors,
  digestOf,
  type ImagePlan,
  isIndex,
  isMap,
  MAX_DOCUMENT_BYTES,
  planImage,
  readDocument,
} from './manifest.ts'
import { readTar } from './tar.ts'

/** An image that is ready to be unpacked, and where its layers are read. */
export interface ImageSource {
  readonly plan: ImagePlan
  readonly names: readonly string[]
  readonly manifestDigest: string | undefined
  layer(digest: string): AsyncIterable<Buffer>
}

const GZIP_MAGIC = Buffer.from([0x1f, 0x8b])

/** The images of a folder with an OCI layout, or of an unpacked `docker save`. */
export function readLayout(folder: string): ImageSource[] {
  if (existsSync(join(folder, 'index.json'))) return ociImages(folder)
  if (existsSync(join(folder, 'manifest.json'))) return savedImages(folder)
  throw broken('it has neither index.json nor manifest.json')
}

/** Unpacks an archive's files for `readLayout`. What is in them is checked when it is used. */
export async function unpackArchive(
  path: string,
  folder: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<void> {
  let bytes = 0
  for await (const entry of readTar(createReadStream(path, { signal }) as AsyncIterable<Buffer>)) {
    const place = inside(folder, entry.path)
    if (entry.type === 'folder') mkdirSync(place, { recursive: true })
    if (entry.type !== 'file') continue
    bytes += entry.bytes
    if (bytes > maxBytes) throw broken(`it is larger than ${maxBytes} bytes`)
    mkdirSync(dirname(place), { recursive: true })
    const file = await open(place, 'w', 0o600)
    try {
      for await (const part of entry.body) await file.write(part)
    } finally {
      await file.close()
    }
  }
}

function ociImages(folder: string): ImageSource[] {
  const blob = (digest: string) => join(folder, 'blobs', 'sha256', digest.slice('sha256:'.length))
  const read = ({ digest }: Descriptor) => readDocument(small(blob(digest)), digest)
  const index = readDocument(small(join(folder, 'index.json')), undefined)
  const named = new Map<string, { readonly at: Descriptor; readonly names: string[] }>()
  for (const at of descriptors(index['manifests'])) {
    const name = at.annotations?.['io.containerd.image.name'] ?? at.annotations?.['org.opencontainers.image.ref.name']
    const held = named.get(at.digest) ?? { at, names: [] }
    if (name !== undefined) held.names.push(name)
    named.set(at.digest, held)
  }
  return [...named.values()].map(({ at, names }) => {
    const document = read(at)
    const manifest = isIndex(document) ? read(choose(document)) : document
    const config = descriptor(manifest['config'])
    return {
      plan: planArtifact(manifest) ?? planImage(manifest, config.digest, read(config)),
      names,
      manifestDigest: at.digest,
      layer: (digest: string) => createReadStream(blob(digest)) as AsyncIterable<Buffer>,
    }
  })
}

function savedImages(folder: string): ImageSource[] {
  const list: unknown = JSON.parse(small(join(folder, 'manifest.json')).toString('utf8'))
  if (!Array.isArray(list)) throw broken('manifest.json is no list')
  return list.map((item: unknown) => {
    if (!isMap(item) || typeof item['Config'] !== 'string' || !Array.isArray(item['Layers'])) {
      throw broken('manifest.json names no configuration and layers')
    }
    const configuration = small(inside(folder, item['Config'], true))
    const document = readDocument(configuration, undefined)
    const rootfs = isMap(document['rootfs']) ? document['rootfs']['diff_ids'] : undefined
    const diffIds = Array.isArray(rootfs) ? rootfs.map(String) : []
    const files = new Map(
      item['Layers'].map((name: unknown, at) => [diffIds[at] ?? '', inside(folder, String(name), true)] as const),
    )
    // These archives say only what is inside of a layer; its own digest is not known, so the inner one stands for it.
    const layers = [...files].map(([digest, file]) => {
      const compressed = firstBytes(file, 2).equals(GZIP_MAGIC)
      return { mediaType: compressed ? 'gzip' : 'tar', digest, size: statSync(file).size, file }
    })
    const plan = planImage({ layers }, digestOf(configuration), document)
    return {
      plan: { ...plan, layers: plan.layers.map((layer) => ({ ...layer, storedDigest: undefined })) },
      names: Array.isArray(item['RepoTags']) ? item['RepoTags'].map(String) : [],
      manifestDigest: undefined,
      layer: (diffId: string) => createReadStream(files.get(diffId) ?? '') as AsyncIterable<Buffer>,
    }
  })
}

function firstBytes(path: string, count: number): Buffer {
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(count)
    readSync(file, bytes)
    return bytes
  } finally {
    closeSync(file)
  }
}

function small(path: string): Buffer {
  const size = existsSync(path) ? statSync(path).size : undefined
  if (size === undefined) throw broken('a document that it names is missing')
  if (size > MAX_DOCUMENT_BYTES) throw broken('a document is too large')
  return readFileSync(path)
}
