import { describe, expect, it } from 'vitest'
import { LoraDevice } from '../../hil/lora-device.ts'
import { LoraForwarder } from '../../hil/lora-forwarder.ts'
import { APP_KEY, type Bench, bench, binding, DEV_EUI, portOf } from './bench.test-helper.ts'
import { keyFromHex } from './keys.ts'

const GATEWAY = 'AA555A0000000101'

const newDevice = (nonce = 1) => new LoraDevice({ devEui: DEV_EUI, appKey: keyFromHex(APP_KEY)! }, nonce)

const bytesOf = (packet: { data: string }) => Buffer.from(packet.data, 'base64')

/** A gateway over real UDP and a device that has joined through it. */
async function joined(b: Bench, device = newDevice()): Promise<{ forwarder: LoraForwarder; device: LoraDevice }> {
  const forwarder = await LoraForwarder.open(GATEWAY, await portOf(b))
  await forwarder.hear(device.joinRequest())
  expect(device.accept(bytesOf(await forwarder.transmitted()))).toBe(true)
  return { forwarder, device }
}

describe('a device on the gateway over Semtech UDP', () => {
  it('joins in the first window, five seconds after its request, and its uplink becomes a reading', async () => {
    await using b = bench()
    b.mapper.configure([binding()])
    const device = newDevice()
    await using forwarder = await LoraForwarder.open(GATEWAY, await portOf(b))
    await forwarder.hear(device.joinRequest(), { tmst: 4_294_000_000 })
    const accept = await forwarder.transmitted()
    expect(accept).toMatchObject({
      imme: false,
      tmst: (4_294_000_000 + 5_000_000) % 2 ** 32,
      freq: 868.1,
      datr: 'SF7BW125',
      ipol: true,
    })
    expect(device.accept(bytesOf(accept))).toBe(true)
    await forwarder.hear(device.uplink(2, Buffer.from('0929003c', 'hex')))
    const reading = await b.until(() => b.last('temperature'))
    expect(reading).toMatchObject({ device: 'ns/a', value: 23.45, quality: 'good' })
    expect(b.last('interval')).toMatchObject({ value: 60 })
    expect(b.news.at(-1)).toMatchObject({ online: true, rssiDbm: -60, snrDb: 9.5 })
    // 17 bytes of PHY payload at SF7 and 125 kHz, by the formula of AN1200.13.
    expect(b.mapper.airtimeS?.('ns/a')).toBeCloseTo(0.051456, 6)
  })

  it('delivers a desired value after the next uplink and calls it applied when the device acknowledges', async () => {
    await using b = bench()
    b.mapper.configure([binding()])
    const { forwarder, device } = await joined(b)
    await using _ = forwarder
    const outcome = b.write('interval', 300)
    await forwarder.hear(device.uplink(2, Buffer.from('0929003c', 'hex')))
    const heardS = 0.051456
    const down = device.receive(bytesOf(await forwarder.transmitted()))
    expect(down).toMatchObject({ port: 3, confirmed: true, ack: false })
    expect(down?.payload.toString('hex')).toBe('01012c')
    await forwarder.hear(device.uplink(2, Buffer.from('0929012c', 'hex')))
    expect(await outcome).toMatchObject({ state: 'applied' })
    // Two uplinks, and what was sent in between.
    expect(b.mapper.airtimeS?.('ns/a')).toBeGreaterThan(2 * heardS)
  })

  it('acknowledges a confirmed uplink, again when it is repeated, and delivers it once', async () => {
    await using b = bench()
    b.mapper.configure([binding()])
    const { forwarder, device } = await joined(b)
    await using _ = forwarder
    const phy = device.uplink(2, Buffer.from('0929003c', 'hex'), { confirmed: true })
    await forwarder.hear(phy)
    expect(device.receive(bytesOf(await forwarder.transmitted()))).toMatchObject({ ack: true, port: undefined })
    await forwarder.hear(phy)
    expect(device.receive(bytesOf(await forwarder.transmitted()))).toMatchObject({ ack: true })
    expect(b.readings.filter(({ property }) => property === 'temperature')).toHaveLength(1)
  })

  it('asks for the battery and answers link checks', async () => {
    await using b = bench()
    b.mapper.configure([binding({ model: { statusEvery: '1d' } })])
    const { forwarder, device } = await joined(b)
    await using _ = forwarder
    await forwarder.hear(
      device.uplink(2, Buffer.from('0929003c', 'hex'), { commands: [{ name: 'LinkCheckReq', fields: {} }] }),
    )
    const down = device.receive(bytesOf(await forwarder.transmitted()))
    expect(down?.commands).toEqual([
      { name: 'LinkCheckAns', fields: { margin: 17, gateways: 1 } },
      { name: 'DevStatusReq', fields: {} },
    ])
    await forwarder.hear(device.uplink(undefined))
    const news = await b.until(() => b.news.find(({ batteryPercent }) => batteryPercent !== undefined))
    expect(news.batteryPercent).toBeCloseTo(70.8, 1)
  })

  it('takes the second window when the gateway refuses the first', async () => {
    await using b = bench()
    b.mapper.configure([binding()])
    const { forwarder, device } = await joined(b)
    await using _ = forwarder
    forwarder.refuse = 'TOO_LATE'
    await forwarder.hear(device.uplink(2, Buffer.from('0929003c', 'hex'), { confirmed: true }))
    expect(await forwarder.transmitted()).toMatchObject({ tmst: 2_000_000, freq: 868.1 })
    expect(await forwarder.transmitted()).toMatchObject({ tmst: 3_000_000, freq: 869.525, datr: 'SF12BW125' })
  })

  it('goes on after a restart with the same session and counters, and refuses what was replayed', async () => {
    const device = newDevice()
    const first = bench()
    first.mapper.configure([binding()])
    const { forwarder } = await joined(first, device)
    const recorded = device.uplink(2, Buffer.from('0929003c', 'hex'))
    await forwarder.hear(recorded)
    await first.until(() => first.last('temperature'))
    await forwarder[Symbol.asyncDispose]()
    await first[Symbol.asyncDispose]()

    await using second = bench({ storage: first.storage })
    second.mapper.configure([binding()])
    await using again = await LoraForwarder.open(GATEWAY, await portOf(second))
    await again.hear(recorded)
    await again.hear(device.uplink(2, Buffer.from('0a29003c', 'hex')))
    expect(await second.until(() => second.last('temperature'))).toMatchObject({ value: 26.01 })
    expect(second.readings.filter(({ property }) => property === 'temperature')).toHaveLength(1)
  })

  it('keeps neither the root key nor a session key readable in the store, and logs none', async () => {
    await using b = bench()
    b.mapper.configure([binding()])
    const { forwarder, device } = await joined(b)
    await using _ = forwarder
    await forwarder.hear(device.uplink(2, Buffer.from('0929003c', 'hex')))
    await b.until(() => b.last('temperature'))
    const kept = JSON.stringify([...b.storage.values])
    expect(kept).toContain('session/')
    expect(kept.toUpperCase()).not.toContain(APP_KEY)
    expect(b.logs.join('\n').toUpperCase()).not.toContain(APP_KEY)
    expect(
      b.storage.writes
        .filter(({ keys }) => keys.some((key) => key.startsWith('counters/')))
        .every(({ durability }) => durability === 'now'),
    ).toBe(true)
  })
})

