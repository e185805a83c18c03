import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LoraDevice } from '../../hil/lora-device.ts'
import { LoraForwarder } from '../../hil/lora-forwarder.ts'
import { APP_KEY, type Bench, bench, binding, DEV_EUI, MemoryStorage, portOf } from './bench.test-helper.ts'
import { keyFromHex } from './keys.ts'
import { readCarried } from './server/carried.ts'

const READING = Buffer.from('0929003c', 'hex')
const newDevice = () => new LoraDevice({ devEui: DEV_EUI, appKey: keyFromHex(APP_KEY)! }, 1)
const bytesOf = (packet: { data: string }) => Buffer.from(packet.data, 'base64')
const forwarderOf = async (b: Bench, eui: string) => LoraForwarder.open(eui, await portOf(b))

/** A gateway that goes on with what another one left. */
function gateway(carried?: string, options: Parameters<typeof binding>[0] = {}, storage = new MemoryStorage()): Bench {
  const b = bench({ storage })
  b.mapper.configure([{ ...binding(options), ...(carried === undefined ? {} : { carried }) }])
  return b
}

/** A device that has joined at one gateway and was heard there; what that gateway leaves, and a frame that somebody recorded. */
async function served() {
  await using b = gateway()
  await using forwarder = await forwarderOf(b, 'AA555A0000000101')
  const device = newDevice()
  await forwarder.hear(device.joinRequest())
  expect(device.accept(bytesOf(await forwarder.transmitted()))).toBe(true)
  const recorded = device.uplink(2, READING)
  await forwarder.hear(recorded)
  await b.until(() => b.last('temperature'))
  const down = b.write('interval', 300)
  await forwarder.hear(device.uplink(2, READING))
  expect(device.receive(bytesOf(await forwarder.transmitted()))).toMatchObject({ confirmed: true })
  await forwarder.hear(device.uplink(2, Buffer.from('0929012c', 'hex')))
  expect(await down).toMatchObject({ state: 'applied' })
  const { carry } = await b.until(() => b.news.findLast(({ carry: text }) => text !== undefined))
  return { device, recorded, carry: carry!, sawKeys: JSON.stringify([b.news, b.logs]) }
}

describe('a LoRaWAN device that moves to another gateway', () => {
  it('goes on there without joining again, up and down, and its recorded frames are refused there', async () => {
    const { device, recorded, carry } = await served()
    await using b = gateway(carry)
    await using forwarder = await forwarderOf(b, 'AA555A0000000202')
    await forwarder.hear(device.uplink(2, READING))
    expect(await b.until(() => b.last('temperature'))).toMatchObject({ value: 23.45, quality: 'good' })
    const down = b.write('interval', 60)
    await forwarder.hear(device.uplink(2, READING))
    // The device takes a downlink only if its counter is higher than all before.
    expect(device.receive(bytesOf(await forwarder.transmitted()))).toMatchObject({ port: 3, confirmed: true })
    await forwarder.hear(device.uplink(2, READING))
    expect(await down).toMatchObject({ state: 'applied' })
    const told = b.readings.length
    await forwarder.hear(recorded)
    await b.until(() => b.events.find(({ reason }) => reason === 'FrameReplayed'))
    expect(b.readings.slice(told).filter(({ quality }) => quality === 'good')).toEqual([])
  })

  it('cannot be made to join again by a join request that somebody recorded', async () => {
    const { carry } = await served()
    await using b = gateway(carry)
    await using forwarder = await forwarderOf(b, 'AA555A0000000202')
    await forwarder.hear(newDevice().joinRequest())
    await b.until(() => b.events.find(({ reason }) => reason === 'FrameReplayed'))
    expect(b.mapper.links().some(({ errors }) => errors['join-replay'] === 1)).toBe(true)
  })

  it('tells the cloud no key', async () => {
    const { device, carry, sawKeys } = await served()
    const { nwkSKey, appSKey } = device.keys!
    for (const key of [APP_KEY, nwkSKey.export().toString('hex'), appSKey.export().toString('hex')]) {
      expect(carry.toLowerCase()).not.toContain(key.toLowerCase())
      expect(sawKeys.toLowerCase()).not.toContain(key.toLowerCase())
    }
    expect(carry.length).toBeLessThanOrEqual(2048)
  })

  it('is not believed where the gateway has another AppKey, and that is counted', async () => {
    const { device, carry } = await served()
    await using b = gateway(carry, { lora: { appKey: `${'0'.repeat(31)}1` } })
    await using forwarder = await forwarderOf(b, 'AA555A0000000202')
    await forwarder.hear(device.uplink(2, READING))
    await b.until(() => b.mapper.links().some(({ errors }) => errors['unknown-device'] === 1))
    expect(b.mapper.links().some(({ errors }) => errors['carried'] === 1)).toBe(true)
    expect(b.last('temperature')?.quality).not.toBe('good')
  })

  it('does not go back to what was left long ago after a restart', async () => {
    const { device, recorded, carry } = await served()
    const storage = new MemoryStorage()
    {
      await using b = gateway(carry, {}, storage)
      await using forwarder = await forwarderOf(b, 'AA555A0000000202')
      await forwarder.hear(device.uplink(2, READING))
      await b.until(() => b.last('temperature'))
    }
    const late = device.uplink(2, READING)
    await using b = gateway(carry, {}, storage)
    await using forwarder = await forwarderOf(b, 'AA555A0000000202')
    await forwarder.hear(late)
    await b.until(() => b.last('temperature'))
    await forwarder.hear(late)
    await forwarder.hear(recorded)
    await b.until(() => b.events.find(({ reason }) => reason === 'FrameReplayed'))
    expect(b.readings.filter(({ property }) => property === 'temperature')).toHaveLength(1)
  })
})

describe('what a gateway leaves', () => {
  it('is read or refused, whatever it is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.string({ minLength: 2049, maxLength: 3000 })), (text) => {
        const carried = readCarried(text)
        if (carried !== undefined) expect(carried.fUp).toBeGreaterThanOrEqual(-1)
      }),
    )
    const whole = { fUp: 1, fDown: 1, joinNonce: 1, devNonces: [1], radio: {} }
    expect(readCarried(JSON.stringify(whole))).toEqual(whole)
    for (const wrong of [{ fUp: -2 }, { fDown: 1.5 }, { joinNonce: 2 ** 24 }, { devNonces: [65_536] }, { radio: [] }]) {
      expect(readCarried(JSON.stringify({ ...whole, ...wrong }))).toBeUndefined()
    }
  })
})
