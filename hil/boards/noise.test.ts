import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import { preciseClock } from '../../mappers/modbus/precise-clock.ts'
import { type ModbusSession, openSerialSession } from '../../mappers/modbus/session.ts'
import type { LineFaults } from '../line-faults.ts'
import { boardBus } from './bus.ts'
import { startHost } from './host-rig.ts'
import { startQemu } from './qemu-rig.ts'
import type { BoardRig } from './rig.ts'
import { buildHundred, lacks, pattern, words } from './test-boards.test-helper.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-noise-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function boards(kind: 'host' | 'microbit', count: number): Promise<BoardRig[]> {
  const rigs: BoardRig[] = []
  for (let unit = 1; unit <= count; unit++) {
    const build = await buildHundred(kind, join(folder, `${kind}-${unit}`), { SL_UNIT: unit, SL_SHARED: 'true' })
    rigs.push(await (kind === 'host' ? startHost : startQemu)({ build, lines: ['stream'] }))
  }
  return rigs
}

/** Reads units in turn; what was wrong, how many were lost, and the longest row of lost ones. */
async function poll(master: ModbusSession, units: number, reads: number) {
  const wrong: string[] = []
  let lost = 0
  let row = 0
  let longest = 0
  for (let turn = 0; turn < reads; turn++) {
    const unit = 1 + (turn % units)
    const address = turn % 50
    try {
      const { response } = await master.request(unit, { fc: 3, address, count: 10 }, { timeoutMs: 60 })
      const values = words(response)
      if (values.some((value, at) => value !== pattern(address + at, unit))) wrong.push(`${unit}/${address}: ${values}`)
      row = 0
    } catch {
      lost++
      longest = Math.max(longest, ++row)
    }
  }
  return { wrong, lost, longest }
}

async function overNoise(kind: 'host' | 'microbit', faults: LineFaults, reads: number, seed: number) {
  const rigs = await boards(kind, 3)
  try {
    const each = Object.fromEntries([0, 1, 2, 3].map((end) => [end, faults]))
    await using bus = boardBus(rigs, { baud: 115_200, faults: each, seed }, preciseClock)
    await using master = openSerialSession(
      { path: bus.path, baud: 115_200, quietMs: 20, quietMaxMs: 60 },
      { clock: systemClock },
    )
    const noisy = await poll(master, 3, reads)
    const struck = [...bus.stats.faults.values()].reduce((sum, times) => sum + times, 0)
    return { ...noisy, struck }
  } finally {
    for (const rig of rigs) await rig[Symbol.asyncDispose]()
  }
}

describe.skipIf(lacks('cc'))('three boards on one noisy line', { timeout: 120_000 }, () => {
  it('never give a wrong value when bits flip and bytes are lost, doubled, split and late', async () => {
    const faults = {
      flip: 0.04,
      drop: 0.03,
      duplicate: 0.02,
      garbage: 0.03,
      garbageBytes: 6,
      split: 0.05,
      splitMs: 4,
      delay: 0.02,
      delayMs: 30,
    }
    const result = await overNoise('host', faults, 300, 7)
    expect(result.struck).toBeGreaterThan(40)
    expect(result.lost).toBeGreaterThan(0)
    expect(result.lost).toBeLessThan(150)
    expect(result.wrong).toEqual([])
  })

  it('answer within two polls once the line is quiet again', async () => {
    const rigs = await boards('host', 3)
    try {
      await using bus = boardBus(rigs, { baud: 115_200, seed: 3 }, preciseClock)
      await using master = openSerialSession({ path: bus.path, baud: 115_200 }, { clock: systemClock })
      for (let turn = 0; turn < 20; turn++) {
        bus.noise(Uint8Array.from({ length: 1 + turn * 3 }, (_, at) => (at * 37 + turn * 11 + 1) & 0xff))
        let tries = 0
        for (let heard = false; !heard; tries++) {
          const asked = master.request(1 + (turn % 3), { fc: 3, address: 0, count: 10 }, { timeoutMs: 400 })
          heard = await asked.then(
            (reply) => words(reply.response)[0] === pattern(0, 1 + (turn % 3)),
            () => false,
          )
        }
        expect(tries).toBeLessThanOrEqual(2)
      }
    } finally {
      for (const rig of rigs) await rig[Symbol.asyncDispose]()
    }
  })
})

describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm'))(
  'three emulated micro:bits on one noisy line',
  { timeout: 120_000 },
  () => {
    it('never give a wrong value', async () => {
      const result = await overNoise('microbit', { flip: 0.03, drop: 0.03, duplicate: 0.02 }, 90, 11)
      expect(result.struck).toBeGreaterThan(5)
      expect(result.wrong).toEqual([])
      expect(result.lost).toBeLessThan(90)
    })
  },
)
