import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DeviceModel } from '../resources.ts'
import { isFields, type References } from './fragments.ts'
import { loadManifests } from './load.ts'
import { formatFindings } from './report.ts'

const FRAGMENT = `apiVersion: sluice.dev/v1alpha1
kind: ModelFragment
metadata: { name: electric }
spec:
  properties:
    - { name: voltage, type: float, unit: V, modbus: { input: 0, as: float32 } }
    - { name: power, type: float, unit: W, modbus: { input: 12, as: float32 }, report: { deadband: 5 } }
  modbus: { sunspec: true, maxGap: 8 }
`

const model = (properties: string, more = '') => `apiVersion: sluice.dev/v1alpha1
kind: DeviceModel
metadata: { name: meter }
spec:
  properties:
${properties}
${more}`

const references: References = {
  fragmentOf: (name) => (name === 'electric' ? { file: 'shared/electric.yaml', text: FRAGMENT } : undefined),
  fragmentNames: () => ['electric', 'thermal'],
  moved: (protocol, binding, by) =>
    protocol === 'modbus' && typeof binding['input'] === 'number'
      ? { ...binding, input: binding['input'] + by }
      : undefined,
  textOf: (path) => {
    if (path === './decoder.js') return 'function decodeUplink() {}'
    throw new Error(`'${path}' cannot be read (ENOENT)`)
  },
  fileKeys: { lora: { decoderFile: 'decoder' } },
}

const load = (text: string, more: References = references) => loadManifests([{ file: 'meter.yaml', text }], more)
const specOf = (text: string) => {
  const { resources, findings } = load(text)
  expect(findings).toEqual([])
  return (resources[0]!.resource as DeviceModel).spec
}
const codes = (text: string, more?: References) => load(text, more).findings.map(({ code }) => code)

describe('fragments', () => {
  it('stand in the place of the entry that uses them, with its words on top', () => {
    const spec = specOf(
      model(
        `    - { name: serial, type: string, modbus: { holding: 9, as: string, length: 4 } }
    - { use: electric, poll: { every: 5s }, modbus: { order: CDAB } }
    - { name: lamp, type: bool, modbus: { coil: 0 } }`,
        '  modbus: { maxGap: 2 }',
      ),
    )
    expect(spec.properties).toEqual([
      { name: 'serial', type: 'string', modbus: { holding: 9, as: 'string', length: 4 } },
      {
        ...{ name: 'voltage', type: 'float', unit: 'V', poll: { every: '5s' } },
        modbus: { input: 0, as: 'float32', order: 'CDAB' },
      },
      {
        ...{ name: 'power', type: 'float', unit: 'W', poll: { every: '5s' }, report: { deadband: 5 } },
        modbus: { input: 12, as: 'float32', order: 'CDAB' },
      },
      { name: 'lamp', type: 'bool', modbus: { coil: 0 } },
    ])
    // What the model says itself wins over its fragments.
    expect(spec['modbus']).toEqual({ sunspec: true, maxGap: 2 })
  })

  it('are taken in part, renamed and moved', () => {
    const spec = specOf(
      model(`    - { use: electric, only: [voltage], name: voltageL1, at: 100 }
    - { use: electric, except: [voltage], at: 40000, report: null }`),
    )
    expect(spec.properties[1]).not.toHaveProperty('report')
    expect(spec.properties.map(({ name, modbus }) => [name, (modbus as { input: number }).input])).toEqual([
      ['voltageL1', 100],
      ['power', 40_012],
    ])
  })

  it('may be given beside the model, and use others', () => {
    const own = FRAGMENT.replaceAll('electric', 'mine').replace(
      'properties:',
      'properties:\n    - use: electric\n      name: other\n      only: [power]',
    )
    const text = `${own}---\n${model('    - { use: mine }')}`
    expect(specOf(text).properties.map(({ name }) => name)).toEqual(['other', 'voltage', 'power'])
  })

  it('may be called like the model that uses them', () => {
    const text = `${FRAGMENT.replaceAll('electric', 'meter')}---\n${model('    - { use: meter }')}`
    expect(specOf(text).properties).toHaveLength(2)
  })

  it('nothing of them is left for the cluster to see', () => {
    const { resources } = load(`${FRAGMENT.replaceAll('electric', 'mine')}---\n${model('    - { use: mine }')}`)
    expect(resources.map(({ resource }) => resource.kind)).toEqual(['DeviceModel'])
    expect(JSON.stringify(resources[0]!.resource)).not.toContain('use')
  })

  it('an error inside is told with the place of use and the place in the fragment', () => {
    const text = FRAGMENT.replace('type: float, unit: W', 'type: flaot, unit: W')
    const more = { ...references, fragmentOf: () => ({ file: 'shared/electric.yaml', text }) }
    const { findings, sources, ok } = load(model('    - { use: electric }'), more)
    expect(ok).toBe(false)
    expect(findings).toMatchObject([
      { file: 'meter.yaml', line: 6, origin: { file: 'shared/electric.yaml', line: 7, column: 28 } },
    ])
    expect(formatFindings(findings, { sources })).toContain('from: shared/electric.yaml:7:28')
    expect(load(text.replaceAll('electric', 'mine')).findings).toMatchObject([{ file: 'meter.yaml', line: 7 }])
  })

  it.each([
    ['an unknown name, with a suggestion', '{ use: elektric }', 'SLUICE_FRAGMENT_UNKNOWN', "Did you mean 'electric'?"],
    ['no name', '{ use: 7 }', 'SLUICE_FRAGMENT_FORM', 'use: sunspec-common'],
    ['a property it does not have', '{ use: electric, only: [pwoer] }', 'SLUICE_FRAGMENT_PROPERTY', "'power'"],
    ['an exception it does not have', '{ use: electric, except: [x] }', 'SLUICE_FRAGMENT_PROPERTY', 'voltage, power'],
    ['one name for several', '{ use: electric, name: x }', 'SLUICE_FRAGMENT_FORM', 'only: [power]'],
    ['a move by no number', '{ use: electric, at: here }', 'SLUICE_FRAGMENT_FORM', 'at: 40069'],
    ['no list', '{ use: electric, only: power }', 'SLUICE_FRAGMENT_FORM', 'only: [power, energy]'],
    ['a name twice', '{ use: electric }\n    - { use: electric }', 'SLUICE_DUPLICATE_NAME', ''],
  ])('%s is told where it is used', (_what, entry, code, hint) => {
    const { findings } = load(model(`    - ${entry}`))
    const finding = findings.find((each) => each.code === code)
    expect(finding, findings.map((each) => each.code).join()).toMatchObject({ file: 'meter.yaml' })
    expect(finding?.line).toBeGreaterThanOrEqual(6)
    expect(finding?.hint).toContain(hint)
  })

  it('cycles end, and are told as the way they go', () => {
    const circle = (name: string, next: string) =>
      `apiVersion: sluice.dev/v1alpha1\nkind: ModelFragment\nmetadata: { name: ${name} }\nspec: { properties: [{ use: ${next} }] }\n`
    const text = [circle('a', 'b'), circle('b', 'c'), circle('c', 'a'), model('    - { use: a }')].join('---\n')
    const found = load(text).findings.filter(({ code }) => code === 'SLUICE_FRAGMENT_CYCLE')
    expect(found.length).toBeGreaterThan(0)
    expect(found.at(-1)?.message).toContain('a uses b uses c uses a')
    expect(found.at(-1)?.line).toBe(21)
  })

  it('a fragment whose text is broken, or none at all, does not stop the rest', () => {
    const broken = (text: string) =>
      codes(model('    - { use: electric }'), { ...references, fragmentOf: () => ({ file: 'x', text }) })
    expect(broken('a: [')).toEqual(expect.arrayContaining(['SLUICE_FRAGMENT_BROKEN', 'SLUICE_YAML_SYNTAX']))
    expect(broken('kind: Other')).toContain('SLUICE_FRAGMENT_BROKEN')
    const failing = {
      ...references,
      fragmentOf: () => {
        throw new Error('gone')
      },
    }
    expect(load(model('    - { use: ./x.yaml }'), failing).findings[0]).toMatchObject({
      code: 'SLUICE_FRAGMENT_UNKNOWN',
      message: expect.stringContaining('gone'),
    })
  })
})

