import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { temporaryDirectory } from '../test-helpers/plant.ts'
import { Access, readUsers, setPassword } from './access.ts'
import { Congestion } from './congestion.ts'
import { PacketGuard } from './packet-guard.ts'
import { encodePublish } from './quick-delivery.ts'
import { brokerProcess, connectClient, embedded } from './test-brokers.test-helper.ts'

describe('access to the broker', () => {
  it('is free for this machine only, and by password with rights a user for everybody', async () => {
    using directory = temporaryDirectory()
    const path = join(directory.path, 'mqtt-users.json')
    await setPassword(path, 'cellar', 'secret', { publish: ['home/%u/#'], subscribe: ['home/#'], devices: ['plant/*'] })
    const access = new Access(readUsers(path), true)
    expect((await access.rights('127.0.0.1', 'c', undefined, undefined, undefined))?.mayPublish('a')).toBe(true)
    expect(await access.rights('192.168.1.5', 'c', undefined, undefined, undefined)).toBeUndefined()
    for (const [user, password] of [
      ['cellar', 'wrong'],
      ['nobody', 'secret'],
    ] as const) {
      expect(await access.rights('192.168.1.5', 'c', user, Buffer.from(password), undefined)).toBeUndefined()
    }
    const rights = await access.rights('192.168.1.5', 'c', 'cellar', Buffer.from('secret'), undefined)
    expect(rights?.mayPublish('home/cellar/state')).toBe(true)
    expect(rights?.mayPublish('home/attic/state')).toBe(false)
    expect(rights?.mayPublish('sluice/plant/tank/valve/set')).toBe(true)
    expect(rights?.mayPublish('sluice/other/tank/valve/set')).toBe(false)
    expect(rights?.maySubscribe('home/+/state')).toBe(true)
    expect(rights?.maySubscribe('#')).toBe(false)
    expect(rights?.mayPublish('$SYS/x')).toBe(false)
  })

  it('is refused on the wire, and a subscription beyond the rights is answered as failed', async () => {
    using directory = temporaryDirectory()
    await setPassword(join(directory.path, 'mqtt-users.json'), 'reader', 'pw', { subscribe: ['open/#'] })
    await using broker = await embedded({ directory: directory.path, anonymousLoopback: false, host: '127.0.0.1' })
    await expect(connectClient(broker.port!)).rejects.toThrow(/[Nn]ot authorized/)
    await expect(connectClient(broker.port!, { username: 'reader', password: 'no' })).rejects.toThrow(
      /[Nn]ot authorized/,
    )
    await using reader = await connectClient(broker.port!, { username: 'reader', password: 'pw' })
    await expect(reader.mqtt.subscribeAsync('secret/#')).rejects.toThrow()
    await reader.mqtt.subscribeAsync('open/#')
    broker.local.publish('secret/a', Buffer.from('1'))
    broker.local.publish('open/a', Buffer.from('2'))
    await reader.received(1)
    expect(reader.messages).toMatchObject([{ topic: 'open/a', text: '2' }])
  })

  it('tells what is wrong with its file', () => {
    using directory = temporaryDirectory()
    const path = join(directory.path, 'mqtt-users.json')
    for (const text of ['{', '{}', '{"users":{"a":{"password":"plain"}}}', '{"users":[1]}']) {
      writeFileSync(path, text)
      expect(() => readUsers(path)).toThrow(path)
    }
  })
})

