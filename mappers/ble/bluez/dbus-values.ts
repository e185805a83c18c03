/**
 * Values of the D-Bus wire format (D-Bus Specification 0.43, "Type System" and "Marshaling"): numbers are numbers, 64-bit
 * ones bigints, `ay` is bytes, other arrays and structures are arrays, dictionaries are maps.
 */
export type DbusValue =
  | number
  | bigint
  | boolean
  | string
  | Uint8Array
  | Variant
  | readonly DbusValue[]
  | ReadonlyMap<string | number, DbusValue>

export class Variant {
  readonly signature: string
  readonly value: DbusValue

  constructor(signature: string, value: DbusValue) {
    this.signature = signature
    this.value = value
  }
}

/** The bytes break the wire format; nothing after them can be trusted. */
export class DbusMalformed extends Error {}

/** Limits of the specification: 32 arrays in 32 structures, and what one array may hold. */
const MAX_DEPTH = 64
const MAX_ARRAY_BYTES = 64 * 1024 * 1024
const ALIGN: Readonly<Record<string, number>> = {
  y: 1,
  g: 1,
  v: 1,
  n: 2,
  q: 2,
  b: 4,
  i: 4,
  u: 4,
  h: 4,
  s: 4,
  o: 4,
  a: 4,
  x: 8,
  t: 8,
  d: 8,
  '(': 8,
  '{': 8,
}

const parsed = new Map<string, readonly string[]>()
const MAX_PARSED = 256

/** Splits a signature into complete types. @throws DbusMalformed */
export function typesOf(signature: string): readonly string[] {
  const known = parsed.get(signature)
  if (known !== undefined) return known
  const types: string[] = []
  for (let at = 0; at < signature.length; ) {
    const end = typeEnd(signature, at, 0)
    types.push(signature.slice(at, end))
    at = end
  }
  // Signatures come from the other side: what is remembered of them is bounded.
  if (parsed.size < MAX_PARSED) parsed.set(signature, types)
  return types
}

function typeEnd(signature: string, at: number, depth: number): number {
  const code = signature[at] ?? ''
  if (depth > MAX_DEPTH || !(code in ALIGN)) throw new DbusMalformed(`signature ${signature} is none`)
  if (code === 'a') return typeEnd(signature, at + 1, depth + 1)
  if (code !== '(' && code !== '{') return at + 1
  const close = code === '(' ? ')' : '}'
  let end = at + 1
  let members = 0
  for (; signature[end] !== close; members++) end = typeEnd(signature, end, depth + 1)
  if (code === '{' ? members !== 2 : members === 0) throw new DbusMalformed(`signature ${signature} is none`)
  return end + 1
}

/** Reads values from a message; every read is checked against its end. Offsets count from the start of the message. */
export class DbusReader {
  readonly #bytes: Buffer
  readonly #little: boolean
  readonly #end: number
  at: number

  constructor(bytes: Buffer, at: number, end: number, little: boolean) {
    this.#bytes = bytes
    this.at = at
    this.#end = end
    this.#little = little
  }

  read(signature: string): DbusValue[] {
    return typesOf(signature).map((type) => this.value(type, 0))
  }

  value(type: string, depth: number): DbusValue {
    if (depth > MAX_DEPTH) throw new DbusMalformed('nested too deep')
    const code = type[0]!
    this.align(ALIGN[code]!)
    switch (code) {
      case 'y':
        return this.#bytes[this.#take(1)]!
      case 'b':
        return this.uint32() !== 0
      case 'n':
        return this.#little ? this.#bytes.readInt16LE(this.#take(2)) : this.#bytes.readInt16BE(this.#take(2))
      case 'q':
        return this.#little ? this.#bytes.readUInt16LE(this.#take(2)) : this.#bytes.readUInt16BE(this.#take(2))
      case 'i':
        return this.#little ? this.#bytes.readInt32LE(this.#take(4)) : this.#bytes.readInt32BE(this.#take(4))
      case 'u':
      case 'h':
        return this.uint32()
      case 'x':
        return this.#little ? this.#bytes.readBigInt64LE(this.#take(8)) : this.#bytes.readBigInt64BE(this.#take(8))
      case 't':
        return this.#little ? this.#bytes.readBigUInt64LE(this.#take(8)) : this.#bytes.readBigUInt64BE(this.#take(8))
      case 'd':
        return this.#little ? this.#bytes.readDoubleLE(this.#take(8)) : this.#bytes.readDoubleBE(this.#take(8))
      case 's':
      case 'o':
        return this.#text(this.uint32())
      case 'g':
        return this.#text(this.#bytes[this.#take(1)]!)
      case 'v':
        return this.#variant(depth)
      case 'a':
        return this.#array(type.slice(1), depth)
      default:
        return typesOf(type.slice(1, -1)).map((member) => this.value(member, depth + 1))
    }
  }

  uint32(): number {
    this.align(4)
    const at = this.#take(4)
    return this.#little ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at)
  }

  align(to: number): void {
    const rest = this.at % to
    if (rest !== 0) this.#take(to - rest)
  }

