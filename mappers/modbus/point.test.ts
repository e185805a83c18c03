import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Json, ModelProperty } from '../../api/resources.ts'
import { Unusable } from '../sdk/no-value.ts'
import { compilePoint, type Encoded, type Point } from './point.ts'

const point = (modbus: object, rest: Partial<ModelProperty> = {}, model = {}): Point =>
  compilePoint({ name: 'x', type: 'int', access: 'readwrite', ...rest, modbus }, model, {})!

const viewOf = (registers: ArrayLike<number>): DataView => {
  const view = new DataView(new ArrayBuffer(registers.length * 2))
  for (let i = 0; i < registers.length; i++) view.setUint16(i * 2, registers[i]!)
  return view
}

const read = (p: Point, ...registers: number[]) => p.decode(viewOf(registers), 0)

function encoded(p: Point, value: Json): Encoded {
  const result = p.encode(value)
  if ('code' in result) throw new Error(result.reason)
  return result
}

describe('a bound property', () => {
  it('scales, rounds and maps', () => {
    expect(read(point({ holding: 0, as: 'int16', scale: 0.1 }, { type: 'float' }), 0xfff6)).toBe(-1)
    expect(read(point({ holding: 0, as: 'float32' }, { type: 'float', precision: 0.5 }), 0x4366, 0x199a)).toBe(230)
    expect(read(point({ holding: 0, as: 'float32' }, { type: 'float' }), 0x4366, 0x199a)).toBe(230.1)
    expect(read(point({ holding: 0, map: { 0: 'off', 1: 'on' } }, { type: 'string' }), 1)).toBe('on')
    expect(read(point({ holding: 0, map: { 0: 'off' } }, { type: 'string' }), 7)).toMatchObject({ code: 'not-in-map' })
    expect(read(point({ holding: 0, as: 'bool' }, { type: 'bool' }), 2)).toBe(true)
  })

  it('takes bits out of numbers of every width, signed or not', () => {
    expect(read(point({ holding: 0, bit: 15 }, { type: 'bool' }), 0x8000)).toBe(true)
    expect(read(point({ holding: 0, as: 'int16', bits: { first: 12, count: 4 } }), 0xf000)).toBe(15)
    expect(read(point({ holding: 0, as: 'uint32', bits: { first: 20, count: 8 } }), 0xabc0, 0)).toBe(0xbc)
    expect(read(point({ holding: 0, as: 'uint64', bit: 63 }, { type: 'bool' }), 0x8000, 0, 0, 0)).toBe(true)
  })

  it('knows the ways a device says that it has no value', () => {
    expect(read(point({ holding: 0, as: 'int16', notImplemented: [0x8000] }), 0x8000)).toMatchObject({
      code: 'not-available',
    })
    expect(read(point({ holding: 0, as: 'int16', notImplemented: [-32768] }), 0x8000)).toMatchObject({
      code: 'not-available',
    })
    expect(read(point({ holding: 0, as: 'uint32', notImplemented: [0xffffffff] }), 0xffff, 0xffff)).toMatchObject({
      code: 'not-available',
    })
    expect(read(point({ holding: 0, as: 'float32' }, { type: 'float' }), 0x7fc0, 0)).toMatchObject({
      code: 'not-a-number',
    })
  })

  it('takes its power of ten from another register, before or after the value', () => {
    const power = point({ holding: 14, as: 'int16', scaleRegister: 15 }, { type: 'float', unit: 'W' })
    expect(power).toMatchObject({ start: 14, size: 2 })
    expect(read(power, 1234, 1)).toBe(12_340)
    expect(read(power, 0xfb2e, 0xffff)).toBe(-123.4)
    expect(read(power, 1234, 0xfff6)).toBe(1234 / 1e10)
    const before = point({ holding: 10, as: 'uint32', scaleRegister: 8, scale: 0.001 }, { type: 'float' })
    expect(before).toMatchObject({ start: 8, size: 4 })
    expect(read(before, 2, 0, 0, 12_345)).toBe(1234.5)
  })

  it('gives no value when the device has none, or its scale makes no sense', () => {
    const p = point({ holding: 0, as: 'uint16', scaleRegister: 1 }, { type: 'float' }, { sunspec: true })
    expect(read(p, 0xffff, 0)).toMatchObject({ code: 'not-implemented' })
    expect(read(p, 5, 0x8000)).toMatchObject({ code: 'not-implemented' })
    expect(read(p, 5, 11)).toMatchObject({ code: 'bad-scale' })
    expect(read(p, 5, 10)).toBe(5e10)
  })

  it.each([
    ['int16', [0x8000]],
    ['uint16', [0xffff]],
    ['int32', [0x8000, 0]],
    ['uint32', [0xffff, 0xffff]],
    ['int64', [0x8000, 0, 0, 0]],
    ['uint64', [0xffff, 0xffff, 0xffff, 0xffff]],
    ['float32', [0x7fc0, 0]],
    ['float64', [0x7ff8, 0, 0, 0]],
  ])('knows what SunSpec writes where a device has no %s, and only in a model that says so', (as, registers) => {
    const modbus = { holding: 0, as }
    expect(read(point(modbus, { type: 'float' }, { sunspec: true }), ...registers)).toMatchObject({
      code: 'not-implemented',
    })
    const plain = read(point(modbus, { type: 'float' }), ...registers)
    expect(plain).not.toMatchObject({ code: 'not-implemented' })
  })

  it('a text of zeros is one that SunSpec devices do not have', () => {
    const modbus = { holding: 0, as: 'string', length: 2 }
    expect(read(point(modbus, { type: 'string' }, { sunspec: true }), 0, 0)).toMatchObject({ code: 'not-implemented' })
    expect(read(point(modbus, { type: 'string' }), 0, 0)).toBe('')
  })

  it('a shift moves value, scale and where it is written', () => {
    const property = { name: 'x', type: 'float' as const, access: 'readwrite' as const }
    const p = compilePoint({ ...property, modbus: { holding: 40_072, scaleRegister: 40_076 } }, {}, {}, 10_000)!
    expect(p).toMatchObject({ start: 50_072, size: 5, write: { start: 50_072 } })
  })

  it('what is read is what is written, whatever the power of ten', () => {
    const p = point({ holding: 0, as: 'int32', scaleRegister: 2 }, { type: 'float' })
    fc.assert(
      fc.property(
        fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        fc.integer({ min: -10, max: 10 }),
        (raw, exponent) => {
          const [high, low] = [(raw >>> 16) & 0xffff, raw & 0xffff]
          const value = read(p, high!, low!, exponent & 0xffff)
          expect(p.encode(value as number, exponent)).toEqual({
            kind: 'registers',
            values: Uint16Array.of(high!, low!),
          })
        },
      ),
    )
  })

  it('gives 64-bit integers as text where a number could not hold them', () => {
    const p = point({ holding: 0, as: 'uint64' })
    expect(read(p, 0xffff, 0xffff, 0xffff, 0xffff)).toBe('18446744073709551615')
    expect(read(p, 0, 0, 0, 5)).toBe(5)
    expect(encoded(p, '18446744073709551615')).toMatchObject({ values: Uint16Array.of(0xffff, 0xffff, 0xffff, 0xffff) })
  })

  it('counts from 1 where the manual does', () => {
    expect(point({ holding: 1 }, {}, { addressBase: 1 }).start).toBe(0)
    expect(() => point({ holding: 0 }, {}, { addressBase: 1 })).toThrow('outside')
    expect(() => point({ holding: 65535, as: 'uint32' })).toThrow('outside')
  })

  it('refuses to encode what its registers cannot hold', () => {
    expect(point({ holding: 0 }).encode(65536)).toMatchObject({ code: 'SLUICE_VALUE_RANGE' })
    expect(point({ holding: 0, bits: { first: 0, count: 3 } }).encode(8)).toMatchObject({
      code: 'SLUICE_VALUE_RANGE',
    })
    expect(point({ holding: 0, as: 'string', length: 2 }, { type: 'string' }).encode('12345')).toMatchObject({
      code: 'SLUICE_VALUE_RANGE',
    })
    expect(point({ holding: 0, map: { 1: 'on' } }, { type: 'string' }).encode('off')).toMatchObject({
      code: 'SLUICE_VALUE_ENUM',
    })
    expect(point({ coil: 0 }).encode(2)).toMatchObject({ code: 'SLUICE_VALUE_RANGE' })
  })

  it('reads back what it encodes, for whole numbers at any scale and order', () => {
    const as = fc.constantFrom('int16', 'uint16', 'int32', 'uint32', 'float64', 'bcd32')
    const order = fc.constantFrom('big', 'big-swap', 'little', 'little-swap')
    fc.assert(
      fc.property(as, order, fc.constantFrom(1, 0.1, 0.01, 10), fc.nat(32_767), (type, by, scale, raw) => {
        const p = point({ holding: 0, as: type, order: by, scale }, { type: 'float' })
        const value = Number((raw * scale).toFixed(2))
        const { values } = encoded(p, value) as { values: Uint16Array }
        expect(p.decode(viewOf(values), 0)).toBeCloseTo(value, 9)
      }),
    )
  })

  it('changes only its own bits', () => {
    fc.assert(
      fc.property(
        fc.nat(12),
        fc.integer({ min: 1, max: 4 }),
        fc.nat(15),
        fc.nat(65535),
        (first, count, value, before) => {
          const wanted = value % 2 ** count
          const { values, mask } = encoded(point({ holding: 0, bits: { first, count } }), wanted) as Extract<
            Encoded,
            { kind: 'masked' }
          >
          const after = (before & ~mask[0]!) | (values[0]! & mask[0]!)
          expect(after & ~mask[0]!).toBe(before & ~mask[0]!)
          expect((after >> first) & (2 ** count - 1)).toBe(wanted)
        },
      ),
    )
  })

  it('decodes anything without throwing', () => {
    const binding = fc.record(
      {
        as: fc.constantFrom('int16', 'uint64', 'float16', 'float32', 'bcd32', 'string', 'bytes', 'int8l'),
        scale: fc.constantFrom(0.1, 7),
        bit: fc.nat(63),
        map: fc.constant({ 1: 'one' }),
        notImplemented: fc.constant([1]),
      },
      { requiredKeys: ['as'] },
    )
    const type = fc.constantFrom('int' as const, 'float' as const, 'bool' as const, 'string' as const, 'bytes' as const)
    const registers = fc.array(fc.nat(65535), { minLength: 4, maxLength: 4 })
    fc.assert(
      fc.property(binding, type, registers, (modbus, kind, data) => {
        const value = read(point({ holding: 0, length: 4, ...modbus }, { type: kind }), ...data)
        const usable =
          value instanceof Unusable || value === null || ['number', 'string', 'boolean'].includes(typeof value)
        expect(usable).toBe(true)
      }),
    )
  })
})
