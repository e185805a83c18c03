import { describe, expect, it } from 'vitest'
import { brokersUnderTest, connectClient, embedded } from '../../agent/broker/test-brokers.test-helper.ts'
import type { DeviceModelSpec } from '../../api/resources.ts'
import { bind, MapperUnderTest } from './host.test-helper.ts'

const LAMP: DeviceModelSpec = {
  properties: [
    {
      name: 'on',
      type: 'bool',
      access: 'readwrite',
      mqtt: {
        topic: '{base}/state',
        path: 'state',
        map: { ON: true, OFF: false },
        command: { topic: '{base}/set', payload: '{"state":{json}}' },
      },
    },
    { name: 'power', type: 'float', unit: 'W', mqtt: { topic: '{base}/state', path: '/energy/0/power', scale: 0.1 } },
  ],
  mqtt: { availability: [{ topic: '{base}/status', online: ['online'], offline: ['offline'] }] },
}

describe.each(brokersUnderTest)('an MQTT device on the %s', (_name, start) => {
  it('becomes readings, is written to, and is away when its availability topic says so', async () => {
    await using under = await start()
    await using device = await connectClient(under.port)
    await using mapper = new MapperUnderTest(under.broker.local)
    mapper.configure(bind(LAMP, { base: 'home/lamp' }))
    await device.mqtt.publishAsync('home/lamp/status', 'online', { retain: true, qos: 1 })
    await mapper.reach.until(({ online }) => online)
    await device.mqtt.publishAsync('home/lamp/state', '{"state":"ON","energy":[{"power":1234}]}', { qos: 1 })
    expect(await mapper.value('on', true)).toMatchObject({ quality: 'good', device: 'plant/lamp' })
    expect(await mapper.value('power', 123.4)).toMatchObject({ quality: 'good' })
    const heard = mapper.mapper.bytes?.('plant/lamp') ?? 0
    expect(heard).toBeGreaterThanOrEqual('home/lamp/state{"state":"ON","energy":[{"power":1234}]}'.length)

    await device.mqtt.subscribeAsync('home/lamp/set', { qos: 1 })
    const outcome = mapper.write('on', false)
    await device.received(1)
    expect(device.messages[0]?.text).toBe('{"state":"OFF"}')
    expect(mapper.mapper.bytes?.('plant/lamp')).toBeGreaterThan(heard)
    await device.mqtt.publishAsync('home/lamp/state', '{"state":"OFF","energy":[{"power":0}]}', { qos: 1 })
    expect(await outcome).toMatchObject({ state: 'applied', readBack: false })

    await device.mqtt.publishAsync('home/lamp/status', 'offline', { retain: true, qos: 1 })
    await mapper.reach.until(({ online, reason }) => !online && /away/.test(reason ?? ''))
    expect(await mapper.reading('power', ({ quality }) => quality === 'stale')).toMatchObject({ quality: 'stale' })
  })
})

