import { once } from 'node:events'
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import fc from 'fast-check'
import { connectAsync } from 'mqtt'
import { describe, expect, it } from 'vitest'
import type { Json } from '../../api/resources.ts'
import { type Bench, bench, binding, DEV_EUI } from './bench.test-helper.ts'
import { chirpstack } from './chirpstack.ts'
import type { RadioFacts } from './network.ts'
import { tts } from './tts.ts'

const APPLICATION = '17c82e96-be03-4f38-aef3-f83d48582d97'
const EUI = DEV_EUI.toLowerCase()

/** A ChirpStack up event as it is printed, without what is zero. */
const chirpstackUp = (fields: Record<string, Json> = {}) => ({
  deduplicationId: '3ac7e3c4-4401-4b8d-9386-a5c902f9202d',
  time: '2026-07-18T09:34:15.775023+00:00',
  deviceInfo: { tenantName: 'ChirpStack', applicationId: APPLICATION, deviceName: 'sensor', devEui: EUI },
  devAddr: '00189440',
  adr: true,
  dr: 5,
  fCnt: 17,
  fPort: 2,
  data: 'CSkAPA==',
  rxInfo: [
    { gatewayId: '0016c001ff10a235', uplinkId: 4217106255, rssi: -96, snr: -4.2, context: 'EFwMtA==' },
    { gatewayId: '0016c001ff10a236', uplinkId: 4217106256, rssi: -36, snr: 10.5, channel: 5, context: 'EFwMtA==' },
  ],
  txInfo: { frequency: 867100000, modulation: { lora: { bandwidth: 125000, spreadingFactor: 7, codeRate: 'CR_4_5' } } },
  ...fields,
})

