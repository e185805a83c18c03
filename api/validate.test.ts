import { describe, expect, test } from 'vitest'
import { validateResource } from './validate.ts'

const model = (properties: unknown, rest: object = {}) => ({
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'DeviceModel',
  metadata: { name: 'meter' },
  spec: { properties, ...rest },
})

const device = (spec: object, metadata: object = { name: 'meter-3', namespace: 'plant' }) => ({
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'Device',
  metadata,
  spec: { model: 'meter', custom: {}, ...spec },
})

const voltage = { name: 'voltage', type: 'float', modbus: { input: 0 } }

/** `CODE path: message | hint` of every finding. */
const lines = (object: unknown) =>
  validateResource(object).map(({ code, path, message, hint }) => `${code} ${path.join('.')}: ${message} | ${hint}`)

describe('a sound object', () => {
  test.each([
    ['a model', model([voltage])],
    ['a device', device({})],
    [
      'a device with what an API server adds',
      device({}, { name: 'a', uid: 'u', creationTimestamp: '2026-01-31T08:15:30Z' }),
    ],
    ['a gateway without a spec', { apiVersion: 'sluice.dev/v1alpha1', kind: 'Gateway', metadata: { name: 'gw-1' } }],
    ['a status of any shape', { ...device({}), status: { whatever: [1, { deep: null }] } }],
  ])('has no findings: %s', (_, object) => {
    expect(validateResource(object)).toEqual([])
  })
})

describe('the head of an object', () => {
  test.each([
    ['a list', [1, 2], 'SLUICE_NOT_A_RESOURCE : this is a list of 2, not a resource'],
    ['nothing', null, 'SLUICE_NOT_A_RESOURCE : this is null, not a resource'],
    ['no kind', { apiVersion: 'sluice.dev/v1alpha1' }, "SLUICE_MISSING_FIELD kind: the field 'kind' is missing"],
    ['a mistyped kind key', { apiVersion: 'sluice.dev/v1alpha1', knid: 'Device' }, "Is 'knid' meant to be 'kind'?"],
    ['another version', { apiVersion: 'sluice.dev/v1', kind: 'Device' }, 'SLUICE_UNKNOWN_VERSION apiVersion'],
    ['another kind', { apiVersion: 'sluice.dev/v1alpha1', kind: 'Devise' }, "Did you mean 'Device'?"],
  ])('is refused with one finding: %s', (_, object, words) => {
    expect(lines(object)).toHaveLength(1)
    expect(lines(object)[0]).toContain(words)
  })
})