  #variant(depth: number): Variant {
    const signature = this.#text(this.#bytes[this.#take(1)]!)
    const types = typesOf(signature)
    if (types.length !== 1) throw new DbusMalformed('a variant holds one value')
    return new Variant(signature, this.value(signature, depth + 1))
  }

  #array(element: string, depth: number): DbusValue {
    const size = this.uint32()
    if (size > MAX_ARRAY_BYTES) throw new DbusMalformed('an array is too large')
    this.align(ALIGN[element[0]!]!)
    const end = this.at + size
    if (end > this.#end) throw new DbusMalformed('an array ends behind its message')
    if (element === 'y') return Uint8Array.from(this.#bytes.subarray(this.#take(size), end))
    if (element[0] === '{') return this.#dict(element, end, depth)
    const values: DbusValue[] = []
    while (this.at < end) values.push(this.value(element, depth + 1))
    return values
  }

  #dict(element: string, end: number, depth: number): ReadonlyMap<string | number, DbusValue> {
    const [key, value] = typesOf(element.slice(1, -1))
    const map = new Map<string | number, DbusValue>()
    while (this.at < end) {
      this.align(8)
      const name = this.value(key!, depth + 1)
      map.set(typeof name === 'number' ? name : String(name), this.value(value!, depth + 1))
    }
    return map
  }

  #text(length: number): string {
    const at = this.#take(length + 1)
    return this.#bytes.toString('utf8', at, at + length)
  }

  #take(size: number): number {
    const { at } = this
    if (at + size > this.#end) throw new DbusMalformed('a value ends behind its message')
    this.at = at + size
    return at
  }
}

/** Writes values, lowest byte first. @throws DbusMalformed when a value is not of its type. */
export class DbusWriter {
  #bytes = Buffer.alloc(256)
  #length = 0

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  write(signature: string, values: readonly DbusValue[]): this {
    const types = typesOf(signature)
    if (types.length !== values.length) throw new DbusMalformed(`${values.length} values for ${signature}`)
    for (const [index, type] of types.entries()) this.#value(type, values[index]!)
    return this
  }

  align(to: number): this {
    const rest = this.#length % to
    if (rest !== 0) this.#room(to - rest)
    return this
  }

  #value(type: string, value: DbusValue): void {
    const code = type[0]!
    this.align(ALIGN[code]!)
    if (code === 'v' && value instanceof Variant) {
      this.#text(value.signature, 1)
      this.#value(value.signature, value.value)
    } else if (code === 'a') this.#array(type.slice(1), value)
    else if (code === '(' && Array.isArray(value)) this.write(type.slice(1, -1), value)
    else if (typeof value === 'string' && (code === 's' || code === 'o')) this.#text(value, 4)
    else if (typeof value === 'string' && code === 'g') this.#text(value, 1)
    else if (typeof value === 'boolean' && code === 'b')
      this.#put(4, (bytes, at) => bytes.writeUInt32LE(value ? 1 : 0, at))
    else if (typeof value === 'bigint' && code === 'x') this.#put(8, (bytes, at) => bytes.writeBigInt64LE(value, at))
    else if (typeof value === 'bigint' && code === 't') this.#put(8, (bytes, at) => bytes.writeBigUInt64LE(value, at))
    else if (typeof value === 'number') this.#number(code, value)
    else throw new DbusMalformed(`a value is not of type ${type}`)
  }

  #number(code: string, value: number): void {
    if (code === 'y') this.#put(1, (bytes, at) => bytes.writeUInt8(value, at))
    else if (code === 'n') this.#put(2, (bytes, at) => bytes.writeInt16LE(value, at))
    else if (code === 'q') this.#put(2, (bytes, at) => bytes.writeUInt16LE(value, at))
    else if (code === 'i') this.#put(4, (bytes, at) => bytes.writeInt32LE(value, at))
    else if (code === 'u') this.#put(4, (bytes, at) => bytes.writeUInt32LE(value, at))
    else if (code === 'd') this.#put(8, (bytes, at) => bytes.writeDoubleLE(value, at))
    else throw new DbusMalformed(`a number is not of type ${code}`)
  }

  #array(element: string, value: DbusValue): void {
    const lengthAt = this.#room(4)
    this.align(ALIGN[element[0]!]!)
    const start = this.#length
    if (value instanceof Uint8Array && element === 'y') this.#put(value.length, (bytes, at) => bytes.set(value, at))
    else if (value instanceof Map && element[0] === '{') {
      const [keyType, valueType] = typesOf(element.slice(1, -1))
      for (const [name, one] of value) {
        this.align(8)
        this.#value(keyType!, name)
        this.#value(valueType!, one)
      }
    } else if (Array.isArray(value)) for (const one of value) this.#value(element, one)
    else throw new DbusMalformed(`a value is not of type a${element}`)
    this.#bytes.writeUInt32LE(this.#length - start, lengthAt)
  }

  #text(text: string, lengthBytes: 1 | 4): void {
    const bytes = Buffer.from(text, 'utf8')
    if (lengthBytes === 4) this.#put(4, (into, at) => into.writeUInt32LE(bytes.length, at))
    else this.#put(1, (into, at) => into.writeUInt8(bytes.length, at))
    this.#put(bytes.length, (into, at) => into.set(bytes, at))
    this.#put(1, (into, at) => into.writeUInt8(0, at))
  }

  /** Makes room first: that may move the bytes. */
  #put(size: number, write: (bytes: Buffer, at: number) => void): void {
    const at = this.#room(size)
    write(this.#bytes, at)
  }

  #room(size: number): number {
    const at = this.#length
    if (at + size > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(2 * this.#bytes.length, at + size))
      larger.set(this.#bytes.subarray(0, at))
      this.#bytes = larger
    }
    this.#length = at + size
    return at
  }
}
