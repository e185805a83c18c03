import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { type Board, firmwareRoot, loadBoard } from './board.ts'
import { buildFirmware, type FirmwareBuild } from './build.ts'
import type { PublicKey } from './keys.ts'

/** What a bootloader may take, with its stack: a quarter of what the smallest supported part has. */
export const BOOTLOADER_BUDGET = { flashBytes: 24 * 1024, ramBytes: 6 * 1024 } as const

const MODULES = [
  'cbor',
  'crc32',
  'ed25519',
  'image',
  'image-signature',
  'marks',
  'security-counter',
  'sha256',
  'sha512',
  'slots',
  'smp',
  'smp-console',
  'smp-image',
  'upload',
]

export interface BootloaderOptions {
  readonly board: string | Board
  /** Current key first, then the next one where there is one: at most two. */
  readonly keys: readonly PublicKey[]
  /** Refuses the development key, in the bootloader and here. */
  readonly production: boolean
  readonly outDir: string
  /** Of the recovery line; default 115200. */
  readonly baud?: number
  /** Until an image that hangs is started over; default 8000. A check of a signature has to fit in it. */
  readonly watchdogMs?: number
  readonly cacheDir?: string
  readonly signal?: AbortSignal
}

function keyHeader(keys: readonly PublicKey[], production: boolean): string {
  const rows = keys.map(
    ({ raw, development }) =>
      `  {{${[...raw].map((byte) => `0x${byte.toString(16).padStart(2, '0')}`).join(', ')}}, ${development}},`,
  )
  return [
    '/* Generated: the public keys this bootloader trusts. */',
    '#ifndef SL_BOOT_KEYS_H\n#define SL_BOOT_KEYS_H\n\n#include "image.h"\n',
    `#define SL_BOOT_PRODUCTION ${production}`,
    `static const sl_image_key SL_BOOT_KEYS[] = {\n${rows.join('\n')}\n};`,
    '\n#endif\n',
  ].join('\n')
}

/** Builds the bootloader of a board around public keys; the build fails beyond its budget. */
export async function buildBootloader(options: BootloaderOptions): Promise<FirmwareBuild> {
  const whole = typeof options.board === 'string' ? loadBoard(options.board) : options.board
  // Recovery is on the first line only; queues for the others would be the largest thing in its RAM.
  const board = { ...whole, uarts: whole.uarts.slice(0, 1) }
  if (options.keys.length < 1 || options.keys.length > 2)
    throw new SluiceError('SLUICE_FW_KEY', `a bootloader has one or two keys, not ${options.keys.length}`, {
      hint: 'Give the current key, and the next one when there is one.',
    })
  if (options.production && options.keys.some((key) => key.development))
    throw new SluiceError('SLUICE_FW_DEV_KEY', 'a production bootloader does not trust the development key', {
      hint: 'Make a key of your own with "sluice fw key new".',
    })
  const include = join(options.outDir, 'keys')
  mkdirSync(include, { recursive: true })
  writeFileSync(join(include, 'boot-keys.h'), keyHeader(options.keys, options.production))
  const boot = join(firmwareRoot, 'boot')
  return buildFirmware({
    board,
    image: 'boot',
    bare: true,
    sources: [join(boot, 'main.c'), join(boot, 'choose.c'), join(boot, 'recovery.c')],
    modules: MODULES,
    includes: [include],
    outDir: options.outDir,
    stackBytes: 2304,
    budget: BOOTLOADER_BUDGET,
    defines: {
      ...(options.baud === undefined ? {} : { SL_BOOT_BAUD: `${options.baud}u` }),
      ...(options.watchdogMs === undefined ? {} : { SL_BOOT_WATCHDOG_MS: `${options.watchdogMs}u` }),
    },
    ...(options.cacheDir === undefined ? {} : { cacheDir: options.cacheDir }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  })
}
