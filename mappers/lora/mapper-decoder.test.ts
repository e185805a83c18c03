import { describe, expect, it } from 'vitest'
import { LoraDevice } from '../../hil/lora-device.ts'
import { LoraForwarder } from '../../hil/lora-forwarder.ts'
import { APP_KEY, bench, binding, DEV_EUI, portOf } from './bench.test-helper.ts'
import { keyFromHex } from './keys.ts'

const DECODER = `function decodeUplink(input) {
  if (input.bytes.length < 2) {
    throw new Error('short');
  }
  while (input.bytes[0] === 0xff) {}
  return { data: { temp: input.bytes[0], door: { open: input.bytes[1] === 1 } } };
}
function encodeDownlink(input) {
  return { fPort: 5, bytes: [0xaa, input.data.every] };
}`

const properties = [
  { name: 'temperature', type: 'float' as const, lora: { field: 'temp' } },
  { name: 'open', type: 'bool' as const, lora: { field: 'door.open' } },
  { name: 'every', type: 'int' as const, access: 'write' as const, lora: { downlink: { field: 'every' } } },
]

describe("a vendor's decoder in the mapper", () => {
  it('reads uplinks, writes downlinks, and says line and payload when it fails', async () => {
    await using b = bench()
    b.mapper.configure([binding({ properties, model: { decoder: DECODER, decoderTime: '1s' } })])
    await using forwarder = await LoraForwarder.open('AA555A0000000101', await portOf(b))
    const device = new LoraDevice({ devEui: DEV_EUI, appKey: keyFromHex(APP_KEY)! })
    await forwarder.hear(device.joinRequest())
    device.accept(Buffer.from((await forwarder.transmitted()).data, 'base64'))

    await forwarder.hear(device.uplink(1, Buffer.from('1501', 'hex')))
    expect(await b.until(() => b.last('open'))).toMatchObject({ value: true, quality: 'good' })
    expect(b.last('temperature')).toMatchObject({ value: 21 })

    await forwarder.hear(device.uplink(1, Buffer.from('15', 'hex')))
    const failed = await b.until(() => b.readings.find(({ quality }) => quality !== 'good'))
    expect(failed).toMatchObject({ quality: 'bad(decoder-error)', reason: 'line 3: short; port 1, payload 15' })
    const about = { about: failed.device, type: 'Warning' }
    const said = { reason: 'DecoderFailed', message: 'line 3: short; port 1, payload 15', unusable: true }
    expect(b.events).toEqual([{ ...about, ...said }])

    // One that does not end is ended, said, and in nobody's way: the next uplink is decoded as ever.
    await forwarder.hear(device.uplink(1, Buffer.from('ff01', 'hex')))
    const looped = await b.until(() => b.readings.find(({ quality }) => quality === 'bad(decoder-timeout)'))
    expect(looped.reason).toContain('payload ff01')
    expect(b.events.slice(1)).toMatchObject([{ ...about, reason: 'DecoderTimeout', message: looped.reason }])
    await forwarder.hear(device.uplink(1, Buffer.from('1601', 'hex')))
    await b.until(() => b.last('temperature')?.value === 22)

    const outcome = b.write('every', 10)
    // The encoder runs in a process of its own: the device reports until the downlink is there.
    const taken = Promise.race([
      forwarder.transmitted(),
      outcome.then((end) => Promise.reject(new Error(JSON.stringify(end)))),
    ])
    let packet: Awaited<typeof taken> | undefined
    while (packet === undefined) {
      const before = b.readings.length
      await forwarder.hear(device.uplink(1, Buffer.from('1501', 'hex')))
      const read = b.until(() => b.readings.length > before)
      packet = await Promise.race([taken, read.then(() => undefined)])
    }
    const down = device.receive(Buffer.from(packet.data, 'base64'))
    expect(down).toMatchObject({ port: 5, payload: Buffer.from('aa0a', 'hex') })
    // An uplink that was on its way before the downlink acknowledges nothing: the server then sends it again.
    let ended: Awaited<typeof outcome> | undefined
    while (ended === undefined) {
      const again = forwarder.transmitted().then(({ data }) => device.receive(Buffer.from(data, 'base64')))
      const before = b.readings.length
      await forwarder.hear(device.uplink(1, Buffer.from('1501', 'hex')))
      await b.until(() => b.readings.length > before)
      ended = await Promise.race([outcome, again.then(() => undefined)])
    }
    expect(ended).toMatchObject({ state: 'applied' })
  })
})
