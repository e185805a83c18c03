import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readModelFiles } from './model-files.ts'
import { writeStandaloneObjects } from './standalone.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-references-'))
  mkdirSync(join(folder, 'shared'))
  writeFileSync(
    join(folder, 'shared', 'climate.yaml'),
    `apiVersion: sluice.dev/v1alpha1
kind: ModelFragment
metadata: { name: climate }
spec: { properties: [{ name: temperature, type: float, unit: degC, lora: { field: temp } }] }
`,
  )
  writeFileSync(
    join(folder, 'codec.js'),
    'function decodeUplink(input) { return { data: { temp: input.bytes[0] } } }\n',
  )
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const site = (decoder = './codec.js', use = './shared/climate.yaml') => {
  const path = join(folder, 'site.yaml')
  writeFileSync(
    path,
    `apiVersion: sluice.dev/v1alpha1
kind: DeviceModel
metadata: { name: sensor }
spec:
  lora: { decoderFile: ${decoder} }
  properties:
    - { use: ${use} }
---
apiVersion: sluice.dev/v1alpha1
kind: Device
metadata: { name: sensor-1 }
spec:
  model: sensor
  nodeName: gw
  poll: { every: 20m }
  lora: { devEui: 70B3D57ED0001234, server: local, keyFile: /etc/sluice/keys }
`,
  )
  return path
}

describe('files that refer to others', () => {
  it('are whole when they are read: fragment and decoder lie beside the model', async () => {
    const { models, findings } = await readModelFiles([site()])
    expect(findings).toEqual([])
    expect(models[0]?.spec).toMatchObject({
      lora: { decoder: expect.stringContaining('function decodeUplink') },
      properties: [{ name: 'temperature', lora: { field: 'temp' } }],
    })
  })

  it('reach a gateway without a cloud as plain models', async () => {
    const data = join(folder, 'data')
    mkdirSync(data)
    const text = readFileSync(await writeStandaloneObjects(data, [site()]), 'utf8')
    expect(text).toContain('decodeUplink')
    expect(text).not.toMatch(/decoderFile|"use"|ModelFragment/)
  })

  it.each([
    ['./codce.js', './shared/climate.yaml', 'SLUICE_REFERENCE', 5],
    ['./codec.js', './shared/climat.yaml', 'SLUICE_FRAGMENT_UNKNOWN', 7],
  ])('a missing one is told where it is named: %s %s', async (decoder, use, code, line) => {
    const { findings } = await readModelFiles([site(decoder, use)])
    expect(findings.find((each) => each.code === code)).toMatchObject({
      line,
      message: expect.stringContaining('ENOENT'),
    })
  })
})
