import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { type Board, firmwareRoot, loadBoard } from './board.ts'
import { boardHeader, type ImageKind, imageRegion, interruptsHeader, linkerScript, vectorTable } from './board-files.ts'
import { checkNoVectorMove } from './no-vtor.ts'
import { type CompiledObject, type CompileOptions, compileCached, writeIfChanged } from './object-cache.ts'
import { type FirmwareSizes, measureSizes } from './sizes.ts'
import { stackUse } from './stack.ts'
import { addStage2Checksum } from './stage2.ts'
import { findTool, runTool } from './toolchain.ts'

export interface FirmwareBuildOptions {
  /** A name of firmware/boards, or a board. */
  readonly board: string | Board
  /** Absolute paths of C files beside the core's: `main`, the register map, the application. */
  readonly sources: readonly string[]
  /** Where the image, its map and the generated files go. */
  readonly outDir: string
  /** Default `standalone`. */
  readonly image?: ImageKind
  /** Files of firmware/core, without `.c`, beyond those every application has. */
  readonly modules?: readonly string[]
  /** Leave out the runtime: a program with a main loop and lines of its own. */
  readonly bare?: boolean
  /** Folders of headers beyond those of the core and the sources. */
  readonly includes?: readonly string[]
  readonly defines?: Readonly<Record<string, string | number>>
  /** Bytes of RAM set aside for the stack. Default 2048; the build fails when the program may need more. */
  readonly stackBytes?: number
  /** What the image may take; the build fails beyond it with SLUICE_FW_OVER_BUDGET. */
  readonly budget?: { readonly flashBytes?: number; readonly ramBytes?: number }
  /** `host` only: build with AddressSanitizer and UndefinedBehaviorSanitizer. */
  readonly sanitize?: boolean
  /** Objects that other builds may reuse. Default: `objects` in `outDir`. */
  readonly cacheDir?: string
  readonly signal?: AbortSignal
}

export interface FirmwareBuild {
  readonly board: Board
  readonly image: ImageKind
  readonly elf: string
  /** What goes into the flash at `address`; for `host` the program itself. */
  readonly bin: string
  readonly address: number
  readonly sizes: FirmwareSizes
  /** How many files were compiled anew. */
  readonly compiled: number
}

/** Parts of the core in every application; what nothing uses the linker leaves out. */
const coreModules = ['memory', 'crc16', 'i2c-bitbang']
const runtimeModules = ['uart', 'rtu', 'registers', 'modbus', 'runtime']

/** Section 9 of the C rules: the flags every file of ours compiles with, whatever the target. */
export const warningFlags: readonly string[] = [
  '-Wall',
  '-Wextra',
  '-Werror',
  '-Wconversion',
  '-Wshadow',
  '-Wundef',
  '-Wstrict-prototypes',
  '-Wvla',
]

/**
 * Compiles and links firmware for a board. The same input gives the same bytes, wherever it lies. Errors:
 * SLUICE_FW_TOOLCHAIN_MISSING, SLUICE_FW_TOOL_FAILED (the compiler's own words), SLUICE_FW_OVER_BUDGET,
 * SLUICE_FW_STACK_UNBOUNDED, SLUICE_FW_MOVES_VECTORS, and those of `loadBoard`.
 */
export async function buildFirmware(options: FirmwareBuildOptions): Promise<FirmwareBuild> {
  const board = typeof options.board === 'string' ? loadBoard(options.board) : options.board
  const image = options.image ?? 'standalone'
  findTool(board.soc.compiler)
  const generated = writeBoardFiles(board, image, options)
  const includes = [
    join(firmwareRoot, 'core'),
    generated,
    ...(board.soc.compiler === 'cc' ? [] : [join(firmwareRoot, 'soc', 'cortex-m')]),
    board.soc.folder,
  ]
  const own = [...new Set([...options.sources.map((file) => dirname(file)), ...(options.includes ?? [])])]
  const compile: CompileOptions = {
    compiler: board.soc.compiler,
    flags: compilerFlags(board, options, generated),
    includes,
    cacheDir: options.cacheDir ?? join(options.outDir, 'objects'),
    signal: options.signal,
  }
  // The core knows no header of an application: a change there compiles the application alone.
  const application: CompileOptions = { ...compile, includes: [...includes, ...own] }
  const optionsFor = (source: string) => (options.sources.includes(source) ? application : compile)
  const objects = await compileAll(sourcesOf(board, image, options, generated), optionsFor, options)
  return board.soc.compiler === 'cc'
    ? linkHost(board, image, objects, options)
    : linkImage(board, image, objects, options, generated)
}

