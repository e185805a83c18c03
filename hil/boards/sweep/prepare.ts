import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildBootloader } from '../../../firmware/tools/bootloader.ts'
import { buildFirmware } from '../../../firmware/tools/build.ts'
import { makeImage, parseVersion } from '../../../firmware/tools/image.ts'
import { publicKeyOf } from '../../../firmware/tools/keys.ts'
import { MANAGED_MODULES } from '../../../firmware/tools/managed.ts'
import { signerOf } from '../../../firmware/tools/sign.ts'
import { runTool } from '../../../firmware/tools/toolchain.ts'
import type { SweepBoard } from './board.ts'
import { rp2040Board } from './rp2040.ts'
import type { SweepImage, SweepImages } from './sweep.ts'

const managed = fileURLToPath(new URL('../../../firmware/testing/managed.c', import.meta.url))

export interface Prepared {
  readonly board: SweepBoard
  readonly images: SweepImages
  /** Slots and settings as the factory leaves them. */
  readonly factory: Uint8Array
}

/** Builds and signs everything a sweep needs, and starts the emulator. */
export async function prepareSweep(folder: string): Promise<Prepared> {
  const name = 'rp2040'
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
  const image = async (minor: number, slot: 0 | 1, securityCounter: number): Promise<SweepImage> => {
    const build = await buildFirmware({
      ...common,
      image: slot === 0 ? 'slotA' : 'slotB',
      sources: [managed],
      modules: MANAGED_MODULES,
      defines: { SL_VERSION_MINOR: minor },
      outDir: join(folder, `${minor}`),
    })
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
  const board = rp2040Board(boot, await addressOf(boot.elf, 'sl_ed25519_verify'))
  return { board, images, factory }
}

/** Address of a function in a linked program. */
async function addressOf(elf: string, name: string): Promise<number> {
  const { stdout } = await runTool('arm-none-eabi-nm', [elf])
  const line = stdout.split('\n').find((each) => each.endsWith(` ${name}`))
  if (line === undefined) throw new Error(`${elf} has no ${name}`)
  return Number.parseInt(line.split(' ')[0] ?? '', 16) & ~1
}
