import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { HubFrame, LinkObject } from '../../api/link/messages.ts'
import { ModelHub } from '../test-helpers/model-hub.ts'
import { deviceObject, modelObject, Plant, temporaryDirectory } from '../test-helpers/plant.ts'
import { LinkClient } from './client.ts'
import { parseHubFrame } from './frames.ts'
import { newLinkStatus } from './status.ts'

let directory: ReturnType<typeof temporaryDirectory>
beforeEach(() => {
  directory = temporaryDirectory()
})
afterEach(() => directory[Symbol.dispose]())

function linked(plant: Plant, hub: ModelHub) {
  const status = newLinkStatus('wss://hub')
  const client = new LinkClient({
    core: plant.core,
    clock: plant.clock,
    random: () => 0.5,
    log: () => {},
    gateway: 'gw-1',
    agentVersion: '0',
    status,
    gatewayStatus: () => ({}),
    dial: hub.dial,
  })
  plant.core.listener = client
  client.start()
  return { client, status }
}

async function linkedPlant(path = directory.path) {
  const plant = new Plant(path)
  const hub = new ModelHub(plant.clock)
  hub.objects = [modelObject(), deviceObject('p1')]
  const link = linked(plant, hub)
  await plant.clock.advance(50)
  return { plant, hub, ...link }
}

const valuesAt = (hub: ModelHub) =>
  hub.stored
    .toSorted((a, b) => a.frame.seq - b.frame.seq)
    .flatMap(({ frame }) => frame.body.r ?? [])
    .filter((row) => row[1] === 'level' && row[4] === undefined)
    .map((row) => row[2])

