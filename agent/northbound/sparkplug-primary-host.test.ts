import { connect, createServer, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import type { DeviceModelSpec } from '../../api/resources.ts'
import { bind, MapperUnderTest } from '../../mappers/mqtt/host.test-helper.ts'
import { openExternalBroker } from '../broker/external.ts'
import { brokersUnderTest, connectClient, mosquittoPath, startMosquitto } from '../broker/test-brokers.test-helper.ts'
import { silentLog } from '../log.ts'
import { DeviceState } from '../twin/device-state.ts'
import { SparkplugEdgeNode } from './sparkplug-edge-node.ts'

const PUMP: DeviceModelSpec = { properties: [{ name: 'speed', type: 'int' }] }
const AS_SPARKPLUG: DeviceModelSpec = { properties: [{ name: 'speed', type: 'int', mqtt: { metric: 'speed' } }] }
const STATE = 'spBv1.0/STATE/scada'

/** A gateway that lives only while the host application `scada` is there. */
function edgeNode() {
  const spec = { model: 'pump', nodeName: 'gw-a' }
  const device = new DeviceState('plant/pump', { uid: 'u', generation: 1, spec, desired: {} })
  device.configure(spec, PUMP, 0)
  let bdSeq: number | undefined
  const edge = new SparkplugEdgeNode({
    clock: systemClock,
    group: 'works',
    gateway: 'gw-a',
    primaryHost: 'scada',
    storage: { get: () => bdSeq, put: (next) => (bdSeq = next) },
    devices: new Map([[device.key, device]]),
    desire: () => undefined,
  })
  const say = (value: number) => {
    const property = device.properties.get('speed')!
    const reported = { value, atMs: systemClock.now(), quality: 'good', order: { epoch: 1, seq: 1 } } as const
    property.twin = { ...property.twin, reported, known: reported }
    edge.reported(device, 'speed')
  }
  return { edge, say }
}

/** Kinds of messages of the node, and a way to wait for the next of a kind. */
async function listen(port: number) {
  const client = await connectClient(port)
  const kinds: string[] = []
  const waiting = new Map<string, () => void>()
  client.mqtt.on('message', (topic, payload, { retain }) => {
    const kind =
      topic === STATE ? `STATE ${JSON.parse(payload.toString()).online}${retain ? ' kept' : ''}` : topic.split('/')[2]!
    kinds.push(kind)
    waiting.get(kind)?.()
  })
  await client.mqtt.subscribeAsync('spBv1.0/#', { qos: 1 })
  const next = (kind: string) => new Promise<void>((resolve) => waiting.set(kind, resolve))
  return { client, kinds, next }
}

describe.each(brokersUnderTest)('a gateway with a primary host on the %s', (_name, start) => {
  it('says nothing before the host is there, is born with it, dies with it, and takes no old will for its end', async () => {
    await using under = await start()
    const { client, kinds, next } = await listen(under.port)
    await using _ = client
    const { edge, say } = edgeNode()
    using _edge = edge
    edge.nextWill()
    edge.connected(under.broker.local)
    say(1)
    const tell = (online: boolean, timestamp: number) =>
      client.mqtt.publishAsync(STATE, JSON.stringify({ online, timestamp }), { qos: 1, retain: true })
    await client.mqtt.publishAsync('spBv1.0/STATE/other', JSON.stringify({ online: true, timestamp: 9 }), { qos: 1 })
    expect(edge.alive).toBe(false)
    const born = next('DBIRTH')
    await tell(true, 2000)
    await born
    say(2)
    // The will of a session before comes late.
    await tell(false, 1000)
    const data = next('DDATA')
    say(3)
    await data
    const dead = next('NDEATH')
    await tell(false, 2000)
    await dead
    expect(edge.alive).toBe(false)
    say(4)
    const again = next('DBIRTH')
    await tell(true, 3000)
    await again
    const own = kinds.filter((kind) => !kind.startsWith('STATE') && kind !== 'other')
    expect(own).toEqual(['NBIRTH', 'DBIRTH', 'DDATA', 'DDATA', 'NDEATH', 'NBIRTH', 'DBIRTH'])
  })

  it('is read by another gateway that appears as that host, and learns of its end when it goes in order', async () => {
    await using under = await start()
    const { client, kinds, next } = await listen(under.port)
    await using _ = client
    const { edge, say } = edgeNode()
    using _edge = edge
    edge.nextWill()
    edge.connected(under.broker.local)
    say(5)
    const host = new MapperUnderTest(under.broker.local)
    host.configure(
      bind(AS_SPARKPLUG, { sparkplug: { group: 'works', node: 'gw-a', device: 'plant:pump', host: 'scada' } }),
    )
    await host.value('speed', 5)
    const dead = next('NDEATH')
    await host[Symbol.asyncDispose]()
    await dead
    expect(kinds).toContain('STATE true')
    expect(edge.alive).toBe(false)
    const late = await listen(under.port)
    await using _late = late.client
    if (late.kinds.length === 0) await late.next('STATE false kept')
    expect(late.kinds).toEqual(['STATE false kept'])
  })
})

describe.skipIf(mosquittoPath === undefined)('a gateway that appears as a host on an external broker', () => {
  it('is dead by its will when its connection breaks, and born again when it is back', async () => {
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
    const { client, kinds, next } = await listen(mosquitto.port)
    await using _ = client
    const first = next('STATE true')
    await using host = new MapperUnderTest(undefined)
    host.configure(
      bind(AS_SPARKPLUG, {
        broker: `mqtt://127.0.0.1:${address.port}`,
        sparkplug: { group: 'works', node: 'gw-a', host: 'scada' },
      }),
    )
    await first
    const gone = next('STATE false')
    const back = next('STATE true')
    for (const socket of sockets) socket.destroy()
    await gone
    await back
    // It may say twice that it is back: the will of before is what it finds there.
    const states = kinds.filter((kind, at) => kind.startsWith('STATE') && kind !== kinds[at - 1])
    expect(states).toEqual(['STATE true', 'STATE false', 'STATE true'])
    proxy.close()
  })

  it('waits for its primary host anew on each connection', async () => {
    await using mosquitto = await startMosquitto()
    const { client, next } = await listen(mosquitto.port)
    await using _ = client
    await client.mqtt.publishAsync(STATE, '{"online":true,"timestamp":1}', { qos: 1, retain: true })
    const { edge } = edgeNode()
    using _edge = edge
    const born = next('DBIRTH')
    await using broker = await openExternalBroker(
      { url: `mqtt://127.0.0.1:${mosquitto.port}` },
      { clock: systemClock, log: silentLog },
      { will: () => edge.nextWill(), connected: () => edge.connected(broker.local) },
    )
    await born
    expect(edge.alive).toBe(true)
  })
})
