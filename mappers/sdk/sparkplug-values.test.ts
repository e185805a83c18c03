import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ProtobufError, ProtobufWriter } from './protobuf.ts'
import { decodePayload, encodePayload, isEncodable } from './sparkplug-payload.ts'
import { ARRAY_TYPE, type ArrayType, decodeArray, decodeDataSet, encodeArray } from './sparkplug-values.ts'

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))

describe('an array of Sparkplug', () => {
  it.each([
    // The examples of Sparkplug B 3.0, section 6.4.16.
    ['Int8Array', 'ef 7b', [-17, 123]],
    ['Int16Array', 'd0 8a 30 75', [-30_000, 30_000]],
    ['Int32Array', 'ff ff ff ff fa af cb 12', [-1, 315_338_746]],
    ['UInt8Array', '17 fa', [23, 250]],
    ['UInt16Array', '1e 00 88 cc', [30, 52_360]],
    ['UInt32Array', '34 00 00 00 49 fb 55 c4', [52, 3_293_969_225]],
    ['BooleanArray', '0c 00 00 00 34 d0', [...'001101001101'].map((bit) => bit === '1')],
    ['StringArray', '41 42 43 00 68 65 6c 6c 6f 00', ['ABC', 'hello']],
    ['DateTimeArray', '00 68 e5 cf 8b 01 00 00', [1_700_000_000_000]],
  ] as const)('%s is packed as the specification shows it', (type, bytes, value) => {
    expect(decodeArray(type, hex(bytes))).toEqual({ value })
    expect(Buffer.from(encodeArray(type, value) ?? []).toString('hex')).toBe(bytes.replaceAll(' ', ''))
  })

  it('is read as it was written, in every type', () => {
    const whole = (bits: number, signed: boolean) =>
      signed
        ? fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 })
        : fc.integer({ min: 0, max: 2 ** bits - 1 })
    const finite = { noNaN: true, noDefaultInfinity: true }
    const texts = fc.string().filter((text) => !text.includes('\0'))
    const elements: Record<ArrayType, fc.Arbitrary<number | boolean | string>> = {
      ...{ Int8Array: whole(8, true), Int16Array: whole(16, true), Int32Array: whole(32, true) },
      ...{ UInt8Array: whole(8, false), UInt16Array: whole(16, false), UInt32Array: whole(32, false) },
      ...{ Int64Array: fc.maxSafeInteger(), UInt64Array: fc.maxSafeNat(), DateTimeArray: fc.maxSafeNat() },
      ...{ FloatArray: fc.float(finite), DoubleArray: fc.double(finite), BooleanArray: fc.boolean() },
      StringArray: texts,
    }
    for (const type of Object.keys(ARRAY_TYPE) as ArrayType[]) {
      fc.assert(
        fc.property(fc.array(elements[type]), (value) => {
          const [metric] = decodePayload(encodePayload({ metrics: [{ name: 'm', type, value }] })).metrics
          expect(metric).toEqual({ name: 'm', type, value })
        }),
        { numRuns: 30 },
      )
    }
  })

  it.each([
    ['Int16Array', '01 02 03', '3 bytes'],
    ['BooleanArray', '09 00 00 00 ff', '5 bytes'],
    ['BooleanArray', '01', '1 bytes'],
    ['StringArray', '41 42', 'does not end'],
    ['DoubleArray', '00 00 00 00 00 00 f8 7f', 'not finite'],
  ] as const)('%s of %s is refused with a reason', (type, bytes, words) => {
    expect(decodeArray(type, hex(bytes))).toEqual({ problem: expect.stringContaining(words) })
  })

  it('of other elements than its type has is not sent', () => {
    expect(isEncodable({ type: 'Int8Array', value: ['a'] })).toBe(false)
    expect(isEncodable({ type: 'BooleanArray', value: [1] })).toBe(false)
    expect(isEncodable({ type: 'StringArray', value: ['a\0b'] })).toBe(false)
    expect(isEncodable({ type: 'DataSet', value: [] })).toBe(false)
    expect(isEncodable({ type: 'Template', value: {} })).toBe(false)
    expect(isEncodable({ type: 'Int8Array', value: [1] })).toBe(true)
  })
})

describe('a data set', () => {
  const set = (columns: readonly string[], rows: readonly (readonly string[])[]) => {
    const writer = new ProtobufWriter().varint(1, BigInt(columns.length))
    for (const column of columns) writer.text(2, column)
    for (const cells of rows) {
      const row = new ProtobufWriter()
      for (const cell of cells) row.bytes(1, new ProtobufWriter().text(6, cell).finish())
      writer.bytes(4, row.finish())
    }
    return writer.finish()
  }

  it('whose rows do not fit its columns, or whose columns have one name, is refused with a reason', () => {
    expect(decodeDataSet(set(['a', 'b'], [['1', '2']]))).toEqual({ value: [{ a: '1', b: '2' }] })
    expect(decodeDataSet(set(['a', 'b'], [['1']]))).toEqual({ problem: expect.stringContaining('1 cells for 2') })
    expect(decodeDataSet(set(['a', 'a'], []))).toEqual({ problem: expect.stringContaining('one name') })
  })

  it('never breaks what reads it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeDataSet(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(ProtobufError)
        }
      }),
    )
  })
})

describe('a template', () => {
  const within = (depth: number): Uint8Array => {
    const inner = new ProtobufWriter().text(1, 'deeper').varint(4, 19n)
    if (depth > 0) inner.bytes(18, within(depth - 1))
    return new ProtobufWriter().bytes(2, inner.finish()).finish()
  }
  const payload = (depth: number) => {
    const metric = new ProtobufWriter().text(1, 'top').varint(4, 19n).bytes(18, within(depth)).finish()
    return new ProtobufWriter().bytes(2, metric).finish()
  }

  it('within templates is read a few deep and refused beyond', () => {
    expect(decodePayload(payload(2)).metrics[0]?.value).toEqual({ deeper: { deeper: { deeper: null } } })
    const [metric] = decodePayload(payload(1000)).metrics
    expect(metric?.value).toBeUndefined()
    expect(metric?.problem).toContain('within each other')
  })
})

it('a number that is not finite, and an extension, are no values and say so', () => {
  const metric = (field: (writer: ProtobufWriter) => void) => {
    const writer = new ProtobufWriter().text(1, 'm')
    field(writer)
    return decodePayload(new ProtobufWriter().bytes(2, writer.finish()).finish()).metrics[0]
  }
  expect(metric((writer) => writer.varint(4, 10n).double(13, Number.NaN))?.problem).toContain('not a finite number')
  expect(metric((writer) => writer.bytes(19, hex('00')))?.problem).toContain('extension')
})
