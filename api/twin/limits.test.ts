import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkValue, type ValueLimits } from './limits.ts'

const codeOf = (limits: ValueLimits, value: unknown) => checkValue(limits, value)?.code

describe('checkValue', () => {
  test.each<[ValueLimits, unknown]>([
    [{ type: 'int', min: 1, max: 3 }, 3],
    [{ type: 'float' }, -0.5],
    [{ type: 'float', precision: 0.1 }, 0.3],
    [{ type: 'float', precision: 0.1 }, 1234567.9],
    [{ type: 'float', precision: 0 }, 0.123],
    [{ type: 'bool' }, false],
    [{ type: 'string' }, ''],
    [{ type: 'bytes' }, ''],
    [{ type: 'bytes' }, 'AQID'],
    [{ type: 'bytes' }, 'AQ=='],
    [{ type: 'object' }, { a: null }],
    [{ type: 'array' }, []],
    [{ type: 'int', enum: [2400, 9600] }, 9600],
    [{ type: 'object', enum: [{ a: 1 }] }, { a: 1 }],
  ])('allows %j the value %j', (limits, value) => {
    expect(checkValue(limits, value)).toBeUndefined()
  })

  test.each<[ValueLimits, unknown, string]>([
    [{ type: 'int' }, 1.5, 'SLUICE_VALUE_TYPE'],
    [{ type: 'int' }, 2 ** 53, 'SLUICE_VALUE_TYPE'],
    [{ type: 'int' }, '5', 'SLUICE_VALUE_TYPE'],
    [{ type: 'float' }, Number.NaN, 'SLUICE_VALUE_TYPE'],
    [{ type: 'float' }, null, 'SLUICE_VALUE_TYPE'],
    [{ type: 'bool' }, 1, 'SLUICE_VALUE_TYPE'],
    [{ type: 'string' }, 1, 'SLUICE_VALUE_TYPE'],
    [{ type: 'bytes' }, 'AQ=', 'SLUICE_VALUE_TYPE'],
    [{ type: 'object' }, [], 'SLUICE_VALUE_TYPE'],
    [{ type: 'array' }, {}, 'SLUICE_VALUE_TYPE'],
    [{ type: 'int', min: 1 }, 0, 'SLUICE_VALUE_RANGE'],
    [{ type: 'float', max: 1 }, 1.1, 'SLUICE_VALUE_RANGE'],
    [{ type: 'int', enum: [1, 2] }, 3, 'SLUICE_VALUE_ENUM'],
    [{ type: 'float', precision: 0.5 }, 0.7, 'SLUICE_VALUE_STEP'],
  ])('refuses %j the value %j with %s', (limits, value, code) => {
    expect(codeOf(limits, value)).toBe(code)
  })

  test('names the nearest value that fits, the range and the likely word', () => {
    expect(checkValue({ type: 'float', precision: 0.1 }, 21.37)?.hint).toBe('The nearest that fits is 21.4.')
    expect(checkValue({ type: 'int', min: 0, max: 100, unit: '%' }, 101)?.hint).toBe('Use 0 to 100 %.')
    expect(checkValue({ type: 'string', enum: ['heat', 'cool'] }, 'haet')?.hint).toBe("Did you mean 'heat'?")
  })

  test('allows every multiple of a step', () => {
    const step = fc.constantFrom(0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 5, 10)
    fc.assert(
      fc.property(step, fc.integer({ min: -1_000_000, max: 1_000_000 }), (precision, steps) => {
        expect(checkValue({ type: 'float', precision }, steps * precision)).toBeUndefined()
      }),
    )
  })

  test('never throws, whatever the value', () => {
    const type = fc.constantFrom<ValueLimits['type']>('int', 'float', 'bool', 'string', 'bytes', 'object', 'array')
    fc.assert(
      fc.property(type, fc.anything(), (each, value) => {
        checkValue({ type: each, min: 0, max: 5, precision: 0.1 }, value)
      }),
    )
  })
})
