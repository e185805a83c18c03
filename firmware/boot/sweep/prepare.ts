import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildBootloader } from '../../tools/bootloader.ts'
import { buildFirmware } from '../../tools/build.ts'
import { makeImage, parseVersion } from '../../tools/image.ts'
import { publicKeyOf } from '../../tools/keys.ts'
import { MANAGED_MODULES } from '../../tools/managed.ts'
import { signerOf } from '../../tools/sign.ts'
import type { SweepBoard } from './board.ts'
import { addressOf, qemuBoard } from './qemu.ts'
import { rp2040Board } from './rp2040.ts'
import type { SweepImage, SweepImages } from './sweep.ts'

/** Boards that the sweep can be run on: ARM code in an emulator. */
export const SWEEP_BOARDS = ['rp2040', 'microbit', 'mps2-an385'] as const
export type SweepBoardName = (typeof SWEEP_BOARDS)[number]

const managed = fileURLToPath(new URL('../../testing/managed.c', import.meta.url))

export interface Prepared {
  readonly board: SweepBoard
  readonly images: SweepImages
  /** Slots and settings as the factory leaves them. */
  readonly factory: Uint8Array
}

/** Builds and signs everything a sweep needs, and starts the emulator. */
export async function prepareSweep(name: SweepBoardName, folder: string): Promise<Prepared> {
  const key = generateKeyPairSync('ed25519').privateKey
  const cacheDir = join(folder, 'objects')
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
  const image = async (minor: number, slot: 0 | 1, securityCounter: number): Promise<SweepImage> => {
    const build = await buildFirmware({
      ...common,
      image: slot === 0 ? 'slotA' : 'slotB',
      sources: [managed],
      modules: MANAGED_MODULES,
      defines: { SL_VERSION_MINOR: minor },
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
