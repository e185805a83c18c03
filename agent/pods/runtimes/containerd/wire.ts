import { SluiceError } from '../../../../api/errors.ts'

/**
 * Protocol buffers (proto3, binary) from a table of fields: what a message is called in TypeScript follows from the same
 * table that says how it is on the wire. As in proto3, absent numbers, texts and lists are read as 0, '' and [].
 */
export interface Field<In, Out> {
  readonly number: number
  /** What is read when the field is absent. */
  absent(): Out
  put(value: In, to: Writer): void
  take(held: Out, wire: number, from: Reader): Out
}

export type Fields = Readonly<Record<string, Field<never, unknown>>>
type InOf<F> = F extends Field<infer In, infer _> ? In : never
type OutOf<F> = F extends Field<infer _, infer Out> ? Out : never
/** What is written: every field may be left out. */
export type Given<F extends Fields> = { readonly [Name in keyof F]?: InOf<F[Name]> | undefined }
export type Taken<F extends Fields> = { readonly [Name in keyof F]: OutOf<F[Name]> }

const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const
/** Far beyond what any of these messages nests. */
const MAX_DEPTH = 32

export class Message<F extends Fields> {
  readonly #fields: F
  readonly #byNumber: ReadonlyMap<number, readonly [name: string, field: Field<never, unknown>]>

  constructor(fields: F) {
    this.#fields = fields
    this.#byNumber = new Map(Object.entries(fields).map((entry) => [entry[1].number, entry]))
  }

