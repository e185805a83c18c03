import { newClient } from 'sparkplug-client'
import type { UMetric, UPayload } from 'sparkplug-payload/lib/sparkplugbpayload.js'
import schema from 'sparkplug-payload/lib/sparkplugPayloadProto.js'
import { describe, expect, it } from 'vitest'
import { brokersUnderTest, connectClient } from '../../../agent/broker/test-brokers.test-helper.ts'
import type { DeviceModelSpec, ModelProperty } from '../../../api/resources.ts'
import { bind, MapperUnderTest } from '../host.test-helper.ts'

const property = (name: string, type: ModelProperty['type'], more: Partial<ModelProperty> = {}): ModelProperty => ({
  name,
  type,
  mqtt: { metric: name },
  ...more,
})

const MODEL: DeviceModelSpec = {
  properties: [
    property('speed', 'int', { access: 'readwrite' }),
    property('steps', 'int', { access: 'readwrite' }),
    property('load', 'float'),
    property('hot', 'bool'),
    property('label', 'string'),
    property('blob', 'bytes'),
    property('since', 'int'),
    property('total', 'int'),
    property('small', 'int'),
  ],
}

const NODE = { group: 'works', node: 'press' }

/** Everything the edge node of the reference implementation was told, and a way to wait for what is still to come. */
class Inbox<T> {
  readonly #items: T[] = []
  #wake = Promise.withResolvers<void>()

  get count(): number {
    return this.#items.length
  }

  push(item: T): void {
    this.#items.push(item)
    this.#wake.resolve()
    this.#wake = Promise.withResolvers<void>()
  }

