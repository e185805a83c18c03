import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import type { Mapper } from '../sdk/mapper.ts'
import { connectionAirS } from './airtime.ts'
import { createMapper } from './mapper.ts'
import { ScriptedRadio } from './scripted-radio.test-helper.ts'
import { device, testHost } from './test-host.test-helper.ts'

const MAC = '54:48:E6:8F:80:A5'
const KEY = '231d39c1d7cc1ab1aee224cd096db932'
/** The example of bthome.io/encryption. */
const ENCRYPTED = '12 16d2fc 41 e445f3c9962b 33221100 6c7c4519'
/** Battery 97, temperature 25.06, humidity 50.55. */
const PLAIN = '0c 16d2fc 40 0161 02ca09 03bf13'

const bthome = { name: 'temperature', type: 'float' as const, ble: { advert: 'bthome', field: 'temperature' } }
const gatt = { name: 'temperature', type: 'float' as const, ble: { characteristic: 'temperature', notify: true } }
const level = { name: 'level', type: 'int' as const, access: 'readwrite' as const, ble: { characteristic: 'fff1' } }

let mapper: Mapper | undefined
afterEach(async () => {
  await mapper?.[Symbol.asyncDispose]()
  mapper = undefined
})

function setUp() {
  const clock = new VirtualClock()
  const radio = new ScriptedRadio(clock)
  const host = testHost(clock)
  const made = createMapper(host.host, radio.open)
  mapper = made
  return { clock, radio, host, mapper: made }
}

