import { EventEmitter, once } from 'node:events'
import { existsSync } from 'node:fs'
import { Bonjour } from 'bonjour-service'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../api/clock.ts'
import { boundedItem } from '../../../api/link/sighted.ts'
import { VirtualClock } from '../../../api/virtual-clock.ts'
import type { Sighting } from '../../../mappers/sdk/mapper.ts'
import { Sightings } from '../sightings.ts'
import { dnsAnswer, dnsName, serviceRecords, type TestRecord } from './dns-message.test-helper.ts'
import { browseNetwork, listenToNetwork } from './mdns.ts'
import { SHELLY_MODELS } from './mdns-services.ts'
import type { Datagrams } from './mdns-socket.ts'
import type { SourceHost } from './source.ts'

/** One socket on a network of the test's own. */
class Wire extends EventEmitter implements Datagrams {
  readonly sent: Buffer[] = []
  closed = false

  bind(_port: number, _address: string, done: () => void): void {
    queueMicrotask(() => {
      this.emit('listening')
      done()
    })
  }

  address() {
    return { port: 5353 }
  }

  addMembership(): void {}
  dropMembership(): void {}
  setMulticastInterface(): void {}
  setMulticastTTL(): void {}
  setMulticastLoopback(): void {}

  send(bytes: Buffer, _offset: number, _length: number, _port: number, _address: string, done?: () => void): void {
    this.sent.push(bytes)
    done?.()
  }

  close(done?: () => void): void {
    this.closed = true
    done?.()
  }

  hear(message: Buffer, address = '192.168.1.20'): void {
    this.emit('message', message, { address, family: 'IPv4', port: 5353, size: message.length })
  }
}

interface House {
  readonly clock: VirtualClock
  readonly wires: Wire[]
  readonly seen: { readonly protocol: string; readonly sighting: Sighting }[]
  readonly logged: string[]
  readonly host: SourceHost
}

let house: House
let browsing: AsyncDisposable | undefined

beforeEach(() => {
  const seen: House['seen'] = []
  const logged: string[] = []
  const clock = new VirtualClock()
  const host: SourceHost = {
    clock,
    log: (level, message) => void logged.push(`${level} ${message}`),
    addresses: () => [],
    sighted: (protocol, sightings) => void seen.push(...sightings.map((sighting) => ({ protocol, sighting }))),
    withdrawn: () => {},
  }
  house = { clock, wires: [], seen, logged, host }
})

afterEach(async () => {
  await browsing?.[Symbol.asyncDispose]()
  browsing = undefined
})

/** Browsing, with its socket open. */
async function listening(): Promise<Wire> {
  const opened = Promise.withResolvers<Wire>()
  browsing = browseNetwork(house.host, {
    interfaces: () => ['192.168.1.2'],
    firstMs: 0,
    open: () => {
      const wire = new Wire()
      house.wires.push(wire)
      opened.resolve(wire)
      return wire
    },
  })
  await house.clock.advance(1)
  const wire = await opened.promise
  await house.clock.advance(1)
  return wire
}

const ids = () => house.seen.map(({ protocol, sighting }) => `${protocol} ${sighting.id}`)

