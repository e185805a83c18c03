import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Unusable } from '../../sdk/no-value.ts'
import { applyConverter } from './converter.ts'
import { STANDARD, standardOf } from './standard.ts'
import { isUuid, shortUuid } from './uuid.ts'
import { readValue, VALUE_TYPES, type ValueFormat, writeValue } from './values.ts'

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const format = (as: ValueFormat['as'], rest: Partial<ValueFormat> = {}): ValueFormat => ({
  as,
  order: 'little',
  at: 0,
  length: undefined,
  ...rest,
})

describe('values of bytes', () => {
  it.each([
    ['int16', '6608', 2150],
    ['int24', 'ffffff', -1],
    ['uint24', 'ffffff', 0xffffff],
    ['uint48', '010000000001', 0x010000000001],
    ['float32', '0000c841', 25],
    ['sfloat', '01f1', 25.7],
    ['float11073', '6c0100ff', 36.4],
    ['string', '48616c6c6f00ff', 'Hallo'],
    ['bool', '02', true],
  ] as const)('reads %s from %s', (as, bytes, value) => {
    expect(readValue(format(as), hex(bytes))).toBe(value)
  })

  it('reads big-endian and at a place', () => {
    expect(readValue(format('int16', { order: 'big', at: 3 }), hex('99040512fc5394'))).toBe(0x12fc)
  })

  it('says what cannot be a value', () => {
    expect(readValue(format('int16'), hex('01'))).toMatchObject({ code: 'too-short' })
    expect(readValue(format('float32'), hex('0000c07f'))).toMatchObject({ code: 'not-a-number' })
    expect(readValue(format('sfloat'), hex('ff07'))).toMatchObject({ code: 'not-available' })
    expect(readValue(format('string'), hex('ff'))).toMatchObject({ code: 'not-text' })
  })

  it('never throws', () => {
    const any = fc.record({
      as: fc.constantFrom(...VALUE_TYPES),
      order: fc.constantFrom('little' as const, 'big' as const),
      at: fc.nat(40),
      length: fc.option(fc.nat(40), { nil: undefined }),
    })
    fc.assert(fc.property(any, fc.uint8Array({ maxLength: 40 }), (one, data) => void readValue(one, data)))
  })

  it('reads back the integers that were written, and refuses those that do not fit', () => {
    const sized = fc.constantFrom(
      'int8',
      'uint8',
      'int16',
      'uint16',
      'int24',
      'uint24',
      'int32',
      'uint32',
      'int48' as const,
      'uint48' as const,
      'int64',
      'uint64',
    )
    const order = fc.constantFrom('little' as const, 'big' as const)
    fc.assert(
      fc.property(sized, order, fc.bigInt({ min: -(2n ** 65n), max: 2n ** 65n }), (as, way, value) => {
        const one = format(as as ValueFormat['as'], { order: way })
        const bytes = writeValue(one, value)
        if (bytes instanceof Unusable) expect(bytes.code).toBe('range')
        else expect(BigInt(readValue(one, bytes) as number | bigint)).toBe(value)
      }),
    )
  })
})

describe("KubeEdge's converter", () => {
  it('takes bytes in either direction, shifts and calculates', () => {
    const operations = [
      { type: 'multiply', value: 0.03125 },
      { type: 'subtract', value: 1 },
    ] as const
    // A TI SensorTag's object temperature: bytes 1 and 0 as one number, shifted right by two.
    expect(applyConverter({ start: 1, end: 0, shiftRight: 2, operations }, hex('800c'))).toBe(24)
    expect(applyConverter({ start: 0, end: 1 }, hex('0102'))).toBe(0x0102)
    expect(applyConverter({ start: 0, end: 0, shiftLeft: 4 }, hex('0f'))).toBe(240)
  })

  it('never throws', () => {
    const place = fc.nat(20)
    const operation = fc.record({
      type: fc.constantFrom('add', 'subtract', 'multiply', 'divide' as const),
      value: fc.double(),
    })
    const converter = fc.record({ start: place, end: place, shiftLeft: fc.nat(63), operations: fc.array(operation) })
    fc.assert(
      fc.property(converter, fc.uint8Array({ maxLength: 21 }), (one, data) => {
        const value = applyConverter(
          {
            ...one,
            operations: one.operations.map(({ type, value: number }) => ({ type: type as 'add', value: number })),
          },
          data,
        )
        if (!(value instanceof Unusable)) expect(Number.isFinite(value)).toBe(true)
      }),
    )
  })
})

describe('UUIDs', () => {
  it('has one spelling', () => {
    expect(shortUuid('0x2A19')).toBe('2a19')
    expect(shortUuid('00002A19-0000-1000-8000-00805F9B34FB')).toBe('2a19')
    expect(shortUuid('00140000-0001-11e1-ac36-0002a5d5c51b')).toBe('00140000000111e1ac360002a5d5c51b')
    expect(isUuid('batteryLevel')).toBe(false)
  })

  it('finds standard characteristics by name and number, and nothing by a word of JavaScript', () => {
    expect(standardOf('batteryLevel')).toBe(standardOf('2a19'))
    expect(standardOf('constructor')).toBeUndefined()
    const uuids = Object.values(STANDARD).map(({ uuid }) => uuid)
    expect(new Set(uuids).size).toBe(uuids.length)
  })
})
