import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { loadManifests } from './load.ts'

const model = `apiVersion: sluice.dev/v1alpha1
kind: DeviceModel
metadata: {name: eastron-sdm120, namespace: plant}
spec:
  vendor: Eastron
  description: Single-phase energy meter
  properties:
    - {name: voltage, type: float, unit: V,   modbus: {input: 0x0000, as: float32}}
    - {name: power,   type: float, unit: W,   modbus: {input: 0x000C, as: float32}, report: {deadband: 5}}
    - {name: energy,  type: float, unit: kWh, modbus: {input: 0x0156, as: float32}, poll: {every: 60s}}
    - {name: baud,    type: int, access: readwrite, enum: [2400, 4800, 9600], modbus: {holding: 0x001C, as: float32}}
`
const device = `apiVersion: sluice.dev/v1alpha1
kind: Device
metadata: {name: meter-3, namespace: plant}
spec:
  model: eastron-sdm120
  nodeName: gw-1
  modbus: {rtu: {port: /dev/serial/by-id/usb-FTDI_USB-RS485-if00-port0, baud: 9600}, unit: 3}
  poll: {every: 1s}
  desired: {baud: 9600}
`
const plant = `${model}---\n${device}`

const brief = (loaded: ReturnType<typeof loadManifests>) =>
  loaded.findings.map(({ file, line, column, code }) => `${file}:${line}:${column} ${code}`)

const load = (text: string) => loadManifests([{ file: 'plant.yaml', text }])

describe('loadManifests', () => {
  test('takes the model and the device of the documentation', () => {
    const loaded = load(plant)
    expect(loaded.findings).toEqual([])
    expect(loaded.ok).toBe(true)
    expect(loaded.resources.map(({ resource }) => resource.kind)).toEqual(['DeviceModel', 'Device'])
  })

  test('points at the very value that another file makes wrong', () => {
    const loaded = loadManifests([
      { file: 'device.yaml', text: device.replace('desired: {baud: 9600}', 'desired: {baud: 1200}') },
      { file: 'model.yaml', text: model },
    ])
    expect(brief(loaded)).toEqual(['device.yaml:9:19 SLUICE_VALUE_ENUM'])
    expect(loaded.findings[0]?.object).toBe('Device plant/meter-3')
    expect(loaded.resources.map(({ resource }) => resource.kind)).toEqual(['DeviceModel'])
    expect(loaded.ok).toBe(false)
  })

  test('tells all findings of all files at once, by file and line', () => {
    const loaded = loadManifests([
      { file: 'b.yaml', text: plant.replace('vendor:', 'vendr:').replace('nodeName: gw-1', 'nodeName: 5') },
      { file: 'a.yaml', text: 'a: [1\n' },
    ])
    expect(brief(loaded)).toEqual([
      'b.yaml:5:3 SLUICE_UNKNOWN_FIELD',
      'b.yaml:18:13 SLUICE_INVALID_TYPE',
      'a.yaml:2:1 SLUICE_YAML_SYNTAX',
    ])
  })

  test('does not say that the model of a device is missing when it is merely wrong', () => {
    expect(brief(load(plant.replace('type: int', 'type: itn')))).toEqual(['plant.yaml:11:29 SLUICE_INVALID_VALUE'])
  })

  test('leaves documents of other groups alone, and refuses what claims nothing', () => {
    const loaded = load('apiVersion: v1\nkind: Namespace\nmetadata: {name: plant}\n---\nfoo: bar\n')
    expect(loaded.others.map(({ kind }) => kind)).toEqual(['Namespace'])
    expect(loaded.findings.map(({ code }) => code)).toEqual(['SLUICE_MISSING_FIELD', 'SLUICE_MISSING_FIELD'])
  })

  test('a warning alone does not spoil anything', () => {
    const loaded = load(model.replace('modbus: {input: 0x0000, as: float32}', 'description: on'))
    expect(loaded.findings.map(({ severity }) => severity)).toEqual(['warning', 'warning'])
    expect(loaded.ok).toBe(true)
    expect(loaded.resources).toHaveLength(1)
  })

  test('never throws, whatever is changed in a sound file', () => {
    const words = [
      '',
      ':',
      '- ',
      '{}',
      '[]',
      'null',
      '"',
      "'",
      '~',
      '&a ',
      '*a',
      '0x',
      '-1',
      '1e400',
      '\n',
      '  ',
      '---\n',
    ]
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: plant.length }),
        fc.integer({ min: 0, max: 60 }),
        fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 10 })),
        (at, cut, insert) => {
          const { findings, sources } = load(plant.slice(0, at) + insert + plant.slice(at + cut))
          const lines = sources.get('plant.yaml')!.split('\n').length
          for (const { line, hint, message } of findings) {
            expect(line).toBeLessThanOrEqual(lines)
            expect(hint).not.toBe('')
            expect(message).not.toMatch(/undefined|NaN/)
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  test('never throws, whatever JSON stands in a spec', () => {
    const kind = fc.constantFrom('DeviceModel', 'Device', 'Gateway')
    const key = fc.constantFrom(
      'model',
      'properties',
      'name',
      'type',
      'modbus',
      'desired',
      'methods',
      'enum',
      'min',
      'x',
    )
    const { spec } = fc.letrec((tie) => ({
      spec: fc.oneof(
        { maxDepth: 5 },
        fc.constantFrom(null, true, 1, -0.5, 'int', ''),
        fc.array(tie('spec'), { maxLength: 3 }),
        fc.dictionary(key, tie('spec'), { maxKeys: 4 }),
      ),
    }))
    fc.assert(
      fc.property(kind, spec, (each, content) => {
        load(JSON.stringify({ apiVersion: 'sluice.dev/v1alpha1', kind: each, metadata: { name: 'a' }, spec: content }))
      }),
      { numRuns: 300 },
    )
  })
})
