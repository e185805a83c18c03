import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import type { BatchBody, HubFrame, SeqRange } from '../../api/link/messages.ts'
import { contains } from '../../api/link/ranges.ts'
import type { Device, DeviceModel } from '../../api/resources.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { Fleet } from '../twins/fleet.ts'
import { PresenceBoard } from '../twins/presence.ts'
import { Hub } from './hub.ts'
import type { LinkSocket } from './link-socket.ts'
import type { Session } from './session.ts'
import { HubStore } from './store.ts'

class FakeSocket implements LinkSocket {
  readonly frames: HubFrame[] = []
  closedWith: string | undefined
  paused = false
  bufferedBytes = 0
  send(text: string) {
    this.frames.push(JSON.parse(text) as HubFrame)
  }
  close(_: number, reason: string) {
    this.closedWith = reason
  }
  pause() {
    this.paused = true
  }
  resume() {
    this.paused = false
  }
  of<K extends HubFrame['t']>(kind: K): Extract<HubFrame, { t: K }>[] {
    return this.frames.filter((frame): frame is Extract<HubFrame, { t: K }> => frame.t === kind)
  }
  acked(seq: number): boolean {
    return this.of('ack').some((frame) => contains(frame.received, seq))
  }
}

let clock: VirtualClock
let store: HubStore
let fleet: Fleet
let hub: Hub
let ingested: BatchBody[]
let audited: string[]

beforeEach(() => {
  clock = new VirtualClock()
  store = new HubStore({ path: ':memory:', clock })
  fleet = new Fleet()
  ingested = []
  audited = []
  hub = new Hub({
    clock,
    store,
    fleet,
    objects: fleet,
    presence: new PresenceBoard(clock, 40_000),
    heartbeatMs: 15_000,
    window: { batches: 256, bytes: 10_000 },
    ingest: (body) => ingested.push(body),
    onObjectAck: () => {},
    onStatus: () => {},
    onConnected: () => {},
    onDisconnected: () => {},
    desire: async () => ({ ok: true }),
    audit: (_, code) => audited.push(code),
  })
  fleet.upsertModel(model(1))
  fleet.upsertDevice(device('a', 'gw', 1), 0)
})

const model = (generation: number, size = 0): DeviceModel => ({
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'DeviceModel',
  metadata: { name: 'm', namespace: 'n', uid: 'model-uid', generation },
  spec: { properties: [{ name: 'p', type: 'int' }], description: 'x'.repeat(size) },
})

const device = (name: string, gateway: string, generation: number, pad = 0): Device => ({
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'Device',
  metadata: { name, namespace: 'n', uid: `uid-${name}`, resourceVersion: String(generation), generation },
  spec: { model: 'm', nodeName: gateway, custom: { pad: 'x'.repeat(pad) } },
})

function connect(over: { lastSeq?: number; firstSeq?: number; holds?: [string, string, string][] } = {}) {
  const socket = new FakeSocket()
  const session = hub.accept('gw', socket, Number.MAX_SAFE_INTEGER)
  const { lastSeq = 0, firstSeq = lastSeq + 1, holds = [] } = over
  const hello = { t: 'hello', v: 1, gateway: 'gw', epoch: 'e', agentVersion: '1', lastSeq, firstSeq, holds }
  session.receive(JSON.stringify(hello))
  return { socket, session }
}

const batch = (session: Session, seq: number, lane = 'live', value = seq) =>
  session.receive(JSON.stringify({ t: 'batch', seq, lane, body: { d: [['n/a', 'uid-a']], r: [[0, 'p', value, seq]] } }))

