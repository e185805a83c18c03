import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { type FirmwareStreamTarget, isSha256 } from '../../api/link/firmware.ts'

/** Images on their way to boards, by the SHA-256 of their bytes, under the agent's data folder. */
export class ImageStore {
  readonly #folder: string
  readonly #waiting = new Map<string, Set<() => void>>()
  readonly #receiving = new Set<string>()

  constructor(folder: string) {
    this.#folder = folder
  }

  has(sha256: string): boolean {
    return existsSync(this.#path(sha256))
  }

  read(sha256: string): Promise<Uint8Array> {
    return readFile(this.#path(sha256))
  }

  /** Bytes of an unfinished transfer. */
  partialBytes(sha256: string): number {
    try {
      return statSync(this.#part(sha256)).size
    } catch {
      return 0
    }
  }

  /** Resolves when the image is here. */
  arrived(sha256: string, signal: AbortSignal): Promise<void> {
    if (this.has(sha256)) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const wake = () => {
        signal.removeEventListener('abort', abort)
        resolve()
      }
      const abort = () => {
        this.#waiting.get(sha256)?.delete(wake)
        reject(signal.reason)
      }
      signal.addEventListener('abort', abort, { once: true })
      const wakes = this.#waiting.get(sha256) ?? new Set()
      this.#waiting.set(sha256, wakes.add(wake))
    })
  }

  /**
   * Takes an image's bytes from `fromByte` on. What came before a break is kept. Throws SLUICE_FW_UPDATE_BYTES for bytes
   * that are not the image, which are thrown away, and SLUICE_FW_UPDATE_STORE where the disk does not take them.
   */
  async receive(
    { sha256, sizeBytes, fromByte }: FirmwareStreamTarget,
    bytes: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    if (this.has(sha256)) return this.#tell(sha256)
    if (this.#receiving.has(sha256)) throw wrong('is being received already', 'Wait for the transfer that runs.')
    this.#receiving.add(sha256)
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
      if (fromByte > this.partialBytes(sha256)) throw wrong('would have a hole', 'It is asked for again.')
      await this.#append(sha256, sizeBytes, fromByte, bytes)
      const whole = await readFile(this.#part(sha256))
      if (whole.length < sizeBytes) return
      if (createHash('sha256').update(whole).digest('hex') !== sha256) {
        await rm(this.#part(sha256), { force: true })
        throw wrong('does not match its SHA-256', 'It was damaged on its way; it is fetched again.')
      }
      await rename(this.#part(sha256), this.#path(sha256))
    } catch (cause) {
      if (cause instanceof SluiceError) throw cause
      throw new SluiceError('SLUICE_FW_UPDATE_STORE', `a firmware image cannot be kept in ${this.#folder}`, {
        cause,
        hint: 'Make room on the disk of the gateway.',
      })
    } finally {
      this.#receiving.delete(sha256)
    }
    this.#tell(sha256)
  }

  /** Removes what nobody orders any more. */
  async keepOnly(wanted: ReadonlySet<string>): Promise<void> {
    if (!existsSync(this.#folder)) return
    for (const name of readdirSync(this.#folder)) {
      const sha256 = name.replace(/\.(bin|part)$/, '')
      if (isSha256(sha256) && !wanted.has(sha256) && !this.#receiving.has(sha256)) await rm(join(this.#folder, name))
    }
  }

  async #append(sha256: string, sizeBytes: number, fromByte: number, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const file = await open(this.#part(sha256), existsSync(this.#part(sha256)) ? 'r+' : 'w', 0o600)
    try {
      await file.truncate(fromByte)
      let at = fromByte
      for await (const chunk of bytes) {
        if (at + chunk.length > sizeBytes) throw wrong('is longer than was said', 'It is fetched again.')
        await file.write(chunk, 0, chunk.length, at)
        at += chunk.length
      }
      await file.sync()
    } finally {
      await file.close()
    }
  }

  #tell(sha256: string): void {
    const wakes = this.#waiting.get(sha256)
    this.#waiting.delete(sha256)
    for (const wake of wakes ?? []) wake()
  }

  #path(sha256: string): string {
    return join(this.#folder, `${sha256}.bin`)
  }

  #part(sha256: string): string {
    return join(this.#folder, `${sha256}.part`)
  }
}

const wrong = (what: string, hint: string) =>
  new SluiceError('SLUICE_FW_UPDATE_BYTES', `the firmware image ${what}`, { hint })
