import { describe, expect, it } from 'vitest'
import type { LineFaults } from '../../hil/line-faults.ts'
import { type TestBus, type TestBusOptions, testBus } from '../../hil/modbus-bus.ts'
import { registerValue, rtuFrame } from '../../hil/modbus-unit.ts'
import { seededRandom } from '../../hil/random.ts'
import { exceptionOf, type ModbusSession } from './session.ts'

const read = { fc: 3, address: 0, count: 2 } as const
const patience = { timeoutMs: 100 }

async function registers(session: ModbusSession, unit: number, address: number, timeoutMs = 100): Promise<number[]> {
  const { response } = await session.request(unit, { fc: 3, address, count: 2 }, { timeoutMs })
  if (response.fc !== 3) throw new Error('not a read')
  const bytes = Buffer.from(response.registers)
  return [bytes.readUInt16BE(0), bytes.readUInt16BE(2)]
}

const holds = (unit: number, address: number) => [registerValue(unit, address), registerValue(unit, address + 1)]
const code = (expected: string) => expect.objectContaining({ code: expected })

/** Reads `count` times from addresses and units in turn; returns how often a value was wrong, right, or missing. */
async function poll(bus: TestBus, count: number): Promise<{ right: number; wrong: number; failed: number }> {
  const random = seededRandom(5)
  const tally = { right: 0, wrong: 0, failed: 0 }
  const work = async () => {
    for (let i = 0; i < count; i++) {
      const unit = 1 + Math.floor(random() * 3)
      const address = Math.floor(random() * 60_000)
      try {
        const got = await registers(bus.session, unit, address)
        if (got.join() === holds(unit, address).join()) tally.right++
        else tally.wrong++
      } catch {
        tally.failed++
      }
    }
  }
  await bus.run(work())
  return tally
}

