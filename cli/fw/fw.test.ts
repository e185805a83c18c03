import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { toSluiceError } from '../../api/errors.ts'
import { explainFullDisk } from '../../firmware/project/files.ts'
import { missingTools, runTool } from '../../firmware/tools/toolchain.ts'
import { runCommand } from '../main.ts'
import { EXIT } from '../verb.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-fw-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const missing = missingTools(['cc'])
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(`nothing may be skipped here: ${missing}`)

async function run(...argv: string[]) {
  let stdout = ''
  let stderr = ''
  const code = await runCommand(argv, {
    stdout: { write: (text) => (stdout += text), columns: 100 },
    stderr: { write: (text) => (stderr += text) },
    env: process.env,
    signal: new AbortController().signal,
  })
  return { code, stdout, stderr }
}

let count = 0
let project = ''
beforeEach(async () => {
  project = join(folder, `greenhouse-${count++}`)
  expect(await run('fw', 'init', project, '--board', 'host')).toMatchObject({ code: EXIT.ok })
})
const read = (name: string) => readFileSync(join(project, name), 'utf8')
const change = (name: string, edit: (text: string) => string) => writeFileSync(join(project, name), edit(read(name)))
const addProperty = (line: string) =>
  change('model.yaml', (text) => text.replace('  properties:\n', `  properties:\n    - ${line}\n`))

describe('sluice fw init', () => {
  it('makes a project that is sound, and never writes over one', async () => {
    expect(await run('fw', 'validate', project)).toMatchObject({ code: EXIT.ok })
    expect(read('app/app.c')).toContain('sl_result read_temperature(float *value)')
    expect(read('app/app.c')).toContain('sl_result on_write_fan(bool value)')
    const { code, stderr } = await run('fw', 'init', project)
    expect(code).not.toBe(EXIT.ok)
    expect(stderr).toContain('SLUICE_FW_PROJECT_INVALID')
  })

  it('knows its boards', async () => {
    const { stderr } = await run('fw', 'init', join(folder, 'x'), '--board', 'esp32')
    expect(stderr).toContain("there is no board 'esp32'")
    expect(stderr).toContain('rp2040')
  })
})

describe('sluice fw gen', () => {
  it('leaves the application and every address alone when a property is put first', async () => {
    change('app/app.c', (text) => `${text}\n/* mine */\n`)
    const [app, lock] = [read('app/app.c'), read('firmware.lock.yaml')]
    addProperty('{name: pressure, type: float, unit: Pa}')
    expect(await run('fw', 'gen', project)).toMatchObject({ code: EXIT.ok })
    expect(read('app/app.c')).toBe(app)
    for (const line of lock.split('\n').filter((each) => each.includes('number:')))
      expect(read('firmware.lock.yaml')).toContain(line)
    expect(read('generated/properties.h')).toContain('float pressure;')
  })

  it('gives the same bytes again', async () => {
    const files = ['properties.c', 'properties.h', 'main.c', 'map.md', 'keys.yaml', 'gateway.yaml'].map(
      (name) => `generated/${name}`,
    )
    const before = files.map(read)
    await run('fw', 'gen', project)
    expect(files.map(read)).toEqual(before)
  })

  it('gives the gateway files that it finds sound', async () => {
    expect(await run('model', 'lint', join(project, 'generated', 'gateway.yaml'), '--json')).toMatchObject({
      code: EXIT.ok,
    })
  })
})

describe('a model that no board can be', () => {
  it.each([
    ['{name: list, type: array}', 'type', 'of type array'],
    ['{name: x, type: int, access: readwrite, modbus: {input: 100}}', 'access', 'cannot be written'],
    ['{name: x, type: int, modbus: {input: 0xF000}}', 'modbus.input', "the board's own"],
    ['{name: x, type: bool, modbus: {input: 9, as: float32, bit: 3}}', 'modbus', 'no bits of a register'],
    [
      '{name: x, type: int, access: readwrite, min: 300, max: 400, modbus: {holding: 90, as: int8l}}',
      '',
      'fits its registers',
    ],
  ])('is refused with file, line and field: %s', async (line, field, what) => {
    addProperty(line)
    const { code, stderr } = await run('fw', 'build', project)
    expect(code).not.toBe(EXIT.ok)
    expect(stderr).toContain('SLUICE_FW_MODEL_INVALID')
    expect(stderr).toMatch(/model\.yaml:7:\d+/)
    expect(stderr).toContain(`spec.properties.0${field === '' ? '' : `.${field}`}`)
    expect(stderr).toContain(what)
  })

  it('is refused when registers have two meanings', async () => {
    addProperty('{name: a, type: int, modbus: {holding: 50, as: uint32}}')
    addProperty('{name: b, type: int, modbus: {holding: 51}}')
    expect((await run('fw', 'validate', project)).stdout).toContain('b and a both have holding 51')
  })

  it('is refused before it is compiled when the board has no memory for it, and says which boards have', async () => {
    const texts = Array.from(
      { length: 90 },
      (_, at) => `{name: t${at}, type: string, modbus: {input: ${1000 + at * 125}, as: string, length: 125}}`,
    )
    for (const line of texts) addProperty(line)
    const { stdout } = await run('fw', 'validate', project, '--board', 'microbit')
    expect(stdout).toContain("'microbit' cannot carry this model")
    expect(stdout).toContain('rp2040')
    expect(await run('fw', 'validate', project, '--board', 'rp2040')).toMatchObject({ code: EXIT.ok })
  })
})

