import { Type } from 'typebox'
import { describe, expect, test } from 'vitest'
import { modbusSchema } from '../mappers/modbus/schema.ts'
import { type CrdManifest, crdManifests } from './crd.ts'
import { crdProblems } from './crd-rules.test-helper.ts'
import { escapeReservedFields, toStructural } from './crd-structural.ts'
import { integer, keyedList, number, object, optional, text } from './schema/parts.ts'
import type { ProtocolSchema } from './schema/protocol.ts'

const pigeon: ProtocolSchema = {
  name: 'pigeon',
  property: object({ message: integer({ minimum: 0 }) }),
  address: object({ ring: text({ minLength: 1 }), loft: optional(text()) }),
}

const schemaOf = (crds: readonly CrdManifest[], kind: string) => {
  const crd = crds.find((candidate) => candidate.spec.names.kind === kind)
  if (crd === undefined) throw new Error(`no CRD for ${kind}`)
  return crd.spec.versions[0]!.schema.openAPIV3Schema
}

describe('crdManifests', () => {
  test.each([
    ['no protocol at all', []],
    ['a made-up protocol', [pigeon]],
    ['modbus', [modbusSchema]],
    ['two protocols', [modbusSchema, pigeon]],
  ])('with %s keeps every rule of an API server', (_, protocols) => {
    for (const crd of crdManifests(protocols)) expect(crdProblems(crd)).toEqual([])
  })

  test('carries names, columns, selectable fields and the status subresource', () => {
    const device = crdManifests([pigeon]).find((crd) => crd.spec.names.kind === 'Device')
    expect(device).toMatchObject({
      apiVersion: 'apiextensions.k8s.io/v1',
      metadata: { name: 'devices.sluice.dev' },
      spec: {
        group: 'sluice.dev',
        scope: 'Namespaced',
        names: { plural: 'devices', singular: 'device', listKind: 'DeviceList', shortNames: ['dev'] },
        versions: [
          {
            name: 'v1alpha1',
            served: true,
            storage: true,
            subresources: { status: {} },
            selectableFields: [{ jsonPath: '.spec.nodeName' }, { jsonPath: '.spec.model' }],
          },
        ],
      },
    })
    expect(device?.spec.names.categories).toEqual(['sluice'])
  })

  test('puts each protocol under its own key and asks for exactly one address', () => {
    const spec = schemaOf(crdManifests([pigeon]), 'Device').properties?.['spec']
    expect(spec?.properties?.['pigeon']?.required).toEqual(['ring'])
    expect(spec?.['x-kubernetes-validations']).toContainEqual(
      expect.objectContaining({ rule: '(has(self.pigeon) ? 1 : 0) + (has(self.custom) ? 1 : 0) == 1' }),
    )
  })

  test('is plain JSON: a round trip changes nothing', () => {
    const crds = crdManifests([modbusSchema])
    expect(JSON.parse(JSON.stringify(crds))).toEqual(crds)
  })
})

describe('toStructural', () => {
  test('drops additionalProperties false and keeps map schemas', () => {
    const schema = object({ a: Type.Unsafe({ type: 'object', additionalProperties: { type: 'string' } }) })
    expect(toStructural(schema, 'x')).toEqual({
      type: 'object',
      required: ['a'],
      properties: { a: { type: 'object', additionalProperties: { type: 'string' } } },
    })
  })

  test('turns exclusive bounds into the flags of OpenAPI v3.0', () => {
    expect(toStructural(number({ exclusiveMinimum: 0 }), 'x')).toEqual({
      type: 'number',
      minimum: 0,
      exclusiveMinimum: true,
    })
  })

  test('turns unions of literals into enum, of null into nullable, of integer and string into int-or-string', () => {
    expect(toStructural(Type.Union([Type.Literal('a'), Type.Literal('b')]), 'x')).toEqual({
      type: 'string',
      enum: ['a', 'b'],
    })
    expect(toStructural(Type.Union([Type.String(), Type.Null()]), 'x')).toEqual({ type: 'string', nullable: true })
    expect(toStructural(Type.Union([Type.Integer(), Type.String()]), 'x')).toEqual({
      'x-kubernetes-int-or-string': true,
    })
  })

  test('escapes fields that CEL reserves, but not words inside strings', () => {
    expect(escapeReservedFields('!has(self.as) || self.as in [\'x.as\', "y.in"] || self.assets.in > 1')).toBe(
      '!has(self.__as__) || self.__as__ in [\'x.as\', "y.in"] || self.assets.__in__ > 1',
    )
  })

  test.each([
    ['a reference', { $ref: '#/x' }],
    ['patternProperties', { type: 'object', patternProperties: { a: { type: 'string' } } }],
    ['uniqueItems', { type: 'array', uniqueItems: true, items: { type: 'string' } }],
    ['a tuple', { type: 'array', items: [{ type: 'string' }] }],
    ['a schema without a type', { description: 'anything' }],
    ['additionalProperties true', { type: 'object', additionalProperties: true }],
    [
      'properties beside a map schema',
      { type: 'object', properties: { a: { type: 'string' } }, additionalProperties: { type: 'string' } },
    ],
    ['a type inside a branch', { type: 'object', anyOf: [{ type: 'object', required: ['a'] }, { required: ['b'] }] }],
  ])('refuses %s and says where', (_, schema) => {
    expect(() => toStructural(Type.Unsafe(schema), 'Device.spec.pigeon')).toThrow(/^Device\.spec\.pigeon/)
  })
})

describe('the checker', () => {
  const withSpec = (spec: object): CrdManifest => {
    const crd = structuredClone(crdManifests([])[2]!)
    const root = crd.spec.versions[0]!.schema.openAPIV3Schema
    Object.assign(root.properties!, { spec })
    return crd
  }

  test.each([
    ['properties without a type', { properties: {} }],
    ['an unbounded list around a rule', listWithRule(undefined)],
    ['a list key that may be missing', toStructural(keyedList(object({ name: optional(text()) }), 'name'), 'x')],
    ['a look-ahead in a pattern', { type: 'object', properties: { a: { type: 'string', pattern: '^(?!x)y$' } } }],
    ['an enum of another type', { type: 'object', properties: { a: { type: 'string', enum: [1] } } }],
    [
      'a default outside the enum',
      { type: 'object', properties: { a: { type: 'string', enum: ['b'], default: 'c' } } },
    ],
    ['const', { type: 'object', properties: { a: { type: 'string', const: 'b' } } }],
    ['a required field that is not declared', { type: 'object', required: ['b'], properties: {} }],
    ['a reserved word in a rule', { type: 'object', 'x-kubernetes-validations': [{ rule: 'has(self.as)' }] }],
  ])('would notice %s', (_, spec) => {
    expect(crdProblems(withSpec(spec))).not.toEqual([])
  })
})

function listWithRule(maxItems: number | undefined): object {
  return {
    type: 'array',
    'x-kubernetes-list-type': 'atomic',
    ...(maxItems === undefined ? {} : { maxItems }),
    items: {
      type: 'object',
      properties: { a: { type: 'integer' } },
      'x-kubernetes-validations': [{ rule: 'has(self.a)' }],
    },
  }
}
