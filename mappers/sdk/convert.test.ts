import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ModelProperty } from '../../api/resources.ts'
import { checkDesired, compileLinear, compileRounding, shortestFloat32 } from './convert.ts'

describe('scale and offset', () => {
  it('gives decimals a person would write', () => {
    expect(compileLinear(0.1)!.toValue(2301)).toBe(230.1)
    expect(compileLinear(0.001)!.toValue(50_001)).toBe(50.001)
    expect(compileLinear(0.1, -40)!.toValue(653)).toBe(25.3)
    expect(compileLinear(0.05)!.toValue(3)).toBe(0.15)
    expect(compileLinear(10)!.toValue(7)).toBe(70)
    expect(compileLinear(1, 0)).toBeUndefined()
  })

  it('comes back to the same raw number', () => {
    const scale = fc.constantFrom(0.1, 0.01, 0.001, 0.5, 2, 10, 0.3, 1 / 3, 1e-7, -0.1)
    fc.assert(
      fc.property(fc.integer(), scale, fc.constantFrom(0, -40, 0.5, 273.15), (raw, by, offset) => {
        const linear = compileLinear(by, offset)!
        expect(Math.round(linear.toRaw(linear.toValue(raw))) + 0).toBe(raw)
      }),
    )
  })

  it('rounds to a step, close to the value and idempotently', () => {
    const step = fc.constantFrom(0.1, 0.25, 0.5, 1, 5, 0.001, 0.3)
    fc.assert(
      fc.property(fc.double({ min: -1e6, max: 1e6, noNaN: true }), step, (value, by) => {
        const round = compileRounding(by)!
        expect(Math.abs(round(value) - value)).toBeLessThanOrEqual(by / 2 + 1e-6)
        expect(round(round(value))).toBe(round(value))
      }),
    )
    expect(compileRounding(0.1)!(230.14999389648438)).toBe(230.1)
  })

  it('shows a float32 as the number that was meant, and never changes its value', () => {
    expect(shortestFloat32(Math.fround(230.1))).toBe(230.1)
    expect(shortestFloat32(Math.fround(-0.05))).toBe(-0.05)
    fc.assert(
      fc.property(fc.float(), (value) => {
        const short = shortestFloat32(value)
        expect(Object.is(Math.fround(short), value) || (short === 0 && value === 0)).toBe(true)
      }),
    )
  })
})

describe('a desired value', () => {
  const property = (rest: Partial<ModelProperty>): ModelProperty => ({
    name: 'x',
    type: 'int',
    access: 'readwrite',
    ...rest,
  })
  const code = (rest: Partial<ModelProperty>, value: Parameters<typeof checkDesired>[1]) =>
    checkDesired(property(rest), value)?.code

  it('has to be writable, of the type, in the enum and within the limits', () => {
    expect(code({ access: 'read' }, 1)).toBe('SLUICE_WRITE_READ_ONLY')
    expect(code({}, 1)).toBeUndefined()
    expect(code({}, 1.5)).toBe('SLUICE_VALUE_TYPE')
    expect(code({ enum: [1, 2] }, 3)).toBe('SLUICE_VALUE_ENUM')
    expect(code({ min: 0, max: 5 }, 6)).toBe('SLUICE_VALUE_RANGE')
  })
})
