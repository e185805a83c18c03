import { createHash } from 'node:crypto'
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { type ByteStore, FileStore, storeOf } from './byte-store.ts'
import { mayHoldFat, readPartitions } from './partitions.ts'
import { type ImageSource, streamImage } from './source.ts'

/** What is known about an image before a card is touched. */
export interface Survey extends Disposable {
  readonly imageBytes: number
  /** The image, as far as its last FAT partition; reading beyond throws a RangeError. */
  readonly image: ByteStore
  /** Of the file as it is stored; undefined when nobody asked and it is not packed. */
  readonly storedSha256: string | undefined
  /** Of the image itself; the same as the file's when it is not packed. */
  readonly imageSha256: string | undefined
}

export interface SurveyOptions {
  readonly signal: AbortSignal
  /** Expected, in lower-case hexadecimal: of the file or of what is inside. */
  readonly sha256?: string
  readonly onProgress?: (storedBytes: number) => void
  readonly env?: Readonly<Record<string, string | undefined>>
}

/** As much of the beginning as it takes to find the partitions. */
const TABLE_BYTES = 1024 * 1024
const MAX_KEPT_BYTES = 2 * 1024 * 1024 * 1024
const BLOCK = 64 * 1024
const ZEROS = Buffer.alloc(BLOCK)

/**
 * Reads the whole image once: its true size (a packed file does not say it reliably), its checksums, whether it can be
 * unpacked to its end, and its boot partition, kept in a temporary file when it is packed. It takes as long as unpacking
 * does, and in return a bad image, a wrong checksum or an unknown format is refused with the card untouched.
 */
export async function surveyImage(source: ImageSource, options: SurveyOptions): Promise<Survey> {
  if (source.compression === 'none') return surveyPlain(source, options)
  const { signal, onProgress } = options
  const stored = createHash('sha256')
  const image = createHash('sha256')
  let storedBytes = 0
  using kept = new Kept()
  const onStored = (chunk: Buffer) => {
    stored.update(chunk)
    storedBytes += chunk.length
  }
  for await (const chunk of streamImage(source, { signal, onStored, ...(options.env && { env: options.env }) })) {
    image.update(chunk)
    kept.add(chunk)
    onProgress?.(storedBytes)
  }
  const storedSha256 = stored.digest('hex')
  const imageSha256 = image.digest('hex')
  compare(source, options.sha256, [storedSha256, imageSha256])
  return { ...kept.finish(), storedSha256, imageSha256 }
}

async function surveyPlain(source: ImageSource, options: SurveyOptions): Promise<Survey> {
  let sha256: string | undefined
  if (options.sha256 !== undefined) {
    const hash = createHash('sha256')
    let bytes = 0
    for await (const chunk of streamImage(source, options)) {
      hash.update(chunk)
      options.onProgress?.((bytes += chunk.length))
    }
    sha256 = hash.digest('hex')
    compare(source, options.sha256, [sha256])
  }
  const image = new FileStore(source.path)
  return {
    imageBytes: image.sizeBytes,
    image,
    storedSha256: sha256,
    imageSha256: sha256,
    [Symbol.dispose]: () => image[Symbol.dispose](),
  }
}

function compare(source: ImageSource, expected: string | undefined, found: readonly string[]): void {
  if (expected === undefined || found.includes(expected)) return
  const inside = found[1] === undefined ? '' : ` and ${found[1]} unpacked`
  throw new SluiceError(
    'SLUICE_FLASH_CHECKSUM',
    `The image '${source.path}' has the SHA-256 ${found[0]}${inside}, not ${expected}`,
    { hint: 'Download it once more, from where the checksum comes from. Nothing was written.' },
  )
}

/** The beginning of a stream, up to the end of the last partition that may be a FAT; zeros take no room. */
class Kept implements Disposable {
  #head: Buffer = Buffer.alloc(0)
  #limit: number | undefined
  #bytes = 0
  #folder: string | undefined
  #fd: number | undefined

  add(chunk: Buffer): void {
    const at = this.#bytes
    this.#bytes += chunk.length
    if (this.#limit === undefined) {
      this.#head = Buffer.concat([this.#head, chunk])
      if (this.#head.length >= TABLE_BYTES) this.#decide(Number.MAX_SAFE_INTEGER)
      return
    }
    if (at < this.#limit) this.#keep(at, chunk.subarray(0, this.#limit - at))
  }

  finish(): Pick<Survey, 'imageBytes' | 'image' | typeof Symbol.dispose> {
    const imageBytes = this.#bytes
    if (this.#limit === undefined) {
      return { imageBytes, image: storeOf(this.#head), [Symbol.dispose]() {} }
    }
    const folder = this.#folder!
    ftruncateSync(this.#fd!, Math.min(this.#limit, imageBytes))
    closeSync(this.#fd!)
    const file = new FileStore(join(folder, 'boot'))
    // From here on it belongs to the caller.
    this.#fd = undefined
    this.#folder = undefined
    return {
      imageBytes,
      image: { sizeBytes: imageBytes, readAt: (offset, length) => file.readAt(offset, length) },
      [Symbol.dispose]() {
        file[Symbol.dispose]()
        rmSync(folder, { recursive: true, force: true })
      },
    }
  }

  /** How much to keep, now that the table of partitions is there. A broken one is told later, by whoever needs it. */
  #decide(imageBytes: number): void {
    let end = TABLE_BYTES
    try {
      const head = storeOf(this.#head)
      for (const each of readPartitions({ sizeBytes: imageBytes, readAt: (at, length) => head.readAt(at, length) })) {
        if (mayHoldFat(each)) end = Math.max(end, each.startByte + each.lengthBytes)
      }
    } catch {
      // Kept is what there is of it.
    }
    this.#limit = Math.max(this.#head.length, Math.min(end, MAX_KEPT_BYTES))
    this.#folder = mkdtempSync(join(tmpdir(), 'sluice-flash-'))
    this.#fd = openSync(join(this.#folder, 'boot'), 'wx', 0o600)
    this.#keep(0, this.#head)
    this.#head = Buffer.alloc(0)
  }

  #keep(at: number, bytes: Buffer): void {
    try {
      for (let from = 0; from < bytes.length; from += BLOCK) {
        const part = bytes.subarray(from, from + BLOCK)
        if (part.equals(ZEROS.subarray(0, part.length))) continue
        for (let done = 0; done < part.length; ) {
          done += writeSync(this.#fd!, part, done, part.length - done, at + from + done)
        }
      }
    } catch (cause) {
      const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
      throw new SluiceError(
        'SLUICE_FLASH_TEMPORARY',
        `The image's boot partition cannot be unpacked into ${this.#folder} (${reason})`,
        { hint: 'Make room there, or name another folder: TMPDIR=/var/tmp. Nothing was written to the card.', cause },
      )
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true })
  }
}
