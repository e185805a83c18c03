import { createInflate, type Inflate } from 'node:zlib'
import { spdyDictionary } from './dictionary.ts'
import { broken } from './frames.ts'

export type SpdyHeaders = ReadonlyMap<string, string>

/** Headers of one frame, unpacked, at most. */
const MAX_HEADER_BYTES = 64 * 1024
const MAX_HEADERS = 256
const MAX_STORED = 0xffff
/** A zlib stream that names no dictionary: nothing in it refers to one. */
const ZLIB_HEADER = [0x78, 0x01] as const
/** An empty stored block, as a sync flush ends with: it tells decoders that all of a frame is there. */
const FLUSH = [0, 0, 0, 0xff, 0xff] as const

/** Names and values as bytes, before compression (section 2.6.10). Names become lower case. */
export function encodeNameValues(headers: SpdyHeaders): Buffer {
  const parts: Buffer[] = [word(headers.size)]
  for (const [name, value] of headers) {
    const [n, v] = [Buffer.from(name.toLowerCase()), Buffer.from(value)]
    parts.push(word(n.length), n, word(v.length), v)
  }
  return Buffer.concat(parts)
}

/** Reads what `encodeNameValues` wrote; of a header with several values the first counts. Throws SLUICE_SPDY_BROKEN. */
export function decodeNameValues(bytes: Buffer): Map<string, string> {
  let at = 0
  const number = (): number => {
    if (at + 4 > bytes.length) throw broken('a header block ends too early')
    at += 4
    return bytes.readUInt32BE(at - 4)
  }
  const text = (): string => {
    const length = number()
    if (length > bytes.length - at) throw broken('a header is longer than its block')
    at += length
    return bytes.toString('utf8', at - length, at)
  }
  const count = number()
  if (count > MAX_HEADERS) throw broken(`${count} headers in one block`)
  const headers = new Map<string, string>()
  for (let index = 0; index < count; index++) {
    const name = text().toLowerCase()
    const value = text()
    if (name === '') throw broken('a header has no name')
    const end = value.indexOf('\0')
    headers.set(name, end < 0 ? value : value.slice(0, end))
  }
  if (at !== bytes.length) throw broken('a header block has something behind its headers')
  return headers
}

/**
 * Packs header blocks as stored blocks of one zlib stream: any decoder takes them, nothing waits for a compressor, and
 * some hundred bytes of headers a stream are not worth compressing.
 */
export class HeaderPacker {
  #begun = false

  pack(headers: SpdyHeaders): Buffer {
    const plain = encodeNameValues(headers)
    if (plain.length > MAX_STORED) throw broken('headers of more than 64 KiB')
    const head = Buffer.alloc(5)
    head.writeUInt16LE(plain.length, 1)
    head.writeUInt16LE(plain.length ^ 0xffff, 3)
    const start = this.#begun ? [] : [...ZLIB_HEADER]
    this.#begun = true
    return Buffer.concat([Buffer.from(start), head, plain, Buffer.from(FLUSH)])
  }
}

/**
 * Unpacks header blocks of one connection; they share one zlib stream, so each has to be unpacked, in order, one at a
 * time. A block that breaks the rules or is a bomb ends all of it.
 */
export class HeaderUnpacker implements Disposable {
  readonly #inflate: Inflate
  #parts: Buffer[] = []
  #bytes = 0
  #failed: Error | undefined
  #waiting: ((error: Error | undefined) => void) | undefined

  constructor() {
    this.#inflate = createInflate({ dictionary: spdyDictionary() })
    this.#inflate.on('data', (part: Buffer) => {
      this.#bytes += part.length
      if (this.#bytes > MAX_HEADER_BYTES) this.#fail(broken('headers of more than 64 KiB'))
      else this.#parts.push(part)
    })
    this.#inflate.on('error', (cause) => this.#fail(broken(`headers cannot be unpacked: ${cause.message}`)))
    this.#inflate.on('end', () => this.#fail(broken('the header stream has ended')))
  }

  async unpack(block: Uint8Array): Promise<Map<string, string>> {
    const error = await new Promise<Error | undefined>((resolve) => {
      if (this.#failed !== undefined) {
        resolve(this.#failed)
        return
      }
      this.#waiting = resolve
      this.#inflate.write(block, () => this.#settle(undefined))
    })
    if (error !== undefined) throw error
    const plain = Buffer.concat(this.#parts)
    this.#parts = []
    this.#bytes = 0
    return decodeNameValues(plain)
  }

  [Symbol.dispose](): void {
    this.#fail(broken('the connection is closed'))
  }

  #fail(error: Error): void {
    this.#failed ??= error
    this.#inflate.destroy()
    this.#settle(this.#failed)
  }

  #settle(error: Error | undefined): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.(error)
  }
}

function word(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value)
  return bytes
}