describe('a link', () => {
  it('sends the state of every twin before any batch', async () => {
    const { plant, hub, client } = await linkedPlant()
    plant.read('p1', 'level', 1)
    await plant.clock.advance(50)
    hub.cut()
    plant.read('p1', 'level', 2)
    await plant.clock.advance(2000)
    const second = hub.journal.filter((line) => line.startsWith('2 '))
    expect(second[0]).toBe('2 hello')
    expect(second.lastIndexOf('2 snapshot')).toBeLessThan(second.findIndex((line) => line.startsWith('2 batch')))
    expect(
      hub.snapshots.filter(({ connection }) => connection === 2).flatMap(({ body }) => body.r ?? []),
    ).toMatchObject([[0, 'level', 2, expect.any(Number), 'good']])
    client[Symbol.dispose]()
    await plant.stop()
  })

  it('acknowledges every object and keeps it over a cut', async () => {
    const { plant, hub, client } = await linkedPlant()
    expect(hub.acks.map(({ kind, ok }) => [kind, ok])).toEqual([
      ['DeviceModel', true],
      ['Device', true],
    ])
    hub.cut()
    await plant.clock.advance(2000)
    expect(hub.hellos[1]?.holds.map(([kind, key]) => `${kind} ${key}`)).toEqual([
      'DeviceModel plant/pump',
      'Device plant/p1',
    ])
    expect(hub.acks).toHaveLength(2)
    client[Symbol.dispose]()
    await plant.stop()
  })

  it('lets what happens now pass the backlog, and keeps the order within each lane', async () => {
    const { plant, hub, client } = await linkedPlant()
    hub.refuseConnections = true
    hub.cut()
    for (let value = 1; value <= 100; value++) {
      plant.read('p1', 'level', value)
      await plant.clock.advance(250)
    }
    hub.refuseConnections = false
    let value = 100
    while (hub.hellos.length < 2) await plant.clock.advance(1)
    for (let i = 0; i < 10; i++) {
      plant.read('p1', 'level', ++value)
      await plant.clock.advance(5)
    }
    const backlogBehind = hub.journal.filter((line) => /2 batch backfill/.test(line)).length
    expect(hub.journal.some((line) => /2 batch live/.test(line))).toBe(true)
    expect(backlogBehind).toBeLessThan(100)
    await plant.clock.advance(1000)
    expect(valuesAt(hub)).toEqual(Array.from({ length: 110 }, (_, i) => i + 1))
    for (const lane of ['live', 'backfill']) {
      const order = hub.stored
        .filter(({ connection, frame }) => connection === 2 && frame.lane === lane)
        .map(({ frame }) => frame.seq)
      expect(order).toEqual(order.toSorted((a, b) => a - b))
    }
    expect(plant.store.totals.batches).toBe(0)
    client[Symbol.dispose]()
    await plant.stop()
  })

  it('never has more in flight than the hub allows', async () => {
    const { plant, hub, client } = await linkedPlant()
    for (let value = 1; value <= 50; value++) {
      plant.read('p1', 'level', value)
      if (value % 7 === 0) await plant.clock.advance(3)
    }
    await plant.clock.advance(500)
    expect(valuesAt(hub)).toHaveLength(50)
    expect(hub.mostInFlight).toBeLessThanOrEqual(4)
    client[Symbol.dispose]()
    await plant.stop()
  })

  it('tells what it had to drop, with the number of values, and the hub waits for nothing', async () => {
    const plant = new Plant(directory.path, undefined, { maxOutboxBytes: 2000 })
    await plant.put(modelObject(), deviceObject('p1'))
    for (let value = 1; value <= 100; value++) {
      plant.read('p1', 'level', value)
      await plant.clock.advance(250)
    }
    const dropped = plant.store.totals.droppedValues
    expect(dropped).toBeGreaterThan(0)
    const hub = new ModelHub(plant.clock)
    hub.objects = [modelObject(), deviceObject('p1')]
    const { client } = linked(plant, hub)
    await plant.clock.advance(500)
    expect(hub.gaps.reduce((sum, { values }) => sum + values, 0)).toBe(dropped)
    expect(valuesAt(hub)).toEqual(
      Array.from({ length: valuesAt(hub).length }, (_, i) => 101 - valuesAt(hub).length + i),
    )
    expect(hub.stored.flatMap(({ frame }) => frame.body.r ?? [])).toHaveLength(
      plant.core.engine.counters.reports - dropped,
    )
    expect(hub.received).toEqual([[1, plant.store.lastSeq]])
    expect(plant.store.gaps()).toEqual([])
    client[Symbol.dispose]()
    await plant.stop()
  })

  it('offers a local desired value until the hub answers, also over a restart', async () => {
    const first = new Plant(directory.path)
    await first.put(modelObject(), deviceObject('p1'))
    first.core.desire('plant/p1', 'setpoint', 5, undefined)
    await first.stop()
    const plant = new Plant(directory.path)
    const hub = new ModelHub(plant.clock)
    hub.objects = [modelObject(), deviceObject('p1')]
    hub.cuts = [4]
    const { client } = linked(plant, hub)
    await plant.clock.advance(5000)
    expect(hub.desires.map(({ value, local }) => [value, local])).toContainEqual([5, 1])
    expect([...plant.core.desires]).toEqual([])
    expect(plant.store.desires()).toEqual([])
    client[Symbol.dispose]()
    await plant.stop()
  })

  it('tells what was seen: all of it after each welcome, then what changed, together', async () => {
    const { plant, hub, client } = await linkedPlant()
    const seen = (id: string) => ({ id, address: { id }, candidates: [], facts: {}, atMs: plant.clock.now() })
    plant.core.sightings.sighted('fake', [seen('a')])
    plant.core.sightings.sighted('fake', [seen('b')])
    plant.core.sightings.sighted('fake', [seen('a')])
    await plant.clock.advance(1100)
    expect(hub.sighted).toEqual([['b', 'a']])
    hub.cut()
    await plant.clock.advance(2000)
    expect(hub.sighted).toHaveLength(2)
    expect(hub.sighted[1]).toHaveLength(2)
    client[Symbol.dispose]()
    await plant.stop()
  })

  it('ends with a typed error on a frame of another version and on garbage, and tries again', async () => {
    const { plant, hub, status, client } = await linkedPlant()
    const version = {
      t: 'welcome',
      v: 2,
      session: '',
      nowMs: 0,
      heartbeatMs: 1000,
      received: [],
      window: { batches: 1, bytes: 1 },
    } as const
    hub.send(version)
    await plant.clock.advance(10)
    expect(status.lastError?.code).toBe('SLUICE_LINK_VERSION')
    expect(status.connected).toBe(false)
    await plant.clock.advance(2000)
    expect(status.connected).toBe(true)
    hub.send({ t: 'error', code: 'SLUICE_HUB_DRAINING', message: 'goes down' })
    await plant.clock.advance(10)
    expect(status.lastError?.message).toContain('SLUICE_HUB_DRAINING')
    client[Symbol.dispose]()
    await plant.stop()
  })

  it('does not give up a hub for the time in which it stood still itself', async () => {
    const { plant, client, status } = await linkedPlant()
    const { reconnects } = status
    plant.clock.standStill(120_000)
    await plant.clock.advance(60_000)
    expect(status).toMatchObject({ connected: true, reconnects })
    expect(status.lastError).toBeUndefined()
    client[Symbol.dispose]()
    await plant.stop()
  })

  it('gives up a hub that says nothing any more', async () => {
    const { plant, hub, client } = await linkedPlant()
    hub.cuts = []
    const silent: typeof hub.dial = (events) => {
      plant.clock.after(1, () => events.onOpen({ bufferedBytes: 0, send: () => {}, close: events.onClose }))
      return { close: events.onClose }
    }
    client[Symbol.dispose]()
    const other = newLinkStatus('wss://silent')
    const again = new LinkClient({
      core: plant.core,
      clock: plant.clock,
      random: () => 0.5,
      log: () => {},
      gateway: 'gw-1',
      agentVersion: '0',
      status: other,
      gatewayStatus: () => ({}),
      dial: silent,
    })
    again.start()
    await plant.clock.advance(10_002)
    expect(other.lastError?.code).toBe('SLUICE_LINK_SILENT')
    again[Symbol.dispose]()
    await plant.stop()
  })

  it('loses nothing and doubles nothing, wherever connections are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 25 }), { maxLength: 8 }),
        fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 5, maxLength: 40 }),
        async (cuts, pauses) => {
          using own = temporaryDirectory()
          const plant = new Plant(own.path)
          const hub = new ModelHub(plant.clock)
          hub.objects = [modelObject(), deviceObject('p1', { desired: { setpoint: [1, 1] } })]
          hub.cuts = [...cuts]
          plant.fake.answer = () => ({ state: 'applied', atMs: plant.clock.now() })
          const { client } = linked(plant, hub)
          while (plant.core.engine.devices.size === 0) await plant.clock.advance(1000)
          let value = 0
          for (const pauseMs of pauses) {
            plant.read('p1', 'level', ++value)
            await plant.clock.advance(pauseMs)
          }
          await plant.clock.advance(120_000)
          const level = hub.stored
            .toSorted((a, b) => a.frame.seq - b.frame.seq)
            .flatMap(({ frame }) => frame.body.r ?? [])
            .filter((row) => row[1] === 'level' && row[4] === undefined)
          expect(level.map((row) => row[2])).toEqual(pauses.map((_, i) => i + 1))
          const ends = hub.stored.flatMap(({ frame }) => frame.body.w ?? [])
          expect(ends.map((row) => [row[1], row[2], row[3]])).toEqual([['setpoint', 1, 'applied']])
          for (let connection = 1; connection <= hub.connections; connection++) {
            for (const lane of ['live', 'backfill']) {
              const order = hub.stored
                .filter((item) => item.connection === connection && item.frame.lane === lane)
                .map(({ frame }) => frame.seq)
              expect(order).toEqual(order.toSorted((a, b) => a - b))
            }
          }
          expect(plant.store.totals).toMatchObject({ batches: 0, bytes: 0, values: 0, droppedValues: 0 })
          client[Symbol.dispose]()
          await plant.stop()
        },
      ),
      { numRuns: 40 },
    )
  })
})