describe('advertisements', () => {
  it('smooth the signal strength: one bad measurement moves it little', async () => {
    const { clock, radio, host, mapper } = setUp()
    mapper.configure([device('ns/a', MAC, [bthome])])
    await clock.advance(0)
    for (let i = 0; i < 20; i++) {
      radio.hear(MAC, PLAIN, { rssiDbm: i === 18 ? -95 : -60 })
      await clock.advance(1000)
    }
    const notes = mapper.explain('ns/a')?.notes.join('; ')
    expect(notes).toMatch(/signal -6[0-4] dBm/)
    expect(host.news.at(0)).toMatchObject({ online: true, rssiDbm: -60 })
    expect(host.news.some(({ batteryPercent }) => batteryPercent === 97)).toBe(true)
  })

  it('and connections are the time a device was on the air', async () => {
    const { clock, radio, mapper } = setUp()
    mapper.configure([device('ns/a', MAC, [bthome])])
    await clock.advance(0)
    expect(mapper.airtimeS?.('ns/a')).toBe(0)
    for (let i = 0; i < 10; i++) {
      radio.hear(MAC, PLAIN)
      await clock.advance(1000)
    }
    // 16 octets around the data, 8 µs each.
    expect(mapper.airtimeS?.('ns/a')).toBeCloseTo(10 * (16 + PLAIN.replaceAll(' ', '').length / 2) * 8e-6, 9)
    expect(connectionAirS(3600)).toBeCloseTo(27.9, 1)
    expect(mapper.airtimeS?.('ns/other')).toBe(0)
  })

  it('are decoded once while they repeat, and again in time not to be stale', async () => {
    const { clock, radio, host, mapper } = setUp()
    mapper.configure([device('ns/a', MAC, [bthome])])
    await clock.advance(0)
    for (let i = 0; i < 100; i++) {
      radio.hear(MAC, PLAIN)
      await clock.advance(20)
    }
    expect(host.values('temperature').length).toBeGreaterThanOrEqual(3)
    expect(host.values('temperature').length).toBeLessThanOrEqual(5)
  })

  it('that do not open say so once, are counted, and name no key', async () => {
    const { clock, radio, host, mapper } = setUp()
    const wrong = 'ffffffffffffffffffffffffffffffff'
    mapper.configure([device('ns/a', MAC, [bthome], { address: { bindKey: wrong } })])
    await clock.advance(0)
    for (let i = 0; i < 5; i++) {
      radio.hear(MAC, ENCRYPTED)
      await clock.advance(600)
    }
    const bad = host.readings.filter(({ quality }) => quality === 'bad(mic)')
    expect(bad).toHaveLength(1)
    expect(mapper.explain('ns/a')?.notes).toContain('5 advertisements unusable (mic)')
    // Each is told; counting and limiting them is the gateway's.
    expect(host.events).toHaveLength(5)
    expect(host.events[0]).toMatchObject({ about: 'ns/a', type: 'Warning', reason: 'MicFailure' })
    const said = JSON.stringify([host.readings, host.news, host.events, host.logs, mapper.explain('ns/a')])
    expect(said).not.toContain(wrong)
  })

  it('without their key ask for one', async () => {
    const { clock, radio, host, mapper } = setUp()
    mapper.configure([device('ns/a', MAC, [bthome])])
    await clock.advance(0)
    radio.hear(MAC, ENCRYPTED)
    expect(host.readings[0]).toMatchObject({ quality: 'bad(no-key)', reason: expect.stringContaining('bindKey') })
  })

  it('that were recorded and sent again are refused, also after a restart', async () => {
    const { clock, radio, host, mapper } = setUp()
    const binding = device('ns/a', MAC, [bthome], { address: { bindKey: KEY } })
    mapper.configure([binding])
    await clock.advance(0)
    radio.hear(MAC, ENCRYPTED)
    expect(host.values('temperature')).toEqual([25.06])
    expect(host.stored.get(`counter/${MAC}`)).toBe(String(0x112233))
    await mapper[Symbol.asyncDispose]()
    host.stored.set(`counter/${MAC}`, String(0x112234))
    const again = createMapper(host.host, radio.open)
    again.configure([binding])
    await clock.advance(0)
    radio.hear(MAC, ENCRYPTED)
    expect(host.readings.at(-1)).toMatchObject({ quality: 'bad(replay)' })
    again.configure([])
    expect(host.stored.size).toBe(0)
    await again[Symbol.asyncDispose]()
  })

  it('by a byte layout of the model give a value', async () => {
    const { clock, radio, host, mapper } = setUp()
    const ble = { manufacturer: 0x0499, at: 3, as: 'int16', order: 'big', scale: 0.005, startsWith: '990405' }
    mapper.configure([device('ns/a', MAC, [{ name: 'temperature', type: 'float', ble }])])
    await clock.advance(0)
    radio.hear(MAC, '1bff9904 0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F')
    radio.hear(MAC, '05ff99040305')
    expect(host.values('temperature')).toEqual([24.3])
  })

  it('that stay away make the device offline, and one brings it back', async () => {
    const { clock, radio, host, mapper } = setUp()
    mapper.configure([device('ns/a', MAC, [bthome], { address: { silentAfter: '30s' } })])
    await clock.advance(0)
    radio.hear(MAC, PLAIN)
    await clock.advance(32_000)
    expect(host.news.at(-1)).toMatchObject({ online: false, reason: expect.stringContaining('not heard') })
    expect(host.readings.at(-1)).toMatchObject({ quality: 'bad(silent)' })
    radio.hear(MAC, PLAIN)
    expect(host.news.at(-1)).toMatchObject({ online: true })
  })
})

describe('strangers', () => {
  it('are told with the model they resemble and why, and not all the time', async () => {
    const { clock, radio, host, mapper } = setUp()
    mapper.configure([device('ns/a', MAC, [bthome], { spec: { model: 'diy-sensor' } })])
    await clock.advance(0)
    for (let i = 0; i < 10; i++) radio.hear('A4:C1:38:00:00:77', PLAIN)
    expect(host.sightings).toHaveLength(1)
    expect(host.sightings[0]).toMatchObject({
      id: 'A4:C1:38:00:00:77',
      address: { mac: 'A4:C1:38:00:00:77' },
      candidates: [{ model: 'diy-sensor', score: 1, why: expect.stringContaining('BTHome v2') }],
      facts: { fields: 'battery, temperature, humidity' },
    })
    radio.hear('4A:00:00:00:00:01', '0201060aff4c0010050318', { random: true })
    expect(host.sightings).toHaveLength(1)
  })

  it('in a crowd cost no more than a few a second', async () => {
    const { clock, radio, host, mapper } = setUp()
    mapper.configure([device('ns/a', MAC, [bthome])])
    await clock.advance(0)
    for (let i = 0; i < 5000; i++) {
      radio.hear(
        `A4:C1:38:00:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`,
        PLAIN,
      )
    }
    expect(host.sightings.length).toBeLessThanOrEqual(120)
  })
})

