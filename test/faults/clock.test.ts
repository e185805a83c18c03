import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { RunningAgent } from '../../agent/run.ts'
import { type Clock, systemClock } from '../../api/clock.ts'
import { Assembly } from '../harness/assembly.ts'
import { conditionOf, twinOf } from '../harness/devices.ts'
import { counterModel } from '../harness/fleet.ts'
import { isReported, isWrite, readStream, type StreamReader } from '../harness/stream.ts'

const DAY_MS = 86_400_000

/** The machine's clock, which somebody sets: `now` jumps, monotonic time and timers do not, as on a real machine. */
class SetClock implements Clock {
  aheadMs = 0
  now = () => systemClock.now() + this.aheadMs
  monotonic = () => systemClock.monotonic()
  after = (delayMs: number, fn: () => void, unref?: boolean) => systemClock.after(delayMs, fn, unref)
}

const cloudClock = new SetClock()
const agentClock = new SetClock()
let house: Assembly
let agent: RunningAgent
let stream: StreamReader
let wish = 100

beforeAll(async () => {
  house = await Assembly.start({ cloudClock })
  await house.createModel('counter', counterModel)
  await house.createDevice('drive', house.counterDevice(1, '20ms'))
  agent = await house.startAgent({}, { clock: agentClock })
  stream = readStream(house.endpoint)
  await stream.until(isReported, 'the first value')
}, 60_000)
afterAll(async () => {
  await stream?.[Symbol.asyncDispose]()
  await agent?.[Symbol.asyncDispose]()
  await house?.[Symbol.asyncDispose]()
})
beforeEach(() => house.tellOnFailure())

const JUMPS = [
  ["the gateway's clock", 'a day ahead', agentClock, DAY_MS],
  ["the gateway's clock", 'two days back', agentClock, -2 * DAY_MS],
  ["the cloud's clock", 'a day ahead', cloudClock, DAY_MS],
  ["the cloud's clock", 'two days back', cloudClock, -2 * DAY_MS],
  ["the gateway's clock", 'to where it was', agentClock, DAY_MS],
  ["the cloud's clock", 'to where it was', cloudClock, DAY_MS],
] as const

describe('setting a clock', { timeout: 40_000 }, () => {
  it.each(JUMPS)('%s %s changes nothing but the times that are shown', async (_name, _how, clock, byMs) => {
    const { served, holding } = house.far.unit(1)
    clock.aheadMs += byMs
    const from = served.length
    const seenBefore = stream.events.length
    await house.far.afterReads(1, 15)
    const last = served.length
    await stream.until((e) => isReported(e) && e.property === 'count' && Number(e.value) >= last, 'it counts on')
    const events = stream.events
      .slice(seenBefore)
      .filter(isReported)
      .filter((e) => e.property === 'count')
    expect(events.filter(({ quality }) => quality !== 'good')).toEqual([])
    const counts = stream.events
      .filter(isReported)
      .filter((e) => e.property === 'count')
      .map(({ value }) => Number(value))
    expect(counts).toEqual(counts.toSorted((a, b) => a - b))
    for (let value = from + 1; value <= last; value++) expect(counts).toContain(value)
    // The newest by order wins, though its time may be a day older than the one before.
    const shown = await house.devices.until(
      'drive',
      (d) => Number(twinOf(d, 'count')?.reported?.value) >= last,
      'its status',
    )
    expect(shown.status?.state).toBe('online')
    expect(conditionOf(shown, 'Reachable')?.status).toBe('True')
    expect(Math.abs(Date.parse(twinOf(shown, 'count')!.reported!.at) - agentClock.now())).toBeLessThan(30_000)
    const value = ++wish
    await house.patchDevice('drive', { spec: { desired: { speed: value } } })
    await house.devices.until(
      'drive',
      (d) => twinOf(d, 'speed')?.state === 'synced' && twinOf(d, 'speed')?.reported?.value === value,
      'a write',
    )
    expect(holding.get(0)).toBe(value)
    expect(agent.link?.status.connected).toBe(true)
  })

  it('cost no connection, no value and no write', () => {
    expect(house.log.filter(({ message }) => /gateway disconnected/.test(message))).toEqual([])
    expect(stream.missed).toBe(0)
    const ends = stream.events.filter(isWrite)
    expect(ends.map(({ state }) => state)).toEqual(ends.map(() => 'applied'))
    expect(ends).toHaveLength(JUMPS.length)
    expect(agent.core.store.totals.droppedValues).toBe(0)
  })

  it('is told as a condition of the gateway when the two differ', async () => {
    agentClock.aheadMs += DAY_MS
    await using late = await house.startAgent(
      { dataDir: `${house.folder}/late`, gateway: 'gw-late' },
      { clock: agentClock },
    )
    await stream.until(isReported, 'anything')
    const { eventually } = await import('../harness/until.ts')
    await eventually(
      () => Math.abs(late.link?.status.clockOffsetMs ?? 0) > DAY_MS / 2,
      'the agent knows that it is off',
    )
    const status = await eventually(async () => {
      const gateway = await house.kube.get<{ status?: { conditions?: { type: string; status: string }[] } }>(
        '/apis/sluice.dev/v1alpha1/gateways/gw-late',
      )
      return gateway.status?.conditions?.find(({ type }) => type === 'ClockCorrect')
    }, 'the Gateway says so')
    expect(status.status).toBe('False')
  })
})
