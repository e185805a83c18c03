import { connect, createServer, type Socket } from 'node:net'
import { get } from 'sparkplug-payload'
import type { UMetric, UPayload } from 'sparkplug-payload/lib/sparkplugbpayload.js'
import schema from 'sparkplug-payload/lib/sparkplugPayloadProto.js'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import type { DeviceModelSpec, Json } from '../../api/resources.ts'
import type { Quality } from '../../api/twin/quality.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import type { LocalBroker } from '../../mappers/sdk/mapper.ts'
import { openExternalBroker } from '../broker/external.ts'
import { connectClient, mosquittoPath, startMosquitto } from '../broker/test-brokers.test-helper.ts'
import { silentLog } from '../log.ts'
import { DeviceState } from '../twin/device-state.ts'
import { SparkplugEdgeNode } from './sparkplug-edge-node.ts'

/** Foreign code: the payload as the reference implementation of Sparkplug reads and writes it. */
const foreign = get('spBv1.0')!

const MODEL: DeviceModelSpec = {
  properties: [
    { name: 'speed', type: 'int', access: 'readwrite' },
    { name: 'load', type: 'float' },
    { name: 'hot', type: 'bool' },
    { name: 'label', type: 'string' },
    { name: 'blob', type: 'bytes' },
    { name: 'never', type: 'int' },
  ],
}

interface Heard {
  readonly topic: string
  readonly qos: 0 | 1
  readonly retain: boolean
  readonly payload: UPayload
}

function factory(...names: readonly string[]) {
  const clock = new VirtualClock()
  const heard: Heard[] = []
  const listeners = new Map<string, (topic: string, payload: Uint8Array, retained: boolean) => void>()
  const broker: LocalBroker = {
    publish: (topic, payload, options) =>
      void heard.push({
        topic,
        payload: foreign.decodePayload(payload),
        qos: options?.qos ?? 0,
        retain: options?.retain ?? false,
      }),
    subscribe(filter, listener) {
      listeners.set(filter, listener)
      return { [Symbol.dispose]: () => void listeners.delete(filter) }
    },
  }
  const spec = { model: 'pump', nodeName: 'gw' }
  const devices = new Map(
    names.map((name) => {
      const device = new DeviceState(`plant/${name}`, { uid: name, generation: 1, spec, desired: {} })
      device.configure(spec, MODEL, 0)
      return [device.key, device]
    }),
  )
  const desired: unknown[] = []
  let bdSeq: number | undefined
  const edge = new SparkplugEdgeNode({
    clock,
    group: 'works',
    gateway: 'gw',
    storage: { get: () => bdSeq, put: (next) => (bdSeq = next) },
    devices,
    desire: (key, property, value) => desired.push([key, property, value]),
  })
  const say = (name: string, property: string, value: Json | undefined, quality: Quality = 'good') => {
    const device = devices.get(`plant/${name}`)!
    const state = device.properties.get(property)!
    const base = { atMs: clock.now(), quality, order: { epoch: 1, seq: 1 } }
    const reported = value === undefined ? base : { ...base, value }
    state.twin = { ...state.twin, reported, ...(value === undefined ? {} : { known: reported }) }
    edge.reported(device, property)
  }
  const hear = (kind: 'NCMD' | 'DCMD', device: string | undefined, payload: Uint8Array) => {
    const topic = ['spBv1.0', 'works', kind, 'gw', ...(device === undefined ? [] : [device])].join('/')
    const filter = kind === 'NCMD' ? topic : 'spBv1.0/works/DCMD/gw/+'
    listeners.get(filter)!(topic, payload, false)
  }
  const command = (kind: 'NCMD' | 'DCMD', device: string | undefined, ...metrics: UMetric[]) =>
    hear(kind, device, foreign.encodePayload({ timestamp: clock.now(), metrics }))
  return { clock, heard, broker, edge, say, hear, command, desired, devices }
}

const metric = ({ payload }: Heard, name: string): UMetric => payload.metrics!.find((one) => one.name === name)!

