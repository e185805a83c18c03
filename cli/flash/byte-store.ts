import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** Bytes that can be read at any place: an image, or the part of one that was kept. */
export interface ByteStore {
  readonly sizeBytes: number
  /** Exactly `length` bytes; throws a RangeError beyond what there is. */
  readAt(offset: number, length: number): Buffer
}

export const storeOf = (bytes: Buffer): ByteStore => ({
  sizeBytes: bytes.length,
  readAt(offset, length) {
    if (!inside(offset, length, bytes.length)) throw new RangeError(`no ${length} bytes at ${offset}`)
    return Buffer.from(bytes.subarray(offset, offset + length))
  },
})

/** A file as it is when it is opened. */
export class FileStore implements ByteStore, Disposable {
  readonly sizeBytes: number
  readonly #fd: number

  constructor(path: string) {
    this.#fd = openSync(path, 'r')
    this.sizeBytes = fstatSync(this.#fd).size
  }

  readAt(offset: number, length: number): Buffer {
    if (!inside(offset, length, this.sizeBytes)) throw new RangeError(`no ${length} bytes at ${offset}`)
    const bytes = Buffer.alloc(length)
    for (let done = 0; done < length; ) {
      const count = readSync(this.#fd, bytes, done, length - done, offset + done)
      if (count === 0) throw new RangeError(`the file ended at ${offset + done}`)
      done += count
    }
    return bytes
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }
}

const inside = (offset: number, length: number, size: number): boolean =>
  Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0 && offset + length <= size

const BLOCK = 4096

/**
 * An image with changes that are not in it yet. They are made here before the first byte reaches a card, so that
 * whatever cannot be configured is refused while the card is still what it was; the writer then puts them into what
 * streams by.
 */
export class PatchedStore implements ByteStore {
  readonly sizeBytes: number
  readonly #base: ByteStore
  readonly #blocks = new Map<number, Buffer>()

  constructor(base: ByteStore) {
    this.#base = base
    this.sizeBytes = base.sizeBytes
  }

  get changedBytes(): number {
    return this.#blocks.size * BLOCK
  }

  readAt(offset: number, length: number): Buffer {
    if (!inside(offset, length, this.sizeBytes)) throw new RangeError(`no ${length} bytes at ${offset}`)
    const bytes = this.#base.readAt(offset, length)
    this.patch(bytes, offset)
    return bytes
  }

  writeAt(offset: number, bytes: Uint8Array): void {
    if (!inside(offset, bytes.length, this.sizeBytes)) throw new RangeError(`no ${bytes.length} bytes at ${offset}`)
    for (let done = 0; done < bytes.length; ) {
      const at = offset + done
      const index = Math.floor(at / BLOCK)
      const from = at - index * BLOCK
      const count = Math.min(BLOCK - from, bytes.length - done)
      this.#block(index).set(bytes.subarray(done, done + count), from)
      done += count
    }
  }

  /** Puts the changes into bytes of the image that begin at `offset`. */
  patch(bytes: Buffer, offset: number): void {
    const last = Math.floor((offset + bytes.length - 1) / BLOCK)
    for (let index = Math.floor(offset / BLOCK); index <= last; index++) {
      const block = this.#blocks.get(index)
      if (block === undefined) continue
      const start = index * BLOCK
      const from = Math.max(start, offset)
      const to = Math.min(start + block.length, offset + bytes.length)
      block.copy(bytes, from - offset, from - start, to - start)
    }
  }

  #block(index: number): Buffer {
    let block = this.#blocks.get(index)
    if (block === undefined) {
      const start = index * BLOCK
      block = this.#base.readAt(start, Math.min(BLOCK, this.sizeBytes - start))
      this.#blocks.set(index, block)
    }
    return block
  }
}
