import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../../api/virtual-clock.ts'
import { LoraDevice, type Received } from '../../../hil/lora-device.ts'
import { RateLimitedLog } from '../../sdk/rate-limited-log.ts'
import { APP_KEY, bench, binding, DEV_EUI, MemoryStorage, temperature } from '../bench.test-helper.ts'
import { openJoinAccept } from '../codec.ts'
import { keyFromHex } from '../keys.ts'
import { createMapper } from '../mapper.ts'
import type { BackendEvents, GatewayBackend, Heard, SendResult, Transmission } from './gateway.ts'
import { NetworkServer } from './network-server.ts'

const PAYLOAD = Buffer.from('0929003c', 'hex')
const key = keyFromHex(APP_KEY)!

/** Gateways without a wire: what is sent is kept, and answered as the test wants. */
class AirBackend implements GatewayBackend {
  readonly listening = Promise.resolve({ host: '127.0.0.1', port: 0 })
  readonly sent: Transmission[] = []
  events!: BackendEvents
  answer: (transmission: Transmission) => SendResult = () => ({ sent: true })

  reaches(): boolean {
    return true
  }

  send(transmission: Transmission): Promise<SendResult> {
    this.sent.push(transmission)
    return Promise.resolve(this.answer(transmission))
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

type BindingOptions = NonNullable<Parameters<typeof binding>[0]>

/** A mapper on its own server in virtual time, with one device that has joined. */
async function air(options: BindingOptions = {}, storage = new MemoryStorage()) {
  const clock = new VirtualClock()
  const backend = new AirBackend()
  const b = bench({
    clock,
    storage,
    create: (host) =>
      createMapper(host, async ({ devices, listen }, own, events) => {
        const { region } = devices[0]!
        const open = (eventsOf: (backend: () => GatewayBackend) => BackendEvents) => {
          backend.events = eventsOf(() => backend)
          return [backend]
        }
        const network = new NetworkServer(own, { region, listen: listen ?? {}, open }, events, new RateLimitedLog(own))
        return { network, ready: Promise.resolve() }
      }),
  })
  b.mapper.configure([binding(options)])
  await clock.advance(0)
  const device = new LoraDevice({ devEui: DEV_EUI, appKey: key })
  const hear = async (phy: Uint8Array, as: Partial<Heard> = {}) => {
    backend.events.heard([
      {
        gateway: 'A',
        phy,
        rssiDbm: -70,
        snrDb: 8,
        frequencyHz: 868_100_000,
        modulation: { sf: 7, bandwidthHz: 125_000 },
        atMonoMs: clock.monotonic(),
        context: { via: 'udp', tmst: 1000 },
        ...as,
      },
    ])
    await clock.advance(250)
  }
  const join = async (as: Partial<Heard> = {}) => {
    await hear(device.joinRequest(), as)
    expect(device.accept(backend.sent.pop()!.phy)).toBe(true)
  }
  /** Everything sent since the last call, as the device understands it. */
  const received = (): Received[] => backend.sent.splice(0).flatMap(({ phy }) => device.receive(phy) ?? [])
  return { ...b, clock, backend, device, hear, join, received, storage }
}

describe('confirmed downlinks', () => {
  it('are repeated after each uplink that does not acknowledge them, three times at most, each with its own counter', async () => {
    const { backend, clock, device, hear, join, write } = await air()
    await join()
    const outcome = write('interval', 300, 3_600_000)
    await clock.advance(0)
    const counters: number[] = []
    for (let round = 0; round < 4; round++) {
      // A deaf device: it hears nothing, so it acknowledges nothing.
      await hear(device.uplink(2, PAYLOAD))
      counters.push(...backend.sent.splice(0).map(({ phy }) => Buffer.from(phy).readUInt16LE(6)))
      await clock.advance(60_000)
    }
    expect(counters).toEqual([0, 1, 2])
    expect(await outcome).toMatchObject({ state: 'rejected', code: 'SLUICE_LORA_NOT_ACKNOWLEDGED' })
  })

  it('to a class C device go out at once in the second window and again when nothing comes back', async () => {
    const { backend, clock, device, hear, join, write, received } = await air({ model: { class: 'C' } })
    await join()
    const outcome = write('interval', 300)
    await clock.advance(100)
    expect(backend.sent).toHaveLength(1)
    expect(backend.sent[0]).toMatchObject({ when: { window: 'now' }, frequencyHz: 869_525_000, dr: 0 })
    await clock.advance(10_500)
    expect(backend.sent).toHaveLength(2)
    expect(received()).toHaveLength(2)
    await hear(device.uplink(2, PAYLOAD))
    expect(await outcome).toMatchObject({ state: 'applied' })
  })

  it('that nobody asked to acknowledge are applied when they are on the air', async () => {
    const { clock, device, hear, join, write, received } = await air({ model: { confirmed: false } })
    await join()
    const outcome = write('interval', 300)
    await clock.advance(0)
    await hear(device.uplink(2, PAYLOAD))
    expect(received()[0]).toMatchObject({ confirmed: false, port: 3 })
    expect(await outcome).toMatchObject({ state: 'applied' })
  })

  it('wait for the value to come back when the model says so', async () => {
    const interval = {
      name: 'interval',
      type: 'int' as const,
      access: 'readwrite' as const,
      lora: { port: 2, at: 2, as: 'uint16', downlink: { port: 3, as: 'uint16', readBack: true } },
    }
    const { clock, device, hear, join, write, received } = await air({ properties: [temperature, interval] })
    await join()
    let done = false
    const outcome = write('interval', 300, 600_000).finally(() => {
      done = true
    })
    await clock.advance(0)
    await hear(device.uplink(2, PAYLOAD))
    expect(received()).toHaveLength(1)
    await hear(device.uplink(2, PAYLOAD))
    expect(done).toBe(false)
    await hear(device.uplink(2, Buffer.from('0929012c', 'hex')))
    expect(await outcome).toMatchObject({ state: 'applied', readBack: 300 })
  })

  it('say pending while more waits, and a newer value replaces an older one that was not sent', async () => {
    const { clock, device, hear, join, mapper, received, write } = await air()
    await join()
    const replaced = new AbortController()
    const old = mapper.write(
      { device: 'ns/a', property: 'interval', value: 1, version: 1, deadlineMs: 1e9 },
      replaced.signal,
    )
    await clock.advance(0)
    replaced.abort()
    expect(await old).toMatchObject({ state: 'rejected', code: 'SLUICE_WRITE_SUPERSEDED' })
    void write('interval', 2)
    void write('interval', 3)
    await clock.advance(0)
    await hear(device.uplink(2, PAYLOAD))
    expect(received()[0]).toMatchObject({ pending: true, payload: Buffer.from('010002', 'hex') })
  })
})

describe('several gateways', () => {
  it('give one reading, and the one that hears best answers', async () => {
    const { backend, clock, device, join, last, news, readings, received } = await air({
      properties: [temperature, { name: 'gateways', type: 'int', lora: { radio: 'gateways' } }],
    })
    await join()
    backend.events.alive('B')
    const phy = device.uplink(2, PAYLOAD, { confirmed: true })
    const heard = (gateway: string, snrDb: number): Heard => ({
      gateway,
      phy,
      rssiDbm: -80,
      snrDb,
      frequencyHz: 868_100_000,
      modulation: { sf: 7, bandwidthHz: 125_000 },
      atMonoMs: clock.monotonic(),
      context: { via: 'udp', tmst: 1 },
    })
    backend.events.heard([heard('A', -3)])
    await clock.advance(150)
    backend.events.heard([heard('B', 6)])
    expect(readings).toHaveLength(0)
    await clock.advance(100)
    expect(last('gateways')).toMatchObject({ value: 2 })
    expect(news.at(-1)?.gateways).toEqual([
      { id: 'B', rssiDbm: -80, snrDb: 6 },
      { id: 'A', rssiDbm: -80, snrDb: -3 },
    ])
    expect(readings.filter(({ property }) => property === 'temperature')).toHaveLength(1)
    expect(backend.sent.map(({ gateway }) => gateway)).toEqual(['B'])
    expect(received()).toHaveLength(1)
  })
})

describe('radio parameters', () => {
  it('are tuned after twenty uplinks with signal to spare', async () => {
    const { device, hear, join, received } = await air()
    await join()
    const seen: Received[] = []
    for (let count = 0; count < 20; count++) {
      await hear(device.uplink(2, PAYLOAD, { adr: true }), { modulation: { sf: 10, bandwidthHz: 125_000 }, snrDb: 5 })
      seen.push(...received())
    }
    // SF10 needs -15 dB: 20 - 10 dB to spare are three steps, all taken as data rate.
    expect(seen.flatMap(({ commands }) => commands)).toEqual([
      { name: 'LinkADRReq', fields: { dataRate: 5, txPower: 0, chMask: 0xff, chMaskCntl: 0, nbTrans: 1 } },
    ])
    expect(device.dataRate).toBe(5)
  })

  it('of US915 switch on the eight channels of the sub-band', async () => {
    const rate = { frequencyHz: 903_900_000, modulation: { sf: 10, bandwidthHz: 125_000 } }
    const { backend, device, hear, join, received } = await air({ lora: { region: 'US915', subBand: 2 } })
    await hear(device.joinRequest(), rate)
    const [accept] = backend.sent.splice(0)
    expect(accept).toMatchObject({ frequencyHz: 923_300_000, modulation: { sf: 10, bandwidthHz: 500_000 } })
    const cfList = openJoinAccept(accept!.phy, key)?.cfList ?? new Uint8Array(0)
    expect(Buffer.from(cfList).toString('hex')).toBe('00ff0000000000000200000000000001')
    device.accept(accept!.phy)
    await hear(device.uplink(2, PAYLOAD), rate)
    expect(received()[0]?.commands.map(({ fields }) => [fields['chMaskCntl'], fields['chMask']])).toEqual([
      [7, 0x02],
      [0, 0xff00],
    ])
    await hear(device.uplink(2, PAYLOAD), rate)
    await hear(device.uplink(2, PAYLOAD), rate)
    expect(received()).toEqual([])
    await join(rate)
  })

  it('are told to devices with fixed keys: channels, receive delay, duty cycle', async () => {
    const abp = { appKey: undefined, devAddr: '26011BDA', nwkSKey: APP_KEY, appSKey: APP_KEY, listen: { rxDelay: 5 } }
    const { device, hear, received } = await air({ lora: abp, model: { maxDutyCycle: 7 } })
    device.personalise(0x2601_1bda, { nwkSKey: key, appSKey: key })
    const asked: string[] = []
    for (let count = 0; count < 6; count++) {
      await hear(device.uplink(2, PAYLOAD))
      asked.push(...received().flatMap(({ commands }) => commands.map(({ name }) => name)))
    }
    expect(asked.filter((name) => name === 'NewChannelReq')).toHaveLength(5)
    expect(asked.filter((name) => name === 'RXTimingSetupReq')).toHaveLength(1)
    expect(asked.filter((name) => name === 'DutyCycleReq')).toHaveLength(1)
  })
})

describe('limits', () => {
  it('of the duty cycle move answers to the second window, and then stop them', async () => {
    const { backend, device, hear, join, mapper } = await air()
    await join()
    const windows: unknown[] = []
    for (let count = 0; count < 200; count++) {
      await hear(device.uplink(2, PAYLOAD, { confirmed: true }), { modulation: { sf: 10, bandwidthHz: 125_000 } })
      windows.push(...backend.sent.splice(0).map(({ when }) => when.window))
    }
    const first = windows.filter((window) => window === 1).length
    // One per cent of an hour is 36 s; an empty downlink at SF10 takes 289 ms, and the join accept had its share.
    expect(first).toBeGreaterThan(120)
    expect(first).toBeLessThan(125)
    expect(windows.slice(first).every((window) => window === 2)).toBe(true)
    expect(mapper.links().find(({ link }) => link === 'lora gateway A')?.reason).toMatch(/s sent within the last hour/)
  })

  it('of the data rate refuse what is too long, in words', async () => {
    const text = {
      name: 'text',
      type: 'string' as const,
      access: 'readwrite' as const,
      lora: { downlink: { port: 9, as: 'string' } },
    }
    const { clock, device, hear, join, mapper } = await air({ properties: [temperature, text] })
    await join()
    const outcome = mapper.write(
      { device: 'ns/a', property: 'text', value: 'x'.repeat(60), version: 1, deadlineMs: 1e9 },
      new AbortController().signal,
    )
    await clock.advance(0)
    await hear(device.uplink(2, PAYLOAD), { modulation: { sf: 12, bandwidthHz: 125_000 } })
    expect(await outcome).toMatchObject({ state: 'rejected', code: 'SLUICE_LORA_TOO_LONG' })
  })
})

describe('what goes wrong', () => {
  it('a full disk: readings go on, and no downlink is sent with a counter that could not be kept', async () => {
    const { backend, device, hear, join, last, mapper, storage } = await air()
    await join()
    storage.put = () => {
      throw new Error('disk full')
    }
    await hear(device.uplink(2, PAYLOAD, { confirmed: true }))
    expect(last('temperature')).toMatchObject({ value: 23.45 })
    expect(backend.sent).toEqual([])
    expect(mapper.links()[0]?.errors).toMatchObject({ storage: 1, downlink: 1 })
  })

  it('a device that stops reporting is offline after three periods, with the reason', async () => {
    const { clock, device, hear, join, news } = await air({ spec: { poll: { every: '10m' } } })
    await join()
    await hear(device.uplink(2, PAYLOAD))
    await clock.advance(29 * 60_000)
    expect(news.at(-1)).toMatchObject({ online: true })
    await clock.advance(2 * 60_000)
    expect(news.at(-1)).toMatchObject({ online: false, reason: expect.stringContaining('every 10 min') })
  })

  it('a device with fixed keys that counts anew is refused, unless it is known to', async () => {
    const abp = { appKey: undefined, devAddr: '26011BDA', nwkSKey: APP_KEY, appSKey: APP_KEY }
    for (const counterResets of [false, true]) {
      const { device, hear, mapper, readings } = await air({ lora: { ...abp, counterResets }, model: { adr: false } })
      device.personalise(0x2601_1bda, { nwkSKey: key, appSKey: key })
      await hear(device.uplink(2, PAYLOAD))
      await hear(device.uplink(2, PAYLOAD))
      device.personalise(0x2601_1bda, { nwkSKey: key, appSKey: key })
      await hear(device.uplink(2, Buffer.from('00010001', 'hex')))
      expect(readings.filter(({ property }) => property === 'temperature')).toHaveLength(counterResets ? 3 : 2)
      expect(mapper.links()[0]?.errors['replay'] ?? 0).toBe(counterResets ? 0 : 1)
    }
  })

  it('a payload that is too short spoils what it lacks and says so', async () => {
    const { device, hear, join, last } = await air()
    await join()
    await hear(device.uplink(2, Buffer.from('0929', 'hex')))
    expect(last('temperature')).toMatchObject({ value: 23.45 })
    expect(last('interval')).toMatchObject({ quality: 'bad(too-short)', reason: expect.stringContaining('2 bytes') })
  })

  it('thousands of forged frames fill neither log nor memory', async () => {
    const { device, hear, join, logs, mapper } = await air()
    await join()
    const before = logs.length
    for (let count = 0; count < 1000; count++) {
      const phy = device.uplink(2, PAYLOAD)
      phy.writeUInt32LE(count, 1)
      await hear(phy)
    }
    expect(mapper.links()[0]?.errors['unknown-device']).toBe(1000)
    expect(logs.length - before).toBeLessThan(20)
  })
})
