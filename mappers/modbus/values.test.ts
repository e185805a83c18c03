import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Unusable } from '../sdk/no-value.ts'
import { ORDERS, VALUE_TYPES } from './schema.ts'
import { compileReader, type Raw, rawToRegisters, registersOf, type ValueFormat } from './values.ts'

const format = (as: ValueFormat['as'], rest: Partial<ValueFormat> = {}): ValueFormat => ({
  as,
  order: 'big',
  length: 4,
  stringByte: 'both',
  ...rest,
})

const bytesOf = (...registers: number[]): DataView => {
  const view = new DataView(new ArrayBuffer(registers.length * 2))
  registers.forEach((register, index) => {
    view.setUint16(index * 2, register)
  })
  return view
}

const rawFor = (as: ValueFormat['as']): fc.Arbitrary<Raw> => {
  switch (as) {
    case 'bool':
      return fc.integer({ min: 0, max: 1 })
    case 'int8l':
    case 'int8h':
      return fc.integer({ min: -128, max: 127 })
    case 'uint8l':
    case 'uint8h':
      return fc.integer({ min: 0, max: 255 })
    case 'int16':
      return fc.integer({ min: -32768, max: 32767 })
    case 'uint16':
      return fc.integer({ min: 0, max: 65535 })
    case 'int32':
      return fc.integer()
    case 'uint32':
      return fc.integer({ min: 0, max: 2 ** 32 - 1 })
    case 'int64':
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(smallest)
    case 'uint64':
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(smallest)
    case 'float16':
      return fc
        .tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 1023 }))
        .map(([sign, exponent, fraction]) => {
          const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)
          return sign === 1 ? -size : size
        })
    case 'float32':
      return fc.float({ noNaN: true, noDefaultInfinity: true })
    case 'float64':
      return fc.double({ noNaN: true, noDefaultInfinity: true })
    case 'bcd16':
      return fc.integer({ min: 0, max: 9999 })
    case 'bcd32':
      return fc.integer({ min: 0, max: 99_999_999 })
    case 'string':
      return fc
        .string({ unit: fc.constantFrom(...'abcXYZ019-é'), maxLength: 4 })
        .filter((text) => Buffer.byteLength(text) <= 4)
    case 'bytes':
      return fc.uint8Array({ minLength: 8, maxLength: 8 })
  }
}

const smallest = (value: bigint): Raw => (Number.isSafeInteger(Number(value)) ? Number(value) : value)

describe('values in registers', () => {
  for (const as of VALUE_TYPES) {
    it(`gives back every ${as} it wrote, in every order`, () => {
      fc.assert(
        fc.property(
          rawFor(as),
          fc.constantFrom(...ORDERS),
          fc.constantFrom('both', 'high', 'low'),
          fc.nat(3),
          (raw, order, stringByte, lead) => {
            const shape = format(as, { order, stringByte: as === 'string' ? (stringByte as 'both') : 'both' })
            const registers = rawToRegisters(shape, raw)
            if (registers instanceof Unusable) throw new Error(registers.reason)
            expect(registers).toHaveLength(registersOf(shape))
            const view = bytesOf(...Array.from({ length: lead }, () => 0xa5a5), ...registers)
            expect(compileReader(shape)(view, lead * 2)).toEqual(raw)
          },
        ),
        { numRuns: 60 },
      )
    })
  }

  it('reads the four orders of 0x12345678 as their names say', () => {
    const read = (order: ValueFormat['order'], ...registers: number[]) =>
      compileReader(format('uint32', { order }))(bytesOf(...registers), 0)
    expect(read('ABCD', 0x1234, 0x5678)).toBe(0x12345678)
    expect(read('CDAB', 0x5678, 0x1234)).toBe(0x12345678)
    expect(read('DCBA', 0x7856, 0x3412)).toBe(0x12345678)
    expect(read('BADC', 0x3412, 0x7856)).toBe(0x12345678)
  })

  it('reads 64 bits in all orders', () => {
    const read = (order: ValueFormat['order'], ...registers: number[]) =>
      compileReader(format('uint64', { order }))(bytesOf(...registers), 0)
    expect(read('big', 0x0001, 0x2345, 0x6789, 0xabcd)).toBe(0x123456789abcd)
    expect(read('big-swap', 0xabcd, 0x6789, 0x2345, 0x0001)).toBe(0x123456789abcd)
    expect(read('little', 0xcdab, 0x8967, 0x4523, 0x0100)).toBe(0x123456789abcd)
    expect(read('little-swap', 0x0100, 0x4523, 0x8967, 0xcdab)).toBe(0x123456789abcd)
  })

  it('never throws and never gives undefined for any registers', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...VALUE_TYPES),
        fc.constantFrom(...ORDERS),
        fc.array(fc.integer({ min: 0, max: 65535 }), { minLength: 4, maxLength: 4 }),
        (as, order, registers) => {
          expect(compileReader(format(as, { order }))(bytesOf(...registers), 0)).toBeDefined()
        },
      ),
    )
  })

  it('refuses what does not fit', () => {
    for (const [as, raw] of [
      ['uint16', -1],
      ['uint16', 65536],
      ['int16', 32768],
      ['int32', 2 ** 31],
      ['uint64', 2n ** 64n],
      ['bcd16', 10_000],
      ['float32', 1e39],
      ['float32', Number.NaN],
      ['string', 'nine bytes'],
      ['uint16', 'x'],
    ] as const) {
      expect(rawToRegisters(format(as), raw), `${as} ${raw}`).toBeInstanceOf(Unusable)
    }
  })

  it('calls a BCD number with a digit above 9 unusable', () => {
    expect(compileReader(format('bcd16'))(bytesOf(0x12a4), 0)).toMatchObject({ code: 'not-bcd' })
  })

  it('ends text at the first NUL and drops the padding', () => {
    const read = compileReader(format('string'))
    expect(read(bytesOf(0x5344, 0x4d31, 0x3230, 0x0041), 0)).toBe('SDM120')
    expect(read(bytesOf(0x4142, 0x2020, 0x2020, 0x2020), 0)).toBe('AB')
  })
})