describe('what should not be', () => {
  it('shows the join request of an unknown device as a sighting', async () => {
    await using b = bench()
    b.mapper.configure([binding()])
    await using forwarder = await LoraForwarder.open(GATEWAY, await portOf(b))
    const stranger = new LoraDevice({ devEui: '0011223344556677', appKey: keyFromHex(APP_KEY)! })
    await forwarder.hear(stranger.joinRequest(), { rssi: -101 })
    const seen = await b.until(() => b.sightings[0])
    expect(seen).toMatchObject({
      id: '0011223344556677',
      address: { devEui: '0011223344556677', server: 'local' },
      rssiDbm: -101,
    })
    expect(b.mapper.links()[0]?.errors['unknown-join']).toBe(1)
  })

  it('says in the twin that a device joins with another key', async () => {
    await using b = bench()
    b.mapper.configure([binding()])
    await using forwarder = await LoraForwarder.open(GATEWAY, await portOf(b))
    const wrong = new LoraDevice({ devEui: DEV_EUI, appKey: keyFromHex('00112233445566778899AABBCCDDEEFF')! })
    await forwarder.hear(wrong.joinRequest())
    expect(await b.until(() => b.last('temperature'))).toMatchObject({ quality: 'bad(lora-join-mic)' })
    expect(b.last('temperature')?.reason).toContain('another AppKey')
    expect(b.news.at(-1)).toMatchObject({ online: false })
    expect(b.events).toMatchObject([{ about: b.last('temperature')!.device, type: 'Warning', reason: 'MicFailure' }])
  })

  it('refuses a DevNonce that was used before, also after a restart', async () => {
    const first = bench()
    first.mapper.configure([binding()])
    const { forwarder } = await joined(first, newDevice(7))
    await forwarder[Symbol.asyncDispose]()
    await first[Symbol.asyncDispose]()
    await using b = bench({ storage: first.storage })
    b.mapper.configure([binding()])
    await using again = await LoraForwarder.open(GATEWAY, await portOf(b))
    await again.hear(newDevice(7).joinRequest())
    await b.until(() => b.logs.find((line) => line.includes('DevNonce 7')))
    expect(b.mapper.links()[0]?.errors['join-replay']).toBe(1)
    expect(b.events.map(({ reason }) => reason)).toEqual(['FrameReplayed'])
  })

  it('leaves the values of a living device alone when somebody forges its address', async () => {
    await using b = bench()
    b.mapper.configure([binding()])
    const { forwarder, device } = await joined(b)
    await using _ = forwarder
    await forwarder.hear(device.uplink(2, Buffer.from('0929003c', 'hex')))
    await b.until(() => b.last('temperature'))
    const forged = device.uplink(2, Buffer.from('ffffffff', 'hex'))
    forged[forged.length - 1]! ^= 1
    await forwarder.hear(forged)
    await b.until(() => b.logs.find((line) => line.includes('another key')))
    expect(b.readings.filter(({ property }) => property === 'temperature')).toHaveLength(1)
    expect(b.mapper.links()[0]?.errors['mic']).toBe(1)
    expect(b.events).toMatchObject([{ reason: 'MicFailure', message: expect.stringContaining('another key') }])
  })

  it('survives datagrams that are none', async () => {
    await using b = bench()
    b.mapper.configure([binding()])
    const { forwarder, device } = await joined(b)
    await using _ = forwarder
    for (const body of [
      '',
      '{',
      '[]',
      '{"rxpk":7}',
      '{"rxpk":[null,{"data":"!"},{"data":"QA==","tmst":1,"freq":868.1}]}',
    ]) {
      await forwarder.raw(Buffer.from(body))
    }
    await forwarder.hear(device.uplink(2, Buffer.from('0929003c', 'hex')))
    expect(await b.until(() => b.last('temperature'))).toMatchObject({ value: 23.45 })
  })

  it('tells when the next receive window is expected while a value could not be sent', async () => {
    await using b = bench()
    b.mapper.configure([binding({ spec: { poll: { every: '10m' } } })])
    const { forwarder, device } = await joined(b)
    await using _ = forwarder
    await forwarder.hear(device.uplink(2, Buffer.from('0929003c', 'hex')))
    await b.until(() => b.last('temperature'))
    const pending = b.write('interval', 300, 20)
    const wait = await b.until(() => b.waits[0])
    expect(wait).toMatchObject({
      property: 'interval',
      reason: expect.stringMatching(/listens only after it reported; .*expected at \d{4}-/),
    })
    const outcome = await pending
    expect(outcome).toMatchObject({ state: 'timedOut' })
    expect(outcome.state === 'timedOut' && outcome.reason).toMatch(/next receive window is expected at \d{4}-/)
  })
})