function writeBoardFiles(board: Board, image: ImageKind, options: FirmwareBuildOptions): string {
  const folder = join(options.outDir, 'generated')
  mkdirSync(folder, { recursive: true })
  writeIfChanged(join(folder, 'board.h'), boardHeader(board, image))
  if (board.soc.compiler === 'cc') return folder
  writeIfChanged(join(folder, 'interrupts.h'), interruptsHeader(board))
  writeIfChanged(join(folder, 'vectors.c'), vectorTable(board, image))
  writeIfChanged(join(folder, 'board.ld'), linkerScript(board, image, options.stackBytes ?? defaultStackBytes))
  return folder
}

const defaultStackBytes = 2048

function sourcesOf(board: Board, image: ImageKind, options: FirmwareBuildOptions, generated: string): string[] {
  const modules = [...coreModules, ...(options.bare === true ? ['uart'] : runtimeModules), ...(options.modules ?? [])]
  const core = [...new Set(modules)].map((name) => join(firmwareRoot, 'core', `${name}.c`))
  const own = [...options.sources, join(board.soc.folder, 'port.c'), ...board.soc.sources]
  // A process has a libc, and its sanitizers want that one's memcpy.
  if (board.soc.compiler === 'cc') return [...core.filter((file) => basename(file) !== 'memory.c'), ...own]
  const start = join(firmwareRoot, 'soc', 'cortex-m', 'startup.c')
  const trampoline = image === 'boot' && !board.soc.vtor ? [join(firmwareRoot, 'soc', 'cortex-m', 'trampoline.c')] : []
  const stage2 = board.soc.stage2 && image !== 'slotA' && image !== 'slotB' ? [join(board.soc.folder, 'stage2.c')] : []
  return [...core, ...own, start, join(generated, 'vectors.c'), ...trampoline, ...stage2]
}

function compilerFlags(board: Board, options: FirmwareBuildOptions, generated: string): string[] {
  const maps = [
    `-ffile-prefix-map=${firmwareRoot}=firmware`,
    `-ffile-prefix-map=${generated}=generated`,
    ...options.sources.map((file) => `-ffile-prefix-map=${dirname(file)}=app`),
  ]
  const defines = Object.entries(options.defines ?? {}).map(([name, value]) => `-D${name}=${value}`)
  const common = ['-std=c11', '-g', ...warningFlags, '-fno-common', ...new Set(maps), ...defines]
  if (board.soc.compiler === 'cc') {
    const checks = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer']
    return [...common, '-O1', ...(options.sanitize === true ? checks : [])]
  }
  return [
    ...common,
    '-Os',
    `-mcpu=${board.soc.cpu ?? ''}`,
    '-mthumb',
    '-ffreestanding',
    '-ffunction-sections',
    '-fdata-sections',
    // gcc would turn the loops of memory.c into calls of themselves.
    '-fno-tree-loop-distribute-patterns',
    // Tables of limits are alike more often than not, and nobody compares where they lie.
    '-fmerge-all-constants',
    '-fcallgraph-info=su',
  ]
}

async function compileAll(
  sources: readonly string[],
  optionsFor: (source: string) => CompileOptions,
  options: FirmwareBuildOptions,
) {
  for (const source of sources) {
    if (existsSync(source)) continue
    throw new SluiceError('SLUICE_FW_SOURCE_MISSING', `there is no ${source}`, {
      hint: 'Correct the name; parts of the core are named without .c.',
    })
  }
  const objects: CompiledObject[] = []
  let next = 0
  const work = async () => {
    while (next < sources.length) {
      const index = next++
      objects[index] = await compileCached(sources[index]!, optionsFor(sources[index]!))
      options.signal?.throwIfAborted()
    }
  }
  await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, work))
  return objects
}

async function linkHost(
  board: Board,
  image: ImageKind,
  objects: readonly CompiledObject[],
  options: FirmwareBuildOptions,
) {
  const elf = join(options.outDir, 'firmware')
  const checks = options.sanitize === true ? ['-fsanitize=address,undefined'] : []
  await linkOnce(elf, objects, [...checks], options, async (args) => {
    await runTool('cc', [...args, '-o', elf], { signal: options.signal })
    chmodSync(elf, 0o755)
  })
  const sizes = await measureSizes(elf, 'cc', 0, options.signal)
  return { board, image, elf, bin: elf, address: 0, sizes, compiled: freshOf(objects) }
}