  async at(index: number): Promise<T> {
    while (this.#items.length <= index) await this.#wake.promise
    return this.#items[index]!
  }
}

const BORN = (): UMetric[] => [
  { name: 'speed', alias: 7, type: 'Int32', value: -3, timestamp: Date.now() },
  { name: 'steps', alias: 8, type: 'UInt32', value: 4_000_000_000 },
  { name: 'load', alias: 9, type: 'Float', value: 0.25 },
  { name: 'hot', alias: 10, type: 'Boolean', value: false },
  { name: 'label', alias: 11, type: 'String', value: 'büro' },
  { name: 'blob', alias: 12, type: 'Bytes', value: Buffer.from([0, 255]) },
  { name: 'since', alias: 13, type: 'DateTime', value: 1_700_000_000_000 },
  { name: 'total', alias: 14, type: 'UInt64', value: 9_007_199_254_740_991 },
  { name: 'small', alias: 15, type: 'Int8', value: -128 },
]

/** An edge node that is all foreign: its connection, its numbers and its payloads. */
async function foreignNode(port: number) {
  const client = newClient({
    serverUrl: `mqtt://127.0.0.1:${port}`,
    // It wants both to be there; null is how it comes without a user.
    username: null!,
    password: null!,
    groupId: NODE.group,
    edgeNode: NODE.node,
    clientId: 'press',
    publishDeath: true,
  })
  const rebirths = new Inbox<UPayload>()
  const commands = new Inbox<UPayload>()
  const ready = Promise.withResolvers<void>()
  // Whose acknowledgement comes after those of its own subscriptions to commands.
  client.on('birth', () => client.subscribeTopic('ready', { qos: 0 }, () => ready.resolve()))
  client.on('ncmd', (payload) => rebirths.push(payload))
  client.on('dcmd', (_device, payload) => commands.push(payload))
  await ready.promise
  const birth = (metrics = BORN()) => {
    client.publishNodeBirth({ timestamp: Date.now(), metrics: [{ name: 'up', type: 'Boolean', value: true }] })
    client.publishDeviceBirth('line', { timestamp: Date.now(), metrics })
  }
  const data = (...metrics: UMetric[]) => client.publishDeviceData('line', { timestamp: Date.now(), metrics })
  return { client, rebirths, commands, birth, data, [Symbol.dispose]: () => client.stop() }
}

const numberOf = (metric: UMetric | undefined) => [
  metric?.name,
  Number(metric?.alias),
  metric?.type,
  Number(metric?.value),
]

describe.each(brokersUnderTest)('an edge node of the reference implementation on the %s', (_name, start) => {
  it('is read in every type, is asked for a birth when its data comes first, and its death makes all stale', async () => {
    await using under = await start()
    using node = await foreignNode(under.port)
    await using mapper = new MapperUnderTest(under.broker.local)
    mapper.configure(bind(MODEL, { sparkplug: { ...NODE, device: 'line' } }))
    const asked = await node.rebirths.at(0)
    expect(asked.metrics!.map(({ name, type, value }) => [name, type, value])).toEqual([
      ['Node Control/Rebirth', 'Boolean', true],
    ])
    node.birth()
    const wanted = {
      speed: -3,
      steps: 4_000_000_000,
      load: 0.25,
      hot: false,
      label: 'büro',
      blob: 'AP8=',
      since: 1_700_000_000_000,
      total: 9_007_199_254_740_991,
      small: -128,
    }
    for (const [name, value] of Object.entries(wanted)) {
      expect(await mapper.value(name, value)).toMatchObject({ quality: 'good' })
    }
    node.client.stop()
    const dead = await mapper.reading('speed', ({ reason }) => reason?.includes('NDEATH') === true)
    expect(dead.quality).toBe('stale')
  })

  it('is read by alias, by name, and without a type; null, bad and stale are what they say; history is not now', async () => {
    await using under = await start()
    using node = await foreignNode(under.port)
    await using raw = await connectClient(under.port)
    await using mapper = new MapperUnderTest(under.broker.local)
    mapper.configure(bind(MODEL, { sparkplug: { ...NODE, device: 'line' } }))
    await node.rebirths.at(0)
    node.birth()
    await mapper.value('speed', -3)
    node.data({ alias: 7, type: 'Int32', value: -4 })
    await mapper.value('speed', -4)
    // Only births have to say the type: what is left out is the one of the birth.
    const untyped = [
      { alias: 7, intValue: -5 >>> 0 },
      { name: 'small', intValue: -6 >>> 0 },
    ]
    const payload = schema.org.eclipse.tahu.protobuf.Payload.encode({ seq: 3, metrics: untyped }).finish()
    await raw.mqtt.publishAsync('spBv1.0/works/DDATA/press/line', Buffer.from(payload))
    await mapper.value('speed', -5)
    await mapper.value('small', -6)
    node.client.publishDeviceData('line', { metrics: [] })
    node.birth()
    node.data(
      { alias: 9, type: 'Float', value: 99, isHistorical: true },
      { alias: 10, type: 'Boolean', value: null },
      { alias: 7, type: 'Int32', value: -8, properties: { Quality: { type: 'Int32', value: 500 } } },
      { alias: 15, type: 'Int8', value: 1, properties: { Quality: { type: 'Int32', value: 0 } } },
      {
        alias: 8,
        type: 'UInt32',
        value: 6,
        properties: { Quality: { type: 'Int32', value: 192 }, unit: { type: 'String', value: 'm' } },
      },
    )
    expect(await mapper.value('steps', 6)).toMatchObject({ quality: 'good' })
    const last = (name: string) => mapper.readings.all.findLast((reading) => reading.property === name)
    expect(last('hot')).toMatchObject({ quality: 'bad(not-available)', reason: 'the metric is null' })
    expect(last('speed')).toMatchObject({ quality: 'stale', value: -8 })
    expect(last('small')).toMatchObject({ quality: 'bad(not-available)', reason: expect.stringContaining('Quality 0') })
    expect(last('load')).toMatchObject({ value: 0.25 })
  })

  it('is read in data sets, templates and arrays, and what is none of use says why', async () => {
    await using under = await start()
    using node = await foreignNode(under.port)
    await using raw = await connectClient(under.port)
    await using mapper = new MapperUnderTest(under.broker.local)
    const properties = [
      property('recipe', 'array'),
      property('motor', 'object'),
      property('profile', 'array'),
      property('speed', 'int'),
    ]
    mapper.configure(bind({ properties }, { sparkplug: { ...NODE, device: 'line' } }))
    await node.rebirths.at(0)
    const recipe = {
      numOfColumns: 3,
      columns: ['step', 'celsius', 'name'],
      types: ['Int32', 'Double', 'String'],
      rows: [
        [-1, 21.5, 'rest'],
        [2, 180.25, 'bake'],
      ],
    }
    const member = { name: 'rpm', type: 'Int32', value: -1450 } as const
    const motor = {
      isDefinition: false,
      templateRef: 'motor',
      version: '1',
      metrics: [member, { name: 'on', type: 'Boolean', value: true }],
      parameters: [],
    }
    node.birth([
      { name: 'recipe', type: 'DataSet', value: recipe },
      { name: 'motor', type: 'Template', value: motor },
      { name: 'speed', type: 'DataSet', value: recipe },
    ] as UMetric[])
    const rows = [
      { step: -1, celsius: 21.5, name: 'rest' },
      { step: 2, celsius: 180.25, name: 'bake' },
    ]
    expect(await mapper.value('recipe', rows)).toMatchObject({ quality: 'good' })
    expect(await mapper.value('motor', { rpm: -1450, on: true })).toMatchObject({ quality: 'good' })
    const table = await mapper.reading('speed', ({ quality }) => quality.startsWith('bad('))
    expect(table).toMatchObject({ quality: 'bad(payload-type)', reason: expect.stringContaining('not a number') })
    // The reference implementation writes no arrays yet; its schema of the payload does.
    const send = async (seq: number, bytesValue: Uint8Array) => {
      const metrics = [{ name: 'profile', datatype: 23, bytesValue }]
      const payload = schema.org.eclipse.tahu.protobuf.Payload.encode({ seq, metrics }).finish()
      await raw.mqtt.publishAsync('spBv1.0/works/DDATA/press/line', Buffer.from(payload))
    }
    await send(2, Uint8Array.of(0xd0, 0x8a, 0x30, 0x75))
    expect(await mapper.value('profile', [-30_000, 30_000])).toMatchObject({ quality: 'good' })
    await send(3, Uint8Array.of(1, 2, 3))
    const odd = await mapper.reading('profile', ({ quality }) => quality.startsWith('bad('))
    expect(odd).toMatchObject({ quality: 'bad(payload-type)', reason: expect.stringContaining('3 bytes') })
    const told = mapper.events.all.map(({ reason, unusable }) => ({ reason, unusable }))
    expect(told).toEqual([
      { reason: 'PayloadUnusable', unusable: true },
      { reason: 'PayloadUnusable', unusable: true },
    ])
  })

  it('is asked to be born again after a gap in the sequence, and not at the step from 255 to 0', async () => {
    await using under = await start()
    using node = await foreignNode(under.port)
    await using raw = await connectClient(under.port)
    await using mapper = new MapperUnderTest(under.broker.local)
    mapper.configure(bind(MODEL, { sparkplug: { ...NODE, device: 'line' } }))
    await node.rebirths.at(0)
    node.birth()
    for (let n = 1; n <= 600; n++) node.data({ alias: 7, type: 'Int32', value: n })
    await mapper.value('speed', 600)
    expect(node.rebirths.count).toBe(1)
    // Somebody else's message with the number of the next one is one that the node never sent.
    const stray = schema.org.eclipse.tahu.protobuf.Payload.encode({ seq: 3, metrics: [] }).finish()
    await raw.mqtt.publishAsync('spBv1.0/works/DDATA/press/line', Buffer.from(stray))
    await node.rebirths.at(1)
  })

  it('is commanded by alias, as the specification wants, in the type and the field it was born with', async () => {
    await using under = await start()
    using node = await foreignNode(under.port)
    await using mapper = new MapperUnderTest(under.broker.local)
    mapper.configure(bind(MODEL, { sparkplug: { ...NODE, device: 'line' } }))
    await node.rebirths.at(0)
    node.birth()
    await mapper.value('small', -128)
    const speed = mapper.write('speed', -9)
    const [first] = (await node.commands.at(0)).metrics!
    expect(numberOf(first)).toEqual([undefined, 7, 'Int32', -9])
    node.data({ alias: 7, type: 'Int32', value: -9 })
    expect(await speed).toMatchObject({ state: 'applied', readBack: -9 })
    const steps = mapper.write('steps', 70_000)
    const [second] = (await node.commands.at(1)).metrics!
    expect(numberOf(second)).toEqual([undefined, 8, 'UInt32', 70_000])
    node.data({ alias: 8, type: 'UInt32', value: 70_000 })
    expect(await steps).toMatchObject({ state: 'applied', readBack: 70_000 })
    node.birth([{ name: 'speed', type: 'Int16', value: 4 }])
    await mapper.value('speed', 4)
    const byName = mapper.write('speed', 5)
    const [third] = (await node.commands.at(2)).metrics!
    expect([third?.name, third?.alias, third?.type, third?.value]).toEqual(['speed', undefined, 'Int16', 5])
    node.data({ name: 'speed', type: 'Int16', value: 5 })
    expect(await byName).toMatchObject({ state: 'applied', readBack: 5 })
  })

  it('that says another type than the model has is bad with a reason, and what is no payload at all, too', async () => {
    await using under = await start()
    using node = await foreignNode(under.port)
    await using raw = await connectClient(under.port)
    await using mapper = new MapperUnderTest(under.broker.local)
    mapper.configure(bind(MODEL, { sparkplug: { ...NODE, device: 'line' } }))
    await node.rebirths.at(0)
    node.birth([
      { name: 'speed', type: 'String', value: 'fast' },
      { name: 'label', type: 'String', value: 'ok' },
    ])
    await mapper.value('label', 'ok')
    const wrong = mapper.readings.all.find((reading) => reading.property === 'speed' && reading.quality !== 'stale')
    expect(wrong?.quality).toMatch(/^bad\(/)
    expect(wrong?.reason).toMatch(/fast/)
    await raw.mqtt.publishAsync('spBv1.0/works/DDATA/press/line', 'plainly no protobuf')
    const broken = await mapper.reading('label', ({ quality }) => quality.startsWith('bad('))
    expect(broken.reason).toContain('no Sparkplug B payload')
  })
})
