import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import type { ObjectSource } from './inventory.ts'
import { Replication } from './replication.ts'

const KEYS = ['plant/a', 'plant/b'] as const

/** A gateway at the end of a slow line, and objects that are wanted there or not. */
function line() {
  const clock = new VirtualClock()
  const wanted = new Map<string, number>()
  const holds = new Map<string, string>()
  const revOf = (key: string) => (wanted.has(key) ? `r${wanted.get(key)}` : undefined)
  const objects: ObjectSource = {
    kinds: ['DeviceModel'],
    wantedBy: () => [...wanted.keys()].map((key) => ({ kind: 'DeviceModel' as const, key })),
    isWanted: (_gateway, _kind, key) => wanted.has(key),
    rev: (_gateway, _kind, key) => revOf(key),
    linkObject: (_gateway, _kind, key) => ({
      ...{ kind: 'DeviceModel', key, rev: revOf(key) ?? '' },
      object: { uid: key, generation: 1, spec: { properties: [] } },
    }),
  }
  let latencyMs = 1
  let downMs = 0
  let upMs = 0
  /** In order, whatever happens to the latency meanwhile. */
  const after = (lastMs: number, work: () => void) => {
    const atMs = Math.max(lastMs, clock.monotonic() + latencyMs)
    clock.after(atMs - clock.monotonic(), work)
    return atMs
  }
  const receive = (text: string) => {
    const { upserts, deletes } = JSON.parse(text) as {
      upserts: { kind: 'DeviceModel'; key: string; rev: string }[]
      deletes: { key: string }[]
    }
    for (const { key, rev } of upserts) holds.set(key, rev)
    for (const { key } of deletes) holds.delete(key)
    const items = upserts.map(({ kind, key, rev }) => ({ kind, key, rev, ok: true }))
    if (items.length > 0) upMs = after(upMs, () => replication.acknowledged(items))
  }
  const replication = new Replication({
    ...{ gateway: 'gw', objects, clock, onAssign: () => {}, onAck: () => {}, onSilence: () => {} },
    socket: {
      send: (text) => void (downMs = after(downMs, () => receive(text))),
      bufferedBytes: 0,
      close() {},
      pause() {},
      resume() {},
    },
  })
  replication.start({ holds: [] })
  const set = (key: string, rev: number | undefined) => {
    if (rev === undefined) wanted.delete(key)
    else wanted.set(key, rev)
    replication.changed([['DeviceModel', key]])
  }
  return { clock, set, holds, revOf, slow: (byMs: number) => void (latencyMs = byMs), sweep: () => replication.sweep() }
}

describe('what a gateway holds', () => {
  it('is there again when it was taken away and given back before the first acknowledgement came', async () => {
    const { clock, set, holds, slow } = line()
    slow(150)
    set('plant/a', 1)
    await clock.advance(100)
    set('plant/a', undefined)
    await clock.advance(200)
    // The acknowledgement of the first is here now, the delete has arrived as well.
    set('plant/a', 1)
    await clock.advance(1000)
    expect([...holds]).toEqual([['plant/a', 'r1']])
  })

  it('is in the end what is wanted, whatever comes and goes meanwhile and however slow the line is', async () => {
    const step = fc.record({
      key: fc.constantFrom(...KEYS),
      rev: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
      waitMs: fc.constantFrom(0, 10, 60, 200),
      latencyMs: fc.constantFrom(1, 40, 150),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { clock, set, holds, revOf, slow } = line()
        for (const { key, rev, waitMs, latencyMs } of steps) {
          slow(latencyMs)
          set(key, rev)
          await clock.advance(waitMs)
        }
        await clock.advance(2000)
        for (const key of KEYS) expect(holds.get(key)).toBe(revOf(key))
      }),
    )
  })
})