describe('a frame of the hub', () => {
  it('is read or refused with a typed error, whatever it holds', () => {
    const types: readonly HubFrame['t'][] = ['welcome', 'objects', 'ack', 'desireResult', 'pong', 'error']
    const frame = fc
      .tuple(
        fc.constantFrom(...types, 'other'),
        fc.dictionary(fc.constantFrom('received', 'upserts', 'deletes', 'v', 'id', 'window', 'ok'), fc.jsonValue()),
      )
      .map(([t, rest]) => JSON.stringify({ ...rest, t }))
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), frame), (text) => {
        try {
          expect(types).toContain(parseHubFrame(text).t)
        } catch (error) {
          expect((error as { code?: string }).code).toMatch(/^SLUICE_LINK_(BAD_FRAME|VERSION)$/)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('larger than the limit is refused', () => {
    expect(() => parseHubFrame(`"${'x'.repeat(5 * 1024 * 1024)}"`)).toThrow(/characters/)
  })
})

describe('what happened at a gateway', () => {
  const event = { about: 'plant/p1', type: 'Warning', reason: 'MicFailure', message: 'the key does not fit' } as const

  it('is told soon, kept over an outage, and not told again once the hub has it', async () => {
    const { plant, hub, client } = await linkedPlant()
    plant.fake.host!.event(event)
    await plant.clock.advance(500)
    expect(hub.notices).toMatchObject([{ ...event, count: 1 }])
    hub.cut()
    hub.refuseConnections = true
    plant.fake.host!.event(event)
    plant.fake.host!.event({ ...event, about: 'gateway' })
    await plant.clock.advance(60_000)
    hub.refuseConnections = false
    await plant.clock.advance(60_000)
    expect(hub.notices.slice(1)).toMatchObject([
      { about: 'plant/p1', count: 2 },
      { about: 'gateway', count: 1 },
    ])
    hub.cut()
    await plant.clock.advance(5000)
    expect(hub.notices).toHaveLength(3)
    client[Symbol.dispose]()
    await plant.stop()
  })

  it('is told again when the connection broke before the hub could have it', async () => {
    const { plant, hub, client } = await linkedPlant()
    plant.fake.host!.event(event)
    await plant.clock.advance(200)
    hub.cut()
    await plant.clock.advance(5000)
    expect(hub.notices.length).toBeGreaterThanOrEqual(1)
    expect(new Set(hub.notices.map(({ id }) => id)).size).toBe(1)
    client[Symbol.dispose]()
    await plant.stop()
  })
})

describe("the gateway's own object", () => {
  const gateway = (mode: 'autonomous' | 'tethered', generation: number): LinkObject => ({
    kind: 'Gateway',
    key: '/gw-1',
    rev: `g${generation}`,
    object: { uid: 'uid-gw-1', generation, spec: { mode }, labels: { site: 'north' } },
  })

  it('arrives, tells who listens, and is known again after a start without any network', async () => {
    const { plant, hub, client } = await linkedPlant()
    expect(hub.hellos[0]?.kinds).toContain('Gateway')
    expect(plant.core.gatewaySpec).toBeUndefined()
    const heard: unknown[] = []
    const stop = plant.core.onGatewaySpec((spec) => heard.push(spec?.mode))
    hub.send({ t: 'objects', upserts: [gateway('tethered', 1)], deletes: [] })
    await plant.clock.advance(50)
    expect(hub.acks.at(-1)).toMatchObject({ kind: 'Gateway', key: '/gw-1', ok: true })
    stop()
    hub.send({ t: 'objects', upserts: [gateway('autonomous', 2)], deletes: [] })
    await plant.clock.advance(50)
    expect(heard).toEqual(['tethered'])
    client[Symbol.dispose]()
    await plant.stop()
    const again = new Plant(directory.path)
    expect(again.core.gatewaySpec).toEqual({ mode: 'autonomous' })
    expect(again.core.objects.gateway?.labels).toEqual({ site: 'north' })
    await again.core.objects.apply({ upserts: [], deletes: [{ kind: 'Gateway', key: '/gw-1' }] })
    expect(again.core.gatewaySpec).toBeUndefined()
    await again.stop()
  })
})