describe('a file that a model names', () => {
  const properties = '    - { name: t, type: float, lora: { field: t } }'

  it('gives its text', () => {
    expect(specOf(model(properties, '  lora: { decoderFile: ./decoder.js, port: 2 }'))['lora']).toEqual({
      decoder: 'function decodeUplink() {}',
      port: 2,
    })
  })

  it('that is missing, or beside the text itself, is told where it is named', () => {
    const missing = load(model(properties, '  lora: { decoderFile: ./decodre.js }')).findings
    expect(missing[0]).toMatchObject({ code: 'SLUICE_REFERENCE', line: 7, message: expect.stringContaining('ENOENT') })
    expect(codes(model(properties, '  lora: { decoderFile: ./decoder.js, decoder: x }'))).toContain('SLUICE_REFERENCE')
    expect(codes(model(properties, '  lora: { decoderFile: [] }'))).toContain('SLUICE_REFERENCE')
  })
})

it('whatever entries are written, reading ends without throwing, and what is sound is plain', () => {
  const scalar = fc.oneof(
    fc.constantFrom('electric', 'a', 'b', 'power', './x'),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
  )
  const entry = fc.dictionary(
    fc.constantFrom('use', 'only', 'except', 'at', 'name', 'type', 'modbus'),
    fc.oneof(scalar, fc.array(scalar, { maxLength: 3 }), fc.dictionary(fc.constantFrom('input', 'as'), scalar)),
  )
  const document = fc.record({
    apiVersion: fc.constant('sluice.dev/v1alpha1'),
    kind: fc.constantFrom('ModelFragment', 'DeviceModel'),
    metadata: fc.record({ name: fc.constantFrom('a', 'b', 'c') }),
    spec: fc.record({ properties: fc.oneof(fc.array(entry, { maxLength: 4 }), scalar), modbus: scalar }),
  })
  fc.assert(
    fc.property(fc.array(document, { maxLength: 4 }), (documents) => {
      const text = documents.map((each) => JSON.stringify(each)).join('\n---\n')
      const { resources } = load(text)
      for (const { resource } of resources) {
        if (resource.kind !== 'DeviceModel') continue
        for (const property of (resource as DeviceModel).spec.properties) {
          expect(isFields(property) && 'use' in property).toBe(false)
        }
      }
    }),
  )
})
