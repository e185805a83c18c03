import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { modelSchema } from '../../cloudcore/console-api/model-schema.ts'
import { complete } from '../../console/src/complete.ts'
import { placeAt } from '../../console/src/yaml-place.ts'

/** The text with a `|` where the caret is. */
const at = (text: string) => placeAt(text.replace('|', ''), text.indexOf('|'))

describe('the place in a YAML text', () => {
  it.each([
    ['|', [], 'key'],
    ['ap|', [], 'key'],
    ['kind: |', ['kind'], 'value'],
    ['metadata: {name: a, lab|', ['metadata'], 'key'],
    ['spec:\n  ve|', ['spec'], 'key'],
    ['spec:\n  properties:\n    - na|', ['spec', 'properties', '[]'], 'key'],
    ['spec:\n  properties:\n  - name: a\n    ty|', ['spec', 'properties', '[]'], 'key'],
    ['spec:\n  properties:\n    - {name: a, type: |', ['spec', 'properties', '[]', 'type'], 'value'],
    ['spec:\n  properties:\n    - {name: a, modbus: {inp|', ['spec', 'properties', '[]', 'modbus'], 'key'],
    [
      'spec:\n  properties:\n    - name: a\n      modbus:\n        as: |',
      ['spec', 'properties', '[]', 'modbus', 'as'],
      'value',
    ],
    ['spec:\n  properties:\n    - {name: a, enum: [1, |', ['spec', 'properties', '[]', 'enum', '[]'], 'value'],
    ['spec:\n  properties:\n    - {name: a}\n    - {name: b, |', ['spec', 'properties', '[]'], 'key'],
    ['spec:\n  properties:\n    - {name: a}\n  ve|', ['spec'], 'key'],
    ['a: 1\n---\nki|', [], 'key'],
    ['spec:\n  properties:\n    - {\n        name: a,\n        ty|', ['spec', 'properties', '[]'], 'key'],
    [
      'spec:\n  properties:\n    - {\n        name: a, # {\n        modbus: { input: 1,\n          as: |',
      ['spec', 'properties', '[]', 'modbus', 'as'],
      'value',
    ],
    ['metadata: {\n    name: a,\n  lab|', ['metadata'], 'key'],
    ['spec:\n  properties:\n    - {\n        name: a,\n      }\n    - ty|', ['spec', 'properties', '[]'], 'key'],
    ['spec:\n  properties: [\n    {name: a},\n    {na|', ['spec', 'properties', '[]'], 'key'],
    ['spec:\n  properties:\n    - {name: a\n    - name: b\n      ty|', ['spec', 'properties', '[]'], 'key'],
    ['metadata: {name: a\nspec:\n  ve|', ['spec'], 'key'],
  ])('of %j is %j', (text, path, kind) => {
    expect(at(text)).toMatchObject({ path, kind })
  })

  it('knows the keys that are there already', () => {
    expect(at('spec:\n  vendor: a\n  desc|').siblings).toEqual(['vendor'])
    expect(at('- {name: a, type: b, |').siblings).toEqual(['name', 'type'])
    expect(at('- {\n    name: a,\n    type: b,\n    |').siblings).toEqual(['name', 'type'])
    expect(at('- {\n    name: a,\n  }\n- {na|').siblings).toEqual([])
  })

  it('is found in any text whatsoever', () => {
    const letters = fc.constantFrom('a', ':', ' ', '\n', '-', '{', '}', '[', ']', ',', '"', "'", '#', '\t')
    fc.assert(
      fc.property(fc.string({ unit: letters, maxLength: 60 }), fc.nat(60), (text, offset) => {
        const { path, prefix } = placeAt(text, Math.min(offset, text.length))
        expect(path.every((key) => typeof key === 'string')).toBe(true)
        expect(typeof prefix).toBe('string')
      }),
    )
  })
})

describe('completion from the schema of models', () => {
  const words = async (text: string) => {
    const { suggestions } = complete(text.replace('|', ''), text.indexOf('|'), await modelSchema())
    return suggestions.map(({ word }) => word)
  }

  it('suggests keys, types, and the words of a protocol', async () => {
    expect(await words('spec:\n  |')).toEqual(expect.arrayContaining(['vendor', 'properties']))
    expect(await words('spec:\n  properties:\n    - {name: a, type: |')).toEqual(
      expect.arrayContaining(['int', 'float', 'bool']),
    )
    expect(await words('spec:\n  properties:\n    - {name: a, acc|')).toEqual(['access'])
    expect(await words('spec:\n  properties:\n    - {name: a, modbus: {|')).toEqual(
      expect.arrayContaining(['input', 'holding', 'as']),
    )
    expect(await words('spec:\n  properties:\n    - {name: a, modbus: {input: 1, as: float|')).toEqual(
      expect.arrayContaining(['float32']),
    )
  })

  it('suggests nothing twice, and nothing where it knows nothing', async () => {
    expect(await words('spec:\n  vendor: a\n  ven|')).toEqual([])
    expect(await words('nonsense:\n  |')).toEqual([])
  })
})
