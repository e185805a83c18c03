import { describe, expect, it } from 'vitest'
import type { Clock } from '../../api/clock.ts'
import { NEVER, WaitingPods } from './waiting.ts'
import { pod } from './world.test-helper.ts'

const COST_MS = 5

/** Time that passes only where the test lets it pass, within one turn of the event loop. */
class HandClock implements Clock {
  nowMs = 0
  now = (): number => this.nowMs
  monotonic = (): number => this.nowMs
  after = () => ({ cancel: () => {} })
  advance(ms: number): void {
    this.nowMs += ms
  }
}

function crowd(count: number, more: (index: number) => { priority?: number; triedMs?: number } = () => ({})) {
  const clock = new HandClock()
  const waiting = new WaitingPods(clock)
  const placed: string[] = []
  for (let index = 0; index < count; index++) {
    const { priority = 0, triedMs = NEVER } = more(index)
    waiting.set({ pod: { ...pod(`p${index}`), priority }, triedMs, told: '' })
  }
  /** Each search for a place takes a while. */
  const run = (taken = false) =>
    waiting.run(true, (each) => {
      placed.push(each.pod.name)
      if (taken) waiting.delete(each.pod.uid)
      clock.advance(COST_MS)
    })
  return { clock, waiting, placed, run }
}

describe('pods that wait for a place', () => {
  it('gives the loop back every twenty milliseconds, and goes on until each that came was tried', () => {
    const { placed, run } = crowd(10)
    expect([run(), placed.length]).toEqual([{ soon: true, later: false }, 4])
    expect([run(), placed.length]).toEqual([{ soon: true, later: false }, 8])
    expect([run(), placed.length]).toEqual([{ soon: false, later: false }, 10])
    expect(new Set(placed).size).toBe(10)
  })

  it('spends no more than its share on those that nobody took, each in its turn, and nothing of it on who came just now', () => {
    const { clock, waiting, placed, run } = crowd(100)
    while (run().soon);
    placed.length = 0
    const seen = new Set<string>()
    for (let tick = 0; tick < 10; tick++) {
      clock.advance(1_000)
      waiting.refill()
      const before = placed.length
      while (run().later && placed.length - before < 10);
      // 50 ms at 5 ms each.
      expect(placed.length - before).toBeLessThanOrEqual(10)
    }
    for (const name of placed) seen.add(name)
    expect(seen.size).toBe(100)
    waiting.set({ pod: pod('new'), triedMs: NEVER, told: '' })
    expect(waiting.run(true, ({ pod: each }) => void placed.push(each.name)).later).toBe(true)
    expect(placed.at(-1)).toBe('new')
  })

  it('tries the more important first, and those that came just now before those that nobody took', () => {
    const { placed, clock, run } = crowd(4, (index) => ({
      priority: index === 3 ? 7 : 0,
      ...(index === 0 ? { triedMs: 0 } : {}),
    }))
    clock.advance(60_000)
    run(true)
    expect(placed).toEqual(['p3', 'p1', 'p2', 'p0'])
  })

  it('leaves in peace for half a minute what nobody took, as long as nothing changes', () => {
    const { placed, clock, waiting, run } = crowd(1)
    run()
    const quiet = () => waiting.run(false, ({ pod: each }) => void placed.push(each.name))
    clock.advance(29_000)
    quiet()
    expect(placed).toHaveLength(1)
    clock.advance(1_000)
    quiet()
    expect(placed).toHaveLength(2)
  })
})
