import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import type { Firmware } from '../../firmware/tools/flash/runner.ts'
import { findOnPath } from '../find-on-path.ts'
import type { Output } from '../output.ts'
import { printable } from '../text.ts'

const KEPT_CHARACTERS = 20_000
/** Both have megabytes between regions filled with 0xFF otherwise. */
const FILE_MAX_BYTES = 64 * 1024 * 1024

/** What the programs say, and what it means here. */
const WORDS: readonly (readonly [RegExp, (tool: string) => SluiceError])[] = [
  [
    /No DFU capable USB device|unable to find a matching|open failed|no device found|unable to open ftdi|Can't find .* interface|init mode failed/i,
    (tool) =>
      new SluiceError('SLUICE_FW_FLASH_TARGET', `${tool} finds no board`, {
        hint: 'Plug it in, and bring it into its loader (dfu-util: hold BOOT0 while it resets; openocd: name the probe with --config).',
      }),
  ],
  [
    /LIBUSB_ERROR_ACCESS|Cannot open DFU device|Permission denied/i,
    (tool) =>
      new SluiceError('SLUICE_FW_FLASH_PERMISSION', `${tool} may not use the board`, {
        hint: 'Give yourself the device (a udev rule, or the group plugdev), or run it with sudo.',
      }),
  ],
  [
    /Verify Failed|contents differ/i,
    (tool) =>
      new SluiceError('SLUICE_FW_FLASH_VERIFY', `${tool} read back something else`, {
        hint: 'Flash it again; when it differs once more, wire or flash are faulty.',
      }),
  ],
]

/**
 * Flashes with a program of others. Its words go to the standard error, its percentages to `onPercent`. Errors:
 * SLUICE_FW_FLASH_TOOL, and those of the table above.
 */
export async function flashWithTool(
  kind: 'dfu' | 'openocd',
  { regions }: Firmware,
  options: {
    readonly config?: string | undefined
    readonly path: string
    readonly signal: AbortSignal
    readonly out: Output
    readonly onPercent: (percent: number) => void
  },
): Promise<void> {
  const tool = kind === 'dfu' ? 'dfu-util' : 'openocd'
  const program = findOnPath(tool, options.path)
  if (program === undefined)
    throw new SluiceError('SLUICE_FW_TOOLCHAIN_MISSING', `${tool} is not installed`, {
      hint: `Debian, Ubuntu, Raspberry Pi OS: apt-get install ${tool}`,
    })
  if (kind === 'openocd' && options.config === undefined)
    throw new SluiceError('SLUICE_CLI_ARGUMENTS', 'openocd has to be told of the probe and the chip', {
      hint: 'For example --config board/st_nucleo_f4.cfg; "ls /usr/share/openocd/scripts/board" lists them.',
    })
  const start = Math.min(...regions.map(({ address }) => address))
  const end = Math.max(...regions.map(({ address, bytes }) => address + bytes.length))
  if (end - start > FILE_MAX_BYTES)
    throw new SluiceError('SLUICE_FW_FLASH_IMAGE', 'the files lie too far apart for one file', {
      hint: 'Flash them one by one.',
    })
  const whole = Buffer.alloc(end - start, 0xff)
  for (const { address, bytes } of regions) whole.set(bytes, address - start)
  const folder = mkdtempSync(join(tmpdir(), 'sluice-flash-'))
  try {
    const file = join(folder, 'flash.bin')
    writeFileSync(file, whole)
    await run(program, toolArguments(tool, file, start, options.config), tool, options)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function run(
  program: string,
  args: readonly string[],
  tool: string,
  { signal, out, onPercent }: { signal: AbortSignal; out: Output; onPercent: (percent: number) => void },
): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], signal })
  let said = ''
  let percent = -1
  const take = (chunk: Buffer): void => {
    const text = chunk.toString('latin1')
    said = (said + text).slice(-KEPT_CHARACTERS)
    const now = Number([...text.matchAll(/(\d{1,3})%/g)].at(-1)?.[1] ?? percent)
    if (now > percent && now <= 100) onPercent((percent = now))
    for (const line of text.split(/[\r\n]+/)) if (line.trim() !== '' && !/\d%/.test(line)) out.note(printable(line))
  }
  child.stdout.on('data', take)
  child.stderr.on('data', take)
  const failed = once(child, 'error').then(([error]) => error as Error)
  const [code] = await Promise.race([
    once(child, 'close') as Promise<[number | null]>,
    failed.then((error): never => {
      signal.throwIfAborted()
      throw new SluiceError('SLUICE_FW_FLASH_TOOL', `${tool} cannot be started: ${error.message}`, { cause: error })
    }),
  ])
  const known = WORDS.find(([words]) => words.test(said))
  if (known !== undefined && code !== 0) throw known[1](tool)
  if (code !== 0)
    throw new SluiceError('SLUICE_FW_FLASH_TOOL', `${tool} ended with ${code ?? 'a signal'}`, {
      hint: 'Its own words are above.',
    })
}

/** Programs of others, by their arguments alone; they verify by themselves. */
export function toolArguments(
  tool: 'dfu-util' | 'openocd',
  binary: string,
  address: number,
  config?: string,
): string[] {
  const place = `0x${address.toString(16)}`
  return tool === 'dfu-util'
    ? ['--alt', '0', '--dfuse-address', `${place}:leave`, '--download', binary]
    : [...(config === undefined ? [] : ['-f', config]), '-c', `program {${binary}} ${place} verify reset exit`]
}
