import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildBootloader } from '../../../firmware/tools/bootloader.ts'
import { buildFirmware } from '../../../firmware/tools/build.ts'
import { makeImage, parseVersion } from '../../../firmware/tools/image.ts'
import { publicKeyOf } from '../../../firmware/tools/keys.ts'
import { MANAGED_MODULES } from '../../../firmware/tools/managed.ts'
import { signerOf } from '../../../firmware/tools/sign.ts'
import type { SweepBoard } from './board.ts'
import { addressOf, qemuBoard } from './qemu.ts'
import { rp2040Board } from './rp2040.ts'
import type { SweepImage, SweepImages } from './sweep.ts'

/** Boards whose power can be cut at any operation: ARM code in an emulator. */
export const SWEEP_BOARDS = ['rp2040', 'microbit', 'mps2-an385'] as const
export type SweepBoardName = (typeof SWEEP_BOARDS)[number]

const managed = fileURLToPath(new URL('../../../firmware/testing/managed.c', import.meta.url))

/**
 * An emulator in another process stands still now and then: a frame that comes in pieces is one frame, and no watchdog
 * ends what is only slow.
 */
const PATIENT = { SL_BAUD: '1200u', SL_WATCHDOG_MS: '8000u' } as const

export interface Prepared {
  readonly board: SweepBoard
  readonly images: SweepImages
  /** Slots and settings as the factory leaves them. */
  readonly factory: Uint8Array
}

/** Builds and signs everything a sweep needs, and starts the emulator. */
export async function prepareSweep(name: SweepBoardName, folder: string): Promise<Prepared> {
  const key = generateKeyPairSync('ed25519').privateKey
  const cacheDir = join(tmpdir(), `sluice-firmware-objects-${process.getuid?.() ?? 0}`)
  mkdirSync(cacheDir, { recursive: true })
  const common = { board: name, cacheDir }
  const boot = await buildBootloader({
    ...common,
    keys: [publicKeyOf(key)],
    production: true,
    outDir: join(folder, 'boot'),
  })
  const { slotA, slotB, settings } = boot.board.layout
  if (slotA === undefined || slotB === undefined || settings === undefined) throw new Error(`${name} has no slots`)
  const programs: string[] = []
  // Not a definition for all of the core, which would be compiled anew for each version.
  const versionOf = (minor: number): string => {
    const file = join(folder, `version-${minor}.c`)
    writeFileSync(file, `#define SL_VERSION_MINOR ${minor}\n#include "${managed}"\n`)
    return file
  }
  const image = async (minor: number, slot: 0 | 1, securityCounter: number): Promise<SweepImage> => {
    const build = await buildFirmware({
      ...common,
      image: slot === 0 ? 'slotA' : 'slotB',
      sources: [versionOf(minor)],
      modules: MANAGED_MODULES,
      defines: name === 'rp2040' ? {} : PATIENT,
      outDir: join(folder, `${minor}`),
    })
    programs.push(build.elf)
    const slotAddress = slot === 0 ? slotA.address : slotB.address
    const options = { version: parseVersion(`1.${minor}.0`), securityCounter, board: name, slotAddress }
    const bytes = await makeImage({ ...options, payload: readFileSync(build.bin) }, signerOf(key, { production: true }))
    return { minor, slot, bytes }
  }
  // The counter is raised once, so that a confirmation has both halves; what may be taken back has the same one.
  const images: SweepImages = {
    factory: await image(1, 0, 1),
    second: await image(2, 1, 2),
    third: await image(3, 0, 2),
    trial: await image(4, 1, 2),
  }
  const factory = new Uint8Array(settings.address + settings.size - slotA.address).fill(0xff)
  factory.set(images.factory.bytes)
  const board =
    name === 'rp2040'
      ? rp2040Board(boot, await addressOf(boot.elf, 'sl_ed25519_verify'))
      : await qemuBoard(boot, programs)
  return { board, images, factory }
}
