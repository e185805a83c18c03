/**
 * The CBOR (RFC 8949) that SMP packets are made of: what `firmware/core/cbor.c` reads and writes, plus 64-bit integers,
 * doubles and indefinite lengths, which other devices send. Pure, bounded, no recursion deeper than 16.
 */

export type CborValue =
  | number
  | string
  | boolean
  | null
  | Uint8Array
  | readonly CborValue[]
  | { readonly [key: string]: CborValue }

const DEPTH_MAX = 16

/** What cannot be read as CBOR; callers turn it into an error that names the device. */
export class CborError extends Error {}

function head(major: number, value: number): Uint8Array {
  const tag = major << 5
  if (value < 24) return Uint8Array.of(tag | value)
  if (value < 0x100) return Uint8Array.of(tag | 24, value)
  const bytes = Buffer.alloc(value < 0x1_0000 ? 3 : value <= 0xffff_ffff ? 5 : 9)
  bytes[0] = tag | (bytes.length === 3 ? 25 : bytes.length === 5 ? 26 : 27)
  if (bytes.length === 3) bytes.writeUInt16BE(value, 1)
  else if (bytes.length === 5) bytes.writeUInt32BE(value, 1)
  else bytes.writeBigUInt64BE(BigInt(value), 1)
  return bytes
}

/** Encodes with definite lengths; whole numbers as integers, others as doubles. */
export function encodeCbor(value: CborValue): Uint8Array {
  if (value === null) return Uint8Array.of(0xf6)
  if (typeof value === 'boolean') return Uint8Array.of(value ? 0xf5 : 0xf4)
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) return value < 0 ? head(1, -1 - value) : head(0, value)
    const bytes = Buffer.alloc(9)
    bytes[0] = 0xfb
    bytes.writeDoubleBE(value, 1)
    return bytes
  }
  if (typeof value === 'string') {
    const text = Buffer.from(value)
    return Buffer.concat([head(3, text.length), text])
  }
  if (value instanceof Uint8Array) return Buffer.concat([head(2, value.length), value])
  if (isList(value)) return Buffer.concat([head(4, value.length), ...value.map(encodeCbor)])
  const entries = Object.entries(value)
  return Buffer.concat([
    head(5, entries.length),
    ...entries.flatMap(([key, each]) => [encodeCbor(key), encodeCbor(each)]),
  ])
}

function isList(value: CborValue): value is readonly CborValue[] {
  return Array.isArray(value)
}

const BREAK = Symbol('break')

class Reader {
  readonly #bytes: Buffer
  at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  take(size: number): Buffer {
    if (size > this.#bytes.length - this.at) throw new CborError('cut off')
    this.at += size
    return this.#bytes.subarray(this.at - size, this.at)
  }

  #argument(info: number): number {
    if (info < 24) return info
    if (info === 24) return this.take(1).readUInt8()
    if (info === 25) return this.take(2).readUInt16BE()
    if (info === 26) return this.take(4).readUInt32BE()
    if (info === 27) return Number(this.take(8).readBigUInt64BE())
    throw new CborError(`reserved length ${info}`)
  }

  value(depth: number): CborValue {
    const item = this.#item(depth)
    if (item === BREAK) throw new CborError('a break that ends nothing')
    return item
  }

  #item(depth: number): CborValue | typeof BREAK {
    if (depth > DEPTH_MAX) throw new CborError('nested too deeply')
    const first = this.take(1).readUInt8()
    const major = first >> 5
    const info = first & 31
    if (major === 7) return this.#simple(info)
    if (info === 31) {
      if (major === 4) return this.#list(undefined, depth)
      if (major === 5) return this.#map(undefined, depth)
      if (major === 2 || major === 3) return this.#parts(major, depth)
      throw new CborError('an integer without an end')
    }
    const argument = this.#argument(info)
    switch (major) {
      case 0:
        return argument
      case 1:
        return -1 - argument
      case 2:
        return Uint8Array.from(this.take(argument))
      case 3:
        return this.take(argument).toString('utf8')
      case 4:
        return this.#list(argument, depth)
      case 5:
        return this.#map(argument, depth)
      default:
        return this.value(depth + 1) // a tag says how to read what follows; nothing here needs it
    }
  }

  #simple(info: number): CborValue | typeof BREAK {
    if (info === 31) return BREAK
    if (info === 20 || info === 21) return info === 21
    if (info === 22 || info === 23) return null
    if (info === 26) return this.take(4).readFloatBE()
    if (info === 27) return this.take(8).readDoubleBE()
    throw new CborError(`simple value ${info}`)
  }

  #parts(major: number, depth: number): CborValue {
    const parts: Uint8Array[] = []
    for (;;) {
      const part = this.#item(depth + 1)
      if (part === BREAK) break
      if (typeof part === 'string' && major === 3) parts.push(Buffer.from(part))
      else if (part instanceof Uint8Array && major === 2) parts.push(part)
      else throw new CborError('a string of something else')
    }
    const whole = Buffer.concat(parts)
    return major === 3 ? whole.toString('utf8') : Uint8Array.from(whole)
  }

  #list(count: number | undefined, depth: number): CborValue {
    const list: CborValue[] = []
    while (count === undefined || list.length < count) {
      const item = this.#item(depth + 1)
      if (item === BREAK) {
        if (count !== undefined) throw new CborError('a list that ends early')
        break
      }
      list.push(item)
    }
    return list
  }

  #map(count: number | undefined, depth: number): CborValue {
    const entries = new Map<string, CborValue>()
    for (let i = 0; count === undefined || i < count; i++) {
      const key = this.#item(depth + 1)
      if (key === BREAK) {
        if (count !== undefined) throw new CborError('a map that ends early')
        break
      }
      if (typeof key !== 'string' && typeof key !== 'number') throw new CborError('a key that is no text')
      entries.set(String(key), this.value(depth + 1))
    }
    return Object.fromEntries(entries)
  }
}

/** Decodes one value that fills the bytes. Throws a `CborError`. */
export function decodeCbor(bytes: Uint8Array): CborValue {
  const reader = new Reader(bytes)
  const value = reader.value(0)
  if (reader.at !== bytes.length) throw new CborError(`${bytes.length - reader.at} bytes too many`)
  return value
}
