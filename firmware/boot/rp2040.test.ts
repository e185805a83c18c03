import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { parseImage } from '../tools/image.ts'
import { Rp2040Lab } from './rp2040-lab.test-helper.ts'

describe.skipIf(lacks('arm-none-eabi-gcc'))('the bootloader on an RP2040', () => {
  const lab = new Rp2040Lab()
  let folder = ''
  let first: Uint8Array = new Uint8Array()
  let second: Uint8Array = new Uint8Array()
  let third: Uint8Array = new Uint8Array()
  let mute: Uint8Array = new Uint8Array()
  let seconds: Uint8Array = new Uint8Array()
  let empty: Uint8Array = new Uint8Array()
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-boot-'))
    await lab.bootloader(join(folder, 'boot'))
    empty = lab.snapshot()
    first = await lab.image(folder, 0, 1, 1)
    second = await lab.image(folder, 1, 2, 2)
    third = await lab.image(folder, 1, 3, 2, { SL_HANGS: 1 })
    mute = await lab.image(folder, 1, 4, 1, { SL_MUTE: 1, SL_TRIAL_S: 2 })
    seconds = await lab.image(folder, 1, 5, 1, { SL_TRIAL_S: 2 })
  }, 120_000)
  afterAll(() => rm(folder, { recursive: true, force: true }))

  const factory = () => {
    lab.restore(empty)
    lab.put(0, first)
    lab.powerOn()
  }

  it('updates over Modbus function 0x41, tries, confirms, and stays', async () => {
    factory()
    expect(lab.running()).toEqual({ minor: 1, slot: 0, mark: 0, attempts: 0 })
    await lab.tunnel().upload(second)
    // Polling goes on between two parts of an upload.
    expect(lab.running()).toMatchObject({ minor: 1 })
    await lab.tunnel().test(parseImage(second).digest)
    await lab.tunnel().reset()
    lab.chip.run(300_000)
    expect(lab.running()).toEqual({ minor: 2, slot: 1, mark: 1, attempts: 1 })
    expect((await lab.tunnel().confirm())[1]).toMatchObject({ confirmed: true, active: true })
    expect((await lab.tunnel().plate()).securityCounter).toBe(2)
    lab.powerOn()
    expect(lab.running()).toEqual({ minor: 2, slot: 1, mark: 2, attempts: 1 })
  }, 120_000)

  it('starts an image that hangs three times, and then the one before it', async () => {
    factory()
    expect(lab.running()).toMatchObject({ minor: 1 })
    await lab.tunnel().upload(third)
    await lab.tunnel().test(parseImage(third).digest)
    const before = lab.chip.resets
    await lab.tunnel().reset()
    lab.chip.run(300_000)
    // Three trials end by the watchdog that the bootloader left running; somebody may step in after the third.
    expect(lab.running(20_000_000)).toMatchObject({ minor: 1, slot: 0 })
    expect(lab.chip.resets - before).toBe(4)
    expect((await lab.tunnel().images())[1]).toMatchObject({ refusal: 'exhausted', attempts: 3 })
  }, 240_000)

  it('starts an image that runs and never answers three times for the time of a trial, and then the one before it', async () => {
    factory()
    expect(lab.running()).toMatchObject({ minor: 1 })
    await lab.tunnel().upload(mute)
    await lab.tunnel().test(parseImage(mute).digest)
    const before = lab.chip.resets
    await lab.tunnel().reset()
    lab.chip.run(300_000)
    expect(lab.running(20_000_000)).toMatchObject({ minor: 1, slot: 0 })
    expect(lab.chip.resets - before).toBe(4)
    expect((await lab.tunnel().images())[1]).toMatchObject({ refusal: 'exhausted', attempts: 3 })
  }, 240_000)

  it('leaves an image on trial as long as a gateway that hears it says, and for good once it is confirmed', async () => {
    factory()
    expect(lab.running()).toMatchObject({ minor: 1 })
    await lab.tunnel().upload(seconds)
    await lab.tunnel().test(parseImage(seconds).digest)
    await lab.tunnel().reset()
    lab.chip.run(300_000)
    expect(lab.running()).toMatchObject({ minor: 5, attempts: 1 })
    await lab.tunnel().trial(6)
    lab.chip.run(5_000_000)
    expect(lab.running()).toMatchObject({ minor: 5, attempts: 1 })
    await lab.tunnel().confirm()
    lab.chip.run(5_000_000)
    expect(lab.running()).toMatchObject({ minor: 5, attempts: 1 })
    // What is confirmed may still be taken back, as long as the security counter of what was before is not behind.
    await lab.tunnel().revert()
    await lab.tunnel().reset()
    lab.chip.run(300_000)
    expect(lab.running()).toEqual({ minor: 1, slot: 0, mark: 2, attempts: 0 })
  }, 240_000)

  it('is brought to life without any image over its console', async () => {
    lab.restore(empty)
    lab.powerOn()
    lab.chip.run(200_000)
    const client = lab.console()
    expect(await client.plate()).toMatchObject({ board: 'rp2040', recovery: true, running: undefined })
    await client.upload(first)
    await client.test(parseImage(first).digest)
    lab.powerOn()
    expect(lab.running()).toMatchObject({ minor: 1, slot: 0, attempts: 1 })
  }, 120_000)

  it('leaves a changed byte and a wrong slot alone, waits for help, and says why', async () => {
    const damaged = Uint8Array.from(first)
    damaged[900] = (damaged[900] ?? 0) ^ 1
    for (const [image, refusal] of [
      [damaged, 'digest'],
      [second, 'slot'],
    ] as const) {
      lab.restore(empty)
      lab.put(0, image)
      lab.powerOn()
      expect(lab.running(600_000)).toBeUndefined()
      expect((await lab.console().images())[0]).toMatchObject({ refusal, bootable: false })
    }
  }, 120_000)
})
