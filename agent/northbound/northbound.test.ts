import { describe, expect, it } from 'vitest'
import { openRequest } from '../../api/client/http.ts'
import { systemClock } from '../../api/clock.ts'
import type { LinkObject } from '../../api/link/messages.ts'
import type { DeviceModelSpec } from '../../api/resources.ts'
import { mqtt } from '../../mappers/mqtt/protocol.ts'
import { decodePayload, encodePayload, REBIRTH } from '../../mappers/sdk/sparkplug-payload.ts'
import type { MqttOptions } from '../broker/service.ts'
import { connectClient, type TestClient } from '../broker/test-brokers.test-helper.ts'
import { silentLog } from '../log.ts'
import { type RunningAgent, runAgent } from '../run.ts'
import { temporaryDirectory } from '../test-helpers/plant.ts'

const MODEL: DeviceModelSpec = {
  properties: [
    { name: 'level', type: 'float', unit: 'm', mqtt: { topic: '{base}/level' }, poll: { staleAfter: '1h' } },
    {
      name: 'valve',
      type: 'bool',
      access: 'readwrite',
      mqtt: { topic: '{base}/valve', command: { topic: '{base}/valve/set' } },
      poll: { staleAfter: '1h' },
    },
  ],
}

const OBJECTS: readonly LinkObject[] = [
  { kind: 'DeviceModel', key: 'plant/tank', rev: '1', object: { uid: 'u1', generation: 1, spec: MODEL } },
  {
    kind: 'Device',
    key: 'plant/tank-1',
    rev: '1',
    object: { uid: 'u2', generation: 1, spec: { model: 'tank', nodeName: 'gw', mqtt: { base: 'tank' } }, desired: {} },
  },
]

/** A device that somebody else's program serves. */
const CUSTOM_OBJECTS: readonly LinkObject[] = [
  {
    kind: 'DeviceModel',
    key: 'plant/lamp-model',
    rev: '1',
    object: {
      uid: 'u3',
      generation: 1,
      spec: { properties: [{ name: 'on', type: 'bool', access: 'readwrite', poll: { staleAfter: '1h' } }] },
    },
  },
  {
    kind: 'Device',
    key: 'plant/lamp',
    rev: '1',
    object: { uid: 'u4', generation: 1, spec: { model: 'lamp-model', nodeName: 'gw', custom: {} }, desired: {} },
  },
]

interface House extends AsyncDisposable {
  readonly agent: RunningAgent
  readonly client: TestClient
}

/** A whole agent with its broker, and a foreign client. */
async function start(mqttOptions: MqttOptions = {}, objects = OBJECTS): Promise<House> {
  const directory = temporaryDirectory()
  const agent = await runAgent(
    { dataDir: directory.path, gateway: 'gw', mqtt: { port: 0, ...mqttOptions } },
    { protocols: [mqtt], log: silentLog, clock: systemClock, objects, check: async () => undefined },
  )
  const client = await connectClient(agent.broker.running!.port!)
  // From here on the device is listened to.
  const [state, silent] =
    objects === OBJECTS
      ? ['sluice/plant/tank-1/$state', 'nothing was heard']
      : ['sluice/plant/lamp/$state', 'has said nothing yet']
  await client.mqtt.subscribeAsync(state)
  await next(client, state, (text) => text.includes(silent))
  await client.mqtt.unsubscribeAsync(state)
  return {
    agent,
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
      await agent[Symbol.asyncDispose]()
      directory[Symbol.dispose]()
    },
  }
}

/** The first message on a topic that fits, whether it came already or comes later. */
function next(client: TestClient, topic: string, fits: (text: string) => boolean = () => true): Promise<string> {
  const known = client.messages.find((message) => message.topic === topic && fits(message.text))
  if (known !== undefined) return Promise.resolve(known.text)
  return new Promise((resolve) => {
    client.mqtt.on('message', (given, payload) => {
      if (given === topic && fits(payload.toString())) resolve(payload.toString())
    })
  })
}