describe('an MQTT device', () => {
  it('takes the last value from what the broker retained, and says that its age is unknown', async () => {
    await using broker = await embedded()
    broker.local.publish('x/state', Buffer.from('{"state":"ON"}'), { retain: true })
    await using mapper = new MapperUnderTest(broker.local)
    mapper.configure(bind(LAMP, { base: 'x' }))
    expect(await mapper.value('on', true)).toMatchObject({ quality: 'uncertain' })
    expect(await mapper.reading('power')).toMatchObject({ quality: 'bad(payload-missing)' })
  })

  it('says what is wrong with a payload once, with a count, and not at every message', async () => {
    await using broker = await embedded()
    await using mapper = new MapperUnderTest(broker.local)
    mapper.configure(bind(LAMP, { base: 'x' }))
    await mapper.reach.until(() => true)
    for (let n = 0; n < 1000; n++) broker.local.publish('x/state', Buffer.from('{"state": "OF'))
    expect(await mapper.reading('on')).toMatchObject({ quality: 'bad(payload-format)' })
    expect(mapper.readings.all.filter(({ property }) => property === 'on')).toHaveLength(1)
    broker.local.publish('x/state', Buffer.from('{"state":"SOMETIMES"}'))
    expect(await mapper.reading('on', ({ quality }) => quality === 'bad(payload-type)')).toMatchObject({
      reason: '"SOMETIMES" is not one of ON, OFF, on x/state (1001 in a row)',
    })
    broker.local.publish('x/state', Buffer.from('{"state":"ON"}'))
    expect(await mapper.value('on', true)).toMatchObject({ quality: 'good' })
  })

  it('tells of every payload that is wrong, whatever it says in the twin', async () => {
    await using broker = await embedded()
    await using mapper = new MapperUnderTest(broker.local)
    mapper.configure(bind(LAMP, { base: 'x' }))
    await mapper.reach.until(() => true)
    for (let n = 0; n < 5; n++) broker.local.publish('x/state', Buffer.from('{"state": "OF'))
    await mapper.reading('on')
    await mapper.events.until(() => mapper.events.all.length >= 10)
    expect(mapper.events.all[0]).toMatchObject({ about: 'plant/lamp', type: 'Warning', reason: 'PayloadUnusable' })
  })

  it('that takes its value from where another one does is not sure of it, and says so at both', async () => {
    await using broker = await embedded()
    await using mapper = new MapperUnderTest(broker.local)
    mapper.configure(
      bind(LAMP, { base: 'x' }, 'one'),
      bind(LAMP, { base: 'x' }, 'two'),
      bind(LAMP, { base: 'y' }, 'three'),
    )
    const say = (text: string, base = 'x') => broker.local.publish(`${base}/state`, Buffer.from(`{"state":"${text}"}`))
    await mapper.reach.until(() => mapper.reach.all.length >= 3)
    say('ON')
    say('OFF')
    say('ON', 'y')
    await mapper.reading('on', ({ device, value }) => device === 'plant/three' && value === true)
    const last = (key: string) =>
      mapper.readings.all.findLast(({ device, property }) => device === key && property === 'on')
    expect(last('plant/one')).toMatchObject({
      value: false,
      quality: 'uncertain',
      reason: expect.stringContaining('plant/two'),
    })
    expect(last('plant/two')).toMatchObject({
      value: false,
      quality: 'uncertain',
      reason: expect.stringContaining('plant/one'),
    })
    expect(last('plant/three')).toMatchObject({ value: true, quality: 'good' })
    const told = mapper.events.all.filter(({ reason }) => reason === 'TopicShared').map(({ about }) => about)
    expect(new Set(told)).toEqual(new Set(['plant/one', 'plant/two']))
  })

  it('refuses what the model does not allow before anything is sent', async () => {
    await using broker = await embedded()
    await using mapper = new MapperUnderTest(broker.local)
    mapper.configure(bind(LAMP, { base: 'x' }))
    expect(await mapper.write('power', 1)).toMatchObject({ state: 'rejected', code: 'SLUICE_WRITE_READ_ONLY' })
    expect(await mapper.write('on', 'maybe')).toMatchObject({ state: 'rejected' })
    expect(await mapper.write('off', true)).toMatchObject({ code: 'SLUICE_WRITE_UNKNOWN_PROPERTY' })
  })

  it('ends a write that the device does not confirm, or that a newer one replaced', async () => {
    await using broker = await embedded()
    await using mapper = new MapperUnderTest(broker.local)
    mapper.configure(bind(LAMP, { base: 'x' }))
    expect(await mapper.write('on', true, 30)).toMatchObject({ state: 'timedOut' })
    const newer = new AbortController()
    const outcome = mapper.write('on', true, 5000, newer.signal)
    newer.abort()
    expect(await outcome).toMatchObject({ state: 'rejected', code: 'SLUICE_WRITE_SUPERSEDED' })
  })

  it('waits for the answer with its own number where the device answers requests', async () => {
    await using broker = await embedded()
    const model: DeviceModelSpec = {
      properties: [
        {
          name: 'limit',
          type: 'int',
          access: 'write',
          mqtt: {
            command: {
              topic: '{base}/rpc',
              payload: '{"id":{id},"src":"{client}","params":{"limit":{json}}}',
              confirm: { topic: '{client}/rpc', id: 'id', error: 'error.message' },
            },
          },
        },
      ],
    }
    await using mapper = new MapperUnderTest(broker.local)
    mapper.configure(bind(model, { base: 'dev', client: 'gw1' }))
    using _device = broker.local.subscribe('dev/rpc', (_topic, payload) => {
      const { id, params } = JSON.parse(Buffer.from(payload).toString())
      broker.local.publish('gw1/rpc', Buffer.from(JSON.stringify({ id: id + 1000, result: {} })))
      const answer = params.limit > 10 ? { id, error: { message: 'too much' } } : { id, result: {} }
      broker.local.publish('gw1/rpc', Buffer.from(JSON.stringify(answer)))
    })
    expect(await mapper.write('limit', 5)).toMatchObject({ state: 'applied' })
    expect(await mapper.write('limit', 50)).toMatchObject({ state: 'rejected', reason: 'limit: too much' })
  })

  it('is offline with the reason while its broker cannot be reached', async () => {
    await using mapper = new MapperUnderTest(undefined)
    mapper.configure(bind(LAMP, { base: 'x', broker: 'mqtt://127.0.0.1:9' }), bind(LAMP, {}, 'local'))
    expect(
      await mapper.reach.until(({ device, reason }) => device === 'plant/lamp' && /ECONN/.test(reason ?? '')),
    ).toMatchObject({
      online: false,
    })
    expect(
      await mapper.reach.until(({ device, reason }) => device === 'plant/local' && /no broker/.test(reason ?? '')),
    ).toBeDefined()
  })

  it('keeps its subscriptions when another device changes', async () => {
    await using broker = await embedded()
    await using mapper = new MapperUnderTest(broker.local)
    const one = bind(LAMP, { base: 'one' }, 'one')
    mapper.configure(one, bind(LAMP, { base: 'two' }, 'two'))
    await mapper.reach.until(() => true)
    const before = broker.stats().subscriptions
    mapper.configure(one, bind(LAMP, { base: 'three' }, 'two'))
    expect(broker.stats().subscriptions).toBe(before)
    broker.local.publish('three/state', Buffer.from('{"state":"ON"}'))
    broker.local.publish('two/state', Buffer.from('{"state":"ON"}'))
    expect(mapper.readings.all.filter(({ property }) => property === 'on')).toMatchObject([
      { device: 'plant/two', value: true },
    ])
    mapper.configure()
    await mapper.mapper[Symbol.asyncDispose]()
  })
})
