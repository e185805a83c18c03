import type { Json } from '../../api/resources.ts'

/**
 * CBOR (RFC 8949) to JSON values and back: integers, floats, text, arrays, maps with text or integer keys, true, false,
 * null. Byte strings become base64. Integers beyond 2^53 become the nearest number, tags are looked through.
 */
const MAX_DEPTH = 32
const MAX_ITEMS = 100_000

export class CborError extends Error {}

export function decodeCbor(bytes: Uint8Array): Json {
  const reader = new CborReader(bytes)
  const value = reader.item(0)
  if (!reader.done) throw new CborError('bytes follow the value')
  return value
}

const BREAK = Symbol('break')

class CborReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0
  #items = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get done(): boolean {
    return this.#at === this.#bytes.length
  }

  item(depth: number): Json {
    const value = this.#next(depth)
    if (value === BREAK) throw new CborError('a break where a value should be')
    return value
  }

  #next(depth: number): Json | typeof BREAK {
    if (depth > MAX_DEPTH) throw new CborError(`nested deeper than ${MAX_DEPTH}`)
    if (++this.#items > MAX_ITEMS) throw new CborError(`more than ${MAX_ITEMS} items`)
    const first = this.#take(1)
    const major = first >> 5
    const info = first & 31
    if (major === 7) return this.#simple(info)
    if (info === 31) return this.#indefinite(major, depth)
    const size = this.#argument(info)
    if (major === 0) return size
    if (major === 1) return -1 - size
    if (major === 2) return Buffer.from(this.#slice(size)).toString('base64')
    if (major === 3) return textOf(this.#slice(size))
    if (major === 4) return this.#array(size, depth)
    if (major === 5) return this.#map(size, depth)
    return this.item(depth + 1)
  }

  #array(size: number, depth: number): Json {
    const list: Json[] = []
    for (let n = 0; n < size; n++) {
      const value = this.#next(depth + 1)
      if (value === BREAK) {
        if (size !== Number.POSITIVE_INFINITY) throw new CborError('a break inside an array of known size')
        break
      }
      list.push(value)
    }
    return list
  }

  #map(size: number, depth: number): Json {
    const entries: [string, Json][] = []
    for (let n = 0; n < size; n++) {
      const key = this.#next(depth + 1)
      if (key === BREAK) {
        if (size !== Number.POSITIVE_INFINITY) throw new CborError('a break inside a map of known size')
        break
      }
      if (typeof key !== 'string' && typeof key !== 'number') throw new CborError('a key is neither text nor number')
      entries.push([String(key), this.item(depth + 1)])
    }
    // Defines own properties, whatever the keys are called.
    return Object.fromEntries(entries)
  }

  #indefinite(major: number, depth: number): Json | typeof BREAK {
    if (major === 4) return this.#array(Number.POSITIVE_INFINITY, depth)
    if (major === 5) return this.#map(Number.POSITIVE_INFINITY, depth)
    if (major !== 2 && major !== 3) throw new CborError('an indefinite length where none may be')
    const parts: Uint8Array[] = []
    for (;;) {
      const first = this.#take(1)
      if (first === 0xff) break
      if (first >> 5 !== major || (first & 31) === 31) throw new CborError('a part of another type')
      if (++this.#items > MAX_ITEMS) throw new CborError(`more than ${MAX_ITEMS} items`)
      parts.push(this.#slice(this.#argument(first & 31)))
    }
    const whole = Buffer.concat(parts)
    return major === 2 ? whole.toString('base64') : textOf(whole)
  }

  #simple(info: number): Json | typeof BREAK {
    if (info === 20) return false
    if (info === 21) return true
    if (info === 22 || info === 23) return null
    if (info === 25) return finite(halfFloat(this.#take(2)))
    if (info === 26) return finite(this.#view.getFloat32(this.#skip(4)))
    if (info === 27) return finite(this.#view.getFloat64(this.#skip(8)))
    if (info === 31) return BREAK
    throw new CborError(`simple value ${info} has no meaning in JSON`)
  }

  #argument(info: number): number {
    if (info < 24) return info
    if (info === 24) return this.#take(1)
    if (info === 25) return this.#take(2)
    if (info === 26) return this.#take(4)
    if (info === 27) return Number(this.#view.getBigUint64(this.#skip(8)))
    throw new CborError(`length information ${info} is reserved`)
  }

  #take(size: 1 | 2 | 4): number {
    const at = this.#skip(size)
    if (size === 1) return this.#view.getUint8(at)
    return size === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at)
  }

  #slice(size: number): Uint8Array {
    const at = this.#skip(size)
    return this.#bytes.subarray(at, at + size)
  }

  #skip(size: number): number {
    const at = this.#at
    if (at + size > this.#bytes.length) throw new CborError('the payload ends inside a value')
    this.#at += size
    return at
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true })

function textOf(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new CborError('a text is not UTF-8')
  }
}

/** JSON has neither infinities nor not-a-number. */
const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)

/** RFC 8949, appendix D. */
function halfFloat(half: number): number {
  const exponent = (half >> 10) & 0x1f
  const mantissa = half & 0x3ff
  const size =
    exponent === 0
      ? mantissa * 2 ** -24
      : exponent !== 31
        ? (mantissa + 1024) * 2 ** (exponent - 25)
        : mantissa === 0
          ? Number.POSITIVE_INFINITY
          : Number.NaN
  return (half & 0x8000) !== 0 ? -size : size
}

/** Shortest integers, floats as 64 bits. */
export function encodeCbor(value: Json): Uint8Array {
  const parts: Buffer[] = []
  encodeInto(value, parts, 0)
  return Buffer.concat(parts)
}

function encodeInto(value: Json, parts: Buffer[], depth: number): void {
  if (depth > MAX_DEPTH) throw new CborError(`nested deeper than ${MAX_DEPTH}`)
  if (value === null) parts.push(Buffer.of(0xf6))
  else if (typeof value === 'boolean') parts.push(Buffer.of(value ? 0xf5 : 0xf4))
  else if (typeof value === 'string') {
    const text = Buffer.from(value)
    parts.push(head(3, text.length), text)
  } else if (typeof value === 'number') {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
      parts.push(value >= 0 ? head(0, value) : head(1, -1 - value))
    } else {
      const float = Buffer.alloc(9)
      float[0] = 0xfb
      float.writeDoubleBE(value, 1)
      parts.push(float)
    }
  } else if (Array.isArray(value)) {
    parts.push(head(4, value.length))
    for (const item of value) encodeInto(item, parts, depth + 1)
  } else {
    const entries = Object.entries(value as { readonly [key: string]: Json })
    parts.push(head(5, entries.length))
    for (const [key, item] of entries) {
      encodeInto(key, parts, depth + 1)
      encodeInto(item, parts, depth + 1)
    }
  }
}

function head(major: number, size: number): Buffer {
  const type = major << 5
  if (size < 24) return Buffer.of(type | size)
  if (size < 0x100) return Buffer.of(type | 24, size)
  if (size < 0x1_0000) return Buffer.of(type | 25, size >> 8, size & 0xff)
  if (size < 0x1_0000_0000) {
    const out = Buffer.alloc(5)
    out[0] = type | 26
    out.writeUInt32BE(size, 1)
    return out
  }
  const out = Buffer.alloc(9)
  out[0] = type | 27
  out.writeBigUInt64BE(BigInt(size), 1)
  return out
}