describe('what the gateway publishes as a Sparkplug edge node, read by the reference implementation', () => {
  it('is born with every metric: type, alias of its own, time and value, and null where nothing is known yet', () => {
    const { heard, broker, edge, say, clock } = factory('a', 'b')
    edge.nextWill()
    say('a', 'speed', -3)
    say('a', 'load', 0.25)
    say('a', 'hot', true)
    say('a', 'label', 'büro')
    say('a', 'blob', Buffer.from([0, 255]).toString('base64'))
    edge.connected(broker)
    const [node, first, second] = heard
    expect(heard.map(({ topic, qos, retain }) => [topic, qos, retain])).toEqual([
      ['spBv1.0/works/NBIRTH/gw', 0, false],
      ['spBv1.0/works/DBIRTH/gw/plant:a', 0, false],
      ['spBv1.0/works/DBIRTH/gw/plant:b', 0, false],
    ])
    expect(heard.map(({ payload }) => [Number(payload.seq), Number(payload.timestamp)])).toEqual(
      [0, 1, 2].map((seq) => [seq, clock.now()]),
    )
    expect([metric(node!, 'bdSeq').type, Number(metric(node!, 'bdSeq').value)]).toEqual(['Int64', 0])
    const rebirth = metric(node!, 'Node Control/Rebirth')
    expect([rebirth.type, rebirth.value, rebirth.alias]).toEqual(['Boolean', false, undefined])
    expect(first!.payload.metrics!.map(({ name, type }) => [name, type])).toEqual([
      ['speed', 'Int64'],
      ['load', 'Double'],
      ['hot', 'Boolean'],
      ['label', 'String'],
      ['blob', 'Bytes'],
      ['never', 'Int64'],
    ])
    expect(Number(metric(first!, 'speed').value)).toBe(-3)
    expect(['load', 'hot', 'label'].map((name) => metric(first!, name).value)).toEqual([0.25, true, 'büro'])
    expect(Buffer.from(metric(first!, 'blob').value as Uint8Array)).toEqual(Buffer.from([0, 255]))
    expect(metric(first!, 'never').value).toBeNull()
    const aliases = [first!, second!].flatMap(({ payload }) => payload.metrics!.map(({ alias }) => Number(alias)))
    expect(new Set(aliases).size).toBe(12)
    // The specification asks for a time with every metric of a birth, known or not.
    const times = heard.flatMap(({ payload }) => payload.metrics!.map(({ timestamp }) => timestamp ?? 'none'))
    expect(times).not.toContain('none')
  })

  it('is changes by alias alone, and a sequence that goes from 255 to 0', async () => {
    const { heard, broker, edge, say, clock } = factory('a')
    edge.nextWill()
    edge.connected(broker)
    const { alias } = metric(heard[1]!, 'speed')
    for (let n = 0; n < 600; n++) {
      await clock.advance(10)
      say('a', 'speed', n)
    }
    expect(heard.map(({ payload }) => Number(payload.seq))).toEqual(heard.map((_, n) => n % 256))
    const last = heard.at(-1)!
    expect(last.topic).toBe('spBv1.0/works/DDATA/gw/plant:a')
    expect(last.payload.metrics).toHaveLength(1)
    const [change] = last.payload.metrics!
    expect([change!.name, Number(change!.alias), Number(change!.value), Number(change!.timestamp)]).toEqual([
      undefined,
      Number(alias),
      599,
      clock.now(),
    ])
  })

  it('says with the quality code of the specification why a value is null', () => {
    const { heard, broker, edge, say } = factory('a')
    edge.nextWill()
    edge.connected(broker)
    const said = () => {
      const [change] = heard.at(-1)!.payload.metrics!
      const { type, value } = change!.properties?.['Quality'] ?? {}
      return [change!.value === null ? null : Number(change!.value), type, value]
    }
    say('a', 'speed', 5)
    expect(said()).toEqual([5, undefined, undefined])
    say('a', 'speed', undefined, 'stale')
    expect(said()).toEqual([null, 'Int32', 500])
    say('a', 'speed', undefined, 'bad(timeout)')
    expect(said()).toEqual([null, 'Int32', 0])
    expect(metric(heard[1]!, 'never').properties?.['Quality']?.value).toBe(500)
  })

  it('is born again with the same bdSeq when a host asks, and takes commands by name and by alias', async () => {
    const { heard, broker, edge, hear, command, desired, say, clock } = factory('a')
    edge.nextWill()
    edge.nextWill()
    edge.connected(broker)
    await clock.advance(5000)
    say('a', 'speed', 7)
    command('NCMD', undefined, { name: 'Node Control/Rebirth', type: 'Boolean', value: true })
    expect(heard.map(({ topic, payload }) => [topic.split('/')[2], Number(payload.seq)])).toEqual([
      ['NBIRTH', 0],
      ['DBIRTH', 1],
      ['DDATA', 2],
      ['NBIRTH', 0],
      ['DBIRTH', 1],
    ])
    expect(
      heard.filter(({ topic }) => topic.includes('NBIRTH')).map((one) => Number(metric(one, 'bdSeq').value)),
    ).toEqual([1, 1])
    expect(Number(metric(heard[4]!, 'speed').value)).toBe(7)
    const { alias } = metric(heard[4]!, 'speed')
    command('DCMD', 'plant:a', { name: 'speed', type: 'Int64', value: -4 })
    command('DCMD', 'plant:a', { alias: Number(alias), type: 'Int32', value: -5 } as UMetric)
    // A command need not say its type: the metric was born with one.
    const untyped = { alias: Number(alias), longValue: -6 }
    hear('DCMD', 'plant:a', schema.org.eclipse.tahu.protobuf.Payload.encode({ metrics: [untyped] }).finish())
    expect(desired).toEqual([
      ['plant/a', 'speed', -4],
      ['plant/a', 'speed', -5],
      ['plant/a', 'speed', -6],
    ])
  })

  it('ends each device with a death of its own, and itself with the bdSeq it was born with', () => {
    const { heard, broker, edge, devices } = factory('a')
    edge.nextWill()
    edge.connected(broker)
    const device = devices.get('plant/a')!
    device.reach = { device: device.key, online: false, atMs: 0 }
    edge.reachability(device)
    edge[Symbol.dispose]()
    const [, , gone, node] = heard
    expect([gone!.topic, Number(gone!.payload.seq), gone!.payload.metrics ?? []]).toEqual([
      'spBv1.0/works/DDEATH/gw/plant:a',
      2,
      [],
    ])
    expect([node!.topic, node!.qos, node!.payload.seq]).toEqual(['spBv1.0/works/NDEATH/gw', 1, undefined])
    expect(node!.payload.metrics!.map(({ name, value }) => [name, Number(value)])).toEqual([['bdSeq', 0]])
  })
})