describe('the broker against hostile clients', () => {
  it('ends a connection that announces more than it may send, before it is kept', async () => {
    await using broker = await embedded({ limits: { maxPayloadBytes: 1000 } })
    await using client = await connectClient(broker.port!)
    const closed = new Promise<void>((resolve) => client.mqtt.once('close', () => resolve()))
    client.mqtt.publish('big', Buffer.alloc(10_000))
    await closed
    expect(broker.stats().dropped['too-large']).toBe(1)
  })

  it('follows packets however they are cut', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 5000 }), { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 700 }), (payloads, step) => {
        const stream = Buffer.concat(payloads.map((size) => encodePublish('t', Buffer.alloc(size, 0x82), false)))
        const guard = new PacketGuard(1000)
        let goesOn = true
        for (let at = 0; at < stream.length && goesOn; at += step) goesOn = guard.take(stream.subarray(at, at + step))
        expect(goesOn).toBe(payloads.every((size) => size + 3 <= 1000 + 4096))
      }),
    )
  })

  it('survives bytes that are no MQTT, topics of too many levels, and too many clients', async () => {
    await using broker = await embedded({ limits: { maxClients: 2 } })
    for (const bytes of ['GET / HTTP/1.1\r\n\r\n', '\x00\x00', '\x10\xff\xff\xff\xff\xff', '\x30\x02\x00\x00']) {
      const socket = connect(broker.port!, '127.0.0.1')
      socket.on('error', () => {})
      socket.end(Buffer.from(bytes, 'latin1'))
      socket.resume()
      await once(socket, 'close')
    }
    await using deep = await connectClient(broker.port!)
    const closed = new Promise<void>((resolve) => deep.mqtt.once('close', () => resolve()))
    deep.mqtt.publish('a/'.repeat(200), 'x')
    await closed
    await using _one = await connectClient(broker.port!)
    await using _two = await connectClient(broker.port!)
    await expect(connectClient(broker.port!)).rejects.toThrow()
  })

  it('drops for a subscriber that does not read, counts it, and lets nobody wait for it', async () => {
    const clock = new VirtualClock()
    const congestion = new Congestion({ clock, softBytes: 1000, hardBytes: 5000, patienceMs: 500 })
    const stuck = new PassThrough({ highWaterMark: 1 })
    stuck.write(Buffer.alloc(2000))
    const mark = congestion.mark()
    expect(congestion.admits(stuck)).toBe(true)
    let passed = false
    congestion.pass(mark, () => {
      passed = true
    })
    expect(passed).toBe(false)
    await clock.advance(60)
    expect(passed).toBe(true)
    await clock.advance(500)
    stuck.write(Buffer.alloc(5000))
    const later = congestion.mark()
    expect(congestion.admits(stuck)).toBe(false)
    expect([congestion.mark() - later, congestion.dropped]).toEqual([0, 1])
  })
})

describe('what the broker keeps', () => {
  it('is there after kill -9: retained messages, sessions, and what was acknowledged for those who were away', async () => {
    using directory = temporaryDirectory()
    const first = await brokerProcess(directory.path)
    const away = { clientId: 'away', clean: false }
    const before = await connectClient(first.port, away)
    await before.mqtt.subscribeAsync('orders/#', { qos: 1 })
    await before.mqtt.endAsync()
    const writer = await connectClient(first.port)
    await writer.mqtt.publishAsync('state', 'kept', { qos: 1, retain: true })
    for (let n = 0; n < 20; n++) await writer.mqtt.publishAsync('orders/a', String(n), { qos: 1 })
    await first.kill()
    await writer.mqtt.endAsync(true)
    const second = await brokerProcess(directory.path)
    const after = await connectClient(second.port, away)
    await after.received(20)
    expect(after.messages.map(({ text }) => text)).toEqual(Array.from({ length: 20 }, (_, n) => String(n)))
    await after.mqtt.subscribeAsync('state', { qos: 1 })
    await after.received(21)
    expect(after.messages.at(-1)).toMatchObject({ topic: 'state', text: 'kept', retain: true })
    await after.mqtt.endAsync(true)
    await second.kill()
  })

  it('does not grow without end for a client that never comes back', async () => {
    await using broker = await embedded({ limits: { maxQueued: 10 } })
    const away = await connectClient(broker.port!, { clientId: 'away', clean: false })
    await away.mqtt.subscribeAsync('orders', { qos: 1 })
    await away.mqtt.endAsync()
    for (let n = 0; n < 25; n++) broker.local.publish('orders', Buffer.from(String(n)), { qos: 1 })
    expect(broker.stats().dropped['queue-full']).toBe(15)
  })
})
