import { describe, expect, it } from 'vitest'
import { loadManifests } from '../api/yaml/load.ts'
import { askForModel, modelYaml, parseProperty } from './new-model.ts'

describe('a property on the command line', () => {
  it('has a name, a type, perhaps a unit, and a binding', () => {
    expect(parseProperty('voltage:float:V=input: 0, as: float32')).toEqual({
      name: 'voltage',
      type: 'float',
      unit: 'V',
      binding: 'input: 0, as: float32',
    })
    expect(parseProperty('on:bool!=coil: 0')).toEqual({
      name: 'on',
      type: 'bool',
      access: 'readwrite',
      binding: 'coil: 0',
    })
  })

  it.each(['voltage', 'voltage:float', 'voltage=coil: 0', ':float=coil: 0'])("refuses '%s' with an example", (text) => {
    expect(() => parseProperty(text)).toThrow(expect.objectContaining({ code: 'SLUICE_CLI_OPTION_VALUE' }))
  })
})

describe('a new model', () => {
  it('is valid YAML whatever the words in it look like', () => {
    const text = modelYaml({
      name: 'my-meter',
      vendor: 'yes: "no" # {}',
      description: '- off',
      source: '1.0',
      protocol: 'modbus',
      properties: [{ name: 'on', type: 'float', unit: '%', binding: 'input: 0x0000, as: float32' }],
    })
    const { ok, resources, findings } = loadManifests([{ file: 'my-meter.yaml', text }])
    expect(findings).toEqual([])
    expect(ok).toBe(true)
    expect(resources[0]?.resource.spec).toEqual({
      vendor: 'yes: "no" # {}',
      description: '- off',
      source: '1.0',
      properties: [{ name: 'on', type: 'float', unit: '%', modbus: { input: 0, as: 'float32' } }],
    })
  })

  it('asks for what is not known, and offers what is usual', async () => {
    const answers = ['my-meter', 'Acme', '', '', '', 'voltage', '', 'V', '', '', '']
    const asked: string[] = []
    const draft = await askForModel(
      {},
      {
        ask: async (question, initial = '') => {
          asked.push(question)
          return answers.shift() || initial
        },
        say: () => undefined,
        protocols: ['modbus', 'mqtt'],
        check: async () => undefined,
      },
    )
    expect(draft).toEqual({
      name: 'my-meter',
      vendor: 'Acme',
      description: '',
      source: '',
      protocol: 'modbus',
      properties: [
        { name: 'voltage', type: 'float', unit: 'V', access: 'read', binding: 'input: 0x0000, as: float32' },
      ],
    })
    expect(asked).toHaveLength(11)
  })

  it('asks again at once for what cannot stand, and says why', async () => {
    const answers = [
      'My Meter',
      'my-meter',
      '',
      '',
      '',
      'modbsu',
      'modbus',
      '',
      '1st',
      'voltage',
      'flaot',
      'float',
      'V',
      '',
    ]
    answers.push('input: nowhere', 'input: 0', 'voltage', '')
    const said: string[] = []
    const draft = await askForModel(
      {},
      {
        ask: async (_question, initial = '') => answers.shift() || initial,
        say: (words) => void said.push(words),
        protocols: ['modbus'],
        check: async ({ properties }) =>
          properties.at(-1)?.binding.includes('nowhere') ? 'no such address' : undefined,
      },
    )
    expect(draft).toMatchObject({ name: 'my-meter', protocol: 'modbus' })
    expect(draft.properties).toEqual([
      { name: 'voltage', type: 'float', unit: 'V', access: 'read', binding: 'input: 0' },
    ])
    expect(said).toEqual([
      expect.stringContaining("'My Meter' cannot be a name"),
      expect.stringContaining("'modbsu' is not one"),
      'a model needs a property',
      expect.stringContaining("'1st' cannot be a name"),
      expect.stringContaining("'flaot' is not one"),
      'no such address',
      expect.stringContaining("'voltage' already"),
    ])
  })
})
