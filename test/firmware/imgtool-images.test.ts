import { createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { hasCompiler } from '../../firmware/core/checks/host-build.ts'
import { lineOf, SLOT_ADDRESSES, SmpDevices } from '../../firmware/core/checks/smp-device.ts'
import { buildBootloader } from '../../firmware/tools/bootloader.ts'
import { ImageError } from '../../firmware/tools/image.ts'
import { publicKeyOf } from '../../firmware/tools/keys.ts'
import { verifyImage } from '../../firmware/tools/sign.ts'
import { SmpClient } from '../../firmware/tools/smp/client.ts'
import { streamTransport } from '../../firmware/tools/smp/transport.ts'
import { startBoard } from '../../hil/boards/start.ts'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'

interface Recorded {
  readonly publicKey: string
  readonly images: readonly {
    readonly name: string
    /** What a board has to say: "ok", or why not. */
    readonly expected: string
    readonly argv: string
    readonly image: string
  }[]
  /** Says a line on its UART again and again. */
  readonly microbit: { readonly argv: string; readonly image: string }
}

/** Recorded from imgtool, which is in no package source of Debian; where they come from stands in the file. */
const recorded: Recorded = JSON.parse(readFileSync(new URL('./imgtool-images.json', import.meta.url), 'utf8'))
const key = publicKeyOf(createPublicKey(recorded.publicKey))
const cases = recorded.images.map(({ name, expected, image }) => [name, expected, Buffer.from(image, 'hex')] as const)
const ADDRESS = SLOT_ADDRESSES[0]

function verdict(image: Uint8Array): string {
  try {
    verifyImage(image, { keys: [key], production: true, board: 'host', slotAddress: ADDRESS })
    return 'ok'
  } catch (error) {
    if (error instanceof ImageError) return error.refusal
    throw error
  }
}

describe('an image of imgtool', () => {
  it.each(cases)('%s: "%s" is what whoever releases or sends it is told', (_, expected, image) => {
    expect(verdict(image)).toBe(expected)
  })

  it('signed in a way that boards do not check is refused with the option to leave out', () => {
    const hint = (name: string) => {
      try {
        verifyImage(cases.find(([each]) => each === name)?.[2] ?? Buffer.alloc(0), { keys: [key], production: true })
      } catch (error) {
        if (error instanceof ImageError) return error.hint
      }
      return undefined
    }
    expect(hint('with SHA-512')).toContain('--sha 256')
    expect(hint('signed over its content')).toContain('--pure')
    expect(hint('with its whole public key')).toContain('--public-key-format')
    expect(hint('that is not bootable')).toContain('--non-bootable')
    expect(hint('that is not signed')).toContain('--key')
    expect(() => verifyImage(Buffer.from(':020000040000FA\n'.repeat(3)), { keys: [key], production: true })).toThrow(
      'Intel HEX',
    )
  })
})

describe.skipIf(!hasCompiler())('a bootloader that finds an image of imgtool', () => {
  const devices = new SmpDevices()
  beforeAll(() => devices.build())

  const found = async (image: Uint8Array): Promise<string> => {
    const flash = await devices.flash('flash', new Map([[ADDRESS, image]]))
    const client = new SmpClient(streamTransport(lineOf(devices.start('console', flash, true, key.raw))))
    const slot = (await client.images()).find((each) => each.slot === 0)
    const { running } = await client.plate()
    if (running === 0) return 'ok'
    // What does not even begin like an image is not listed.
    return slot === undefined ? 'magic' : (slot.refusal ?? 'not started')
  }

  it.each(cases)('%s: "%s" says the same', async (_, expected, image) => {
    expect(await found(image)).toBe(expected)
  })

  it('starts none of which a byte was changed', async () => {
    const [, , good] = cases[0] ?? cases[1] ?? []
    if (good === undefined) throw new Error('nothing recorded')
    for (let at = 0; at < good.length; at += 13) {
      const bad = Uint8Array.from(good)
      bad[at] = (bad[at] ?? 0) ^ 0x10
      expect(await found(bad), `byte ${at}`).not.toBe('ok')
      expect(verdict(bad), `byte ${at}`).not.toBe('ok')
      devices.powerCut()
    }
  })
})

describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm'))('an emulated micro:bit', () => {
  it('starts what imgtool signed', { timeout: 60_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-imgtool-'))
    try {
      const cacheDir = join(tmpdir(), `sluice-firmware-objects-${process.getuid?.() ?? 0}`)
      const build = await buildBootloader({
        board: 'microbit',
        keys: [key],
        production: true,
        outDir: folder,
        cacheDir,
      })
      const memory = [{ address: 0x6000, bytes: Buffer.from(recorded.microbit.image, 'hex') }]
      await using rig = await startBoard({ build, lines: ['tcp'], memory })
      const { host, port } = rig.lines[0]?.tcp ?? { host: '', port: 0 }
      const socket = connect(port, host)
      let heard = ''
      for await (const chunk of socket) {
        heard += String(chunk)
        if (heard.includes('made by imgtool\n')) break
      }
      expect(heard).toContain('made by imgtool\n')
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