async function linkImage(
  board: Board,
  image: ImageKind,
  objects: readonly CompiledObject[],
  options: FirmwareBuildOptions,
  generated: string,
): Promise<FirmwareBuild> {
  const elf = join(options.outDir, 'firmware.elf')
  const bin = join(options.outDir, 'firmware.bin')
  const script = join(generated, 'board.ld')
  const flags = [`-mcpu=${board.soc.cpu ?? ''}`, '-mthumb', '-nostdlib', '-nostartfiles', '-Wl,--gc-sections']
  const extra = [...flags, '-Wl,--build-id=none', '-Wl,--no-warn-rwx-segments', '-T', script]
  const used = stackUse(
    objects.map(({ callGraph }) => callGraph),
    { main: 'main', interrupts: /^sl_isr_/ },
  )
  await linkOnce(elf, objects, [...extra, readFileSync(script, 'utf8')], options, async () => {
    const args = [...extra, ...objects.map(({ object }) => object), '-lgcc', '-o', elf]
    await runTool('arm-none-eabi-gcc', args, { signal: options.signal }).catch((error: unknown) => {
      throw doesNotFit(error, board, image)
    })
    await runTool('arm-none-eabi-objcopy', ['-O', 'binary', elf, bin], { signal: options.signal })
    if (board.soc.stage2 && (image === 'standalone' || image === 'boot')) {
      writeFileSync(bin, addStage2Checksum(readFileSync(bin)))
    }
    if (!board.soc.vtor) await checkNoVectorMove(elf, options.signal)
  })
  const sizes = await measureSizes(elf, 'arm-none-eabi-gcc', used.bytes, options.signal)
  checkBudget(sizes, used.path, options)
  return { board, image, elf, bin, address: imageRegion(board, image).base, sizes, compiled: freshOf(objects) }
}

function freshOf(objects: readonly CompiledObject[]): number {
  return objects.filter(({ reused }) => !reused).length
}

/** Links unless the very same was linked here before. */
async function linkOnce(
  elf: string,
  objects: readonly CompiledObject[],
  settings: readonly string[],
  options: FirmwareBuildOptions,
  link: (args: readonly string[]) => Promise<void>,
): Promise<void> {
  const files = objects.map(({ object }) => object)
  const key = createHash('sha256')
    .update(JSON.stringify([settings, files.map((file) => basename(file))]))
    .digest('hex')
  const stamp = join(options.outDir, 'linked')
  if (existsSync(elf) && existsSync(stamp) && readFileSync(stamp, 'utf8') === key) return
  writeFileSync(stamp, '')
  await link([...settings, ...files])
  writeFileSync(stamp, key)
}

function doesNotFit(error: unknown, board: Board, image: ImageKind): unknown {
  const message = error instanceof Error ? error.message : ''
  const over = /region `(\w+)' overflowed by (\d+) bytes/.exec(message)
  if (over === null) return error
  const what = over[1] === 'RAM' ? 'RAM' : 'flash'
  return new SluiceError(
    'SLUICE_FW_OVER_BUDGET',
    `${over[2]} bytes too many for the ${what} of '${board.name}' (${image})`,
    {
      hint: 'Fewer properties or smaller buffers, or a board with more memory.',
      cause: error,
    },
  )
}

function checkBudget(sizes: FirmwareSizes, path: readonly string[], options: FirmwareBuildOptions): void {
  const stackBytes = options.stackBytes ?? defaultStackBytes
  if (sizes.stackBytes > stackBytes) {
    throw new SluiceError(
      'SLUICE_FW_OVER_BUDGET',
      `the stack may need ${sizes.stackBytes} bytes, ${stackBytes} are set aside`,
      {
        hint: `The deepest path is ${path.join(' > ')}.`,
      },
    )
  }
  for (const [what, used, allowed] of [
    ['flash', sizes.flashBytes, options.budget?.flashBytes],
    ['RAM with stack', sizes.ramBytes, options.budget?.ramBytes],
  ] as const) {
    if (allowed === undefined || used <= allowed) continue
    const largest = sizes.largest.map(({ name, bytes }) => `${name} ${bytes}`).join(', ')
    throw new SluiceError('SLUICE_FW_OVER_BUDGET', `${used} bytes of ${what}, the budget is ${allowed}`, {
      hint: `The largest: ${largest}.`,
    })
  }
}
