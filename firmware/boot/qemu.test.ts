import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
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
async function until(master: TcpMaster, minor: number): Promise<{ slot: number; mark: number; attempts: number }> {
  const end = systemClock.monotonic() + 60_000
  while (systemClock.monotonic() < end) {
    const version = await master.request(Uint8Array.of(3, 0, 0, 0, 1), 300)
    if (version?.[0] !== 3 || version[3] !== minor) continue
    const state = await master.request(Uint8Array.of(4, 0xf0, 8, 0, 2), 300)
    if (state?.[0] === 4) return { slot: state[3] ?? -1, mark: (state[5] ?? 0) & 15, attempts: (state[5] ?? 0) >> 4 }
  }
  throw new Error(`version 1.${minor} does not come up`)
}

describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm'))('the bootloader in QEMU', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-qemu-boot-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  // The nRF51 has no VTOR: there every interrupt of the application goes through the bootloader's trampolines.
  it.each(['microbit', 'mps2-an385'])(
    '%s is updated over its Modbus line, tries, confirms and stays',
    async (board) => {
      const key = generateKeyPairSync('ed25519').privateKey
      const keys = [publicKeyOf(key)]
      const boot = await buildBootloader({ board, keys, production: true, outDir: join(folder, board), cacheDir })
      const { slotA, slotB } = boot.board.layout
      if (slotA === undefined || slotB === undefined) throw new Error('the board has no slots')
      const image = async (kind: 'slotA' | 'slotB', minor: number, slotAddress: number) => {
        const defines = { SL_VERSION_MINOR: minor }
        const outDir = join(folder, `${board}-${kind}`)
        const build = await buildFirmware({
          board,
          image: kind,
          sources: [managed],
          modules: MANAGED_MODULES,
          defines,
          outDir,
          cacheDir,
        })
        const version = parseVersion(`1.${minor}.0`)
        const options = { payload: readFileSync(build.bin), version, securityCounter: minor, board, slotAddress }
        return makeImage(options, signerOf(key, { production: true }))
      }
      const first = await image('slotA', 1, slotA.address)
      const second = await image('slotB', 2, slotB.address)
      await using rig = await startBoard({
        build: boot,
        lines: ['tcp'],
        memory: [{ address: slotA.address, bytes: first }],
      })
      {
        using master = await TcpMaster.open(rig)
        expect(await until(master, 1)).toEqual({ slot: 0, mark: 0, attempts: 0 })
        const client = new SmpClient(
          tunnelTransport(async (pdu) => {
            const answer = await master.request(pdu, 10_000)
            if (answer === undefined) throw new Error('no answer')
            return answer
          }),
        )
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
    },
    180_000,
  )
})
