import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Json } from '../../api/resources.ts'
import { ProtobufWriter, readFields } from '../sdk/protobuf.ts'
import { decodeCbor, encodeCbor } from './cbor.ts'
import { parsePath, valueAt } from './path.ts'
import { Payload } from './payload.ts'
import { FORMATS, WIRES } from './schema.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

/** What the JSON number type keeps: -0 is 0. */
const json = fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.parse(JSON.stringify(value)) as Json)

describe('CBOR', () => {
  it('reads the examples of RFC 8949, appendix A', () => {
    const examples: readonly (readonly [string, Json])[] = [
      ['1903e8', 1000],
      ['3903e7', -1000],
      ['1b000000e8d4a51000', 1_000_000_000_000],
      ['f93e00', 1.5],
      ['f90001', 2 ** -24],
      ['fa47c35000', 100_000],
      ['fb3ff199999999999a', 1.1],
      ['f97c00', null],
      ['62c3bc', 'ü'],
      ['4401020304', 'AQIDBA=='],
      ['83010203', [1, 2, 3]],
      ['a26161016162820203', { a: 1, b: [2, 3] }],
      ['9f018202039f0405ffff', [1, [2, 3], [4, 5]]],
      ['bf61610161629f0203ffff', { a: 1, b: [2, 3] }],
      ['7f657374726561646d696e67ff', 'streaming'],
      ['c11a514b67b0', 1_363_896_240],
    ]
    for (const [bytes, value] of examples) expect(decodeCbor(hex(bytes))).toEqual(value)
  })

  it('gives back whatever was encoded', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(decodeCbor(encodeCbor(value))).toEqual(value)
      }),
    )
  })

  it('refuses lengths that are not there without making room for them', () => {
    for (const bytes of ['9bffffffffffffffff', '5affffffff', '7b7fffffffffffffff', 'ff', '1c', '81']) {
      expect(() => decodeCbor(hex(bytes))).toThrow()
    }
    expect(() => decodeCbor(Buffer.alloc(100_000, 0x81))).toThrow('nested deeper')
  })
})

describe('protobuf', () => {
  it('reads back every field that was written, in order', () => {
    const field = fc.record({
      number: fc.integer({ min: 1, max: 10_000 }),
      value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    })
    fc.assert(
      fc.property(fc.array(field), (fields) => {
        const writer = new ProtobufWriter()
        for (const { number, value } of fields) writer.varint(number, value)
        expect(readFields(writer.finish()).map(({ number, varint }) => ({ number, value: varint }))).toEqual(fields)
      }),
    )
  })

  it('is found by field numbers, inside messages and lists', () => {
    const inner = new ProtobufWriter().float(2, 21.5).varint(3, 3n).finish()
    const outer = new ProtobufWriter()
      .text(1, 'x')
      .bytes(4, new Uint8Array([0]))
      .bytes(4, inner)
      .finish()
    const payload = new Payload(outer)
    expect(payload.extract('protobuf', parsePath('4[1].2')!, 'float')).toEqual({ raw: 21.5 })
    expect(payload.extract('protobuf', parsePath('4.3')!, 'sint')).toEqual({ raw: -2 })
    expect(payload.extract('protobuf', parsePath('4.9')!, 'uint')).toMatchObject({
      problem: { code: 'payload-missing' },
    })
    expect(payload.extract('protobuf', parsePath('1')!, 'float')).toMatchObject({ problem: { code: 'payload-type' } })
  })
})

describe('a path', () => {
  it('is a JSON pointer or dotted, and never finds what objects inherit', () => {
    const value = { a: [{ 'b/c': 1 }], 'switch:0': { output: true } }
    expect(valueAt(value, parsePath('/a/0/b~1c')!)).toBe(1)
    expect(valueAt(value, parsePath('switch:0.output')!)).toBe(true)
    expect(valueAt(value, parsePath('a[0]')!)).toEqual({ 'b/c': 1 })
    for (const path of ['constructor', '__proto__', 'toString', '/a/length', 'a.0.x.y']) {
      expect(valueAt(value, parsePath(path)!)).toBeUndefined()
    }
    for (const wrong of ['a..b', 'a[', 'a[x]', '/~2']) expect(parsePath(wrong)).toBeUndefined()
  })
})

describe('a payload of anything', () => {
  it('gives a raw value or a problem in every format, and never throws', () => {
    const path = fc.constantFrom('', 'a', '/a/0', '1', '1[0].2').map((text) => parsePath(text)!)
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          json.map((value) => Buffer.from(JSON.stringify(value))),
        ),
        fc.constantFrom(...FORMATS),
        path,
        fc.constantFrom(...WIRES),
        (bytes, format, steps, wire) => {
          const extracted = new Payload(bytes).extract(format, steps, wire)
          expect('raw' in extracted ? extracted.raw !== undefined : extracted.problem.reason.length > 0).toBe(true)
        },
      ),
    )
  })
})