describe('devices that announce themselves on the network', () => {
  it('are Modbus servers, named as a scan names them, with the command that asks them', async () => {
    const wire = await listening()
    wire.hear(
      dnsAnswer(serviceRecords('modbus', 'Heat pump', { port: 502, texts: ['vendor=IDM', 'model=Navigator 2'] })),
    )
    expect(house.seen).toMatchObject([
      {
        protocol: 'modbus',
        sighting: {
          id: '192.168.1.20:502:1',
          address: { tcp: { host: '192.168.1.20' }, unit: 1 },
          name: 'Heat pump',
          facts: {
            vendor: 'IDM',
            model: 'Navigator 2',
            next: 'sluice discover modbus --host 192.168.1.20 --units 1,255',
          },
        },
      },
    ])
  })

  it('are Shellys of both generations with the model they are, its topics, and where MQTT is switched on', async () => {
    const wire = await listening()
    const plus = ['gen=2', 'app=Plus1PM', 'ver=1.4.4']
    wire.hear(dnsAnswer(serviceRecords('shelly', 'shellyplus1pm-441793d69718', { texts: plus })))
    wire.hear(dnsAnswer(serviceRecords('http', 'shelly1pm-84CCA8', { texts: ['id=shelly1pm-84CCA8'] })))
    wire.hear(dnsAnswer(serviceRecords('http', 'shellyfuture-001122', {})))
    wire.hear(dnsAnswer(serviceRecords('http', 'Office printer', {})))
    expect(
      house.seen.map(({ protocol, sighting: { id, address, candidates } }) => [protocol, id, address, candidates]),
    ).toEqual([
      [
        'mqtt',
        'shellyplus1pm-441793d69718',
        { base: 'shellyplus1pm-441793d69718' },
        [expect.objectContaining({ model: 'shelly-plus-1pm', why: 'it calls itself shellyplus1pm' })],
      ],
      [
        'mqtt',
        'shelly1pm-84CCA8',
        { base: 'shellies/shelly1pm-84CCA8' },
        [expect.objectContaining({ model: 'shelly-1pm' })],
      ],
      ['mqtt', 'shellyfuture-001122', { base: 'shellies/shellyfuture-001122' }, []],
    ])
  })

  it('resemble only models that the catalogue has', () => {
    for (const model of Object.values(SHELLY_MODELS)) {
      const file = `../../../devicemodels/${model.replace('-', '/')}.yaml`
      expect(existsSync(new URL(file, import.meta.url)), model).toBe(true)
    }
  })

  it('are ESPHome nodes and brokers, too', async () => {
    const wire = await listening()
    wire.hear(
      dnsAnswer(serviceRecords('esphomelib', 'greenhouse', { texts: ['mac=a1b2', 'board=esp32', 'version=2026.1'] })),
    )
    wire.hear(dnsAnswer(serviceRecords('mqtt', 'Mosquitto', { port: 1883 })))
    expect(ids()).toEqual(['mqtt greenhouse', 'mqtt-broker 192.168.1.20:1883'])
    expect(house.seen[0]?.sighting).toMatchObject({ address: { base: 'greenhouse' }, facts: { board: 'esp32' } })
    expect(house.seen[1]?.sighting.facts['next']).toContain('--mqtt-broker mqtt://192.168.1.20:1883')
  })

  it('are asked for three times, then no socket is open until five minutes later', async () => {
    const wire = await listening()
    const once = wire.sent.length
    await house.clock.advance(4000)
    expect(wire.sent.length).toBe(3 * once)
    await house.clock.advance(3000)
    expect(wire.closed).toBe(true)
    await house.clock.advance(290_000)
    expect(house.wires).toHaveLength(1)
    await house.clock.advance(10_000)
    await new Promise((resolve) => setImmediate(resolve))
    expect(house.wires).toHaveLength(2)
  })

  it('are found by the library on a real socket of the loopback interface', async () => {
    const found = Promise.withResolvers<Sighting>()
    const stop = new AbortController()
    const host: SourceHost = {
      ...house.host,
      clock: systemClock,
      sighted: (_protocol, [sighting]) => {
        if (sighting?.name === 'sluice-test-plc') found.resolve(sighting)
      },
    }
    const config: object = { interface: '127.0.0.1', bind: '0.0.0.0' }
    const publisher = new Bonjour(config)
    const service = publisher.publish({ name: 'sluice-test-plc', type: 'modbus', port: 1502, probe: false })
    if (!service.published) await once(service, 'up')
    const round = listenToNetwork(host, { interfaces: () => ['127.0.0.1'] }, 20_000, stop.signal)
    const { address } = await found.promise
    stop.abort()
    await round
    await new Promise<void>((resolve) => publisher.destroy(() => resolve()))
    expect(address).toMatchObject({ tcp: { port: 1502 }, unit: 1 })
  })
})