describe('a session', () => {
  it('welcomes, sends the difference with the model first, and nothing that the agent holds already', () => {
    const first = connect()
    expect(first.socket.frames.map((frame) => frame.t)).toEqual(['welcome', 'objects'])
    const [objects] = first.socket.of('objects')
    expect(objects!.upserts.map((object) => object.kind)).toEqual(['DeviceModel', 'Device'])
    const holds = objects!.upserts.map(({ kind, key, rev }): [string, string, string] => [kind, key, rev])
    const second = connect({ holds: [...holds, ['Device', 'n/gone', 'r']] })
    expect(first.socket.closedWith).toBe('SLUICE_LINK_REPLACED')
    expect(second.socket.of('objects')).toEqual([
      { t: 'objects', upserts: [], deletes: [{ kind: 'Device', key: 'n/gone' }] },
    ])
  })

  it('acknowledges only what is durable, a duplicate again without storing it', async () => {
    const { socket, session } = connect()
    batch(session, 1)
    expect(socket.acked(1)).toBe(false)
    await clock.advance(20)
    expect(socket.acked(1)).toBe(true)
    socket.frames.length = 0
    batch(session, 1)
    await clock.advance(0)
    expect(socket.acked(1)).toBe(true)
    expect(store.read(0, 10)).toHaveLength(1)
    expect(ingested).toHaveLength(1)
  })

  it('acknowledges on the new connection what the old one had just brought', async () => {
    const old = connect()
    batch(old.session, 1)
    const renewed = connect({ lastSeq: 1, firstSeq: 1 })
    batch(renewed.session, 1, 'backfill')
    await clock.advance(20)
    expect(renewed.socket.acked(1)).toBe(true)
    expect(store.read(0, 10)).toHaveLength(1)
  })

  it('stops reading while too much waits for the disk, and goes on afterwards', async () => {
    const { socket, session } = connect()
    for (let seq = 1; seq <= 400; seq++) batch(session, seq)
    expect(socket.paused).toBe(true)
    await clock.advance(20)
    expect(socket.paused).toBe(false)
    expect(socket.acked(400)).toBe(true)
  })

  it('takes the time in which it stood still itself for nobody’s silence', async () => {
    const { socket } = connect()
    await clock.advance(10_000)
    clock.standStill(60_000)
    await clock.advance(20_000)
    expect(socket.closedWith).toBeUndefined()
    await clock.advance(20_000)
    expect(socket.closedWith).toBe('SLUICE_LINK_SILENT')
  })

  it('ends a silent connection after two and a half heartbeats, and one that never says hello', async () => {
    const { socket } = connect()
    await clock.advance(36_000)
    expect(socket.closedWith).toBeUndefined()
    await clock.advance(7_000)
    expect(socket.closedWith).toBe('SLUICE_LINK_SILENT')
    expect(hub.connected).toBe(0)
    const mute = new FakeSocket()
    hub.accept('gw', mute, Number.MAX_SAFE_INTEGER)
    await clock.advance(16_000)
    expect(mute.closedWith).toBe('SLUICE_LINK_NO_HELLO')
  })

  it('sends an object again until it is acknowledged, and the newest when it changed meanwhile', async () => {
    const { socket, session } = connect()
    const keepAlive = async (seconds: number) => {
      for (let s = 0; s < seconds; s += 5) {
        session.receive('{"t":"ping","id":1}')
        await clock.advance(5_000)
      }
    }
    await keepAlive(15)
    expect(socket.of('objects')).toHaveLength(2)
    fleet.upsertDevice(device('a', 'gw', 2), 0)
    const newest = socket.of('objects').at(-1)!.upserts[0]!
    expect(newest.object).toMatchObject({ generation: 2 })
    const items = [...socket.of('objects').flatMap((frame) => frame.upserts)]
    session.receive(
      JSON.stringify({ t: 'objectsAck', items: items.map(({ kind, key, rev }) => ({ kind, key, rev, ok: true })) }),
    )
    const before = socket.of('objects').length
    await keepAlive(60)
    expect(socket.of('objects')).toHaveLength(before)
  })

  it('keeps chunks near 256 KiB and waits for acknowledgements before it sends more', () => {
    for (let index = 0; index < 40; index++) fleet.upsertDevice(device(`big-${index}`, 'gw', 1, 60_000), 0)
    const { socket, session } = connect()
    const frames = socket.of('objects')
    expect(frames.length).toBeLessThanOrEqual(3)
    for (const frame of frames) expect(JSON.stringify(frame).length).toBeLessThan(330_000)
    for (let round = 0; round < 20; round++) {
      const upserts = socket.of('objects').flatMap((frame) => frame.upserts)
      const items = upserts.map(({ kind, key, rev }) => ({ kind, key, rev, ok: true }))
      session.receive(JSON.stringify({ t: 'objectsAck', items }))
    }
    const arrived = new Set(socket.of('objects').flatMap((frame) => frame.upserts.map((object) => object.key)))
    expect(arrived.size).toBe(42)
  })

  it('takes a device away from its old gateway when it moves', () => {
    const { socket } = connect()
    fleet.upsertDevice(device('a', 'other', 2), 0)
    expect(socket.of('objects').at(-1)).toMatchObject({
      deletes: [
        { kind: 'DeviceModel', key: 'n/m' },
        { kind: 'Device', key: 'n/a' },
      ],
    })
  })

  it('still takes the history of a device that moved away, and refuses one that never was here', async () => {
    const { socket, session } = connect()
    fleet.upsertDevice(device('a', 'other', 2), 0)
    batch(session, 1)
    const body = { d: [['n/z', 'uid-z']], r: [[0, 'p', 1, 1]] }
    session.receive(JSON.stringify({ t: 'batch', seq: 2, lane: 'live', body }))
    await clock.advance(20)
    expect(socket.acked(2)).toBe(true)
    expect(store.read(0, 10).map((row) => row.body.r?.length)).toEqual([1, 0])
    expect(audited).toEqual(['SLUICE_LINK_NOT_OWNED'])
  })
})