describe.skipIf(mosquittoPath === undefined)('the connection of the edge node to an external broker', () => {
  it('leaves its death as a will when it breaks, and is born with the next bdSeq when it is back', async () => {
    await using mosquitto = await startMosquitto()
    const sockets = new Set<Socket>()
    const proxy = createServer((near) => {
      const far = connect(mosquitto.port, '127.0.0.1')
      sockets.add(near)
      near.pipe(far).pipe(near)
      for (const socket of [near, far]) socket.on('error', () => {})
      near.on('close', () => far.destroy())
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => proxy.once('listening', resolve))
    const address = proxy.address() as { readonly port: number }
    const said: [string, number][] = []
    await using host = await connectClient(mosquitto.port)
    const again = Promise.withResolvers<void>()
    const first = Promise.withResolvers<void>()
    host.mqtt.on('message', (topic, bytes) => {
      const kind = topic.split('/')[2]!
      if (kind !== 'NBIRTH' && kind !== 'NDEATH') return
      const { metrics } = foreign.decodePayload(bytes)
      said.push([kind, Number(metrics!.find(({ name }) => name === 'bdSeq')!.value)])
      if (said.length === 1) first.resolve()
      if (said.length === 3) again.resolve()
    })
    await host.mqtt.subscribeAsync('spBv1.0/works/#', { qos: 1 })
    let bdSeq: number | undefined = 254
    using edge = new SparkplugEdgeNode({
      clock: systemClock,
      group: 'works',
      gateway: 'gw',
      storage: { get: () => bdSeq, put: (next) => (bdSeq = next) },
      devices: new Map(),
      desire: () => {},
    })
    await using broker = await openExternalBroker(
      { url: `mqtt://127.0.0.1:${address.port}` },
      { clock: systemClock, log: silentLog },
      { will: () => edge.nextWill(), connected: () => edge.connected(broker.local) },
    )
    await first.promise
    for (const socket of sockets) socket.destroy()
    await again.promise
    expect(said).toEqual([
      ['NBIRTH', 255],
      ['NDEATH', 255],
      ['NBIRTH', 0],
    ])
    proxy.close()
  })
})
