import { SluiceError } from '../../../api/errors.ts'

/** One member of an archive; `body` must be read to its end, or not at all, before the next one is asked for. */
export interface TarEntry {
  readonly path: string
  readonly type: 'file' | 'folder' | 'link' | 'symlink' | 'other'
  /** Permission bits, with set-user-id and the like. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly bytes: number
  readonly target: string
  readonly body: AsyncIterable<Buffer>
}

const BLOCK = 512
/** Of a pax header or a GNU long name. */
const MAX_EXTRA_BYTES = 1024 * 1024

/** Reads a tar archive (ustar, pax, GNU) as it comes. Throws `SLUICE_POD_IMAGE_BROKEN`. */
export async function* readTar(source: AsyncIterable<Buffer>): AsyncGenerator<TarEntry> {
  const blocks = new Blocks(source)
  let extra: Readonly<Record<string, string>> = {}
  for (;;) {
    const header = await blocks.take(BLOCK)
    // The end is two blocks of zeros; some writers leave them out.
    if (header === undefined || header.every((byte) => byte === 0)) return
    checkSum(header)
    const bytes = extra['size'] === undefined ? number(header, 124, 12) : Number(extra['size'])
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw broken('a member has no size')
    const flag = String.fromCharCode(header[156]!)
    if (flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K') {
      if (bytes > MAX_EXTRA_BYTES) throw broken('a header is too long')
      const body = await blocks.exactly(padded(bytes))
      const said = body.subarray(0, bytes)
      if (flag === 'x') extra = { ...extra, ...paxRecords(said) }
      else if (flag !== 'g') extra = { ...extra, [flag === 'L' ? 'path' : 'linkpath']: zeroEnded(said) }
      continue
    }
    const prefix = text(header, 257, 5) === 'ustar' && header[262] === 0 ? text(header, 345, 155) : ''
    const name = text(header, 0, 100)
    const body = blocks.body(bytes)
    yield {
      path: extra['path'] ?? (prefix === '' ? name : `${prefix}/${name}`),
      type: typeOf(flag, extra['path'] ?? name),
      mode: number(header, 100, 8) & 0o7777,
      uid: Number(extra['uid'] ?? number(header, 108, 8)),
      gid: Number(extra['gid'] ?? number(header, 116, 8)),
      bytes,
      target: extra['linkpath'] ?? text(header, 157, 100),
      body,
    }
    extra = {}
    await blocks.skipRest()
  }
}

function typeOf(flag: string, path: string): TarEntry['type'] {
  if (flag === '0' || flag === '\0' || flag === '7') return path.endsWith('/') ? 'folder' : 'file'
  if (flag === '5') return 'folder'
  if (flag === '1') return 'link'
  return flag === '2' ? 'symlink' : 'other'
}

class Blocks {
  readonly #source: AsyncIterator<Buffer>
  #held: Buffer = Buffer.alloc(0)
  #ended = false
  #bodyLeft = 0
  #padding = 0

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  async take(bytes: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = []
    let left = bytes
    while (left > 0) {
      const part = await this.#some(left)
      if (part === undefined) {
        if (left === bytes) return undefined
        throw broken('it ends in the middle')
      }
      parts.push(part)
      left -= part.length
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts)
  }

  async exactly(bytes: number): Promise<Buffer> {
    if (bytes === 0) return Buffer.alloc(0)
    const taken = await this.take(bytes)
    if (taken === undefined) throw broken('it ends in the middle')
    return taken
  }

  body(bytes: number): AsyncGenerator<Buffer> {
    this.#bodyLeft = bytes
    this.#padding = padded(bytes) - bytes
    return this.#read()
  }

  async *#read(): AsyncGenerator<Buffer> {
    while (this.#bodyLeft > 0) {
      const part = await this.#some(this.#bodyLeft)
      if (part === undefined) throw broken('it ends in the middle')
      this.#bodyLeft -= part.length
      yield part
    }
  }

  async skipRest(): Promise<void> {
    for await (const _ of this.#read()) {
      // Nobody wanted it.
    }
    await this.exactly(this.#padding)
    this.#padding = 0
  }

  async #some(most: number): Promise<Buffer | undefined> {
    while (this.#held.length === 0) {
      if (this.#ended) return undefined
      const next = await this.#source.next()
      if (next.done === true) {
        this.#ended = true
        return undefined
      }
      this.#held = next.value
    }
    const part = this.#held.subarray(0, most)
    this.#held = this.#held.subarray(part.length)
    return part
  }
}

const padded = (bytes: number): number => Math.ceil(bytes / BLOCK) * BLOCK

/** `LENGTH KEY=VALUE\n`, the length in bytes and of the whole record (pax, IEEE 1003.1). */
function paxRecords(body: Buffer): Record<string, string> {
  const records: Record<string, string> = Object.create(null) as Record<string, string>
  let at = 0
  while (at < body.length) {
    const space = body.indexOf(0x20, at)
    const length = space < 0 ? Number.NaN : Number(body.toString('latin1', at, space))
    if (!Number.isSafeInteger(length) || length <= space - at + 1 || at + length > body.length) {
      throw broken('a pax header cannot be read')
    }
    const record = body.toString('utf8', space + 1, at + length - 1)
    const equals = record.indexOf('=')
    if (equals > 0) records[record.slice(0, equals)] = record.slice(equals + 1)
    at += length
  }
  return records
}

function checkSum(header: Buffer): void {
  let sum = 0
  for (let at = 0; at < BLOCK; at++) sum += at >= 148 && at < 156 ? 0x20 : header[at]!
  if (sum !== number(header, 148, 8)) throw broken('a header has a wrong checksum')
}

/** Octal digits, or with the first bit set a number of base 256 (GNU). */
function number(header: Buffer, at: number, length: number): number {
  if ((header[at]! & 0x80) !== 0) {
    let value = header[at]! & 0x7f
    for (const byte of header.subarray(at + 1, at + length)) value = value * 256 + byte
    return value
  }
  const digits = text(header, at, length).trim()
  if (!/^[0-7]*$/.test(digits)) throw broken('a header has a number that is none')
  return digits === '' ? 0 : Number.parseInt(digits, 8)
}

const text = (header: Buffer, at: number, length: number): string => zeroEnded(header.subarray(at, at + length))

function zeroEnded(bytes: Buffer): string {
  const zero = bytes.indexOf(0)
  return bytes.toString('utf8', 0, zero < 0 ? bytes.length : zero)
}

const broken = (what: string): SluiceError =>
  new SluiceError('SLUICE_POD_IMAGE_BROKEN', `An archive cannot be read: ${what}`, {
    hint: 'Make or fetch the image again; its file is damaged.',
  })
