import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { repository, runSluice, startSluice } from './run-sluice.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-cli-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const WRONG = `apiVersion: sluice.dev/v1alpha1
kind: DeviceModel
metadata: {name: broken}
spec:
  properties:
    - name: speed
      type: int
      acess: readwrite
      modbus: {holding: 16}
    - {name: level, type: flaot, modbus: {input: 2}}
`

describe('sluice model lint', () => {
  it('is content with the demo', async () => {
    const { code, stdout } = await runSluice('model', 'lint', 'demo/')
    expect(stdout).toBe('✓ 2 files, 2 models, 2 devices: nothing to complain about\n')
    expect(code).toBe(0)
  })

  it('tells every mistake with file, line, column and remedy, and exits with 2', async () => {
    const file = join(folder, 'wrong.yaml')
    writeFileSync(file, WRONG)
    const { code, stdout } = await runSluice('model', 'lint', file)
    expect(code).toBe(2)
    expect(stdout).toContain(`${file}:8:7 error SLUICE_UNKNOWN_FIELD`)
    expect(stdout).toContain('access')
    expect(stdout).toContain(`${file}:10:27 error SLUICE_INVALID_VALUE`)
    expect(stdout).toMatch(/\n +10 \|.*\n +\| +\^+\n/)
    expect(stdout).toMatch(/2 errors in 1 file, 0 models, 0 devices\n$/)
  })

  it('says what of a manifest of KubeEdge cannot be carried over, and refuses what is no text and a folder without files', async () => {
    const file = join(folder, 'kubeedge.yaml')
    writeFileSync(file, 'apiVersion: devices.kubeedge.io/v1beta1\nkind: Device\nmetadata: {name: a}\n')
    const foreign = await runSluice('model', 'lint', file)
    expect([foreign.code, foreign.stdout]).toEqual([
      2,
      expect.stringContaining(`${file}:1:1 error SLUICE_KUBEEDGE: spec: deviceModelRef.name is missing`),
    ])
    const binary = join(folder, 'binary.yaml')
    writeFileSync(binary, Buffer.from([0xff, 0xfe, 0x00, 0x41]))
    const empty = join(folder, 'empty')
    mkdirSync(empty)
    for (const path of [binary, empty]) {
      const refused = await runSluice('model', 'lint', path)
      expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('SLUICE_CLI_FILE')])
    }
  })

  it('answers a script in JSON and reads standard input', async () => {
    const { finished } = startSluice(['model', 'lint', '-', '--json'], { input: WRONG })
    const { code, stdout } = await finished
    expect(code).toBe(2)
    expect(JSON.parse(stdout)).toMatchObject({
      errors: 2,
      warnings: 0,
      findings: [{ file: 'stdin', line: 8, column: 7 }, {}],
    })
  })

  it('says which file cannot be read', async () => {
    const { code, stderr } = await runSluice('model', 'lint', join(folder, 'nowhere.yaml'))
    expect(code).toBe(2)
    expect(stderr).toMatch(/^error SLUICE_CLI_FILE: .*nowhere\.yaml' cannot be read \(ENOENT\)/)
  })
})

describe('sluice model show', () => {
  it('prints addresses, types, units and limits', async () => {
    const { code, stdout } = await runSluice('model', 'show', 'demo/drive.yaml')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^speed +holding 0x0000 +int +1\/min +readwrite +0 … 3000 +device$/m)
    expect(stdout).toMatch(/^ramp +holding 0x0002 ×0\.1 +float +s +readwrite/m)
  })
})

describe('sluice plan', () => {
  it('draws what is read together and compares with one request a property', async () => {
    const { code, stdout } = await runSluice('plan', 'demo/meter.yaml')
    expect(code).toBe(0)
    expect(stdout).toContain('FC4 input 0x0000..0x001F (32 registers)')
    expect(stdout).toContain('0x0000 ████░░░░░░░░▓▓▓▓░░░░░░░░████')
    expect(stdout).toMatch(/planned +█+.* of the link\n +one by one .* times as much/)
  })

  it('answers a script in JSON', async () => {
    const { stdout } = await runSluice('plan', 'demo/', '--json')
    const { items } = JSON.parse(stdout) as { items: { device: string; load: number; naiveLoad: number }[] }
    expect(items.map(({ device }) => device)).toEqual(['default/drive-1', 'default/meter-1'])
    for (const { load, naiveLoad } of items) expect(load).toBeLessThan(naiveLoad)
  })

  it('wants a device, since only that says how fast the link is', async () => {
    const file = join(folder, 'model.yaml')
    writeFileSync(file, WRONG.replace('acess', 'access').replace('flaot', 'float'))
    const { code, stderr } = await runSluice('plan', file)
    expect(code).toBe(2)
    expect(stderr).toContain('SLUICE_CLI_NO_DEVICE')
  })
})

describe('sluice crds', () => {
  it('prints one YAML document a kind', async () => {
    const { code, stdout } = await runSluice('crds')
    expect(code).toBe(0)
    const documents = parseAllDocuments(stdout)
    expect(Array.isArray(documents) && documents.map((each) => each.getIn(['metadata', 'name']))).toEqual([
      'devicemodels.sluice.dev',
      'devices.sluice.dev',
      'gateways.sluice.dev',
      'discovereddevices.sluice.dev',
      'discoverypolicies.sluice.dev',
      'firmwarereleases.sluice.dev',
      'firmwarerollouts.sluice.dev',
    ])
  })
})

describe('the command as a process', () => {
  it('ends quietly when nobody reads on', async () => {
    const child = spawn(process.execPath, [`${repository}cli/main.ts`, 'crds'], { stdio: ['ignore', 'pipe', 'pipe'] })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk))
    child.stdout.once('data', () => child.stdout.destroy())
    const code = await new Promise((resolve) => child.once('close', resolve))
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  it('uses colour only when asked to or in a terminal', async () => {
    const { finished } = startSluice(['help'], { env: { NO_COLOR: '', FORCE_COLOR: '1' } })
    expect((await finished).stdout).toContain('\x1b[1m')
    expect((await runSluice('help')).stdout).not.toContain('\x1b')
  })

  it('ends with 2 and a hint on a wrong verb', async () => {
    const { code, stderr } = await runSluice('devcie', 'ls')
    expect(code).toBe(2)
    expect(stderr).toContain("Did you mean 'sluice device'")
  })
})