describe('a hostile network', () => {
  it('cannot put markup, control characters or another address of this gateway into what is shown', async () => {
    const wire = await listening()
    const evil = '<img src=x onerror=alert(1)>\u001b[2J\u202e'
    wire.hear(
      dnsAnswer(serviceRecords('modbus', evil, { address: '127.0.0.1', port: 502, texts: [`vendor=${evil}`] })),
      '192.168.1.66',
    )
    const [found] = house.seen
    expect(found?.sighting.id).toBe('192.168.1.66:502:1')
    // Text stays text; whoever shows it escapes it. What would move a cursor or turn the line is gone.
    expect(found?.sighting.name).toBe('<img src=x onerror=alert(1)> [2J')
    expect(JSON.stringify(found)).not.toMatch(/\\u001b|\u202e/)
  })

  it('is not parsed beyond the size and number of records of a proper message', async () => {
    const wire = await listening()
    const many: TestRecord[] = Array.from({ length: 129 }, () => ({ type: 'A', name: 'a', address: '1.2.3.4' }))
    wire.hear(dnsAnswer([...serviceRecords('modbus', 'crowd'), ...many]))
    wire.hear(Buffer.concat([dnsAnswer(serviceRecords('modbus', 'large')), Buffer.alloc(9001)]))
    expect(house.seen).toEqual([])
  })

  it('cannot catch the parser in names that point at themselves', async () => {
    const wire = await listening()
    const header = [0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    wire.hear(Buffer.from([...header, 0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 1, 0, 2, 0xc0, 12]))
    wire.hear(Buffer.from([...header, 3, 97, 97, 97, 0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 1, 0, 2, 0xc0, 14]))
    wire.hear(dnsAnswer(serviceRecords('modbus', 'after')))
    expect(ids()).toEqual(['modbus 192.168.1.20:80:1'])
  })

  it('cannot crash it, whatever it sends', async () => {
    const wire = await listening()
    const whole = dnsAnswer(
      serviceRecords('shelly', 'shellyplus1pm-441793d69718', { texts: ['gen=2', '=', '__proto__=x'] }),
    )
    const label = fc.stringMatching(/^[a-z_.\\]{0,12}$/)
    const record: fc.Arbitrary<TestRecord> = fc.oneof(
      fc.record({
        type: fc.constant('PTR' as const),
        name: fc.constantFrom('_modbus._tcp.local', '_http._tcp.local', ''),
        to: label,
      }),
      fc.record({ type: fc.constant('SRV' as const), name: label, host: label, port: fc.nat(65_535) }),
      fc.record({ type: fc.constant('TXT' as const), name: label, texts: fc.array(label) }),
    )
    const message = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.tuple(fc.nat(whole.length - 1), fc.nat(255)).map(([at, byte]) => Buffer.from(whole.with(at, byte))),
      fc.nat(whole.length).map((length) => whole.subarray(0, length)),
      fc.array(record, { maxLength: 12 }).map((records) => dnsAnswer(records)),
    )
    await fc.assert(
      fc.asyncProperty(message, async (bytes) => {
        if (bytes.length > 2) bytes[2] = bytes[2]! | 0x80
        wire.hear(bytes)
        await house.clock.advance(20)
        for (const { protocol, sighting } of house.seen.splice(0)) {
          expect(boundedItem(protocol, sighting, 1)).toBeDefined()
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('that floods is looked at two hundred times, and the rest is counted', async () => {
    const wire = await listening()
    const answer = dnsAnswer(serviceRecords('http', 'nothing of ours'))
    for (let n = 0; n < 10_000; n++) wire.hear(answer)
    await house.clock.advance(10_000)
    expect(house.logged.some((line) => /^warn 98\d\d announcements .* too many/.test(line))).toBe(true)
  })

  it('that invents services fills no memory: 256 a round, and a thousand sightings in all', async () => {
    const wire = await listening()
    const onChange = () => {}
    using sightings = new Sightings({ clock: house.clock, onChange })
    for (let n = 0; n < 400; n++) {
      wire.hear(dnsAnswer(serviceRecords('modbus', `m${n}`, { port: n + 1 })))
      await house.clock.advance(20)
    }
    for (const { protocol, sighting } of house.seen) sightings.sighted(protocol, [sighting])
    expect(sightings.list().length).toBe(256)
    expect(house.logged.some((line) => line.includes('More than 256 services'))).toBe(true)
  })

  it('that goes down under it is told in the log only', async () => {
    const wire = await listening()
    wire.emit('error', Object.assign(new Error('in use'), { code: 'EADDRINUSE' }))
    wire.emit('error', Object.assign(new Error('no route'), { code: 'ENETUNREACH' }))
    wire.hear(dnsAnswer(serviceRecords('modbus', 'still there')))
    expect(ids()).toHaveLength(1)
    expect(house.logged.filter((line) => line.startsWith('debug mDNS'))).toHaveLength(2)
  })
})

it('writes names as the specification does', () => {
  expect([...dnsName('a.bc')]).toEqual([1, 97, 2, 98, 99, 0])
})
