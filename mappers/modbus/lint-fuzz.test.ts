import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import type { ModelProperty } from '../../api/resources.ts'
import { PROPERTY_TYPES } from '../../api/schema/device-model.ts'
import { explainBinding } from './explain.ts'
import { lintModbus } from './lint.ts'
import { ORDERS, VALUE_TYPES } from './schema.ts'
import { TABLES } from './tables.ts'

/** Anything the schema lets through. */
const anyBinding = fc
  .tuple(
    fc.constantFrom(...TABLES),
    fc.integer({ min: 0, max: 65536 }),
    fc.record(
      {
        as: fc.constantFrom(...VALUE_TYPES),
        order: fc.constantFrom(...ORDERS),
        length: fc.integer({ min: 1, max: 125 }),
        stringByte: fc.constantFrom('both', 'high', 'low'),
        scale: fc.double({ noNaN: true, noDefaultInfinity: true }).filter((scale) => scale !== 0),
        offset: fc.double({ noNaN: true, noDefaultInfinity: true }),
        bit: fc.nat(63),
        map: fc.dictionary(fc.string(), fc.string(), { maxKeys: 4 }),
        notImplemented: fc.array(fc.double(), { maxLength: 3 }),
        write: fc.record(
          { function: fc.constantFrom(5, 6, 15, 16, 22), register: fc.nat(65536) },
          { requiredKeys: [] },
        ),
      },
      { requiredKeys: [] },
    ),
  )
  .map(([table, address, rest]) => ({ [table]: address, ...rest }))

const anyProperty = fc
  .tuple(
    anyBinding,
    fc.record(
      {
        type: fc.constantFrom(...PROPERTY_TYPES),
        access: fc.constantFrom('read' as const, 'readwrite' as const, 'write' as const),
        min: fc.double({ noNaN: true }),
        max: fc.double({ noNaN: true }),
        precision: fc.double({ min: 0, noNaN: true }),
        enum: fc.array(fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null)), {
          minLength: 1,
          maxLength: 3,
        }),
        unit: fc.string(),
      },
      { requiredKeys: ['type'] },
    ),
  )
  .map(([modbus, frame]): ModelProperty => ({ name: 'x', ...frame, modbus }))

describe('anything the schema lets through', () => {
  it('can be linted, and planned unless it is said why not', () => {
    const model = fc.record(
      { addressBase: fc.constantFrom(0, 1), maxGap: fc.nat(100), order: fc.constantFrom(...ORDERS) },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(fc.array(anyProperty, { maxLength: 8 }), model, (some, modbus) => {
        const properties = some.map((property, index) => ({ ...property, name: `p${index}` }))
        const device = { model: 'm', modbus: { rtu: { port: '/dev/ttyS0' }, unit: 1 } }
        const findings = lintModbus({ properties, modbus }, [device])
        for (const { code, message, hint } of findings) expect(code && message && hint).toBeTruthy()
        try {
          explainBinding({ key: 'ns/x', device, model: { properties, modbus }, revision: '1' })
        } catch (error) {
          expect(error).toBeInstanceOf(SluiceError)
          expect(findings.some(({ severity }) => severity === 'error')).toBe(true)
        }
      }),
      { numRuns: 300 },
    )
  })
})
