import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { writeStandaloneObjects } from './standalone.ts'

const YAML = `
apiVersion: sluice.dev/v1alpha1
kind: DeviceModel
metadata: {name: pump}
spec:
  properties:
    - {name: speed, type: int, access: readwrite, modbus: {holding: 0}}
---
apiVersion: sluice.dev/v1alpha1
kind: Device
metadata: {name: pump-1}
spec:
  model: pump
  modbus: {tcp: {host: 127.0.0.1, port: 1502}, unit: 1}
  desired: {speed: 7}
`

describe('the objects of a gateway without a cloud', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-standalone-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  it('are the models and devices of the files, desired values with a version', async () => {
    const file = join(folder, 'pump.yaml')
    writeFileSync(file, YAML)
    const path = await writeStandaloneObjects(folder, [file])
    const [model, device] = JSON.parse(readFileSync(path, 'utf8'))
    expect(model).toMatchObject({ kind: 'DeviceModel', key: 'default/pump' })
    expect(device).toMatchObject({
      kind: 'Device',
      key: 'default/pump-1',
      object: { uid: 'file:default/pump-1', desired: { speed: { value: 7, by: 'file' } } },
    })
    expect(device.object.desired.speed.version).toBeGreaterThan(1e12)
  })

  it('are the gateway itself too, where a file says what it is to do; not two of them', async () => {
    const file = join(folder, 'gateway.yaml')
    const gateway = (name: string) =>
      `---\napiVersion: sluice.dev/v1alpha1\nkind: Gateway\nmetadata: {name: ${name}}\nspec: {taints: [OnBattery]}\n`
    writeFileSync(file, YAML + gateway('gw-1'))
    const [first] = JSON.parse(readFileSync(await writeStandaloneObjects(folder, [file]), 'utf8'))
    expect(first).toMatchObject({ kind: 'Gateway', key: '/gw-1', object: { spec: { taints: ['OnBattery'] } } })
    writeFileSync(file, YAML + gateway('gw-1') + gateway('gw-2'))
    await expect(writeStandaloneObjects(folder, [file])).rejects.toMatchObject({ code: 'SLUICE_CLI_NO_GATEWAY' })
  })

  it('keep their rev while the files stay as they are', async () => {
    const file = join(folder, 'pump.yaml')
    writeFileSync(file, YAML)
    const first = readFileSync(await writeStandaloneObjects(folder, [file]), 'utf8')
    expect(readFileSync(await writeStandaloneObjects(folder, [file]), 'utf8')).toBe(first)
  })

  it('are refused for a gateway that has joined a cloud core', async () => {
    writeFileSync(join(folder, 'identity.json'), '{}')
    await expect(writeStandaloneObjects(folder, ['pump.yaml'])).rejects.toMatchObject({ code: 'SLUICE_CLI_JOINED' })
  })

  it('are refused with the place of the mistake when a file is wrong', async () => {
    const file = join(folder, 'wrong.yaml')
    writeFileSync(file, YAML.replace('type: int', 'type: integer'))
    await expect(writeStandaloneObjects(folder, [file])).rejects.toMatchObject({
      code: 'SLUICE_CLI_FILES_INVALID',
      position: { file, line: 7 },
    })
  })
})
