import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import type { BoardRig } from '../../hil/boards/rig.ts'
import { startBoard } from '../../hil/boards/start.ts'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { buildBootloader } from '../tools/bootloader.ts'
import { buildFirmware } from '../tools/build.ts'
import { makeImage, parseImage, parseVersion } from '../tools/image.ts'
import { publicKeyOf } from '../tools/keys.ts'
import { MANAGED_MODULES } from '../tools/managed.ts'
import { signerOf } from '../tools/sign.ts'
import { SmpClient } from '../tools/smp/client.ts'
import { tunnelTransport } from '../tools/smp/tunnel.ts'
import { TcpMaster } from './tcp-master.test-helper.ts'

const managed = fileURLToPath(new URL('../testing/managed.c', import.meta.url))
const cacheDir = join(tmpdir(), `sluice-firmware-objects-${process.getuid?.() ?? 0}`)

/** Asks until the application of this minor version answers: its slot, mark and attempts. */
async function until(
  master: TcpMaster,
  minor: number,
  unit = 1,
): Promise<{ slot: number; mark: number; attempts: number }> {
  const end = systemClock.monotonic() + 60_000
  while (systemClock.monotonic() < end) {
    const version = await master.request(Uint8Array.of(3, 0, 0, 0, 1), 300, unit)
    if (version?.[0] !== 3 || version[3] !== minor) continue
    const state = await master.request(Uint8Array.of(4, 0xf0, 8, 0, 2), 300, unit)
    if (state?.[0] === 4) return { slot: state[3] ?? -1, mark: (state[5] ?? 0) & 15, attempts: (state[5] ?? 0) >> 4 }
  }
  throw new Error(`version 1.${minor} does not come up`)
}

describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm'))('the bootloader in QEMU', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-qemu-boot-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const key = generateKeyPairSync('ed25519').privateKey

  /** The managed application in this version, signed, for one of the slots. */
  async function image(board: string, slot: 'A' | 'B', minor: number, defines: Readonly<Record<string, number>> = {}) {
    const build = await buildFirmware({
      ...{ board, image: `slot${slot}` as const, sources: [managed], modules: MANAGED_MODULES, cacheDir },
      defines: { SL_VERSION_MINOR: minor, ...defines },
      outDir: join(folder, `${board}-${slot}-${minor}`),
    })
    const slotAddress = build.board.layout[`slot${slot}`]?.address ?? 0
    const version = parseVersion(`1.${minor}.0`)
    const options = { payload: readFileSync(build.bin), version, securityCounter: 1, board, slotAddress }
    return makeImage(options, signerOf(key, { production: true }))
  }

  /** A board with its bootloader and version 1.1 in slot A. */
  async function factory(board: string): Promise<BoardRig> {
    const keys = [publicKeyOf(key)]
    const boot = await buildBootloader({ board, keys, production: true, outDir: join(folder, board), cacheDir })
    const address = boot.board.layout.slotA?.address ?? 0
    return startBoard({ build: boot, lines: ['tcp'], memory: [{ address, bytes: await image(board, 'A', 1) }] })
  }

  const clientOf = (master: TcpMaster): SmpClient =>
    new SmpClient(
      tunnelTransport(async (pdu) => {
        const answer = await master.request(pdu, 10_000)
        if (answer === undefined) throw new Error('no answer')
        return answer
      }),
    )

  // The nRF51 has no VTOR: there every interrupt of the application goes through the bootloader's trampolines.
  it.each(['microbit', 'mps2-an385'])(
    '%s is updated over its Modbus line, tries, confirms, stays, and goes back when it is told to',
    async (board) => {
      const second = await image(board, 'B', 2)
      await using rig = await factory(board)
      {
        using master = await TcpMaster.open(rig)
        expect(await until(master, 1)).toEqual({ slot: 0, mark: 0, attempts: 0 })
        const client = clientOf(master)
        await client.upload(second)
        await client.test(parseImage(second).digest)
        await client.reset()
        expect(await until(master, 2)).toEqual({ slot: 1, mark: 1, attempts: 1 })
        expect((await client.confirm())[1]).toMatchObject({ confirmed: true, active: true })
      }
      await rig.powerCut()
      await rig.powerOn()
      using master = await TcpMaster.open(rig)
      expect(await until(master, 2)).toEqual({ slot: 1, mark: 2, attempts: 1 })
      const client = clientOf(master)
      await client.revert()
      await client.reset()
      expect(await until(master, 1)).toEqual({ slot: 0, mark: 2, attempts: 0 })
    },
    180_000,
  )

  it.each(['microbit', 'mps2-an385'])(
    '%s brings the image before back by itself when the new one runs and never answers',
    async (board) => {
      const mute = await image(board, 'B', 3, { SL_MUTE: 1, SL_TRIAL_S: 1 })
      await using rig = await factory(board)
      using master = await TcpMaster.open(rig)
      expect(await until(master, 1)).toMatchObject({ slot: 0 })
      const client = clientOf(master)
      await client.upload(mute)
      await client.test(parseImage(mute).digest)
      await client.reset()
      // It does run: under the unit that nobody polls.
      expect(await until(master, 3, 99)).toMatchObject({ slot: 1, mark: 1 })
      expect(await until(master, 1)).toMatchObject({ slot: 0 })
      expect((await client.images())[1]).toMatchObject({ refusal: 'exhausted', attempts: 3 })
    },
    180_000,
  )
})
