import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startBoard } from './start.ts'
import { ask, buildHundred, lacks, masterOf, pattern } from './test-boards.test-helper.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-interop-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const run = promisify(execFile)

const EMULATED = ['microbit', 'mps2-an385', 'rp2040'] as const
const noLibmodbus = !existsSync('/usr/include/modbus/modbus.h')
if (noLibmodbus && process.env['CI'] === 'true')
  throw new Error('nothing may be skipped here: apt-get install libmodbus-dev')

describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm', 'mbpoll'))(
  'mbpoll as the master',
  { timeout: 60_000 },
  () => {
    it.each(EMULATED)('reads the registers of an emulated %s and writes one', async (board) => {
      const build = await buildHundred(board, join(folder, `mbpoll-${board}`))
      await using rig = await startBoard({ build, lines: ['pty'] })
      await using up = masterOf(rig)
      await ask(up, { fc: 3, address: 0, count: 1 })
      await up[Symbol.asyncDispose]()
      const serial = ['-m', 'rtu', '-a', '1', '-b', '115200', '-P', 'none', '-o', '5']
      const path = rig.lines[0]?.path ?? ''
      const read = await run('mbpoll', [...serial, '-t', '4:hex', '-r', '1', '-c', '3', '-1', path])
      const values = [...read.stdout.matchAll(/\[\d+\]:\s+0x([0-9A-F]{4})/g)].map(([, value]) =>
        Number.parseInt(value ?? '', 16),
      )
      expect(values).toEqual([pattern(0), pattern(1), pattern(2)])
      expect((await run('mbpoll', [...serial, '-t', '4', '-r', '101', path, '77'])).stdout).toContain(
        'Written 1 references',
      )
      expect((await run('mbpoll', [...serial, '-t', '4', '-r', '101', '-c', '1', '-1', path])).stdout).toMatch(
        /\[101\]:\s+77/,
      )
    })
  },
)

const noEmulator = noLibmodbus || lacks('cc', 'arm-none-eabi-gcc', 'qemu-system-arm')
describe.skipIf(noEmulator)('libmodbus as the master', { timeout: 60_000 }, () => {
  const program = join(folder, 'master')
  beforeAll(async () => {
    const source = fileURLToPath(new URL('./libmodbus-master.c', import.meta.url))
    await run('cc', ['-Wall', '-Werror', source, '-o', program, '-lmodbus'])
  })

  it.each(['host', ...EMULATED])('agrees with %s about reads, writes, masks, bits and exceptions', async (board) => {
    const build = await buildHundred(board, join(folder, `libmodbus-${board}`))
    await using rig = await startBoard({ build, lines: ['pty'] })
    // What is sent before the board has enabled its line is lost, as on any board.
    {
      await using up = masterOf(rig)
      await ask(up, { fc: 3, address: 0, count: 1 })
    }
    const { stdout } = await run(program, [rig.lines[0]?.path ?? '', '115200', '1'])
    expect(stdout.split('\n')).toEqual([
      `read 10: ${Array.from({ length: 10 }, (_, at) => pattern(at)).join(' ')}`,
      'write 2',
      'both 2: 123 123',
      'mask 1',
      'coil 1',
      'coils 8',
      'bits 0001',
      'discretes 4',
      'bits 1011',
      'limit -1 Illegal data value',
      'missing -1 Illegal data address',
      '',
    ])
  })
})
