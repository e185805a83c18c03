import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { DeviceModelSpec } from '../../api/resources.ts'
import { firmwareRoot } from '../tools/board.ts'
import { catalogueModels, generateFor } from './round-trip.test-helper.ts'

/** One of each form, so that a change of the generator shows as a change of these files. */
const forms: DeviceModelSpec = {
  vendor: 'Example',
  description: 'One property of each form',
  properties: [
    { name: 'free', type: 'float', unit: 'degC' },
    { name: 'switch', type: 'bool', access: 'readwrite' },
    { name: 'mode', type: 'string', access: 'readwrite', enum: ['off', 'auto'] },
    {
      name: 'scaled',
      type: 'float',
      unit: 'V',
      access: 'readwrite',
      min: 0,
      max: 400,
      modbus: { holding: 10, as: 'uint16', scale: 0.1 },
    },
    { name: 'swapped', type: 'int', modbus: { holding: 11, as: 'int32', order: 'CDAB' } },
    { name: 'coded', type: 'int', access: 'readwrite', modbus: { holding: 13, as: 'bcd16' } },
    { name: 'half', type: 'float', modbus: { input: 20, as: 'float16' } },
    { name: 'low', type: 'int', access: 'readwrite', modbus: { holding: 30, as: 'int8l' } },
    { name: 'high', type: 'int', access: 'readwrite', modbus: { holding: 30, as: 'uint8h' } },
    { name: 'flag', type: 'bool', modbus: { input: 21, bit: 3 } },
    { name: 'few', type: 'int', modbus: { input: 21, bits: { first: 8, count: 4 } } },
    { name: 'label', type: 'string', access: 'readwrite', modbus: { holding: 40, as: 'string', length: 4 } },
    { name: 'blob', type: 'bytes', modbus: { input: 30, as: 'bytes', length: 3 } },
    { name: 'power', type: 'float', precision: 0.1, modbus: { input: 40, as: 'int16', scaleRegister: 42 } },
    { name: 'maybe', type: 'int', modbus: { input: 43, as: 'int16', notImplemented: [0x8000] } },
    {
      name: 'choice',
      type: 'int',
      access: 'readwrite',
      enum: [2400, 9600],
      modbus: { holding: 50, write: { register: 60 } },
    },
  ],
}

describe('what is generated', () => {
  const properties = new Map([['scaled', { default: 230.5, persist: true }]])
  const { files, lock } = generateFor('forms', forms, { properties })
  const folder = join(firmwareRoot, 'generator', 'golden')
  mkdirSync(folder, { recursive: true })

  it.each([...files.keys()])('%s is the file that people looked at', async (name) => {
    await expect(files.get(name)).toMatchFileSnapshot(join(folder, `${name}.txt`))
  })

  it('does not depend on the order in which anything is written', () => {
    const turned = generateFor('forms', { ...forms, properties: forms.properties.toReversed() }, { properties, lock })
    expect(turned.hash).toEqual(generateFor('forms', forms, { properties, lock }).hash)
    expect(turned.lock.properties.get('free')).toEqual(lock.properties.get('free'))
  })

  it('is without a finding for every Modbus model of the catalogue', () => {
    const found = catalogueModels().flatMap(({ name, spec }) =>
      generateFor(name, spec).findings.map(({ message }) => `${name}: ${message}`),
    )
    expect(found).toEqual([])
  })
})