describe('connections', () => {
  it('wait until the device is heard, so that an absent one costs the radio nothing', async () => {
    const { clock, radio, host, mapper } = setUp()
    const remote = radio.device(MAC, { '2a6e': '6608' })
    mapper.configure([device('ns/a', MAC, [gatt])])
    await clock.advance(60_000)
    expect(remote.connects).toBe(0)
    radio.hear(MAC, '020106')
    await clock.advance(100)
    expect(host.values('temperature')).toEqual([21.5])
    remote.notify?.(Uint8Array.of(0xca, 0x09))
    await clock.advance(0)
    expect(host.values('temperature').at(-1)).toBe(25.06)
  })

  it('that end are made again, later and later while they fail', async () => {
    const { clock, radio, host, mapper } = setUp()
    const remote = radio.device(MAC, { '2a6e': '6608' })
    mapper.configure([device('ns/a', MAC, [gatt])])
    await clock.advance(0)
    radio.hear(MAC, '020106')
    await clock.advance(100)
    remote.drop?.('disconnected (8)')
    await clock.advance(10)
    expect(host.readings.at(-1)).toMatchObject({ quality: 'bad(disconnected)' })
    expect(host.news.at(-1)).toMatchObject({ online: false })
    radio.hear(MAC, '020106')
    await clock.advance(2000)
    expect(remote.connects).toBe(2)
    expect(host.readings.at(-1)).toMatchObject({ value: 21.5, quality: 'good' })
  })

  it('tell a dead peer from a dead radio', async () => {
    const { clock, radio, host, mapper } = setUp()
    const remote = radio.device(MAC, { '2a6e': '6608' })
    remote.reachable = false
    mapper.configure([device('ns/a', MAC, [gatt])])
    await clock.advance(0)
    radio.hear(MAC, '020106')
    await clock.advance(11_000)
    expect(host.readings.at(-1)).toMatchObject({ quality: 'bad(timeout)' })
    expect(radio.opened).toBe(1)
    expect(mapper.links()[0]).toMatchObject({ state: 'up' })
    radio.answers = false
    radio.hear(MAC, '020106')
    await clock.advance(13_000)
    expect(radio.closed).toBeGreaterThanOrEqual(1)
    radio.answers = true
    await clock.advance(3000)
    expect(radio.opened).toBeGreaterThanOrEqual(2)
    expect(mapper.links()[0]?.errors).toMatchObject({ 'radio-reset': expect.any(Number) })
  })

  it('are shared: more devices than places are all served', async () => {
    const { clock, radio, host, mapper } = setUp()
    const macs = Array.from({ length: 12 }, (_, i) => `C0:00:00:00:00:${(16 + i).toString(16).toUpperCase()}`)
    for (const mac of macs) radio.device(mac, { '2a6e': '6608' })
    mapper.configure(macs.map((mac, i) => device(`ns/${i}`, mac, [gatt])))
    await clock.advance(0)
    for (let second = 0; second < 40; second++) {
      for (const mac of macs) radio.hear(mac, '020106')
      await clock.advance(1000)
    }
    expect(radio.mostLinks).toBeLessThanOrEqual(7)
    for (let i = 0; i < macs.length; i++) expect(host.values('temperature', `ns/${i}`).length).toBeGreaterThan(0)
  })
})

