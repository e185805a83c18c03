import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Rp2040Lab } from '../firmware/boot/rp2040-lab.test-helper.ts'
import { BOOTLOADER_BUDGET, buildBootloader } from '../firmware/tools/bootloader.ts'
import { buildFirmware } from '../firmware/tools/build.ts'
import { makeImage, parseImage, parseVersion } from '../firmware/tools/image.ts'
import { publicKeyOf } from '../firmware/tools/keys.ts'
import { signerOf } from '../firmware/tools/sign.ts'
import { Rp2040Chip } from '../hil/boards/rp2040-chip.ts'
import type { Bench, Figure } from './harness.ts'

/** MCUboot with Ed25519 on an nRF52840 (its pull request 2089): 39.9 to 41.9 KB. */
const MCUBOOT_BYTES = 40_000
/** Monocypher's verification, compiled with the same compiler and counted in the same emulator: cycles. */
const MONOCYPHER_CYCLES = 23.8e6
const CYCLES_PER_US = 125
const BYTE_US = 1e6 / 11_520
const UPDATE_BYTES = 64 * 1024
const verifySource = fileURLToPath(new URL('../firmware/testing/verify.c', import.meta.url))

const cArray = (name: string, bytes: Uint8Array): string =>
  `static const unsigned char ${name}[${bytes.length}] = {${[...bytes].join(', ')}};\n`

async function sizes(folder: string): Promise<Figure[]> {
  const figures: Figure[] = []
  const keys = [1, 2].map(() => publicKeyOf(generateKeyPairSync('ed25519').privateKey))
  for (const board of ['microbit', 'rp2040']) {
    const { sizes } = await buildBootloader({ board, keys, production: true, outDir: join(folder, board) })
    const { flashBytes, ramBytes } = sizes
    figures.push({
      bench: 'firmware-boot',
      figure: `bootloader flash, ${board}`,
      value: flashBytes,
      unit: 'bytes',
      peer: `MCUboot with Ed25519 ${MCUBOOT_BYTES} bytes, as published`,
      ratio: flashBytes / MCUBOOT_BYTES,
      budget: `<= ${BOOTLOADER_BUDGET.flashBytes}`,
      ok: flashBytes <= BOOTLOADER_BUDGET.flashBytes,
    })
    figures.push({
      bench: 'firmware-boot',
      figure: `bootloader RAM with stack, ${board}`,
      value: ramBytes,
      unit: 'bytes',
      budget: `<= ${BOOTLOADER_BUDGET.ramBytes}`,
      ok: ramBytes <= BOOTLOADER_BUDGET.ramBytes,
    })
  }
  return figures
}

/** Processor cycles between two bytes that firmware/testing/verify.c says. */
async function cycles(folder: string): Promise<Figure[]> {
  const include = join(folder, 'signed')
  mkdirSync(include, { recursive: true })
  const pair = generateKeyPairSync('ed25519')
  const message = Buffer.alloc(32, 0x5a)
  const parts = [
    cArray('key', publicKeyOf(pair.privateKey).raw),
    cArray('signature', sign(null, message, pair.privateKey)),
    cArray('message', message),
  ]
  writeFileSync(join(include, 'signed.h'), parts.join(''))
  const build = await buildFirmware({
    board: 'rp2040',
    sources: [verifySource],
    modules: ['ed25519', 'sha512', 'sha256'],
    bare: true,
    includes: [include],
    outDir: join(folder, 'verify'),
  })
  const chip = new Rp2040Chip()
  chip.flash.set(readFileSync(build.bin), 0)
  const said: { byte: string; us: number }[] = []
  chip.onByte = (_, byte) => said.push({ byte: String.fromCharCode(byte), us: chip.nowUs })
  chip.start(true)
  while (said.length < 4) chip.run(1000)
  const [start, end, hashed, done] = said
  if (end?.byte !== '+') throw new Error('the signature was refused')
  const verify = ((end?.us ?? 0) - (start?.us ?? 0)) * CYCLES_PER_US
  const perByte = (((done?.us ?? 0) - (hashed?.us ?? 0)) * CYCLES_PER_US) / 8192
  return [
    {
      bench: 'firmware-boot',
      figure: 'Ed25519 check on a Cortex-M0+',
      value: verify / 1e6,
      unit: 'million cycles',
      peer: 'Monocypher 23.8 million cycles, measured before in the same emulator',
      ratio: verify / MONOCYPHER_CYCLES,
      budget: '<= 24, 1.5 s at 16 MHz',
      ok: verify <= 24e6,
    },
    {
      bench: 'firmware-boot',
      figure: 'SHA-256 on a Cortex-M0+',
      value: perByte,
      unit: 'cycles/byte',
      peer: 'tinycrypt 166 cycles/byte, measured before in the same emulator',
      ratio: perByte / 166,
      ok: true,
    },
  ]
}

/** 64 KiB through function 0x41 at 115 200 baud on the chip's clock, with ten register reads a second in between. */
async function transfer(folder: string): Promise<Figure[]> {
  const lab = new Rp2040Lab()
  await lab.bootloader(join(folder, 'boot'))
  lab.put(0, await lab.image(folder, 0, 1, 1))
  lab.powerOn()
  if (lab.running()?.minor !== 1) throw new Error('the board does not come up')
  const options = { version: parseVersion('1.2.0'), securityCounter: 1, board: 'rp2040', slotAddress: 0x100f8000 }
  const payload = Buffer.alloc(UPDATE_BYTES - 512 - 256, 0x42)
  const image = await makeImage({ ...options, payload }, signerOf(lab.key, { production: true }))
  const wireUs = () => lab.chip.nowUs + lab.saidBytes * BYTE_US
  const startUs = wireUs()
  let polls = 0
  let answered = 0
  await lab.tunnel().upload(image, {
    onProgress: () => {
      if (wireUs() - startUs < polls * 100_000) return
      polls++
      if (lab.request(Uint8Array.of(3, 0, 0, 0, 1), 100_000)?.[0] === 3) answered++
    },
  })
  const seconds = (wireUs() - startUs) / 1e6
  const marked = await lab.tunnel().test(parseImage(image).digest)
  if (marked[1]?.pending !== true) throw new Error('the image did not arrive whole')
  const lineSeconds = (image.length * BYTE_US) / 1e6
  return [
    {
      bench: 'firmware-boot',
      figure: '64 KiB update over Modbus at 115 200 baud, polled ten times a second',
      value: seconds * (UPDATE_BYTES / image.length),
      unit: 's',
      peer: 'the line itself, bytes of the image only',
      ratio: seconds / lineSeconds,
      budget: '<= 10',
      ok: seconds * (UPDATE_BYTES / image.length) <= 10,
    },
    {
      bench: 'firmware-boot',
      figure: 'polls answered during the update',
      value: polls === 0 ? 0 : answered / polls,
      unit: 'share',
      budget: '1, at least 50 polls',
      ok: answered === polls && polls >= 50,
    },
  ]
}

export const run: Bench = async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-boot-'))
  try {
    return [...(await sizes(folder)), ...(await cycles(folder)), ...(await transfer(folder))]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
