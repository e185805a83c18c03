import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { embedded } from '../../agent/broker/test-brokers.test-helper.ts'
import { AgentCore } from '../../agent/core.ts'
import { silentLog } from '../../agent/log.ts'
import { Store } from '../../agent/store/store.ts'
import { temporaryDirectory } from '../../agent/test-helpers/plant.ts'
import { deviceView } from '../../agent/twin/views.ts'
import { systemClock } from '../../api/clock.ts'
import type { LinkObject } from '../../api/link/messages.ts'
import type { DeviceModelSpec, DeviceSpec } from '../../api/resources.ts'
import { LoraDevice } from '../../hil/lora-device.ts'
import { LoraForwarder } from '../../hil/lora-forwarder.ts'
import { virtualRadio } from '../../hil/radio/virtual-radio.ts'
import { keyFromHex } from '../../mappers/lora/keys.ts'
import { protocols } from '../../mappers/registry.ts'
import type { LocalBroker } from '../../mappers/sdk/mapper.ts'
import { eventually } from '../harness/until.ts'

/**
 * An agent's core with every real protocol, and devices that send what nobody can use: each has to show in the twin as
 * quality, reason and count, and be one notice with a count, which the cloud core makes one Kubernetes Event of.
 */
const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})

const logs: string[] = []

function agent(broker: () => Promise<LocalBroker> = () => Promise.reject(new Error('no broker'))) {
  const directory = temporaryDirectory()
  logs.length = 0
  const log = (_level: string, message: string) => void logs.push(message)
  const store = new Store({ directory: directory.path, clock: systemClock, log: silentLog })
  const core = new AgentCore({
    ...{ store, clock: systemClock, random: Math.random, log, protocols, broker },
    check: async () => undefined,
    listening: () => false,
    onEvent: () => {},
    offersDesires: false,
  })
  core.start()
  open.push(
    () => directory[Symbol.dispose](),
    () => store[Symbol.dispose](),
    () => core[Symbol.asyncDispose](),
  )
  return core
}

type Properties = DeviceModelSpec['properties']

function objects(name: string, address: Partial<DeviceSpec>, properties: Properties, model = {}): LinkObject[] {
  const spec = { model: `${name}-model`, nodeName: 'gw', ...address }
  return [
    {
      ...{ kind: 'DeviceModel', key: `plant/${name}-model`, rev: '1' },
      object: { uid: `m-${name}`, generation: 1, spec: { properties, ...model } },
    },
    { ...{ kind: 'Device', key: `plant/${name}`, rev: '1' }, object: { uid: name, generation: 1, spec, desired: {} } },
  ]
}