describe('an unsound object', () => {
  test.each([
    [
      'an unknown field with a near name',
      device({ nodename: 'gw' }),
      "SLUICE_UNKNOWN_FIELD spec.nodename: unknown field 'nodename' | Did you mean 'nodeName'?",
    ],
    ['an unknown field far from any', device({ zzzzzz: 1 }), 'Remove it. Known here: model, nodeName'],
    [
      'a missing field',
      model([{ name: 'a', modbus: { coil: 1 } }]),
      "SLUICE_MISSING_FIELD spec.properties.0.type: the field 'type' is missing | Add 'type'. One of int, float",
    ],
    [
      'a number in quotes',
      device({ custom: undefined, modbus: { tcp: { host: 'h', port: '502' } } }),
      'SLUICE_INVALID_TYPE spec.modbus.tcp.port: must be a whole number, not "502" | Remove the quotes: 502',
    ],
    [
      'a number for text',
      device({ nodeName: 7 }),
      "SLUICE_INVALID_TYPE spec.nodeName: must be text, not 7 | Put it in quotes: '7'",
    ],
    ['text for a boolean', device({ paused: 'yes' }), 'Write true or false without quotes.'],
    ['a duration without a unit', device({ poll: { every: 5 } }), 'Add the unit, for example 5s or 5ms.'],
    [
      'a duration of another form',
      device({ poll: { every: '5 seconds' } }),
      'SLUICE_INVALID_VALUE spec.poll.every: "5 seconds" is not a time span',
    ],
    ['a word out of a set', model([{ ...voltage, access: 'readWrite' }]), "Did you mean 'readwrite'?"],
    [
      'a number for a word out of a set',
      model([{ ...voltage, access: 4 }]),
      'SLUICE_INVALID_VALUE spec.properties.0.access: 4 is not one of read, readwrite, write',
    ],
    [
      'a number past its bounds',
      model([{ ...voltage, modbus: { input: 70000 } }]),
      '70000 is above the maximum of 65536 | Use 0 to 65536.',
    ],
    ['a map for a list', model({}), 'SLUICE_INVALID_TYPE spec.properties: must be a list, not a map'],
    ['null for a map', device({ poll: null }), 'SLUICE_INVALID_TYPE spec.poll: has no value; it must be a map'],
    ['an empty text', device({ model: '' }), 'SLUICE_INVALID_VALUE spec.model: is empty'],
    ['a name Kubernetes refuses', device({}, { name: 'Meter_3' }), '"Meter_3" is not a Kubernetes name'],
    [
      'a time that is none',
      device({}, { name: 'a', creationTimestamp: '2026-02-30T00:00:00Z' }),
      'is not a point in time',
    ],
    [
      'the same property twice',
      model([voltage, { ...voltage, type: 'int' }]),
      'SLUICE_DUPLICATE_NAME spec.properties.1.name: the name "voltage" is used already by item 1',
    ],
    [
      'min above max',
      model([{ ...voltage, min: 5, max: 3 }]),
      'SLUICE_BROKEN_RULE spec.properties.0: min must not exceed max | Given here: min, max.',
    ],
    ['no address', device({ custom: undefined }), 'SLUICE_BROKEN_RULE spec: exactly one address is needed'],
    [
      'a node name and a selector',
      device({ nodeName: 'a', nodeSelector: { b: 'c' } }),
      'give nodeName or nodeSelector, not both',
    ],
    [
      'a limit of a type that has none',
      model([{ ...voltage, type: 'bool', min: 0 }]),
      "SLUICE_MODEL_LIMIT spec.properties.0.min: 'min' means nothing for a property of type bool",
    ],
    [
      'an enum value of another type',
      model([{ ...voltage, type: 'int', enum: [1, 'b'] }]),
      'SLUICE_MODEL_ENUM spec.properties.0.enum.1: must be a whole number, not "b"',
    ],
    ['an enum value past the limits', model([{ ...voltage, max: 3, enum: [1, 5] }]), '5 is above the maximum of 3'],
    ['a property nobody can read', model([{ name: 'a', type: 'int' }]), 'SLUICE_MODEL_UNBOUND spec.properties.0'],
    [
      'a method of an unknown property',
      model([voltage], { methods: [{ name: 'm', properties: ['voltge'] }] }),
      "SLUICE_UNKNOWN_PROPERTY spec.methods.0.properties.0: this model has no property 'voltge' | Did you mean 'voltage'?",
    ],
  ])('gives one finding with a remedy: %s', (_, object, words) => {
    const found = lines(JSON.parse(JSON.stringify(object)))
    expect(found).toHaveLength(1)
    expect(found[0]).toContain(words)
  })

  test('tells a mistyped required field once, not as unknown and missing', () => {
    const { model: name, ...spec } = device({}).spec
    expect(lines({ ...device({}), spec: { ...spec, modle: name } })).toEqual([
      "SLUICE_UNKNOWN_FIELD spec.modle: unknown field 'modle' | Did you mean 'model'?",
    ])
  })

  test('does not complain of a rule about a field that is wrong itself', () => {
    expect(lines(model([{ ...voltage, min: 'a', max: 3 }]))).toEqual([
      'SLUICE_INVALID_TYPE spec.properties.0.min: must be a number, not "a" | Change it to a number.',
    ])
    const { custom: _, ...spec } = device({ modbsu: { tcp: { host: 'h' } } }).spec
    expect(lines({ ...device({}), spec })).toEqual([
      "SLUICE_UNKNOWN_FIELD spec.modbsu: unknown field 'modbsu' | Did you mean 'modbus'?",
    ])
  })

  test('tells everything at once, from top to bottom', () => {
    const found = validateResource(
      model(
        [
          { ...voltage, unit: 5 },
          { name: 'a b', type: 'flaot', modbus: { inptu: 3 } },
        ],
        { vendr: 'x' },
      ),
    )
    expect(found.map(({ path }) => path.join('.'))).toEqual([
      'spec.properties.0.unit',
      'spec.properties.1.name',
      'spec.properties.1.type',
      'spec.properties.1.modbus.inptu',
      'spec.vendr',
    ])
  })
})