describe('both lanes cut anywhere', () => {
  it('lose nothing, double nothing, and need no explanation', async () => {
    const cut = fc.array(fc.record({ live: fc.nat(4), backfill: fc.nat(4), losesAcks: fc.boolean() }), { maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(cut, async (connections) => {
        clock = new VirtualClock()
        store = new HubStore({ path: ':memory:', clock })
        const rows: number[] = []
        hub = new Hub({
          ...{ clock, store, fleet, objects: fleet, presence: new PresenceBoard(clock, 1000), heartbeatMs: 15_000 },
          ...{ window: { batches: 9, bytes: 1e6 }, ingest: () => {}, onObjectAck: () => {}, onStatus: () => {} },
          ...{ onConnected: () => {}, onDisconnected: () => {}, desire: async () => ({ ok: true }) },
          audit: (_, code) => audited.push(code),
        })
        audited = []
        let written = 0
        let outbox: number[] = []
        for (const { live, backfill, losesAcks } of connections) {
          const { socket, session } = connect({ lastSeq: written, firstSeq: outbox[0] ?? written + 1 })
          const { received } = socket.of('welcome')[0]!
          outbox = outbox.filter((seq) => !contains(received as SeqRange[], seq))
          const old = outbox.slice(0, backfill)
          const fresh = Array.from({ length: live }, () => ++written)
          outbox.push(...fresh)
          for (let turn = 0; turn < Math.max(old.length, fresh.length); turn++) {
            if (fresh[turn] !== undefined) batch(session, fresh[turn]!, 'live')
            if (old[turn] !== undefined) batch(session, old[turn]!, 'backfill')
          }
          await clock.advance(20)
          if (!losesAcks) outbox = outbox.filter((seq) => !socket.acked(seq))
          hub.ended(session)
        }
        for (const row of store.read(0, 1000)) rows.push(row.seq)
        expect([...rows].sort((a, b) => a - b)).toEqual([...new Set(rows)].sort((a, b) => a - b))
        for (let seq = 1; seq <= written; seq++) expect(rows.includes(seq) || outbox.includes(seq)).toBe(true)
        expect(audited.filter((code) => code === 'SLUICE_LINK_HOLE')).toEqual([])
        hub[Symbol.dispose]()
      }),
      { numRuns: 60 },
    )
  })
})