/** Waits until the twin says it all, and holds that a flood of it is one notice. */
async function shows(
  core: AgentCore,
  name: string,
  wanted: { quality: string; reason: RegExp; notice: string; least: number },
): Promise<void> {
  const seen = () => deviceView(core.engine.devices.get(`plant/${name}`)!, 'gw')
  const notices = () => core.notices.list().filter(({ about }) => about === `plant/${name}`)
  const view = await eventually(
    async () => {
      const [twin] = seen().twins
      const enough = (seen().link?.unusable ?? 0) >= wanted.least
      return twin?.quality === wanted.quality && enough ? seen() : undefined
    },
    `${name} is ${wanted.quality}, ${wanted.least} times`,
    15_000,
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify([seen(), notices(), logs.slice(-5)])}`)
  })
  expect(view.twins[0]?.reason).toMatch(wanted.reason)
  const [notice, ...others] = notices().filter(({ reason }) => reason === wanted.notice)
  expect(notice).toMatchObject({ type: 'Warning' })
  expect(notice!.message).toMatch(wanted.reason)
  expect(notice!.count).toBeGreaterThanOrEqual(wanted.least)
  expect(others).toEqual([])
}

/** A TCP server that answers every request with what `answer` makes of it. */
async function modbusServer(answer: (request: Buffer) => Buffer): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (request) => socket.write(answer(Buffer.from(request))))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  open.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

const REGISTER: Properties = [{ name: 'value', type: 'int', modbus: { holding: 0 } }]
const poll = { poll: { every: '100ms' } }

describe('what nobody can use', { timeout: 30_000 }, () => {
  it('on Modbus: an answer with a wrong checksum', async () => {
    const port = await modbusServer(() => Buffer.from([1, 3, 2, 0, 7, 0xde, 0xad]))
    const core = agent()
    const modbus = { rtuOverTcp: { host: '127.0.0.1', port }, unit: 1 }
    await core.objects.apply({ upserts: objects('meter', { modbus, ...poll }, REGISTER), deletes: [] })
    await shows(core, 'meter', { quality: 'bad(crc)', reason: /check sum/, notice: 'AnswerDamaged', least: 3 })
  })

  it('on Modbus: an answer of the wrong length', async () => {
    // One register was asked for; the answer has two.
    const port = await modbusServer((request) =>
      Buffer.concat([request.subarray(0, 4), Buffer.from([0, 7, request[6]!, 3, 4, 0, 1, 0, 2])]),
    )
    const core = agent()
    const modbus = { tcp: { host: '127.0.0.1', port }, unit: 1 }
    await core.objects.apply({ upserts: objects('meter', { modbus, ...poll }, REGISTER), deletes: [] })
    const wanted = { quality: 'bad(bad-response)', reason: /bytes|length/i, notice: 'AnswerUnusable', least: 3 }
    await shows(core, 'meter', wanted)
  })

  it('on BLE: a wrong key, a missing key, and data that are too short', async () => {
    const radio = virtualRadio(systemClock, Math.random)
    open.push(() => radio[Symbol.asyncDispose]())
    const { path: adapter } = radio.add({ mac: 'C0:00:00:00:00:01' })
    // The example of bthome.io/encryption, its counter moved on each time.
    const encrypted = (count: number) => {
      const data = Buffer.from('1216d2fc41e445f3c962210000 0000b21f3e7d'.replaceAll(' ', ''), 'hex')
      data[0] = data.length - 1
      data.writeUInt32LE(count, data.length - 8)
      return data
    }
    const short = (count: number) => Buffer.from([4, 0xff, 0x99, 0x04, count & 0xff])
    for (const last of ['01', '02']) {
      radio.air.beacon({ mac: `A4:C1:38:00:00:${last}`, intervalMs: 50, data: encrypted })
    }
    radio.air.beacon({ mac: 'A4:C1:38:00:00:03', intervalMs: 50, data: short })
    const core = agent()
    const bthome: Properties = [{ name: 'value', type: 'float', ble: { advert: 'bthome', field: 'temperature' } }]
    const maker: Properties = [{ name: 'value', type: 'int', ble: { manufacturer: 0x0499, at: 4, as: 'uint16' } }]
    const at = (last: string, more = {}) => ({ ble: { mac: `A4:C1:38:00:00:${last}`, adapter, ...more }, ...poll })
    await core.objects.apply({
      upserts: [
        ...objects('wrong', at('01', { bindKey: 'f'.repeat(32) }), bthome),
        ...objects('missing', at('02'), bthome),
        ...objects('short', at('03'), maker),
      ],
      deletes: [],
    })
    await shows(core, 'wrong', { quality: 'bad(mic)', reason: /bindKey/, notice: 'MicFailure', least: 2 })
    await shows(core, 'missing', { quality: 'bad(no-key)', reason: /bindKey/, notice: 'KeyMissing', least: 2 })
    await shows(core, 'short', { quality: 'bad(too-short)', reason: /byte/, notice: 'PayloadUnusable', least: 2 })
    expect(JSON.stringify([core.notices.list(), logs])).not.toContain('f'.repeat(32))
  })

  it('on LoRaWAN: a wrong key, a replayed frame, a payload that is too short and a decoder that loops', async () => {
    const core = agent()
    const key = (digit: string) => digit.repeat(32)
    const keys = { nwkSKey: keyFromHex(key('1'))!, appSKey: keyFromHex(key('2'))! }
    const spec = (number: number) => ({
      lora: {
        ...{ devEui: `70B3D57ED000000${number}`, server: 'local', listen: { udp: 0 }, devAddr: `0000000${number}` },
        ...{ nwkSKey: key('1'), appSKey: key('2') },
      },
    })
    const layout: Properties = [{ name: 'value', type: 'int', lora: { port: 2, at: 0, as: 'uint16' } }]
    const decoded: Properties = [{ name: 'value', type: 'int', lora: { field: 'value' } }]
    const loops = { lora: { decoder: 'function decodeUplink() { for (;;) {} }' } }
    await core.objects.apply({
      upserts: [
        ...objects('forged', spec(1), layout),
        ...objects('replayed', spec(2), layout),
        ...objects('short', spec(3), layout),
        ...objects('looping', spec(4), decoded, loops),
      ],
      deletes: [],
    })
    const port = await eventually(async () => {
      const line = logs.map((each) => /listens on [^ ]+:(\d+)/.exec(each)).find((found) => found !== null)
      return line === undefined || line === null ? undefined : Number(line[1])
    }, 'the network server')
    const forwarder = await LoraForwarder.open('AA555A0000000101', port)
    open.push(() => forwarder[Symbol.asyncDispose]())
    const device = (number: number, own = keys) => {
      const made = new LoraDevice({ devEui: `70B3D57ED000000${number}`, appKey: keyFromHex(key('3'))! })
      made.personalise(number, own)
      return made
    }
    const forged = device(1, { ...keys, nwkSKey: keyFromHex(key('9'))! })
    for (let n = 0; n < 3; n++) await forwarder.hear(forged.uplink(2, Buffer.from('0001', 'hex')))
    await shows(core, 'forged', { quality: 'bad(lora-mic)', reason: /another key/, notice: 'MicFailure', least: 3 })

    const honest = device(2)
    const recorded = honest.uplink(2, Buffer.from('0001', 'hex'))
    await forwarder.hear(recorded)
    await forwarder.hear(honest.uplink(2, Buffer.from('0002', 'hex')))
    const view = () => deviceView(core.engine.devices.get('plant/replayed')!, 'gw')
    // What comes in one moment is taken for one transmission.
    await eventually(async () => view().twins[0]?.value === 2 || undefined, 'what the device said')
    for (let n = 1; n <= 3; n++) {
      await forwarder.hear(recorded)
      await eventually(async () => view().link?.unusable === n || undefined, `replay ${n}`)
    }
    // Somebody with a radio must not spoil what the device itself said.
    expect(view().twins[0]).toMatchObject({ value: 2, quality: 'good' })
    expect(core.notices.list().find(({ about }) => about === 'plant/replayed')).toMatchObject({
      ...{ reason: 'FrameReplayed', count: 3, type: 'Warning' },
    })

    const terse = device(3)
    for (let n = 0; n < 3; n++) await forwarder.hear(terse.uplink(2, Buffer.from('01', 'hex')))
    await shows(core, 'short', { quality: 'bad(too-short)', reason: /byte/, notice: 'PayloadUnusable', least: 3 })

    const looping = device(4)
    for (let n = 0; n < 2; n++) await forwarder.hear(looping.uplink(2, Buffer.from('0001', 'hex')))
    const wanted = { quality: 'bad(decoder-timeout)', reason: /0001/, notice: 'DecoderTimeout', least: 2 }
    await shows(core, 'looping', wanted)
    expect(JSON.stringify([core.notices.list(), logs])).not.toMatch(/1{32}|2{32}/)
  })

  it('on MQTT: a payload of the wrong shape, a missing member, and a topic that matches two devices', async () => {
    const broker = await embedded()
    open.push(() => broker[Symbol.asyncDispose]())
    const core = agent(() => Promise.resolve(broker.local))
    const at = (path: string): Properties => [{ name: 'value', type: 'float', mqtt: { topic: '{base}/state', path } }]
    await core.objects.apply({
      upserts: [
        ...objects('shape', { mqtt: { base: 'shape' } }, at('value')),
        ...objects('member', { mqtt: { base: 'member' } }, at('value')),
        ...objects('one', { mqtt: { base: 'shared' } }, at('value')),
        ...objects('two', { mqtt: { base: 'shared' } }, at('value')),
      ],
      deletes: [],
    })
    const say = (topic: string, text: string) => {
      for (let n = 0; n < 5; n++) broker.local.publish(topic, Buffer.from(text), { qos: 1 })
    }
    // Who subscribes a moment later would not hear the first.
    const again = setInterval(() => {
      say('shape/state', 'not json at all')
      say('member/state', '{"other":1}')
      say('shared/state', '{"value":4}')
    }, 100)
    open.push(() => clearInterval(again))
    const shape = { quality: 'bad(payload-format)', reason: /no JSON/, notice: 'PayloadUnusable', least: 3 }
    await shows(core, 'shape', shape)
    const member = { quality: 'bad(payload-missing)', reason: /value/, notice: 'PayloadMissing', least: 3 }
    await shows(core, 'member', member)
    for (const name of ['one', 'two']) {
      await shows(core, name, { quality: 'uncertain', reason: /also matches/, notice: 'TopicShared', least: 3 })
    }
  })
})
