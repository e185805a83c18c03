import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { firmwareRoot, loadBoard } from '../tools/board.ts'
import { boardHeader, interruptsHeader } from '../tools/board-files.ts'
import { writeIfChanged } from '../tools/object-cache.ts'
import { runTool } from '../tools/toolchain.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-checks-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const cFiles = (part: string): string[] =>
  readdirSync(join(firmwareRoot, part))
    .filter((file) => file.endsWith('.c'))
    .map((file) => join(firmwareRoot, part, file))

/** What each ARM board is made of: all of the core and the bootloader, and the port of its chip. */
const BOARDS = ['mps2-an385', 'microbit', 'rp2040', 'stm32vldiscovery', 'netduinoplus2'].map((name) => {
  const board = loadBoard(name)
  const family = board.soc.name.startsWith('stm32') ? cFiles('soc/stm32') : []
  const include = join(folder, name)
  return {
    name,
    board,
    include,
    own: [...cFiles(`soc/${board.soc.name}`), ...cFiles('soc/cortex-m'), ...family],
    includes: ['core', 'boot', 'soc/cortex-m', `soc/${board.soc.name}`, 'soc/stm32']
      .map((part) => `-I${join(firmwareRoot, part)}`)
      .concat(`-I${include}`),
  }
})
const shared = [...cFiles('core'), ...cFiles('boot')]

beforeAll(() => {
  for (const { board, include } of BOARDS) {
    mkdirSync(include)
    writeIfChanged(join(include, 'board.h'), boardHeader(board, 'slotA'))
    writeIfChanged(join(include, 'interrupts.h'), interruptsHeader(board))
    const keys =
      '#include "image.h"\n#define SL_BOOT_PRODUCTION true\nstatic const sl_image_key SL_BOOT_KEYS[] = {{{1}, false}};\n'
    writeIfChanged(join(include, 'boot-keys.h'), keys)
  }
})

/** The files of a board: what all share is looked at for the first one. */
const filesOf = ({ own, name }: (typeof BOARDS)[number]): string[] => [
  ...own,
  ...(name === BOARDS[0]?.name ? shared : []),
]

/** Looks at file after file with as many processes as there are processors; the first finding ends it. */
async function onEveryProcessor(
  files: readonly string[],
  look: (file: string, index: number) => Promise<unknown>,
): Promise<void> {
  const left = files.entries()
  const work = async () => {
    for (const [index, file] of left) await look(file, index)
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
}

describe.skipIf(lacks('cppcheck', 'clang-tidy', 'arm-none-eabi-gcc'))(
  'static analysis finds nothing',
  { timeout: 300_000 },
  () => {
    it.each(BOARDS)('by the compiler, $name', async (one) => {
      const flags = ['-std=c11', '-O1', '-fanalyzer', '-Wall', '-Wextra', '-Werror', '-ffreestanding']
      const target = [`-mcpu=${one.board.soc.cpu}`, '-mthumb', ...one.includes]
      await onEveryProcessor(filesOf(one), (source, index) => {
        const object = join(one.include, `analysed-${index}.o`)
        return runTool('arm-none-eabi-gcc', [...flags, ...target, '-c', source, '-o', object])
      })
    })

    it.each(BOARDS)('by cppcheck, $name', async (one) => {
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
      await runTool('cppcheck', [...flags, ...suppressed, ...one.includes, ...filesOf(one)])
    })

    it.each(BOARDS)('by clang-tidy, $name', async (one) => {
      const off = [
        'bugprone-easily-swappable-parameters',
        'bugprone-reserved-identifier',
        'cert-dcl37-c',
        'cert-dcl51-cpp',
      ]
      const unsafe = 'clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling'
      const checks = `-*,bugprone-*,cert-*,clang-analyzer-*,${[...off, unsafe].map((each) => `-${each}`).join(',')}`
      const target = ['-std=c11', '-ffreestanding', '--target=thumbv7m-none-eabi', ...one.includes]
      await onEveryProcessor(filesOf(one), (source) =>
        runTool('clang-tidy', ['--quiet', `--checks=${checks}`, '--warnings-as-errors=*', source, '--', ...target]),
      )
    })
  },
)