  encode(value: Given<F>): Buffer {
    const to = new Writer()
    for (const [name, field] of Object.entries(this.#fields)) {
      const one = value[name]
      if (one !== undefined) field.put(one as never, to)
    }
    return to.bytes()
  }

  /** Throws `SLUICE_POD_RUNTIME_WORDS` for what is no such message. */
  decode(bytes: Uint8Array, depth = 0): Taken<F> {
    if (depth > MAX_DEPTH) throw unreadable('it nests too deeply')
    const from = new Reader(bytes, depth)
    const values: Record<string, unknown> = {}
    for (const [name, field] of Object.entries(this.#fields)) values[name] = field.absent()
    while (!from.over) {
      const key = from.varint()
      const known = this.#byNumber.get(Math.floor(key / 8))
      if (known === undefined) from.skip(key % 8)
      else values[known[0]] = known[1].take(values[known[0]] as never, key % 8, from)
    }
    return values as Taken<F>
  }
}

/** A message that has nothing in it, or nothing that matters here. */
export const Empty = new Message({})

export const text = (number: number): Field<string, string> => ({
  number,
  absent: () => '',
  put: (value, to) => (value === '' ? undefined : to.bytesField(number, Buffer.from(value, 'utf8'))),
  take: (_, wire, from) => from.bytesOf(wire).toString('utf8'),
})

export const bytes = (number: number): Field<Uint8Array, Buffer> => ({
  number,
  absent: () => Buffer.alloc(0),
  put: (value, to) => (value.length === 0 ? undefined : to.bytesField(number, value)),
  take: (_, wire, from) => from.bytesOf(wire),
})

export const flag = (number: number): Field<boolean, boolean> => ({
  number,
  absent: () => false,
  put: (value, to) => (value ? to.varintField(number, 1) : undefined),
  take: (_, wire, from) => from.numberOf(wire) !== 0,
})

/** int32, int64, uint32, uint64 and enums. Beyond 2^53 the lowest bits are lost: times in nanoseconds keep microseconds. */
export const int = (number: number): Field<number, number> => ({
  number,
  absent: () => 0,
  put: (value, to) => (value === 0 ? undefined : to.varintField(number, value)),
  take: (_, wire, from) => from.numberOf(wire),
})

export const ints = (number: number): Field<readonly number[], readonly number[]> => ({
  number,
  absent: () => [],
  put(values, to) {
    if (values.length === 0) return
    const packed = new Writer()
    for (const value of values) packed.varint(value)
    to.bytesField(number, packed.bytes())
  },
  take(held, wire, from) {
    if (wire !== WIRE.bytes) return [...held, from.numberOf(wire)]
    const packed = new Reader(from.bytesOf(wire), 0)
    const values = [...held]
    while (!packed.over) values.push(packed.numberOf(WIRE.varint))
    return values
  },
})

export const texts = (number: number): Field<readonly string[], readonly string[]> => ({
  number,
  absent: () => [],
  put(values, to) {
    for (const value of values) to.bytesField(number, Buffer.from(value, 'utf8'))
  },
  take: (held, wire, from) => [...held, from.bytesOf(wire).toString('utf8')],
})

export const one = <F extends Fields>(number: number, message: Message<F>): Field<Given<F>, Taken<F> | undefined> => ({
  number,
  absent: () => undefined,
  put: (value, to) => to.bytesField(number, message.encode(value)),
  take: (_, wire, from) => message.decode(from.bytesOf(wire), from.depth + 1),
})

export const many = <F extends Fields>(
  number: number,
  message: Message<F>,
): Field<readonly Given<F>[], readonly Taken<F>[]> => ({
  number,
  absent: () => [],
  put(values, to) {
    for (const value of values) to.bytesField(number, message.encode(value))
  },
  take: (held, wire, from) => [...held, message.decode(from.bytesOf(wire), from.depth + 1)],
})

const Entry = new Message({ key: text(1), value: text(2) })
type TextMap = Readonly<Record<string, string>>

/** `map<string, string>`. */
export const map = (number: number): Field<TextMap, TextMap> => ({
  number,
  absent: () => ({}),
  put(values, to) {
    for (const [key, value] of Object.entries(values)) to.bytesField(number, Entry.encode({ key, value }))
  },
  take(held, wire, from) {
    const { key, value } = Entry.decode(from.bytesOf(wire), from.depth + 1)
    // A key may be `__proto__`.
    return Object.fromEntries([...Object.entries(held), [key, value]])
  },
})

export class Writer {
  readonly #parts: Uint8Array[] = []

  varintField(number: number, value: number): void {
    this.varint(number * 8 + WIRE.varint)
    this.varint(value)
  }

  bytesField(number: number, value: Uint8Array): void {
    this.varint(number * 8 + WIRE.bytes)
    this.varint(value.length)
    this.#parts.push(value)
  }

  /** Negative numbers take ten bytes, as two's complement of 64 bits. */
  varint(value: number): void {
    const octets: number[] = []
    if (value >= 0 && value < 2 ** 31) {
      let rest = value
      for (; rest > 0x7f; rest >>>= 7) octets.push((rest & 0x7f) | 0x80)
      octets.push(rest)
    } else {
      let rest = BigInt.asUintN(64, BigInt(Math.trunc(value)))
      for (; rest > 0x7fn; rest >>= 7n) octets.push(Number(rest & 0x7fn) | 0x80)
      octets.push(Number(rest))
    }
    this.#parts.push(Uint8Array.from(octets))
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }
}

export class Reader {
  readonly depth: number
  readonly #bytes: Buffer
  #at = 0

  constructor(given: Uint8Array, depth: number) {
    this.#bytes = Buffer.from(given.buffer, given.byteOffset, given.byteLength)
    this.depth = depth
  }

  get over(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** A key or a length. */
  varint(): number {
    const value = Number(this.#varint())
    if (!Number.isSafeInteger(value)) throw unreadable('a number is too large')
    return value
  }

  numberOf(wire: number): number {
    if (wire !== WIRE.varint) throw unreadable(`a number has the wire type ${wire}`)
    return Number(BigInt.asIntN(64, this.#varint()))
  }

  bytesOf(wire: number): Buffer {
    if (wire !== WIRE.bytes) throw unreadable(`a text or message has the wire type ${wire}`)
    const length = this.varint()
    if (length > this.#bytes.length - this.#at) throw unreadable('it ends too early')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  skip(wire: number): void {
    if (wire === WIRE.varint) this.#varint()
    else if (wire === WIRE.bytes) this.bytesOf(wire)
    else if (wire === WIRE.fixed64) this.#at += 8
    else if (wire === WIRE.fixed32) this.#at += 4
    else throw unreadable(`there is no wire type ${wire}`)
    if (this.#at > this.#bytes.length) throw unreadable('it ends too early')
  }

  #varint(): bigint {
    let small = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const octet = this.#octet()
      small |= (octet & 0x7f) << shift
      if (octet < 0x80) return BigInt(small)
    }
    let large = BigInt(small)
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const octet = this.#octet()
      large |= BigInt(octet & 0x7f) << shift
      if (octet < 0x80) return BigInt.asUintN(64, large)
    }
    throw unreadable('a number is longer than ten bytes')
  }

  #octet(): number {
    const octet = this.#bytes[this.#at]
    if (octet === undefined) throw unreadable('it ends too early')
    this.#at++
    return octet
  }
}

const unreadable = (why: string): SluiceError =>
  new SluiceError('SLUICE_POD_RUNTIME_WORDS', `A message of the container runtime cannot be read: ${why}`, {
    hint: 'Update the container runtime or the agent: they do not speak the same version.',
  })
