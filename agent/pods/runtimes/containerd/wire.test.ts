import fc from 'fast-check'
import protobuf from 'protobufjs'
import { describe, expect, it } from 'vitest'
import { CONTAINERD, ContainerConfig, CRI } from './cri.ts'
import { bytes, flag, int, ints, Message, many, map, one, text, texts } from './wire.ts'

const Inner = new Message({ name: text(1), list: texts(2) })
const Outer = new Message({
  text: text(1),
  data: bytes(2),
  flag: flag(3),
  number: int(4),
  numbers: ints(5),
  texts: texts(6),
  inner: one(7, Inner),
  inners: many(8, Inner),
  map: map(100),
})

/** The same in the words of a foreign implementation. */
const foreign = protobuf
  .parse(`
    syntax = "proto3";
    message Inner { string name = 1; repeated string list = 2; }
    message Outer {
      string text = 1; bytes data = 2; bool flag = 3; int64 number = 4; repeated int64 numbers = 5;
      repeated string texts = 6; Inner inner = 7; repeated Inner inners = 8; map<string, string> map = 100;
    }`)
  .root.lookupType('Outer')

const inner = fc.record({ name: fc.string({ unit: 'binary' }), list: fc.array(fc.string()) })
const number = fc.oneof(fc.maxSafeInteger(), fc.integer({ min: -5, max: 300 }))
const outer = fc.record({
  text: fc.string({ unit: 'binary' }),
  data: fc.uint8Array().map((each) => Buffer.from(each)),
  flag: fc.boolean(),
  number,
  numbers: fc.array(number),
  texts: fc.array(fc.string()),
  inner: fc.option(inner, { nil: undefined }),
  inners: fc.array(inner),
  map: fc.dictionary(
    fc.string().filter((key) => key !== '__proto__'),
    fc.string(),
    { noNullPrototype: true },
  ),
})

describe('messages as they go over the wire', () => {
  it('come back as they were', () => {
    fc.assert(fc.property(outer, (value) => void expect(Outer.decode(Outer.encode(value))).toEqual(value)))
  })

  it('are read by a foreign implementation as they were meant, and the other way round', () => {
    const plain = (read: protobuf.Message) => foreign.toObject(read, { longs: Number, defaults: true, bytes: Buffer })
    fc.assert(
      fc.property(outer, (value) => {
        expect(plain(foreign.decode(Outer.encode(value)))).toEqual({ ...value, inner: value.inner ?? null })
        expect(Outer.decode(foreign.encode(foreign.fromObject(value)).finish())).toEqual(value)
      }),
    )
  })

  it('may have fields of later versions, which are passed over', () => {
    const Later = new Message({ text: text(1), more: one(2000, Inner), number: int(2001) })
    const read = new Message({ text: text(1) }).decode(
      Later.encode({ text: 'a', more: { name: 'b' }, number: 2 ** 40 }),
    )
    expect(read).toEqual({ text: 'a' })
  })

  it('may be any bytes: they are read or refused with one code', () => {
    const all = [...Object.values(CRI), ...Object.values(CONTAINERD)].map(({ response }) => response)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 256 }), (given) => {
        for (const message of [Outer, ContainerConfig, ...all]) {
          try {
            message.decode(given)
          } catch (error) {
            expect(error).toMatchObject({ code: 'SLUICE_POD_RUNTIME_WORDS' })
          }
        }
      }),
    )
  })

  it('do not nest without end', () => {
    expect(() => Inner.decode(Buffer.alloc(0), 33)).toThrow(
      expect.objectContaining({ code: 'SLUICE_POD_RUNTIME_WORDS' }),
    )
  })
})
