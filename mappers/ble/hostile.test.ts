import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { virtualRadio } from '../../hil/radio/virtual-radio.ts'
import { BluezDevices } from './bluez/bluez-devices.ts'
import { devicePath } from './bluez/names.ts'
import { readReports } from './codec/hci-reports.ts'
import { createMapper } from './mapper.ts'
import { ScriptedRadio } from './scripted-radio.test-helper.ts'
import { device, testHost } from './test-host.test-helper.ts'

const MAC = '54:48:E6:8F:80:A5'
const bthome = { name: 'temperature', type: 'float' as const, ble: { advert: 'bthome', field: 'temperature' } }
const level = { name: 'level', type: 'int' as const, ble: { manufacturer: 0x0499, at: 2 } }
const macOf = (i: number) =>
  [0x66, 0, i >> 24, i >> 16, i >> 8, i]
    .map((byte) => (byte & 0xff).toString(16).padStart(2, '0').toUpperCase())
    .join(':')
/** Temperature 25.06 plus `i` hundredths. */
const frame = (i: number) => {
  const bytes = Buffer.from('0716d2fc4002ca09', 'hex')
  bytes.writeInt16LE(2506 + i, 6)
  return bytes.toString('hex')
}

async function setUp() {
  const clock = new VirtualClock()
  const radio = new ScriptedRadio(clock)
  const host = testHost(clock)
  const mapper = createMapper(host.host, radio.open)
  mapper.configure([device('ns/a', MAC, [bthome, level], { spec: { poll: { every: '1s' } } })])
  await clock.advance(0)
  return { clock, radio, host, mapper }
}

describe('a hostile advertiser', () => {
  it('with ten thousand new addresses a second is heard of a little, stored nowhere, and hides nobody', async () => {
    const { clock, radio, host, mapper } = await setUp()
    for (let i = 0; i < 100_000; i++) {
      radio.hear(macOf(i), `0716d2fc4002${(i & 0xffff).toString(16).padStart(4, '0')}`, { random: true })
      if (i % 10_000 !== 0) continue
      radio.hear(MAC, frame(i / 10_000))
      await clock.advance(1000)
    }
    expect(host.values('temperature', 'ns/a')).toHaveLength(10)
    expect(host.values('temperature').at(-1)).toBe(25.15)
    expect(host.sightings.length).toBeLessThanOrEqual(240)
    expect(host.stored.size).toBe(0)
    expect(host.logs).toEqual([])
    expect(host.news.filter(({ online }) => !online)).toEqual([])
    await mapper[Symbol.asyncDispose]()
    expect(clock.pendingTimers).toBe(0)
  })

  it('with the address of a device and frames of any form makes complaints, few, and never a crash', async () => {
    const { clock, radio, host, mapper } = await setUp()
    const bytes = fc.uint8Array({ maxLength: 255 })
    const structure = fc
      .tuple(
        fc.nat(255),
        fc.constantFrom(0x16, 0xff, 0x09, 0x03, 0x21, 0x0a),
        fc.constantFrom('d2fc', '95fe', '9904', 'aafe'),
        bytes,
      )
      .map(([length, type, head, rest]) => Buffer.concat([Buffer.from([length, type]), Buffer.from(head, 'hex'), rest]))
    const forms = fc.oneof(
      bytes,
      fc.array(structure, { maxLength: 4 }).map((some) => Buffer.concat(some)),
    )
    await fc.assert(
      fc.asyncProperty(forms, async (data) => {
        radio.hear(MAC, Buffer.from(data).toString('hex'))
        await clock.advance(1)
      }),
      { numRuns: 3000 },
    )
    const bad = host.readings.filter(({ quality }) => String(quality).startsWith('bad'))
    // One complaint of a kind every ten seconds, for two properties; there are not ten kinds.
    expect(bad.length).toBeLessThanOrEqual(2 * 10 * Math.ceil(clock.monotonic() / 10_000))
    radio.hear(MAC, frame(7))
    expect(host.values('temperature').at(-1)).toBe(25.13)
    await mapper[Symbol.asyncDispose]()
  })

  it('with extended advertisements of 255 bytes and reports of any length is read to their end and no further', () => {
    const payload = fc.uint8Array({ maxLength: 229 })
    const report = fc.tuple(payload, fc.nat(255)).map(([data, claimed]) => {
      const body = Buffer.concat([Buffer.alloc(23), Buffer.from([claimed]), data])
      return Buffer.concat([Buffer.from([4, 0x3e, 2 + body.length, 0x0d, 1]), body])
    })
    const any = fc.uint8Array({ maxLength: 260 }).map((tail) => Buffer.concat([Buffer.from([4, 0x3e]), tail]))
    fc.assert(
      fc.property(fc.oneof(report, any), (packet) => {
        readReports(packet, ({ data, mac }) => {
          expect(data.length).toBeLessThanOrEqual(packet.length)
          expect(mac).toMatch(/^([0-9A-F]{2}:){5}[0-9A-F]{2}$/)
        })
      }),
      { numRuns: 2000 },
    )
    const whole = Buffer.concat([
      Buffer.from([4, 0x3e, 255, 0x0d, 1]),
      Buffer.alloc(23),
      Buffer.from([229]),
      Buffer.alloc(229, 7),
    ])
    const heard: number[] = []
    readReports(whole, ({ data }) => heard.push(data.length))
    expect(heard).toEqual([229])
  })

  it('is remembered to a bound where BlueZ tells of it', () => {
    let heard = 0
    const devices = new BluezDevices(() => void heard++)
    const some = new Map([['RSSI', -60]])
    for (let i = 0; i < 20_000; i++) devices.told(devicePath('/org/bluez/hci0', macOf(i)), some)
    expect(heard).toBe(20_000)
    expect(devices.remembered).toBe(4096)
  })

  it('that floods the air does not keep a real host stack from hearing the others', { timeout: 30_000 }, async () => {
    await using radio = virtualRadio(systemClock, Math.random)
    const { path: adapter } = radio.add({ mac: 'C0:00:00:00:00:01', buffers: 64 })
    let sent = 0
    const flood = setInterval(() => {
      for (let i = 0; i < 50; i++) {
        radio.air.broadcast('foe', {
          type: 0,
          mac: macOf(sent++),
          random: true,
          data: Uint8Array.from(Buffer.from('1eff4c00ffffffff', 'hex')),
        })
      }
    }, 5)
    radio.air.beacon({ mac: MAC, intervalMs: 50, data: (count) => Uint8Array.from(Buffer.from(frame(count), 'hex')) })
    const host = testHost()
    const mapper = createMapper(host.host)
    try {
      mapper.configure([device('ns/a', MAC, [bthome], { address: { adapter }, spec: { poll: { every: '20ms' } } })])
      const before = sent
      await host.until(() => host.values('temperature').length >= 40)
      expect(sent - before).toBeGreaterThan(1000)
      expect(mapper.links()[0]).toMatchObject({ state: 'up', errors: {} })
    } finally {
      clearInterval(flood)
      await mapper[Symbol.asyncDispose]()
    }
  })
})
