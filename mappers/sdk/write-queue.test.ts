import { describe, expect, it } from 'vitest'
import { delay } from '../../api/clock.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import type { MapperHost, WriteOutcome } from './mapper.ts'
import { retryWaitMs, WriteQueue } from './write-queue.ts'

const bench = () => {
  const clock = new VirtualClock()
  const logs: string[] = []
  const host = {
    clock,
    random: () => 0.5,
    readings: () => undefined,
    reachability: () => undefined,
    log: (_level: string, message: string) => void logs.push(message),
    event: () => undefined,
    writeNews: () => undefined,
  } satisfies MapperHost
  const queue = new WriteQueue('tiny', host)
  const order: string[] = []
  const run = (name: string, { workMs = 100, deadlineMs = 10_000, signal = new AbortController().signal } = {}) =>
    queue.run({ device: 'n/a', property: name, value: 1, version: 1, deadlineMs }, signal, async (stop, waiting) => {
      order.push(`${name} starts`)
      waiting.reason = 'waiting for the device'
      await delay(clock, workMs, stop)
      order.push(`${name} ends`)
      return { state: 'applied', atMs: clock.now() }
    })
  return { clock, queue, run, order, logs }
}

describe('writes to one device', () => {
  it('run one after the other in the order they were wished for', async () => {
    const { clock, run, order } = bench()
    const all = Promise.all([run('a'), run('b')])
    await clock.advance(300)
    expect((await all).map(({ state }) => state)).toEqual(['applied', 'applied'])
    expect(order).toEqual(['a starts', 'a ends', 'b starts', 'b ends'])
  })

  it('end by their deadline and say what they were waiting for', async () => {
    const { clock, run } = bench()
    const first = run('a', { workMs: 5000, deadlineMs: 1000 })
    const second = run('b', { deadlineMs: 500 })
    await clock.advance(2000)
    expect(await second).toMatchObject({
      state: 'timedOut',
      reason: 'not applied by its deadline: waiting for earlier writes to the device',
    })
    expect(await first).toMatchObject({ state: 'timedOut', reason: expect.stringContaining('waiting for the device') })
    expect(await run('c', { deadlineMs: 1500 })).toMatchObject({ reason: expect.stringContaining('had passed') })
  })

  it('end when a newer value takes the place, and when the device goes', async () => {
    const { run, queue } = bench()
    const newer = new AbortController()
    const first = run('a', { signal: newer.signal })
    const second = run('b')
    newer.abort()
    expect(await first).toMatchObject({ state: 'rejected', code: 'SLUICE_WRITE_SUPERSEDED' })
    queue[Symbol.dispose]()
    expect(await second).toMatchObject({ state: 'rejected', code: 'SLUICE_WRITE_NOT_SERVED' })
  })

  it('an error in the work is an outcome and a line in the log, and does not hold up the next', async () => {
    const { queue, run, clock, logs } = bench()
    const command = { device: 'n/a', property: 'x', value: 1, version: 1, deadlineMs: 10_000 }
    const work = async (): Promise<WriteOutcome> => {
      throw new TypeError('a mistake')
    }
    const broken = queue.run(command, new AbortController().signal, work)
    const next = run('b')
    await clock.advance(200)
    expect(await broken).toMatchObject({ state: 'rejected', code: 'SLUICE_INTERNAL', reason: 'TypeError: a mistake' })
    expect(await next).toMatchObject({ state: 'applied' })
    expect(logs).toEqual(['tiny: write to n/a failed'])
  })

  it('waits longer after each failure, five seconds at most', () => {
    expect([0, 1, 2, 5, 50].map(retryWaitMs)).toEqual([250, 500, 1000, 5000, 5000])
  })
})