describe('twins on MQTT', () => {
  it('are retained messages with value, time, quality and unit, for clients that come later too', async () => {
    await using house = await start()
    const { client } = house
    await client.mqtt.publishAsync('tank/level', '2.5', { qos: 1 })
    await client.mqtt.subscribeAsync('sluice/#')
    const message = JSON.parse(await next(client, 'sluice/plant/tank-1/level'))
    expect(message).toMatchObject({ value: 2.5, quality: 'good', unit: 'm' })
    expect(Math.abs(Date.parse(message.at) - Date.now())).toBeLessThan(60_000)
    await next(client, 'sluice/plant/tank-1/$state', (text) => text.includes('online'))
  })

  it('are written by a message, which reaches the device, and the end is told', async () => {
    await using house = await start()
    const { client } = house
    await client.mqtt.subscribeAsync(['sluice/plant/tank-1/valve/result', 'tank/valve/set'])
    await client.mqtt.publishAsync('sluice/plant/tank-1/valve/set', '{"value": true}', { qos: 1 })
    expect(await next(client, 'tank/valve/set')).toBe('true')
    await client.mqtt.publishAsync('tank/valve', 'true', { qos: 1 })
    expect(JSON.parse(await next(client, 'sluice/plant/tank-1/valve/result'))).toMatchObject({ state: 'applied' })
  })

  it('say why a value is refused', async () => {
    await using house = await start()
    const { client } = house
    await client.mqtt.subscribeAsync('sluice/+/+/+/result')
    await client.mqtt.publishAsync('sluice/plant/tank-1/level/set', '3', { qos: 1 })
    expect(JSON.parse(await next(client, 'sluice/plant/tank-1/level/result'))).toMatchObject({
      state: 'rejected',
      code: 'SLUICE_TWIN_READ_ONLY',
    })
    await client.mqtt.publishAsync('sluice/plant/other/level/set', 'x{', { qos: 1 })
    expect(JSON.parse(await next(client, 'sluice/plant/other/level/result'))).toMatchObject({
      code: 'SLUICE_TWIN_DEVICE_UNKNOWN',
    })
  })

  it("cannot be faked: nobody but the agent publishes a twin's own topics", async () => {
    await using house = await start()
    await using liar = await connectClient(house.agent.broker.running!.port!)
    const closed = new Promise<void>((resolve) => liar.mqtt.once('close', () => resolve()))
    liar.mqtt.publish('sluice/plant/tank-1/level', '{"value":99}', { retain: true })
    await closed
    expect(house.agent.broker.running!.stats().dropped['forbidden']).toBe(1)
  })

  it('come with figures of the broker on the metrics page', async () => {
    await using house = await start()
    await house.client.mqtt.publishAsync('tank/level', '2.5', { qos: 1 })
    const api = { kind: 'socket', path: house.agent.socketPath } as const
    const answer = await openRequest(api, { path: '/metrics', signal: AbortSignal.timeout(10_000) })
    const page = (await answer.setEncoding('utf8').toArray()).join('')
    expect(page).toMatch(/^sluice_broker_clients 1$/m)
    expect(page).toMatch(/^sluice_broker_received_messages_total [1-9]/m)
    expect(page).toMatch(/^sluice_broker_dropped_total\{reason="protocol-version"\} 0$/m)
  })

  it("are found under KubeEdge's topics with its payloads", async () => {
    await using house = await start()
    const { client } = house
    const prefix = '$hw/events/device/plant/tank-1'
    await client.mqtt.subscribeAsync([`${prefix}/#`, 'tank/valve/set', '$hw/events/node/gw/membership/get/result'])
    await client.mqtt.publishAsync('tank/level', '2.5', { qos: 1 })
    await client.mqtt.publishAsync(`${prefix}/twin/get`, '{"event_id":"e1"}', { qos: 1 })
    expect(JSON.parse(await next(client, `${prefix}/twin/get/result`))).toMatchObject({
      event_id: 'e1',
      twin: { level: { actual: { value: '2.5' }, metadata: { type: 'float' } } },
    })
    const update = { event_id: 'e2', twin: { valve: { expected: { value: 'true' } } } }
    await client.mqtt.publishAsync(`${prefix}/twin/update`, JSON.stringify(update), { qos: 1 })
    expect(JSON.parse(await next(client, `${prefix}/twin/update/result`))).toMatchObject({
      event_id: 'e2',
      twin: { valve: { expected: { value: 'true' } } },
    })
    expect(await next(client, 'tank/valve/set')).toBe('true')
    expect(JSON.parse(await next(client, `${prefix}/twin/update/delta`))).toMatchObject({ delta: { valve: 'true' } })
    const changed = JSON.parse(await next(client, `${prefix}/twin/update/document`, (text) => text.includes('level')))
    expect(changed.twin.level.current.actual.value).toBe('2.5')
    await client.mqtt.publishAsync(`${prefix}/twin/update`, 'no json', { qos: 1 })
    await next(client, `${prefix}/twin/update/result`, (text) => text.includes('"code":400'))
    await client.mqtt.publishAsync('$hw/events/node/gw/membership/get', '{}', { qos: 1 })
    expect(JSON.parse(await next(client, '$hw/events/node/gw/membership/get/result')).devices).toMatchObject([
      { id: 'plant/tank-1' },
    ])
  })

  it('are a Sparkplug edge node: born with all metrics, then changes by alias, and born again when asked', async () => {
    await using house = await start({ sparkplugGroup: 'works' })
    const { client } = house
    const heard: { topic: string; payload: ReturnType<typeof decodePayload> }[] = []
    const waiting = new Set<() => void>()
    client.mqtt.on('message', (topic, payload) => {
      heard.push({ topic, payload: decodePayload(payload) })
      for (const wake of waiting) wake()
    })
    const until = (test: (one: (typeof heard)[number]) => boolean) =>
      new Promise<(typeof heard)[number]>((resolve) => {
        const look = () => {
          const found = heard.find(test)
          if (found === undefined) return
          waiting.delete(look)
          resolve(found)
        }
        waiting.add(look)
        look()
      })
    await client.mqtt.subscribeAsync(['spBv1.0/works/+/gw', 'spBv1.0/works/+/gw/+'])
    const rebirth = encodePayload({ metrics: [{ name: REBIRTH, type: 'Boolean', value: true }] })
    await client.mqtt.publishAsync('spBv1.0/works/NCMD/gw', Buffer.from(rebirth), { qos: 1 })
    const birth = await until(({ topic }) => topic === 'spBv1.0/works/NBIRTH/gw')
    expect(birth.payload).toMatchObject({ seq: 0, metrics: [{ name: 'bdSeq', value: 0 }, { name: REBIRTH }] })
    await client.mqtt.publishAsync('tank/level', '2.5', { qos: 1 })
    const device = await until(({ topic }) => topic === 'spBv1.0/works/DBIRTH/gw/plant:tank-1')
    const alias = device.payload.metrics.find(({ name }) => name === 'level')?.alias
    const data = await until(({ payload }) => payload.metrics.some((metric) => metric.value === 2.5))
    if (data.topic.includes('DDATA')) expect(data.payload.metrics[0]).toMatchObject({ alias, value: 2.5 })
    await client.mqtt.subscribeAsync('tank/valve/set')
    const command = encodePayload({ metrics: [{ name: 'valve', type: 'Boolean', value: true }] })
    client.mqtt.removeAllListeners('message')
    const text = new Promise<string>((resolve) => {
      client.mqtt.on('message', (topic, payload) => topic === 'tank/valve/set' && resolve(payload.toString()))
    })
    await client.mqtt.publishAsync('spBv1.0/works/DCMD/gw/plant:tank-1', Buffer.from(command), { qos: 1 })
    expect(await text).toBe('true')
  })

  it('are served by a program written for KubeEdge, with its payloads both ways', async () => {
    await using house = await start({}, CUSTOM_OBJECTS)
    const { client } = house
    const prefix = '$hw/events/device/plant/lamp'
    await client.mqtt.subscribeAsync([`${prefix}/#`, 'sluice/plant/lamp/#'])
    const report = (value: string, timestamp = Date.now()) =>
      client.mqtt.publishAsync(
        `${prefix}/twin/update`,
        JSON.stringify({
          event_id: 'mapper-1',
          timestamp: 0,
          twin: { on: { actual: { value, metadata: { timestamp } }, metadata: { type: 'Updated' } } },
        }),
        { qos: 1 },
      )
    await report('false', 1_700_000_000_000)
    expect(JSON.parse(await next(client, `${prefix}/twin/update/result`))).toMatchObject({
      event_id: 'mapper-1',
      twin: { on: {} },
    })
    expect(JSON.parse(await next(client, 'sluice/plant/lamp/on'))).toMatchObject({
      ...{ value: false, quality: 'good', at: '2023-11-14T22:13:20.000Z' },
    })
    await next(client, 'sluice/plant/lamp/$state', (text) => text.includes('online'))

    await client.mqtt.publishAsync('sluice/plant/lamp/on/set', 'true', { qos: 1 })
    const delta = JSON.parse(await next(client, `${prefix}/twin/update/delta`))
    expect(delta).toMatchObject({
      ...{
        delta: { on: 'true' },
        twin: { on: { expected: { value: 'true' }, optional: true, metadata: { type: 'boolean' } } },
      },
    })
    expect(typeof delta.event_id).toBe('string')
    expect(typeof delta.timestamp).toBe('number')
    await report('true')
    expect(JSON.parse(await next(client, 'sluice/plant/lamp/on/result'))).toMatchObject({ state: 'applied' })

    await client.mqtt.publishAsync(`${prefix}/twin/get`, '{"event_id":"g"}', { qos: 1 })
    const got = JSON.parse(await next(client, `${prefix}/twin/get/result`))
    // Exactly what KubeEdge answers: texts, times, no versions.
    expect(Object.keys(got).sort()).toEqual(['event_id', 'timestamp', 'twin'])
    expect(got.twin).toEqual({
      on: {
        expected: { value: 'true', metadata: { timestamp: expect.any(Number) } },
        actual: { value: 'true', metadata: { timestamp: expect.any(Number) } },
        optional: true,
        metadata: { type: 'boolean' },
      },
    })

    await client.mqtt.publishAsync(`${prefix}/state/update`, '{"event_id":"s","state":"offline"}', { qos: 1 })
    expect(JSON.parse(await next(client, `${prefix}/state/update/result`))).toMatchObject({
      device: { name: 'lamp', state: 'offline' },
    })
    await next(client, 'sluice/plant/lamp/$state', (text) => text.includes('offline'))
    await report('maybe')
    await next(client, 'sluice/plant/lamp/on', (text) => text.includes("'maybe' is no bool"))
  })

  it('answer to a name without a namespace, as before KubeEdge 1.15, and say who came and went', async () => {
    await using house = await start()
    const { client, agent } = house
    const updated = '$hw/events/node/gw/membership/updated'
    await client.mqtt.subscribeAsync(['$hw/events/device/tank-1/#', updated])
    await client.mqtt.publishAsync('$hw/events/device/tank-1/twin/get', '{"event_id":"old"}', { qos: 1 })
    expect(JSON.parse(await next(client, '$hw/events/device/tank-1/twin/get/result'))).toMatchObject({
      ...{ event_id: 'old', twin: { valve: { metadata: { type: 'boolean' } } } },
    })
    const expected = { event_id: 'e', twin: { valve: { expected: { value: 'true' } } } }
    await client.mqtt.publishAsync('$hw/events/device/tank-1/twin/update', JSON.stringify(expected), { qos: 1 })
    expect(JSON.parse(await next(client, '$hw/events/device/tank-1/twin/update/delta'))).toMatchObject({
      delta: { valve: 'true' },
    })
    const actual = { event_id: 'a', twin: { level: { actual: { value: '9' } } } }
    await client.mqtt.publishAsync('$hw/events/device/tank-1/twin/update', JSON.stringify(actual), { qos: 1 })
    const refused = await next(client, '$hw/events/device/tank-1/twin/update/result', (text) => text.includes('"a"'))
    expect(JSON.parse(refused)).toMatchObject({ code: 400, reason: expect.stringContaining('level: the mapper') })
    await agent.apply([...OBJECTS, ...CUSTOM_OBJECTS])
    const message = JSON.parse(await next(client, updated, (text) => text.includes('lamp')))
    expect(message).toMatchObject({
      added_devices: [{ id: 'plant/lamp', name: 'lamp', twin: { on: {} } }],
      removed_devices: [],
    })
    await agent.apply(OBJECTS)
    const gone = await next(
      client,
      updated,
      (text) => text.includes('lamp') && JSON.parse(text).event_id !== message.event_id,
    )
    expect(JSON.parse(gone)).toMatchObject({
      ...{ added_devices: [], removed_devices: [{ id: 'plant/lamp' }] },
    })
  })
})
