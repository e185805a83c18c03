import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '../../hil/random.ts'
import { compileReader, rawToRegisters, type ValueFormat } from '../../mappers/modbus/values.ts'
import { firmwareRoot } from '../tools/board.ts'
import { missingTools, runTool } from '../tools/toolchain.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-forms-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const missing = missingTools(['cc'])
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(`nothing may be skipped here: ${missing}`)

const program = join(folder, 'forms')
const ask = (lines: readonly string[]): string[] =>
  execFileSync(program, { input: lines.join('\n'), maxBuffer: 1 << 24 })
    .toString()
    .trim()
    .split('\n')
const format = (as: ValueFormat['as']): ValueFormat => ({ as, order: 'big', length: 1, stringByte: 'both' })
const view = new DataView(new ArrayBuffer(4))
const bitsOf = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0]!
const floatOf = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0]!

describe.skipIf(missing !== undefined)('forms of the wire in C', { timeout: 60_000 }, () => {
  beforeAll(async () => {
    const core = join(firmwareRoot, 'core')
    const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']
    await runTool('cc', [
      '-std=c11',
      '-O1',
      ...sanitizers,
      '-I',
      core,
      join(core, 'forms.c'),
      join(core, 'checks', 'forms-lines.c'),
      '-o',
      program,
    ])
  })

  it('reads every half float as the gateway does', () => {
    const read = compileReader(format('float16'))
    const halves = Array.from({ length: 0x10000 }, (_, half) => half)
    const said = ask(halves.map((half) => `h ${half}`))
    const wrong = halves.filter((half) => {
      view.setUint16(0, half)
      const wanted = Number(read(view, 0))
      return !Object.is(floatOf(Number(said[half])), wanted)
    })
    expect(wrong).toEqual([])
  })

  it('rounds floats to halves as the gateway does', () => {
    const random = seededRandom(16)
    const edges = [
      0,
      -0,
      65504,
      65519.99,
      2 ** -24,
      2 ** -25,
      1.5 * 2 ** -25,
      2 ** -14,
      2 ** -14 - 2 ** -26,
      1 + 2 ** -11,
      1 + 3 * 2 ** -11,
      1e-40,
    ]
    const drawn = Array.from({ length: 50_000 }, () => (random() - 0.5) * 2 * 2 ** (random() * 44 - 28))
    const values = [...edges, ...drawn].map(Math.fround).filter((value) => Math.abs(value) <= 65504)
    const said = ask(values.map((value) => `f ${bitsOf(value)}`))
    const wrong = values.filter((value, at) => {
      const registers = rawToRegisters(format('float16'), value)
      return !(registers instanceof Uint16Array) || registers[0] !== Number(said[at])
    })
    expect(wrong).toEqual([])
  })

  it('packs and unpacks BCD as the gateway does, and knows what is none', () => {
    const random = seededRandom(4)
    const numbers = [0, 9, 10, 99_999_999, ...Array.from({ length: 5000 }, () => Math.floor(random() * 1e8))]
    const packed = ask(numbers.map((number) => `b ${number}`)).map(Number)
    numbers.forEach((number, at) => {
      const registers = rawToRegisters(format('bcd32'), number)
      expect(registers instanceof Uint16Array ? registers[0]! * 65_536 + registers[1]! : undefined).toBe(packed[at])
    })
    expect(ask(packed.map((digits) => `d ${digits}`))).toEqual(numbers.map((number) => `1 ${number}`))
    expect(ask(['d 10', `d ${0xa0000000}`, `d ${0x99999999}`]).map((line) => line[0])).toEqual(['0', '0', '1'])
  })
})
