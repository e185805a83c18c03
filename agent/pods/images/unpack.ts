import { createHash, type Hash } from 'node:crypto'
import { chmodSync, linkSync, lstatSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Transform } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { SluiceError } from '../../../api/errors.ts'
import { inside } from './inside.ts'
import { readTar, type TarEntry } from './tar.ts'

export interface LayerFacts {
  /** What the layer is asked for by: `sha256:...` of it as it is stored, or of the archive inside. */
  readonly digest: string
  /** What it must be as it is stored; undefined where nobody says it. */
  readonly storedDigest: string | undefined
  /** `sha256:...` of the archive inside, as the image's configuration says it. */
  readonly diffId: string | undefined
  readonly mediaType: string
  /** It is one file of this name and no archive. */
  readonly file?: string
}

export interface UnpackLimits {
  readonly bytes: number
  readonly entries: number
}

export const DEFAULT_LIMITS: UnpackLimits = { bytes: 8 * 1024 ** 3, entries: 500_000 }

const WHITEOUT = '.wh.'
const OPAQUE = '.wh..wh..opq'
/**
 * The tree is mounted read-only and belongs to the agent, while the user in a pod is somebody else whoever the image
 * thinks owns a file: so everybody may read, and execute what is a program. Set-user-id bits mean nothing here.
 */
const fileMode = (mode: number): number => ((mode & 0o111) !== 0 ? 0o755 : 0o644)
const FOLDER_MODE = 0o755

/**
 * Lays one layer over `root` and checks the digest of what was inside; nothing of an image is used before all of its layers are in place
 * and proven. Returns how much was written. Throws `SLUICE_POD_IMAGE_DIGEST`, `_BROKEN` or `_TOO_LARGE`.
 */
export async function unpackLayer(
  stored: AsyncIterable<Buffer>,
  layer: LayerFacts,
  root: string,
  limits: UnpackLimits,
  signal: AbortSignal,
): Promise<{ bytes: number; entries: number }> {
  if (layer.file !== undefined) return await putFile(stored, layer.file, root, limits, signal)
  const inner = createHash('sha256')
  const bytes = hashed(decompressed(stored, layer.mediaType), inner, signal)
  const total = { bytes: 0, entries: 0 }
  const fresh = new Set<string>()
  for await (const entry of readTar(bytes)) {
    total.entries++
    total.bytes += entry.bytes
    if (total.bytes > limits.bytes || total.entries > limits.entries) {
      throw tooLarge(limits)
    }
    await place(entry, root, fresh)
  }
  for await (const _ of bytes) {
    // The digest is of the whole archive, with what follows its end.
  }
  if (layer.diffId !== undefined) check(inner, layer.diffId, 'content of a layer')
  return total
}

async function putFile(
  stored: AsyncIterable<Buffer>,
  name: string,
  root: string,
  limits: UnpackLimits,
  signal: AbortSignal,
): Promise<{ bytes: number; entries: number }> {
  const file = await open(inside(root, name), 'wx', 0o644)
  let bytes = 0
  try {
    for await (const part of stored) {
      signal.throwIfAborted()
      bytes += part.length
      if (bytes > limits.bytes) throw tooLarge(limits)
      await file.write(part)
    }
  } finally {
    await file.close()
  }
  return { bytes, entries: 1 }
}

const tooLarge = ({ bytes }: UnpackLimits): SluiceError =>
  new SluiceError('SLUICE_POD_IMAGE_TOO_LARGE', `An image unpacks to more than ${bytes} bytes`, {
    hint: 'Use a smaller image, or raise the limit of the gateway.',
  })

/** Reads a layer as it is stored and throws `SLUICE_POD_IMAGE_DIGEST` when it is not what it should be. */
export async function prove(stored: AsyncIterable<Buffer>, digest: string, signal: AbortSignal): Promise<void> {
  const hash = createHash('sha256')
  for await (const _ of hashed(stored, hash, signal)) {
    // Only the digest is wanted: nothing is unpacked before it is known to be right.
  }
  check(hash, digest, 'layer')
}

/** Throws `SLUICE_POD_IMAGE_DIGEST` when what was read is not what it should be. */
export function check(hash: Hash, digest: string, what: string): void {
  const found = `sha256:${hash.digest('hex')}`
  if (found === digest) return
  throw new SluiceError('SLUICE_POD_IMAGE_DIGEST', `A ${what} has the digest ${found}, its image says ${digest}`, {
    hint: 'Do not use it: it was damaged on the way or exchanged. Fetch the image again from where you trust it.',
  })
}

async function place(entry: TarEntry, root: string, fresh: Set<string>): Promise<void> {
  const path = inside(root, entry.path)
  if (path === root) return
  const name = basename(path)
  if (name === OPAQUE) {
    for (const child of readdirSync(dirname(path))) {
      if (!fresh.has(join(dirname(path), child))) rmSync(join(dirname(path), child), { recursive: true, force: true })
    }
    return
  }
  if (name.startsWith(WHITEOUT)) {
    rmSync(join(dirname(path), name.slice(WHITEOUT.length)), { recursive: true, force: true })
    return
  }
  for (let at = path; at !== root; at = dirname(at)) fresh.add(at)
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  const there = lstatSync(path, { throwIfNoEntry: false })
  if (there !== undefined && !(there.isDirectory() && entry.type === 'folder')) {
    rmSync(path, { recursive: true, force: true })
  }
  if (entry.type === 'folder') {
    mkdirSync(path, { recursive: true })
    chmodSync(path, FOLDER_MODE)
  } else if (entry.type === 'symlink') symlinkSync(entry.target, path)
  else if (entry.type === 'link') linkSync(inside(root, entry.target), path)
  else if (entry.type === 'file') await write(entry, path)
  // Device nodes and pipes of an image are of no use: a pod gets its devices from its gateway.
}

async function write(entry: TarEntry, path: string): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    for await (const part of entry.body) await file.write(part)
    await file.chmod(fileMode(entry.mode))
  } finally {
    await file.close()
  }
}

async function* hashed(source: AsyncIterable<Buffer>, hash: Hash, signal: AbortSignal): AsyncGenerator<Buffer> {
  for await (const part of source) {
    signal.throwIfAborted()
    hash.update(part)
    yield part
  }
}

function decompressed(source: AsyncIterable<Buffer>, mediaType: string): AsyncIterable<Buffer> {
  if (mediaType.endsWith('gzip')) return piped(source, createGunzip())
  if (mediaType.endsWith('zstd')) return piped(source, createZstdDecompress())
  return source
}

async function* piped(source: AsyncIterable<Buffer>, through: Transform): AsyncGenerator<Buffer> {
  const feeding = feed(source, through)
  feeding.catch((error: unknown) => through.destroy(error instanceof Error ? error : new Error(String(error))))
  try {
    for await (const part of through) yield part as Buffer
    await feeding
  } catch (cause) {
    if (cause instanceof SluiceError) throw cause
    throw new SluiceError('SLUICE_POD_IMAGE_BROKEN', `A layer cannot be decompressed: ${String(cause)}`, { cause })
  }
}

async function feed(source: AsyncIterable<Buffer>, through: Transform): Promise<void> {
  for await (const part of source) {
    if (!through.write(part)) await new Promise<void>((resolve) => through.once('drain', resolve))
  }
  through.end()
}