describe('a project file with a mistake', () => {
  it.each([
    ['unit: 1', 'unit: 300', 'unit: must be a whole number from 1 to 247'],
    ['version: 0.1.0', 'version: first', 'no firmware version'],
    ['unit: 1', 'units: 1', "Did you mean 'unit'?"],
    ['persist: true', 'persist: perhaps', 'must be true or false'],
    ['default: 21', 'default: 99', 'not among what may be written'],
    ['board: host', 'board: toaster', "no board 'toaster'"],
  ])('is refused: %s -> %s', async (from, to, what) => {
    change('sluice-fw.yaml', (text) => text.replace(from, to))
    const { code, stderr } = await run('fw', 'gen', project)
    expect(code).not.toBe(EXIT.ok)
    expect(stderr).toContain(what)
  })
})

describe('what is missing on this machine', () => {
  it('is named with the package that has it', async () => {
    const main = new URL('../main.ts', import.meta.url).pathname
    const failed: unknown = await promisify(execFile)(
      process.execPath,
      [main, 'fw', 'build', project, '--board', 'rp2040'],
      {
        env: { ...process.env, PATH: '/nowhere' },
      },
    ).catch((error: unknown) => error)
    expect(failed).toMatchObject({ stderr: expect.stringContaining('apt-get install gcc-arm-none-eabi') })
  })

  it.skipIf(missing !== undefined)(
    'is room on the disk, and that is not taken for a mistake in the program',
    async () => {
      const source = join(folder, 'one.c')
      writeFileSync(source, 'int main(void) { return 0; }\n')
      const error: unknown = await runTool('cc', ['-c', source, '-o', '/dev/full']).catch((thrown: unknown) => thrown)
      expect(explainFullDisk(error, folder)).toMatchObject({
        code: 'SLUICE_FW_FILE',
        hint: expect.stringContaining('full'),
      })
      const other = new Error('x.c:1:1: error: expected expression')
      expect(toSluiceError(explainFullDisk(other, folder)).message).toBe(other.message)
    },
  )
})

describe.skipIf(missing !== undefined)('sluice fw emulate', { timeout: 60_000 }, () => {
  const emulate = async () => {
    const { stdout, stderr, code } = await run('fw', 'emulate', project, '--for', '1ms', '--json')
    expect({ code, stderr }).toEqual({ code: EXIT.ok, stderr: '' })
    return JSON.parse(stdout)
  }
  const shown = (said: { device: { twins: { name: string; value: unknown }[] } }, name: string) =>
    said.device.twins.find((twin) => twin.name === name)?.value

  it('shows in the agent what the application measures', async () => {
    change('app/app.c', (text) =>
      text.replace('(float *value) {\n  (void)value;', '(float *value) {\n  *value = 21.5f;'),
    )
    const said = await emulate()
    expect(shown(said, 'temperature')).toBe(21.5)
    expect(said.firstValueMs).toBeGreaterThan(said.parts.builtMs)
  })

  it('does not build an application that fills in a property which is gone', async () => {
    change('model.yaml', (text) => text.replace(/.*name: humidity.*\n/, ''))
    const { code, stderr } = await run('fw', 'emulate', project, '--for', '1ms')
    expect(code).not.toBe(EXIT.ok)
    expect(stderr).toContain('read_humidity')
  })

  it('tries every property against the model, and tells which the application refuses', async () => {
    change('app/app.c', (text) =>
      text.replace(
        'on_write_mode(uint16_t value) {\n  (void)value;',
        'on_write_mode(uint16_t value) {\n  if (value == MODE_OFF) return SL_FAILED;',
      ),
    )
    const { stdout, code } = await run('fw', 'test', project, '--json')
    expect(code).toBe(EXIT.failure)
    const { trials } = JSON.parse(stdout)
    expect(trials).toHaveLength(5)
    expect(trials.filter(({ problem }: { problem?: string }) => problem !== undefined)).toMatchObject([
      { property: 'mode', problem: expect.stringContaining('"off" is rejected') },
    ])
    expect(trials.find(({ property }: { property: string }) => property === 'setpoint').tried).toEqual([
      'read',
      '5',
      '35',
    ])
  })
})
