import { describe, expect, it } from 'vitest'
import type { DeviceModelSpec, DeviceSpec, ModelProperty } from '../../api/resources.ts'
import { lintModbus } from './lint.ts'

const lint = (properties: ModelProperty[], modbus: object = {}, devices: DeviceSpec[] = []) =>
  lintModbus({ properties, modbus } satisfies DeviceModelSpec, devices)

const codes = (...args: Parameters<typeof lint>) => lint(...args).map(({ code }) => code.replace('SLUICE_LINT_', ''))

const p = (modbus: object, rest: Partial<ModelProperty> = {}): ModelProperty => ({
  name: 'x',
  type: 'int',
  ...rest,
  modbus,
})

describe('the linter', () => {
  it('has nothing to say about a good model', () => {
    const good = [
      p({ input: 0, as: 'float32' }, { name: 'voltage', type: 'float', unit: 'V', precision: 0.1 }),
      p({ input: 2, as: 'int16', scale: 0.1 }, { name: 'temperature', type: 'float', unit: 'degC' }),
      p(
        { holding: 0, map: { 0: 'off', 1: 'on' } },
        { name: 'mode', type: 'string', access: 'readwrite', enum: ['off', 'on'] },
      ),
      p({ coil: 3 }, { name: 'relay', type: 'bool', access: 'readwrite' }),
      p({ holding: 5, bit: 0 }, { name: 'alarm', type: 'bool' }),
      p({ holding: 5, bit: 1 }, { name: 'warning', type: 'bool' }),
      p({ holding: 10, as: 'string', length: 8 }, { name: 'serial', type: 'string' }),
    ]
    expect(lint(good)).toEqual([])
  })

  for (const [what, expected, properties, model] of [
    [
      'registers that overlap with different types',
      'OVERLAP',
      [p({ input: 0, as: 'float32' }, { type: 'float' }), p({ input: 1 }, { name: 'y' })],
    ],
    [
      'a scale register out of reach',
      'SCALE_REGISTER',
      [p({ holding: 0, scaleRegister: 200 }, { type: 'float', unit: 'W' })],
    ],
    [
      'a scale register inside its value',
      'SCALE_REGISTER',
      [p({ holding: 0, as: 'int32', scaleRegister: 1 }, { type: 'float', unit: 'W' })],
    ],
    [
      'a scale register behind a forbidden range',
      'SCALE_REGISTER',
      [p({ holding: 0, scaleRegister: 9 }, { type: 'float', unit: 'W' })],
      { forbidden: [{ table: 'holding', start: 4, count: 1 }] },
    ],
    ['a scale register for an int', 'SCALE_ON_INT', [p({ holding: 0, scaleRegister: 1 }, { unit: 'W' })]],
    ['the same register twice', 'DUPLICATE', [p({ input: 0 }), p({ input: 0 }, { name: 'y' })]],
    ['a scale without a unit', 'SCALE_WITHOUT_UNIT', [p({ input: 0, scale: 0.1 }, { type: 'float' })]],
    ['an int with a decimal scale', 'SCALE_ON_INT', [p({ input: 0, scale: 0.1 }, { unit: 'V' })]],
    ['a float read into an int', 'FLOAT_AS_INT', [p({ input: 0, as: 'float32' })]],
    ['a write to an input register', 'READ_ONLY_TABLE', [p({ input: 0 }, { access: 'readwrite' })]],
    ['a write to a discrete input', 'READ_ONLY_TABLE', [p({ discrete: 0 }, { type: 'bool', access: 'write' })]],
    ['a register past the end', 'ADDRESS', [p({ holding: 65535, as: 'uint32' })]],
    ['address 0 of a table that counts from 1', 'ADDRESS', [p({ holding: 0 })], { addressBase: 1 }],
    [
      'a value longer than a read',
      'TOO_LONG',
      [p({ holding: 0, as: 'string', length: 20 }, { type: 'string' })],
      { maxRegistersPerRead: 16 },
    ],
    ['a string without a length', 'LENGTH', [p({ holding: 0, as: 'string' }, { type: 'string' })]],
    ['a length nobody uses', 'LENGTH', [p({ holding: 0, as: 'uint32', length: 7 })]],
    ['an enum outside the map', 'ENUM', [p({ holding: 0, map: { 0: 'off' } }, { type: 'string', enum: ['on'] })]],
    ['an enum outside the type', 'ENUM', [p({ holding: 0 }, { enum: [70_000] })]],
    ['a map key that cannot come', 'MAP', [p({ holding: 0, map: { 70000: 'x' } }, { type: 'string' })]],
    [
      'a word that stands for two raw values',
      'MAP',
      [p({ holding: 0, map: { 0: 'x', 1: 'x' } }, { type: 'string', access: 'readwrite' })],
    ],
    ['limits nothing can reach', 'LIMITS', [p({ holding: 0, scale: 0.1 }, { type: 'float', unit: 'V', min: 7000 })]],
    ['limits wider than what can be written', 'LIMITS', [p({ holding: 0 }, { access: 'readwrite', max: 100_000 })]],
    [
      'a precision finer than the device',
      'PRECISION',
      [p({ input: 0, scale: 0.1 }, { type: 'float', unit: 'V', precision: 0.01 })],
    ],
    ['a bit out of range', 'BIT', [p({ holding: 0, bit: 16 }, { type: 'bool' })]],
    ['bits of a float', 'BIT', [p({ holding: 0, as: 'float32', bits: { first: 0, count: 4 } })]],
    ['a word order on one register', 'ORDER', [p({ holding: 0, order: 'big-swap' })]],
    ['a number type on coils', 'TYPE', [p({ coil: 0, as: 'uint16' })]],
    ['an object', 'TYPE', [p({ holding: 0 }, { type: 'object' })]],
    ['a map on a number', 'TYPE', [p({ holding: 0, map: { 0: 'off' } })]],
    [
      'a write function that does not fit',
      'WRITE_FUNCTION',
      [p({ holding: 0, as: 'uint32', write: { function: 6 } }, { access: 'readwrite' })],
    ],
    [
      'a heartbeat shorter than the poll',
      'HEARTBEAT',
      [p({ holding: 0 }, { poll: { every: '60s' }, report: { heartbeat: '10s' } })],
    ],
    ['addresses as manuals write them', 'ADDRESS_BASE', [p({ holding: 40001 }), p({ holding: 40010 }, { name: 'y' })]],
    [
      'a property in a forbidden range',
      'FORBIDDEN',
      [p({ holding: 5 })],
      { forbidden: [{ table: 'holding', start: 4, count: 4 }] },
    ],
  ] as const) {
    it(`finds ${what}`, () => {
      const findings = lint([...properties], model)
      expect(findings.map(({ code }) => code)).toEqual([`SLUICE_LINT_${expected}`])
      expect(findings[0]!.path.slice(0, 2)).toEqual(['spec', 'properties'])
      expect(findings[0]!.hint.length).toBeGreaterThan(10)
    })
  }

  it('finds a poll rate that the line cannot carry', () => {
    const many = Array.from({ length: 40 }, (_, index) => p({ input: index * 100 }, { name: `p${index}` }))
    const device = { model: 'm', modbus: { rtu: { port: '/dev/ttyS0', baud: 9600 }, unit: 1 } }
    expect(codes(many, {}, [device])).toEqual(['LOAD'])
    expect(codes(many, {}, [{ ...device, poll: { every: '5s' } }])).toEqual([])
  })
  it('finds devices that want one line to run at two speeds', () => {
    const at = (baud: number, unit: number) => ({ model: 'm', modbus: { rtu: { port: '/dev/ttyS0', baud }, unit } })
    const few = [p({ input: 0 })]
    expect(codes(few, {}, [at(9600, 1), at(9600, 2)])).toEqual([])
    expect(codes(few, {}, [at(9600, 1), at(19200, 2)])).toEqual(['LINE'])
  })
})