describe('pairing', () => {
  it('is asked for with the passkey of the file, through BlueZ', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-pair-'))
    try {
      const passkeyFile = join(folder, 'passkey')
      await writeFile(passkeyFile, '001234\n', { mode: 0o600 })
      const { clock, radio, mapper } = setUp()
      const remote = radio.device(MAC, { '2a6e': '6608' })
      const connected = new Promise<void>((resolve) => {
        remote.onConnect = resolve
      })
      mapper.configure([device('ns/a', MAC, [gatt], { address: { pair: true, passkeyFile } })])
      await clock.advance(0)
      radio.hear(MAC, '020106')
      await clock.advance(100)
      await connected
      expect(remote.pairing).toEqual({ passkey: 1234 })
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('is refused where no keys are kept', async () => {
    const { clock, host, mapper } = setUp()
    mapper.configure([device('ns/a', MAC, [gatt], { address: { pair: true, adapter: 'hci0' } })])
    await clock.advance(0)
    expect(host.news[0]).toMatchObject({ online: false, reason: expect.stringContaining('no keys are kept') })
  })
})

describe('writes', () => {
  const command = { device: 'ns/a', property: 'level', version: 1 }
  const never = new AbortController().signal

  it('connect for themselves where no connection stays, and are read back', async () => {
    const { clock, radio, mapper } = setUp()
    const remote = radio.device(MAC, { fff1: '05' })
    mapper.configure([device('ns/a', MAC, [{ ...level, poll: { every: '1h' } }])])
    await clock.advance(0)
    const outcome = mapper.write({ ...command, value: 42, deadlineMs: 30_000 }, never)
    await clock.advance(1000)
    expect(await outcome).toMatchObject({ state: 'applied', readBack: 42 })
    expect(remote.written).toEqual(['fff1=2a'])
    expect(remote.connected).toBe(false)
  })

  it('end by their deadline when the device cannot be reached, and never later', async () => {
    const { clock, radio, mapper } = setUp()
    radio.device(MAC, { fff1: '05' }).reachable = false
    mapper.configure([device('ns/a', MAC, [{ ...level, poll: { every: '1h' } }])])
    await clock.advance(0)
    const outcome = mapper.write({ ...command, value: 42, deadlineMs: 25_000 }, never)
    await clock.advance(25_000)
    expect(await outcome).toMatchObject({ state: 'timedOut' })
  })

  it('of what cannot be written are rejected with the reason', async () => {
    const { clock, mapper } = setUp()
    mapper.configure([device('ns/a', MAC, [bthome, level])])
    await clock.advance(0)
    const write = (property: string, value: number) =>
      mapper.write({ ...command, property, value, deadlineMs: 1000 }, never)
    expect(await write('temperature', 1)).toMatchObject({ state: 'rejected', code: 'SLUICE_WRITE_READ_ONLY' })
    expect(await write('level', 300)).toMatchObject({ state: 'rejected', code: 'SLUICE_VALUE_RANGE' })
    expect(await write('nothing', 1)).toMatchObject({ state: 'rejected', code: 'SLUICE_WRITE_UNKNOWN_PROPERTY' })
  })
})

describe('the radio', () => {
  it('that cannot be opened is told once and tried again', async () => {
    const { clock, radio, host, mapper } = setUp()
    radio.opens = false
    mapper.configure([device('ns/a', MAC, [bthome])])
    await clock.advance(10_000)
    expect(host.news).toHaveLength(1)
    expect(host.news[0]).toMatchObject({ online: false, reason: expect.stringContaining('no such adapter') })
    radio.opens = true
    await clock.advance(20_000)
    radio.hear(MAC, PLAIN)
    expect(host.news.at(-1)).toMatchObject({ online: true })
  })

  it('leaves no timer behind', async () => {
    const { clock, radio, mapper } = setUp()
    radio.device(MAC, { '2a6e': '6608' })
    mapper.configure([device('ns/a', MAC, [gatt])])
    await clock.advance(0)
    radio.hear(MAC, '020106')
    await clock.advance(1000)
    await mapper[Symbol.asyncDispose]()
    await clock.advance(0)
    expect(clock.pendingTimers).toBe(0)
  })
})