describe('a serial line', () => {
  it('reads, and knows how long the unit took and the line was taken', async () => {
    const bus = testBus({ baud: 9600, turnaroundMs: () => 7 })
    const reply = await bus.run(bus.session.request(2, read, patience))
    const charMs = 11_000 / 9600
    expect(reply.turnaroundMs).toBeCloseTo(7, 5)
    expect(reply.wireMs).toBeCloseTo(17 * charMs + 7, 5)
    expect(bus.session.stats.turnaroundMs.get(2)).toBeCloseTo(7, 5)
    expect(bus.session.stats.busyMs).toBeCloseTo(reply.wireMs, 5)
  })

  it('sends the next request exactly t3.5 after the answer', async () => {
    const bus = testBus({ baud: 9600, turnaroundMs: () => 0 })
    await bus.run(registers(bus.session, 1, 0))
    const start = bus.clock.monotonic()
    let end = 0
    const work = async () => {
      for (let i = 0; i < 10; i++) await registers(bus.session, 1, i)
      end = bus.clock.monotonic()
    }
    await bus.run(work())
    const charMs = 11_000 / 9600
    expect((end - start) / 10).toBeLessThanOrEqual(17 * charMs + 3.5 * charMs + 0.01)
  })

  it('has one request under way at a time, whoever asks', async () => {
    const bus = testBus()
    const asked = Array.from({ length: 30 }, (_, i) => registers(bus.session, 1 + (i % 3), i))
    const got = await bus.run(Promise.all(asked))
    expect(got).toEqual(asked.map((_, i) => holds(1 + (i % 3), i)))
    expect(bus.wire.stats.collisions).toBe(0)
  })

  it('says timeout for a silent unit and keeps the others', async () => {
    const bus = testBus()
    const silent = bus.session.request(9, read, patience)
    const other = registers(bus.session, 1, 5)
    await expect(bus.run(silent)).rejects.toEqual(code('SLUICE_MODBUS_TIMEOUT'))
    expect(await bus.run(other)).toEqual(holds(1, 5))
  })

  it('hands on an exception with its code', async () => {
    const bus = testBus({ answer: (_, frame) => [rtuFrame(frame[0]!, Uint8Array.of(frame[1]! | 0x80, 6))] })
    const error: unknown = await bus.run(bus.session.request(1, read, patience).catch((thrown: unknown) => thrown))
    expect(error).toEqual(code('SLUICE_MODBUS_EXCEPTION'))
    expect(exceptionOf(error)).toBe(6)
  })

  it.each([1, 40, 99, 150, 180])(
    'never takes an answer that comes %d ms after the time-out for the next one',
    async (lateMs) => {
      const bus = testBus({ turnaroundMs: (n) => (n % 3 === 0 ? 100 + lateMs : 3) })
      const tally = await poll(bus, 60)
      expect(tally.wrong).toBe(0)
      expect(tally.failed).toBe(20)
      expect(bus.session.stats.lateFramesDropped).toBe(20)
    },
  )

  it('would give wrong values if it did not keep quiet, which shows that these tests can see them', async () => {
    const bus = testBus({ turnaroundMs: (n) => (n % 3 === 0 ? 102 : 3), line: { quietMs: 0, quietMaxMs: 0 } })
    const tally = { wrong: 0 }
    const work = async () => {
      for (let i = 0; i < 60; i++) {
        const got = await registers(bus.session, 1, 2 * i).catch(() => undefined)
        if (got !== undefined && got.join() !== holds(1, 2 * i).join()) tally.wrong++
      }
    }
    await bus.run(work())
    expect(tally.wrong).toBeGreaterThan(0)
  })

  it('waits no longer than for the late answer', async () => {
    const bus = testBus({ turnaroundMs: (n) => (n === 1 ? 120 : 3) })
    const first = bus.session.request(1, read, patience).catch(() => undefined)
    const second = registers(bus.session, 1, 7)
    await bus.run(first)
    const reply = await bus.run(second)
    expect(reply).toEqual(holds(1, 7))
    expect(bus.clock.monotonic()).toBeLessThan(170)
  })

  it('asks other units meanwhile when told that only the silent one is to be left alone', async () => {
    const bus = testBus({ turnaroundMs: (n) => (n === 1 ? 150 : 3), line: { quietScope: 'unit' } })
    const order: string[] = []
    const ask = (unit: number, address: number) =>
      registers(bus.session, unit, address).then(
        (got) => void order.push(`${unit}:${got.join() === holds(unit, address).join()}`),
        () => void order.push(`${unit}:failed`),
      )
    await bus.run(Promise.all([ask(1, 0), ask(1, 5), ask(2, 6), ask(3, 7)]))
    expect(order).toEqual(['1:failed', '2:true', '3:true', '1:true'])
    expect(bus.session.stats.lateFramesDropped).toBe(1)
  })

  it('learns to wait longer for a unit that answers later and later', async () => {
    const bus = testBus({ turnaroundMs: (n) => (n <= 6 ? 150 + 40 * n : 3), line: { quietMs: 120 } })
    const tally = await poll(bus, 12)
    expect(tally).toEqual({ right: 6, wrong: 0, failed: 6 })
  })

  const faults: [string, LineFaults, (tally: { right: number; failed: number }, bus: TestBus) => void][] = [
    ['garbage before answers', { garbage: 0.3, garbageBytes: 3 }, ({ failed }) => expect(failed).toBe(0)],
    ['answers split by 20 ms', { split: 0.5, splitMs: 20 }, ({ failed }) => expect(failed).toBe(0)],
    [
      'repeated answers',
      { duplicate: 0.3 },
      ({ failed }, bus) => {
        expect(failed).toBe(0)
        expect(bus.session.stats.lateFramesDropped).toBe(bus.wire.stats.faults.get('duplicate'))
      },
    ],
    [
      'damaged answers',
      { flip: 0.2 },
      ({ failed }, bus) => {
        expect(failed).toBe(bus.wire.stats.faults.get('flip'))
        expect(bus.session.stats.crcErrors).toBeGreaterThan(failed / 2)
      },
    ],
    ['lost answers', { lose: 0.2 }, ({ failed }, bus) => expect(failed).toBe(bus.wire.stats.faults.get('lose'))],
    ['cut answers', { drop: 0.2 }, ({ failed }, bus) => expect(failed).toBe(bus.wire.stats.faults.get('drop'))],
    [
      'late answers',
      { delay: 0.2, delayMs: 130 },
      ({ failed }, bus) => expect(failed).toBe(bus.wire.stats.faults.get('delay')),
    ],
  ]
  it.each(faults)('survives %s without one wrong value', async (_name, struck, check) => {
    const bus = testBus({ faults: { 1: struck }, seed: 7 })
    const tally = await poll(bus, 200)
    expect(tally.wrong).toBe(0)
    expect(tally.right + tally.failed).toBe(200)
    check(tally, bus)
  })

  it('gives no wrong value in thousands of reads with everything going wrong at once', async () => {
    const everything = {
      lose: 0.03,
      drop: 0.03,
      flip: 0.03,
      duplicate: 0.03,
      delay: 0.05,
      delayMs: 200,
      split: 0.05,
      garbage: 0.05,
    }
    const bus = testBus({ faults: { 0: { flip: 0.01, lose: 0.01 }, 1: everything }, seed: 3 })
    const tally = await poll(bus, 3000)
    expect(tally.wrong).toBe(0)
    expect(tally.right).toBeGreaterThan(2200)
  })

  it('waits past frames of other units and shapes', async () => {
    const stray = rtuFrame(2, Uint8Array.of(3, 4, 9, 9, 9, 9))
    const shape = rtuFrame(1, Uint8Array.of(3, 2, 9, 9))
    const bus = testBus({ answer: (_, frame) => [stray, shape, frame] })
    expect(await bus.run(registers(bus.session, 1, 50))).toEqual(holds(1, 50))
  })

  it('believes neither of two different answers that come in one go, and either of two equal ones', async () => {
    const other = rtuFrame(1, Uint8Array.of(3, 4, 9, 9, 9, 9))
    const two = testBus({ answer: (_, frame) => [other, frame] })
    await expect(two.run(registers(two.session, 1, 50))).rejects.toEqual(code('SLUICE_MODBUS_BAD_RESPONSE'))
    const same = testBus({ answer: (_, frame) => [frame, frame] })
    expect(await same.run(registers(same.session, 1, 50))).toEqual(holds(1, 50))
  })

  it('drops what came before it asked', async () => {
    const bus = testBus()
    await bus.run(registers(bus.session, 1, 0))
    bus.noise(rtuFrame(1, Uint8Array.of(3, 4, 9, 9, 9, 9)))
    await bus.clock.advance(5)
    expect(await bus.run(registers(bus.session, 1, 50))).toEqual(holds(1, 50))
    expect(bus.session.stats.lateFramesDropped).toBe(1)
  })

  it('takes no answer that comes while the request is still leaving, once the line is known to keep its baud rate', async () => {
    const bus = testBus({ baud: 9600, turnaroundMs: () => 4 })
    for (let i = 0; i < 10; i++) await bus.run(registers(bus.session, 1, i))
    const asked = registers(bus.session, 1, 77)
    await bus.clock.advance(4.5)
    const wrong = rtuFrame(1, Uint8Array.of(3, 4, 9, 9, 9, 9))
    expect(wrong.length).toBe(9)
    // Straight to the master: a full-duplex line, where it cannot collide with the request.
    bus.inject(wrong)
    expect(await bus.run(asked)).toEqual(holds(1, 77))
  })

  it('works on a line that does not keep its baud rate', async () => {
    const bus = testBus({ baud: 9600, wireBaud: 0, turnaroundMs: () => 0 })
    const tally = await poll(bus, 40)
    expect(tally).toEqual({ right: 40, wrong: 0, failed: 0 })
  })

  it.each<[string, TestBusOptions]>([
    ['notices an echo by itself', { echo: true }],
    ['is told of an echo', { echo: true, line: { echo: true } }],
  ])('%s and drops it', async (_name, options) => {
    const bus = testBus(options)
    expect(await poll(bus, 20)).toEqual({ right: 20, wrong: 0, failed: 0 })
    const silent = bus.session.request(9, { fc: 6, address: 1, value: 2 }, patience)
    await expect(bus.run(silent)).rejects.toEqual(code('SLUICE_MODBUS_TIMEOUT'))
  })

  it('asks again when the first request after power-up is lost, only then', async () => {
    const bus = testBus({
      answer: (n, frame) => (n === 1 || n === 4 ? [] : [frame]),
      line: { retryFirstRequest: true },
    })
    expect(await bus.run(registers(bus.session, 1, 1))).toEqual(holds(1, 1))
    expect(await bus.run(registers(bus.session, 1, 2))).toEqual(holds(1, 2))
    await expect(bus.run(registers(bus.session, 1, 3))).rejects.toEqual(code('SLUICE_MODBUS_TIMEOUT'))
  })

  it('turns an RS-485 transceiver round before it writes and after', async () => {
    const events: string[] = []
    const turn = (name: string) => async () => void events.push(name)
    const bus = testBus({
      direction: { send: turn('send'), receive: turn('receive') },
      answer: (_, frame) => {
        events.push('answer')
        return [frame]
      },
    })
    expect(await bus.run(registers(bus.session, 1, 1))).toEqual(holds(1, 1))
    expect(await bus.run(registers(bus.session, 1, 2))).toEqual(holds(1, 2))
    expect(events).toEqual(['send', 'receive', 'answer', 'send', 'receive', 'answer'])
  })

  it('broadcasts writes and gives the units time to act', async () => {
    const bus = testBus()
    await bus.run(registers(bus.session, 1, 0))
    const start = bus.clock.monotonic()
    let doneMs = 0
    const write = bus.session.request(0, { fc: 6, address: 3, value: 4 }, patience)
    await bus.run(write.then(() => void (doneMs = bus.clock.monotonic() - start)))
    expect(doneMs).toBeGreaterThanOrEqual(100)
    await expect(bus.session.request(0, read, patience)).rejects.toEqual(code('SLUICE_MODBUS_BOUNDS'))
  })

  it('keeps an aborted request to itself: its answer is not given to the next', async () => {
    const bus = testBus({ turnaroundMs: () => 60 })
    const controller = new AbortController()
    const first = bus.session.request(1, read, { timeoutMs: 100, signal: controller.signal })
    const second = registers(bus.session, 1, 9)
    await bus.clock.advance(10)
    controller.abort(new Error('enough'))
    await expect(first).rejects.toThrow('enough')
    expect(await bus.run(second)).toEqual(holds(1, 9))
  })

  it('comes back by itself after the adapter was unplugged in the middle of a request', async () => {
    const bus = testBus({ turnaroundMs: () => 50 })
    const phases: string[] = []
    bus.session.onState((state) => void phases.push(state.phase))
    const cut = bus.session.request(1, read, patience)
    await bus.clock.advance(5)
    bus.unplug()
    await expect(cut).rejects.toEqual(code('SLUICE_MODBUS_LINK_DOWN'))
    await bus.clock.advance(2000)
    await expect(bus.session.request(1, read, patience)).rejects.toEqual(code('SLUICE_MODBUS_LINK_DOWN'))
    bus.plug()
    await bus.clock.advance(10_000)
    expect(bus.session.state.phase).toBe('up')
    expect(await bus.run(registers(bus.session, 1, 9))).toEqual(holds(1, 9))
    expect(phases.slice(0, 3)).toEqual(['connecting', 'up', 'down'])
  })

  it('refuses what is too much, out of bounds or after the end', async () => {
    const bus = testBus({ line: { maxQueued: 2 } })
    const asked = [1, 2, 3].map(() => bus.session.request(1, read, patience))
    await expect(asked[2]).rejects.toEqual(code('SLUICE_MODBUS_BUSY'))
    await expect(bus.session.request(1, { fc: 3, address: 0, count: 126 }, patience)).rejects.toEqual(
      code('SLUICE_MODBUS_BOUNDS'),
    )
    const ended = Promise.allSettled(asked)
    await bus.session[Symbol.asyncDispose]()
    expect((await ended).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    await expect(bus.session.request(1, read, patience)).rejects.toEqual(code('SLUICE_MODBUS_CLOSED'))
    bus.wire.close()
    expect(bus.clock.pendingTimers).toBe(0)
  })

  it('closes when nothing is asked for a while and opens again with the next request', async () => {
    const bus = testBus({ line: { closeAfterIdleMs: 5000 } })
    await bus.run(registers(bus.session, 1, 0))
    await bus.clock.advance(10_000)
    expect(bus.session.state.phase).toBe('idle')
    expect(await bus.run(registers(bus.session, 1, 4))).toEqual(holds(1, 4))
    expect(bus.session.stats.connects).toBe(2)
  })
})
