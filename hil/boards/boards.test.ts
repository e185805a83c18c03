import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { exceptionOf, type ModbusSession } from '../../mappers/modbus/session.ts'
import type { BoardRig, LineKind, RigOptions } from './rig.ts'
import { serialBoard } from './serial-rig.ts'
import { startBoard } from './start.ts'
import { ask, buildHundred, lacks, masterOf, once, pattern, words } from './test-boards.test-helper.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-boards-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const cleanups: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of cleanups.splice(0).toReversed()) await one[Symbol.asyncDispose]()
})

const realPort = process.env['SLUICE_BOARD_PORT']

async function start(
  board: string,
  lines: readonly LineKind[] = ['tcp'],
  more: Partial<RigOptions> = {},
): Promise<BoardRig> {
  const build = await buildHundred(board, join(folder, `${board}-${lines.length}`), {
    SL_LINES: Math.min(2, lines.length),
  })
  const rig = await startBoard({ build, lines, ...more })
  cleanups.push(rig)
  return rig
}

function master(rig: BoardRig, line = 0): ModbusSession {
  const session = masterOf(rig, line)
  cleanups.push(session)
  return session
}

const firstTen = Array.from({ length: 10 }, (_, at) => pattern(at))
const readTen = { fc: 3, address: 0, count: 10 } as const
const resetReason = async (session: ModbusSession) => words(await ask(session, { fc: 4, address: 0xf00a, count: 1 }))[0]

/** What any board with the test application does, emulated or on a desk. */
async function servesRegisters(session: ModbusSession): Promise<void> {
  expect(words(await ask(session, readTen))).toEqual(firstTen)
  await once(session, { fc: 16, address: 100, values: [321, 0xfff0] })
  expect(words(await once(session, { fc: 3, address: 100, count: 2 }))).toEqual([321, 0xfff0])
  await once(session, { fc: 16, address: 100, values: [7, 0xfffe] })
  await expect(once(session, { fc: 6, address: 100, value: 1001 })).rejects.toSatisfy(
    (error) => exceptionOf(error) === 3,
  )
  expect(words(await once(session, { fc: 3, address: 0, count: 60 }))).toEqual(
    Array.from({ length: 60 }, (_, at) => pattern(at)),
  )
  const block = words(await once(session, { fc: 4, address: 0xf000, count: 8 }))
  expect(block).toEqual([0x534c, 1, 0x0102, 0x0304, 0x0506, 0x0708, 0x0102, 3])
}

// Hardware is there or it is not: without a port there is nothing that could be skipped.
if (realPort !== undefined) {
  describe('a real board (--port, or SLUICE_BOARD_PORT)', { timeout: 60_000 }, () => {
    it('serves its registers', async () => {
      await servesRegisters(master(serialBoard(realPort)))
    })

    it('starts over when it resets itself, and says so', async () => {
      const session = master(serialBoard(realPort))
      await ask(session, { fc: 6, address: 5, value: 1234 })
      await expect(session.request(1, { fc: 6, address: 200, value: 2 }, { timeoutMs: 100 })).rejects.toThrow()
      expect(words(await ask(session, { fc: 3, address: 5, count: 1 }))).toEqual([pattern(5)])
      expect(await resetReason(session)).toBe(3)
    })

    it('comes back from a hang by its watchdog, and says so', async () => {
      const session = master(serialBoard(realPort))
      await ask(session, readTen)
      await expect(session.request(1, { fc: 6, address: 200, value: 1 }, { timeoutMs: 100 })).rejects.toThrow()
      expect(await resetReason(session)).toBe(4)
    })

    it('keeps its flash over a reset, and programming only ever clears bits', async () => {
      const session = master(serialBoard(realPort))
      await ask(session, { fc: 16, address: 202, values: [0, 0] })
      await once(session, { fc: 16, address: 202, values: [0xff00, 0xff00] })
      await once(session, { fc: 16, address: 202, values: [0x0ff0, 0x0ff0] })
      await expect(session.request(1, { fc: 6, address: 200, value: 2 }, { timeoutMs: 100 })).rejects.toThrow()
      expect(words(await ask(session, { fc: 3, address: 202, count: 2 }))).toEqual([0x0f00, 0x0f00])
    })

    it('never gives a wrong value, however fast it is asked', async () => {
      const session = master(serialBoard(realPort))
      await ask(session, readTen)
      for (let turn = 0; turn < 500; turn++) {
        const address = turn % 50
        expect(words(await once(session, { fc: 3, address, count: 10 }))).toEqual(
          Array.from({ length: 10 }, (_, at) => pattern(address + at)),
        )
      }
    })
  })
}

describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm', 'cc'))('boards', { timeout: 60_000 }, () => {
  it.each(['microbit', 'mps2-an385', 'rp2040', 'host', 'stm32vldiscovery', 'netduinoplus2'])(
    '%s serves its registers',
    async (board) => servesRegisters(master(await start(board))),
  )

  it.each(['microbit', 'rp2040', 'host'])('%s serves them on a pseudo-terminal too', async (board) => {
    await servesRegisters(master(await start(board, ['pty'])))
  })

  it('mps2-an385 serves two of its lines at once, and a request on one does not disturb the other', async () => {
    const rig = await start('mps2-an385', ['tcp', 'tcp'])
    const [one, other] = [master(rig, 0), master(rig, 1)]
    await Promise.all([ask(one, readTen), ask(other, readTen)])
    const both = Array.from({ length: 20 }, async (_, at) => {
      const address = at
      return [words(await once(at % 2 === 0 ? one : other, { fc: 3, address, count: 3 })), address] as const
    })
    for (const [values, address] of await Promise.all(both))
      expect(values).toEqual([0, 1, 2].map((k) => pattern(address + k)))
  })

  it.each(['microbit', 'mps2-an385', 'rp2040', 'host'])('%s starts over at a reset', async (board) => {
    const rig = await start(board)
    const session = master(rig)
    await ask(session, { fc: 6, address: 5, value: 1234 })
    await rig.reset()
    expect(words(await ask(session, { fc: 3, address: 5, count: 1 }))).toEqual([pattern(5)])
  })

  it.each(['microbit', 'mps2-an385', 'rp2040', 'host'])('%s says that it reset itself', async (board) => {
    const session = master(await start(board))
    await ask(session, readTen)
    await expect(session.request(1, { fc: 6, address: 200, value: 2 }, { timeoutMs: 100 })).rejects.toThrow()
    // The nRF51 of the emulator has no register for the reason: every bit 0 there reads as set, "by the pin".
    expect(await resetReason(session)).toBe(board === 'microbit' ? 2 : 3)
  })

  it.each(['mps2-an385', 'rp2040', 'host'])('%s comes back from a hang by its watchdog, and says so', async (board) => {
    const session = master(await start(board))
    await ask(session, readTen)
    await expect(session.request(1, { fc: 6, address: 200, value: 1 }, { timeoutMs: 100 })).rejects.toThrow()
    expect(await resetReason(session)).toBe(4)
  })

  it.each(['microbit', 'mps2-an385', 'rp2040', 'host'])('%s stands still when told, and goes on', async (board) => {
    const rig = await start(board)
    const session = master(rig)
    await ask(session, readTen)
    await rig.hang()
    await expect(session.request(1, readTen, { timeoutMs: 100 })).rejects.toMatchObject({
      code: 'SLUICE_MODBUS_TIMEOUT',
    })
    await rig.resume()
    expect(words(await ask(session, readTen))).toEqual(firstTen)
  })

  it.each(['microbit', 'mps2-an385', 'rp2040', 'host'])(
    '%s keeps its flash over a power cut, and nothing else',
    async (board) => {
      const rig = await start(board)
      const before = master(rig)
      await ask(before, { fc: 16, address: 202, values: [0, 0] })
      expect(words(await once(before, { fc: 3, address: 202, count: 2 }))).toEqual([0xffff, 0xffff])
      await once(before, { fc: 16, address: 202, values: [0xff00, 0xff00] })
      await once(before, { fc: 16, address: 202, values: [0x0ff0, 0x0ff0] })
      await once(before, { fc: 6, address: 5, value: 1234 })
      await rig.powerCut()
      await rig.powerOn()
      const after = master(rig)
      // Programming only ever clears bits.
      expect(words(await ask(after, { fc: 3, address: 202, count: 2 }))).toEqual([0x0f00, 0x0f00])
      expect(words(await once(after, { fc: 3, address: 5, count: 1 }))).toEqual([pattern(5)])
      const settings = { microbit: 0x3e000, 'mps2-an385': 0x200000, rp2040: 0x1e8000, host: 0x3e000 }[board] ?? 0
      const flash = await rig.readFlash()
      expect([...flash.subarray(settings, settings + 5)]).toEqual([0x00, 0x0f, 0x00, 0x0f, 0xff])
    },
  )

  it.each(['microbit', 'mps2-an385', 'rp2040', 'host'])(
    '%s reads what a bit error left in its flash',
    async (board) => {
      const rig = await start(board)
      const settings = { microbit: 0x3e000, 'mps2-an385': 0x21200000, rp2040: 0x101e8000, host: 0x0803e000 }[board] ?? 0
      await rig.powerCut()
      await rig.writeFlash(settings, Uint8Array.of(0x34, 0x12, 0xcd, 0xab))
      await rig.powerOn()
      expect(words(await ask(master(rig), { fc: 3, address: 202, count: 2 }))).toEqual([0xabcd, 0x1234])
    },
  )

  it('mps2-an385 reads the temperature a test sets, above and below zero', async () => {
    const rig = await start('mps2-an385', ['tcp'], { sensor: true })
    const session = master(rig)
    await ask(session, readTen)
    for (const [celsius, hundredths] of [
      [23.5, 2350],
      [-10.5, 0x10000 - 1050],
      [0, 0],
    ] as const) {
      await rig.setTemperature(celsius)
      expect(words(await once(session, { fc: 4, address: 0, count: 1 }))).toEqual([hundredths])
    }
  })

  it('a board without a sensor says that reading it failed', async () => {
    const session = master(await start('mps2-an385'))
    await ask(session, readTen)
    await expect(once(session, { fc: 4, address: 0, count: 1 })).rejects.toSatisfy((error) => exceptionOf(error) === 4)
  })
})
