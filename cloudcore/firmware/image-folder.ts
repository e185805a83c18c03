import { createHash } from 'node:crypto'
import { existsSync, mkdirSync } from 'node:fs'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { isSha256, MAX_IMAGE_BYTES } from '../../api/link/firmware.ts'
import { parseImage } from '../../firmware/tools/image.ts'

/** Signed images by the SHA-256 of their bytes, in the cloud core's data folder: no API server carries them. */
export class ImageFolder {
  readonly #folder: string
  /** Called with the name of an image that came. */
  onArrival: (sha256: string) => void = () => {}

  constructor(folder: string) {
    this.#folder = folder
  }

  has(sha256: string): boolean {
    return isSha256(sha256) && existsSync(this.#path(sha256))
  }

  /** Throws SLUICE_FW_IMAGE_UNKNOWN. */
  async read(sha256: string): Promise<Uint8Array> {
    if (!this.has(sha256))
      throw new SluiceError('SLUICE_FW_IMAGE_UNKNOWN', `the cloud core has no firmware image ${sha256.slice(0, 12)}…`, {
        hint: 'Upload it with "sluice fw ota", which makes the release, too.',
      })
    return await readFile(this.#path(sha256))
  }

  /** Keeps an image; what is none, or another one than its name says, is refused with SLUICE_API_BAD_REQUEST or SLUICE_FW_IMAGE. */
  async put(sha256: string, bytes: Uint8Array): Promise<void> {
    if (createHash('sha256').update(bytes).digest('hex') !== sha256)
      throw new SluiceError('SLUICE_API_BAD_REQUEST', 'the bytes do not match the SHA-256 they were sent under')
    parseImage(bytes)
    if (this.has(sha256)) return
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    const draft = `${this.#path(sha256)}.${process.pid}.tmp`
    try {
      const file = await open(draft, 'w', 0o600)
      try {
        await file.writeFile(bytes)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(draft, this.#path(sha256))
    } catch (cause) {
      await rm(draft, { force: true })
      throw new SluiceError('SLUICE_FW_IMAGE_STORE', `a firmware image cannot be kept in ${this.#folder}`, {
        cause,
        hint: 'Make room on the disk of the cloud core.',
      })
    }
    this.onArrival(sha256)
  }

  #path(sha256: string): string {
    return join(this.#folder, `${sha256}.bin`)
  }
}

/** Bytes of a request, or SLUICE_API_TOO_LARGE. */
export async function readImageBody(request: AsyncIterable<Buffer>): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > MAX_IMAGE_BYTES)
      throw new SluiceError('SLUICE_API_TOO_LARGE', `a firmware image has at most ${MAX_IMAGE_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
