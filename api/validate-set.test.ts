import { describe, expect, test } from 'vitest'
import type { Device, DeviceModel, Gateway } from './resources.ts'
import { validateSet } from './validate-set.ts'

const apiVersion = 'sluice.dev/v1alpha1'

const meter: DeviceModel = {
  apiVersion,
  kind: 'DeviceModel',
  metadata: { name: 'meter', namespace: 'plant' },
  spec: {
    properties: [
      { name: 'voltage', type: 'float', custom: {} },
      { name: 'baud', type: 'int', access: 'readwrite', enum: [2400, 9600], custom: {} },
      { name: 'reset', type: 'bool', access: 'write', custom: {} },
    ],
  },
}

const device = (spec: object, namespace: string | undefined = 'plant'): Device => ({
  apiVersion,
  kind: 'Device',
  metadata: { name: 'meter-3', ...(namespace === undefined ? {} : { namespace }) },
  spec: { model: 'meter', custom: {}, ...spec },
})

const gateway: Gateway = { apiVersion, kind: 'Gateway', metadata: { name: 'gw-1' }, spec: {} }

const lines = (...args: Parameters<typeof validateSet>) =>
  validateSet(...args).map(
    ({ object, code, path, message, hint }) => `${object} ${code} ${path.join('.')}: ${message} | ${hint}`,
  )

describe('validateSet', () => {
  test('is content with devices whose models are there, in any order', () => {
    expect(lines([device({ desired: { baud: 9600, reset: true } }), gateway, meter])).toEqual([])
  })

  test('takes models from elsewhere', () => {
    const modelOf = (key: string) => (key === 'plant/meter' ? meter.spec : undefined)
    expect(lines([device({})], { modelOf })).toEqual([])
    expect(lines([device({ desired: { baud: 1 } })], { modelOf })[0]).toContain('SLUICE_VALUE_ENUM spec.desired.baud')
  })

  test('says nothing more about devices of a model that is unsound itself', () => {
    expect(lines([device({ desired: { any: 1 } })], { brokenModels: new Set(['plant/meter']) })).toEqual([])
  })

  test.each([
    [
      'a model that does not exist',
      [meter, device({ model: 'metre' })],
      "there is no DeviceModel named 'metre' in namespace 'plant' | Did you mean 'meter'?",
    ],
    ['a model of another namespace', [meter, device({}, 'lab')], "There is one in namespace 'plant'"],
    [
      'an unknown property',
      [meter, device({ desired: { buad: 1 } })],
      "SLUICE_UNKNOWN_PROPERTY spec.desired.buad: meter has no property 'buad' | Did you mean 'baud'?",
    ],
    ['a property that can only be read', [meter, device({ desired: { voltage: 1 } })], 'Writable are: baud, reset.'],
    [
      'a value that does not fit',
      [meter, device({ desired: { baud: 1200 } })],
      'SLUICE_VALUE_ENUM spec.desired.baud: 1200 is not one of 2400, 9600',
    ],
    [
      'an address of a protocol the model does not speak',
      [meter, device({ custom: undefined, modbus: {} })],
      'SLUICE_BINDING_MISSING spec.modbus',
    ],
    [
      'the same object twice',
      [meter, meter],
      "SLUICE_DUPLICATE_OBJECT metadata.name: there is a DeviceModel named 'meter' in namespace plant already",
    ],
  ])('finds %s', (_, objects, words) => {
    const found = lines(objects)
    expect(found).toHaveLength(1)
    expect(found[0]).toContain(words)
    expect(found[0]).toMatch(/^1 /)
  })

  test('lets kinds and namespaces share a name', () => {
    const other = { ...meter, metadata: { name: 'meter', namespace: 'lab' } }
    const named: Gateway = { ...gateway, metadata: { name: 'meter' } }
    expect(lines([meter, other, named])).toEqual([])
  })
})
