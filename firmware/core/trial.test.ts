import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { startHost } from '../../hil/boards/host-rig.ts'
import { ask, lacks, masterOf, once, words } from '../../hil/boards/test-boards.test-helper.ts'
import { buildFirmware } from '../tools/build.ts'
import { makeImage, parseVersion } from '../tools/image.ts'
import { MANAGED_MODULES } from '../tools/managed.ts'
import { signerOf } from '../tools/sign.ts'

const managed = fileURLToPath(new URL('../testing/managed.c', import.meta.url))
const NOTE = 'SLUICE_HOST_NOTE'
/** What a bootloader leaves for slot B on its first trial: magic, and slot, mark pending, attempt 1. */
const ON_TRIAL = `534c4e31${(1 | (1 << 8) | (1 << 16)).toString(16).padStart(8, '0')}`.padEnd(64, '0')
const RESET_REASON = { fc: 4, address: 0xf00a, count: 1 } as const
const SOFTWARE = 3

/** The application as a Linux process, told that it is on trial; only an emulated board has a bootloader that counts. */
describe.skipIf(lacks('cc'))('an image on trial on the host', { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-trial-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  afterEach(() => delete process.env[NOTE])

  it('starts over when nobody confirms it in time, and there is an image to go back to', async () => {
    const build = await buildFirmware({
      ...{ board: 'host', sources: [managed], modules: MANAGED_MODULES, outDir: join(folder, 'out') },
      ...{ cacheDir: join(folder, 'objects'), defines: { SL_TRIAL_S: 1 } },
    })
    const address = build.board.layout.slotA?.address ?? 0
    const options = { version: parseVersion('1.0.0'), securityCounter: 1, board: 'host', slotAddress: address }
    const key = generateKeyPairSync('ed25519').privateKey
    const bytes = await makeImage({ ...options, payload: Buffer.alloc(600, 1) }, signerOf(key, { production: true }))
    process.env[NOTE] = ON_TRIAL
    await using rig = await startHost({ build, lines: ['tcp'], memory: [{ address, bytes }] })
    await using master = masterOf(rig)
    expect(words(await ask(master, RESET_REASON))).not.toEqual([SOFTWARE])
    for (let reason = 0; reason !== SOFTWARE; ) reason = words(await ask(master, RESET_REASON))[0] ?? 0
  })

  it('stays when it is the only one there is', async () => {
    const build = await buildFirmware({
      ...{ board: 'host', sources: [managed], modules: MANAGED_MODULES, outDir: join(folder, 'alone') },
      ...{ cacheDir: join(folder, 'objects'), defines: { SL_TRIAL_S: 1 } },
    })
    process.env[NOTE] = ON_TRIAL
    await using rig = await startHost({ build, lines: ['tcp'] })
    await using master = masterOf(rig)
    const uptime = async () => words(await once(master, { fc: 4, address: 0xf00b, count: 2 }))[1] ?? 0
    await ask(master, RESET_REASON)
    while ((await uptime()) < 3) expect(words(await once(master, RESET_REASON))).not.toEqual([SOFTWARE])
  })
})
