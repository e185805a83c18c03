import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { findInCatalogue, modelFile } from './catalogue.ts'
import { runCommand } from './main.ts'
import { EXIT } from './verb.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-catalogue-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function run(...argv: string[]) {
  let stdout = ''
  let stderr = ''
  const code = await runCommand(argv, {
    stdout: { write: (text) => (stdout += text), columns: 160 },
    stderr: { write: (text) => (stderr += text) },
    env: {},
    signal: new AbortController().signal,
  })
  return { code, stdout, stderr }
}

describe('the catalogue on the command line', () => {
  it('says what the bytes of each model are worth, and for how many of its properties', async () => {
    const { stdout } = await run('model', 'ls', 'eastron/sdm120')
    expect(stdout).toMatch(/documented 1 of 12/)
    const { items } = JSON.parse((await run('model', 'ls', 'sunspec/inverter', '--json')).stdout)
    expect(items[0]).toMatchObject({ name: 'sunspec/inverter-66', evidence: { constructed: 23 } })
  })

  it('is found by place and by the name of the model', () => {
    expect(findInCatalogue('eastron/sdm120')).toEqual(findInCatalogue('eastron-sdm120'))
    expect(modelFile('eastron/sdm120')).toMatch(/devicemodels\/eastron\/sdm120\.yaml$/)
    expect(modelFile('my-model')).toBe('my-model')
  })

  it('is listed, searched and filtered', async () => {
    const { code, stdout } = await run('model', 'ls', 'eastron', 'three-phase', '--protocol', 'modbus')
    expect(code).toBe(EXIT.ok)
    expect(stdout).toContain('eastron/sdm630')
    expect(stdout).not.toContain('eastron/sdm120')
    const none = await run('model', 'ls', 'eastron', '--protocol', 'ble', '--json')
    expect(JSON.parse(none.stdout)).toEqual({ items: [] })
  })

  it('shows a model by its name, and knows what was meant', async () => {
    const { stdout } = await run('model', 'show', 'eastron/sdm120')
    expect(stdout).toContain('input 0x000C float32')
    const { code, stderr } = await run('model', 'show', 'eastron/sdm12')
    expect(code).toBe(EXIT.usage)
    expect(stderr).toContain("Did you mean 'eastron/sdm120'?")
  })
})

describe('sluice model new', () => {
  it('writes a file that lints clean, once', async () => {
    const file = join(folder, 'my-meter.yaml')
    const property = 'voltage:float:V=input: 0x0000, as: float32'
    const argv = ['model', 'new', 'my-meter', '--vendor', 'Acme', '--property', property, '-o', file]
    expect((await run(...argv)).code).toBe(EXIT.ok)
    expect((await run('model', 'lint', file, '--strict')).code).toBe(EXIT.ok)
    const again = await run(...argv)
    expect(again.stderr).toContain('is there already')
    expect(again.code).not.toBe(EXIT.ok)
    expect((await run(...argv, '--force')).code).toBe(EXIT.ok)
  })

  it('writes nothing that the linter refuses, and says what', async () => {
    const file = join(folder, 'wrong.yaml')
    const { code, stderr } = await run('model', 'new', 'wrong', '--property', 'on:bool!=input: 0', '-o', file)
    expect(code).toBe(EXIT.usage)
    expect(stderr).toContain('input table cannot be written')
    expect(() => readFileSync(file)).toThrow('ENOENT')
  })

  it('says what it needs where it cannot ask', async () => {
    const { code, stderr } = await run('model', 'new')
    expect(code).toBe(EXIT.usage)
    expect(stderr).toContain('--property')
  })
})

describe('sluice device import', () => {
  it('prints manifests that lint clean beside their model', async () => {
    const table = join(folder, 'meters.csv')
    writeFileSync(table, 'name,modbus.unit,poll\nmeter-1,1,5s\nmeter-2,2,\n')
    const options = ['--model', 'eastron/sdm120', '--set', 'modbus.rtu.port=/dev/ttyUSB0', '--gateway', 'gw-1']
    const { code, stdout } = await run('device', 'import', table, ...options, '--with-model')
    expect(code).toBe(EXIT.ok)
    const names = parseAllDocuments(stdout).map((document) => document.getIn(['metadata', 'name']))
    expect(names).toEqual(['eastron-sdm120', 'meter-1', 'meter-2'])
    const site = join(folder, 'site.yaml')
    writeFileSync(site, stdout)
    expect((await run('model', 'lint', site)).code).toBe(EXIT.ok)
  })

  it('prints nothing when one line is wrong, and tells the line', async () => {
    const table = join(folder, 'wrong.csv')
    writeFileSync(table, 'name,modbus.unit\nmeter-1,1\nmeter-1,none\n')
    const { code, stdout, stderr } = await run('device', 'import', table, '--model', 'eastron/sdm120')
    expect(code).toBe(EXIT.usage)
    expect(stdout).toBe('')
    expect(stderr).toContain('wrong.csv:3: error modbus.unit')
  })
})