/** A real broker on loopback, and a client that plays the network server. */
async function broker() {
  const aedes = await Aedes.createBroker()
  const server = createServer(aedes.handle)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const url = `mqtt://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
  const client = await connectAsync(url)
  return {
    url,
    client,
    subscribed: (filter: string) =>
      new Promise<void>((resolve) => {
        aedes.on('subscribe', (subscriptions) => {
          if (subscriptions.some(({ topic }) => topic === filter)) resolve()
        })
      }),
    send: (topic: string, body: Json) => client.publishAsync(topic, JSON.stringify(body), { qos: 1 }),
    async message(filter: string): Promise<{ topic: string; body: Record<string, Json> }> {
      await client.subscribeAsync(filter)
      return new Promise((resolve) => {
        client.once('message', (topic, payload) => {
          resolve({ topic, body: JSON.parse(payload.toString()) as Record<string, Json> })
        })
      })
    },
    async [Symbol.asyncDispose]() {
      await client.endAsync(true)
      await new Promise<void>((resolve) => aedes.close(() => resolve()))
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

const through = (network: Record<string, unknown>, more: Parameters<typeof binding>[0] = {}) => {
  const one = binding(more)
  return { ...one, device: { ...one.device, lora: { devEui: DEV_EUI, ...network } } }
}

describe('ChirpStack over a real broker', () => {
  it('turns events into readings and link, once each, and a desired value into a downlink that is acknowledged', async () => {
    await using mq = await broker()
    await using b = bench()
    const subscribed = mq.subscribed(`application/${APPLICATION}/device/+/event/+`)
    b.mapper.configure([through({ chirpstack: { broker: mq.url, application: APPLICATION } })])
    await subscribed
    const event = (name: string) => `application/${APPLICATION}/device/${EUI}/event/${name}`
    await mq.send(event('up'), chirpstackUp())
    await mq.send(event('up'), chirpstackUp())
    expect(await b.until(() => b.last('temperature'))).toMatchObject({
      value: 23.45,
      quality: 'good',
      atMs: Date.parse('2026-07-18T09:34:15.775Z'),
    })
    expect(b.news.at(-1)).toMatchObject({ online: true, rssiDbm: -36, snrDb: 10.5 })
    await mq.send(event('status'), { deviceInfo: { devEui: EUI }, margin: 8, batteryLevel: 75.2 })
    await b.until(() => b.news.find(({ batteryPercent }) => batteryPercent === 75.2))
    expect(b.readings.filter(({ property }) => property === 'temperature')).toHaveLength(1)

    const command = mq.message(`application/${APPLICATION}/device/+/command/down`)
    const outcome = b.write('interval', 300)
    const { topic, body } = await command
    expect(topic).toBe(`application/${APPLICATION}/device/${EUI}/command/down`)
    expect(body).toMatchObject({ devEui: EUI, confirmed: true, fPort: 3, data: 'AQEs' })
    await mq.send(event('txack'), { queueItemId: body['id']!, fCntDown: 1 })
    await mq.send(event('ack'), { queueItemId: body['id']!, acknowledged: true })
    expect(await outcome).toMatchObject({ state: 'applied' })
  })

  it('says that the device did not acknowledge', async () => {
    await using mq = await broker()
    await using b = bench()
    b.mapper.configure([through({ chirpstack: { broker: mq.url, application: APPLICATION } })])
    await until(b, () => b.mapper.links()[0]?.state === 'up')
    const command = mq.message(`application/${APPLICATION}/device/+/command/down`)
    const outcome = b.write('interval', 300)
    const { body } = await command
    await mq.send(`application/${APPLICATION}/device/${EUI}/event/ack`, { queueItemId: body['id']! })
    expect(await outcome).toMatchObject({ state: 'rejected', code: 'SLUICE_LORA_NOT_ACKNOWLEDGED' })
  })

  it('shows devices nobody configured, and survives messages that are none', async () => {
    await using mq = await broker()
    await using b = bench()
    const subscribed = mq.subscribed(`application/${APPLICATION}/device/+/event/+`)
    b.mapper.configure([through({ chirpstack: { broker: mq.url, application: APPLICATION } })])
    await subscribed
    const base = `application/${APPLICATION}/device`
    for (const body of ['', '{', '[]', '{"data":7}', '{"rxInfo":7,"object":[]}']) {
      await mq.client.publishAsync(`${base}/${EUI}/event/up`, body, { qos: 1 })
    }
    await mq.send(`${base}/0011223344556677/event/up`, chirpstackUp())
    expect(await b.until(() => b.sightings[0])).toMatchObject({ id: '0011223344556677', rssiDbm: -36 })
    expect(b.mapper.links()[0]?.errors['bad-message']).toBe(4)
  })

  it('takes the decoded object when the model has no decoder of its own', async () => {
    await using mq = await broker()
    await using b = bench()
    const subscribed = mq.subscribed(`application/${APPLICATION}/device/+/event/+`)
    const humidity = { name: 'humidity', type: 'float' as const, lora: { field: 'air.humidity[0]' } }
    b.mapper.configure([
      through({ chirpstack: { broker: mq.url, application: APPLICATION } }, { properties: [humidity] }),
    ])
    await subscribed
    await mq.send(
      `application/${APPLICATION}/device/${EUI}/event/up`,
      chirpstackUp({ object: { air: { humidity: [61.5] } } }),
    )
    expect(await b.until(() => b.last('humidity'))).toMatchObject({ value: 61.5, quality: 'good' })
  })

  it('speaks to the broker of the gateway itself without a socket', async () => {
    const sent: { topic: string; payload: string }[] = []
    let listener: ((topic: string, payload: Uint8Array, retained: boolean) => void) | undefined
    await using b = bench({
      broker: async () => ({
        publish: (topic, payload) => void sent.push({ topic, payload: Buffer.from(payload).toString() }),
        subscribe: (_filter, own) => {
          listener = own
          return { [Symbol.dispose]: () => {} }
        },
      }),
    })
    b.mapper.configure([through({ chirpstack: { broker: 'local', application: APPLICATION } })])
    await until(b, () => listener !== undefined)
    listener!(`application/${APPLICATION}/device/${EUI}/event/up`, Buffer.from(JSON.stringify(chirpstackUp())), false)
    expect(b.last('temperature')).toMatchObject({ value: 23.45 })
  })
})

/** Something that changes without a call to the host: looked at again at every turn of the loop. */
async function until(_: Bench, holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

describe('The Things Stack over a real broker', () => {
  it('turns uplinks into readings, battery and link, and a desired value into a downlink', async () => {
    await using mq = await broker()
    await using b = bench()
    const application = 'my-app@ttn'
    const subscribed = mq.subscribed(`v3/${application}/devices/+/up`)
    b.mapper.configure([through({ tts: { broker: mq.url, application, device: 'sensor-1' } })])
    await subscribed
    const base = `v3/${application}/devices/sensor-1`
    await mq.send(`${base}/up`, {
      end_device_ids: { device_id: 'sensor-1', dev_eui: DEV_EUI },
      received_at: '2026-07-18T09:34:15.9Z',
      uplink_message: {
        session_key_id: 'AYfg',
        f_port: 2,
        f_cnt: 5,
        frm_payload: 'CSkAPA==',
        rx_metadata: [
          { gateway_ids: { gateway_id: 'gw' }, antenna_index: 0, rssi: -80, snr: 2 },
          { gateway_ids: { gateway_id: 'gw' }, antenna_index: 1, rssi: -71, snr: 7.25 },
          { gateway_ids: { gateway_id: 'roof' }, rssi: -99, snr: -3 },
        ],
        settings: { data_rate: { lora: { bandwidth: 125000, spreading_factor: 9 } }, frequency: '868300000' },
        last_battery_percentage: { f_cnt: 3, value: 98.42 },
        received_at: '2026-07-18T09:34:15.7Z',
      },
    })
    expect(await b.until(() => b.last('temperature'))).toMatchObject({
      value: 23.45,
      atMs: Date.parse('2026-07-18T09:34:15.7Z'),
    })
    const gateways = [
      { id: 'gw', rssiDbm: -71, snrDb: 7.25 },
      { id: 'roof', rssiDbm: -99, snrDb: -3 },
    ]
    expect(b.news.at(-1)).toMatchObject({ rssiDbm: -71, batteryPercent: 98.4, gateways })

    const pushed = mq.message(`${base}/down/push`)
    const outcome = b.write('interval', 300)
    const { body } = await pushed
    const [down] = body['downlinks'] as { f_port: number; frm_payload: string; correlation_ids: string[] }[]
    expect(down).toMatchObject({ f_port: 3, frm_payload: 'AQEs', confirmed: true, priority: 'NORMAL' })
    await mq.send(`${base}/down/ack`, {
      correlation_ids: ['as:1'],
      downlink_ack: { correlation_ids: down!.correlation_ids },
    })
    expect(await outcome).toMatchObject({ state: 'applied' })
  })
})

describe('dialects', () => {
  it('read proto3 JSON, where zero and false are missing', () => {
    expect(chirpstack.read('up', { deviceInfo: {}, rxInfo: [{ gatewayId: 'a' }] })).toMatchObject({
      kind: 'uplink',
      fCnt: 0,
      port: undefined,
      radio: { snrDb: 0, gateways: 1, heardBy: [{ id: 'a', snrDb: 0 }] },
    })
    const many = Array.from({ length: 12 }, (_, index) => ({ gatewayId: `g${index}`, rssi: -90, snr: index }))
    const { radio } = chirpstack.read('up', { deviceInfo: {}, rxInfo: [...many, { rssi: -1, snr: 50 }] }) as {
      readonly radio?: RadioFacts
    }
    expect(radio).toMatchObject({ gateways: 13 })
    expect(radio?.heardBy).toHaveLength(8)
    expect(radio?.heardBy?.[0]).toEqual({ id: 'g11', rssiDbm: -90, snrDb: 11 })
    expect(chirpstack.read('status', { batteryLevelUnavailable: true, margin: -3 })).toEqual({
      kind: 'status',
      atMs: undefined,
      marginDb: -3,
    })
    expect(chirpstack.read('status', { externalPowerSource: true })).toMatchObject({ externalPower: true, marginDb: 0 })
    expect(
      chirpstack.read('log', {
        level: 'ERROR',
        code: 'DOWNLINK_PAYLOAD_SIZE',
        description: 'too big',
        context: { queue_item_id: 'x' },
      }),
    ).toEqual({
      kind: 'failed',
      id: 'x',
      reason: 'ChirpStack says DOWNLINK_PAYLOAD_SIZE: too big',
    })
  })

  it('never throw, whatever a broker delivers', () => {
    const object = fc.dictionary(
      fc.constantFrom('data', 'rxInfo', 'txInfo', 'uplink_message', 'time', 'fCnt', 'downlink_failed', 'context'),
      fc.jsonValue(),
    )
    fc.assert(
      fc.property(
        object,
        fc.constantFrom('up', 'join', 'status', 'ack', 'txack', 'log', 'down/failed', 'down/ack', 'x'),
        (body, event) => {
          chirpstack.read(event, body as Record<string, Json>)
          tts.read(event, body as Record<string, Json>)
          tts.read(event, { uplink_message: body as Record<string, Json> })
        },
      ),
      { numRuns: 500 },
    )
    fc.assert(fc.property(fc.string(), (topic) => void [chirpstack.address(topic), tts.address(topic)]))
  })
})
