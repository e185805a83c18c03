import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { firmwareRoot, loadBoard } from '../tools/board.ts'
import { boardHeader, interruptsHeader } from '../tools/board-files.ts'
import { writeIfChanged } from '../tools/object-cache.ts'
import { runTool } from '../tools/toolchain.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-checks-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const core = join(firmwareRoot, 'core')
const sources = ['crc16', 'memory', 'uart', 'rtu', 'registers', 'modbus', 'runtime', 'i2c-bitbang'].map((name) =>
  join(core, `${name}.c`),
)
const includes = [`-I${core}`, `-I${folder}`]

beforeAll(() => {
  const board = loadBoard('mps2-an385')
  writeIfChanged(join(folder, 'board.h'), boardHeader(board, 'standalone'))
  writeIfChanged(join(folder, 'interrupts.h'), interruptsHeader(board))
})

describe.skipIf(lacks('cppcheck', 'clang-tidy', 'arm-none-eabi-gcc'))(
  'static analysis finds nothing',
  { timeout: 120_000 },
  () => {
    it('by the compiler', async () => {
      for (const source of sources) {
        const flags = [
          '-std=c11',
          '-O1',
          '-fanalyzer',
          '-Wall',
          '-Wextra',
          '-Werror',
          '-ffreestanding',
          '-mcpu=cortex-m3',
          '-mthumb',
        ]
        await runTool('arm-none-eabi-gcc', [...flags, ...includes, '-c', source, '-o', join(folder, 'analysed.o')])
      }
    })

    it('by cppcheck', async () => {
      const suppressed = ['missingIncludeSystem', 'unusedStructMember', 'unmatchedSuppression'].map(
        (id) => `--suppress=${id}`,
      )
      const flags = [
        '--enable=warning,performance,portability',
        '--error-exitcode=1',
        '--inline-suppr',
        '--quiet',
        '--std=c11',
      ]
      await runTool('cppcheck', [...flags, ...suppressed, ...includes, ...sources])
    })

    it('by clang-tidy', async () => {
      const off = [
        'bugprone-easily-swappable-parameters',
        'bugprone-reserved-identifier',
        'cert-dcl37-c',
        'cert-dcl51-cpp',
      ]
      const unsafe = 'clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling'
      const checks = `-*,bugprone-*,cert-*,clang-analyzer-*,${[...off, unsafe].map((one) => `-${one}`).join(',')}`
      await runTool('clang-tidy', [
        '--quiet',
        `--checks=${checks}`,
        '--warnings-as-errors=*',
        ...sources,
        '--',
        '-std=c11',
        '-ffreestanding',
        '--target=thumbv7m-none-eabi',
        ...includes,
      ])
    })
  },
)
