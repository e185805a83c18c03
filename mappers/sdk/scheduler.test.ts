import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { delay } from '../../api/clock.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { Heap } from './heap.ts'
import { LinkScheduler } from './scheduler.ts'

function bench(lanes = 1) {
  const clock = new VirtualClock()
  const started: { name: string; atMs: number; index?: number }[] = []
  let underWay = 0
  let most = 0
  const scheduler = new LinkScheduler({
    clock,
    concurrency: () => lanes,
    onError: (error) => {
      throw error
    },
  })
  const work = (name: string, workMs: number) => async (beat?: { index: number }) => {
    started.push({ name, atMs: clock.monotonic(), ...(beat === undefined ? {} : { index: beat.index }) })
    most = Math.max(most, ++underWay)
    await delay(clock, workMs)
    underWay--
  }
  const count = (name: string) => started.filter((one) => one.name === name).length
  return { clock, scheduler, started, work, count, most: () => most }
}

describe('the scheduler of a link', () => {
  it('takes the first turn at once and the others at multiples of the period, without drift', async () => {
    const { clock, scheduler, started, work } = bench()
    scheduler.every({ everyMs: 1000, run: work('a', 37) })
    await clock.advance(1_000_000)
    const times = started.map(({ atMs }) => atMs)
    expect(times[0]).toBe(0)
    const phase = times[1]! % 1000
    expect(times.slice(1).every((atMs) => Math.abs((atMs % 1000) - phase) < 1.001)).toBe(true)
    expect(started).toHaveLength(1001)
    expect(started.map(({ index }) => index)).toEqual(started.map((_, index) => index))
  })

  it('spreads tasks of one period', async () => {
    const { clock, scheduler, started, work } = bench()
    for (let i = 0; i < 10; i++) scheduler.every({ everyMs: 1000, run: work(`t${i}`, 1) })
    await clock.advance(3000)
    const phases = started
      .filter(({ atMs }) => atMs >= 2000)
      .map(({ atMs }) => atMs % 1000)
      .sort((a, b) => a - b)
    expect(phases).toHaveLength(10)
    const gaps = phases.map((phase, index) => phase - (phases[index - 1] ?? phases.at(-1)! - 1000))
    expect(Math.max(...gaps)).toBeLessThan(200)
  })

  it('takes turns at another time than a link of another phase', async () => {
    const clock = new VirtualClock()
    const turns = [0, 0.25].map((phase) => {
      const times: number[] = []
      const scheduler = new LinkScheduler({
        clock,
        concurrency: () => 1,
        phase,
        onError: (error) => expect.unreachable(String(error)),
      })
      scheduler.every({ everyMs: 1000, run: async () => void times.push(clock.monotonic()) })
      return times
    })
    await clock.advance(5000)
    expect(turns.map((times) => times[0])).toEqual([0, 0])
    expect((turns[0]!.at(-1)! - turns[1]!.at(-1)! + 1000) % 1000).toBeCloseTo(250, 0)
  })

  it('never has more under way than it may', async () => {
    for (const lanes of [1, 3]) {
      const { clock, scheduler, work, most } = bench(lanes)
      for (let i = 0; i < 20; i++) scheduler.every({ everyMs: 100, run: work(`t${i}`, 25) })
      await clock.advance(2000)
      expect(most()).toBe(lanes)
    }
  })

  it('skips and counts turns that were missed instead of making up for them', async () => {
    const { clock, scheduler, started, work } = bench()
    scheduler.every({ everyMs: 100, run: work('slow', 250) })
    await clock.advance(10_000)
    expect(started.length).toBeLessThanOrEqual(41)
    expect(scheduler.turns.skipped).toBeGreaterThan(50)
    expect(scheduler.turns.taken).toBe(started.length)
  })

  it('starves nobody when the link is overloaded', async () => {
    const { clock, scheduler, work, count } = bench()
    for (let i = 0; i < 30; i++) scheduler.every({ everyMs: 100, run: work(`fast${i}`, 20) })
    scheduler.every({ everyMs: 5000, run: work('slow', 20) })
    await clock.advance(60_000)
    expect(count('slow')).toBeGreaterThanOrEqual(12)
    const fast = Array.from({ length: 30 }, (_, index) => count(`fast${index}`))
    expect(Math.min(...fast) / Math.max(...fast)).toBeGreaterThan(0.9)
  })

  it('lets writes go before every read', async () => {
    const { clock, scheduler, started, work } = bench()
    for (let i = 0; i < 50; i++) scheduler.every({ everyMs: 100, run: work('read', 10) })
    await clock.advance(1005)
    void scheduler.once('write', work('write', 10))
    await clock.advance(100)
    const write = started.find(({ name }) => name === 'write')!
    expect(write.atMs - 1005).toBeLessThanOrEqual(10)
  })

  it('forgets what was aborted before it started', async () => {
    const { clock, scheduler, started, work } = bench()
    void scheduler.once('read', work('first', 50))
    const abort = new AbortController()
    const second = scheduler.once('write', work('second', 50), abort.signal)
    abort.abort(new Error('not needed'))
    await expect(second).rejects.toThrow('not needed')
    await clock.advance(500)
    expect(started.map(({ name }) => name)).toEqual(['first'])
  })

  it('starts nothing while it is paused and goes on afterwards', async () => {
    const { clock, scheduler, started, work } = bench()
    scheduler.every({ everyMs: 100, run: work('a', 1) })
    await clock.advance(450)
    scheduler.pause()
    const before = started.length
    await clock.advance(10_000)
    expect(started).toHaveLength(before)
    scheduler.resume()
    await clock.advance(1000)
    expect(started.length - before).toBeGreaterThanOrEqual(10)
    expect(started.length - before).toBeLessThanOrEqual(11)
  })

  it('leaves no timer behind', async () => {
    const { clock, scheduler, work } = bench()
    const task = scheduler.every({ everyMs: 100, run: work('a', 1) })
    await clock.advance(450)
    task.cancel()
    await clock.advance(1000)
    expect(clock.pendingTimers).toBe(0)
    scheduler.every({ everyMs: 100, run: work('b', 1) })
    scheduler.dispose()
    await clock.advance(1000)
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('the heap', () => {
  it('gives back what it was given, sorted', () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), (numbers) => {
        const heap = new Heap<number>((a, b) => a < b)
        for (const number of numbers) heap.push(number)
        const out: number[] = []
        for (let next = heap.pop(); next !== undefined; next = heap.pop()) out.push(next)
        expect(out).toEqual([...numbers].sort((a, b) => a - b))
      }),
    )
  })
})
