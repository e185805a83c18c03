import { readFile } from 'node:fs/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { systemClock } from '../../api/clock.ts'
import type { DeviceModelSpec } from '../../api/resources.ts'
import { type PeripheralProcess, startPeripheral } from '../../hil/radio/peripheral-process.ts'
import { type VirtualRadio, virtualRadio } from '../../hil/radio/virtual-radio.ts'
import { createMapper } from './mapper.ts'
import { device, type TestHost, testHost } from './test-host.test-helper.ts'

const CENTRAL = 'C0:00:00:00:00:01'
const PERIPHERAL = 'C0:00:00:00:00:10'
const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))

let bench: { radio: VirtualRadio; host: TestHost; adapter: string } | undefined
const peripherals: PeripheralProcess[] = []
const mappers: AsyncDisposable[] = []

function setUp() {
  const radio = virtualRadio(systemClock, Math.random)
  const { path: adapter } = radio.add({ mac: CENTRAL })
  bench = { radio, host: testHost(), adapter }
  return bench
}

async function peripheral(radio: VirtualRadio, mac = PERIPHERAL) {
  const port = radio.add({ mac })
  const process = await startPeripheral(port.path, 'thermometer')
  peripherals.push(process)
  return { port, process }
}

function start(host: TestHost) {
  const mapper = createMapper(host.host)
  mappers.push(mapper)
  return mapper
}

afterEach(async () => {
  await Promise.all(mappers.splice(0).map((mapper) => mapper[Symbol.asyncDispose]()))
  await Promise.all(peripherals.splice(0).map((process) => process[Symbol.asyncDispose]()))
  await bench?.radio[Symbol.asyncDispose]()
  bench = undefined
})

const temperature = (ble: object) => ({ name: 'temperature', type: 'float' as const, unit: 'degC', ble })

describe('noble on the virtual radio', { timeout: 30_000 }, () => {
  it('turns an advertisement into a reading, with the signal and the battery of the device', async () => {
    const { radio, host, adapter } = setUp()
    const mac = 'A4:C1:38:00:00:01'
    radio.air.path(CENTRAL, mac, { rssiDbm: -71 })
    // Flags, then BTHome v2: battery 97 %, temperature 25.06, humidity 50.55.
    radio.air.beacon({ mac, intervalMs: 30, data: () => hex('020106 0c16 d2fc 40 0161 02ca09 03bf13') })
    start(host).configure([
      device('ns/room', mac, [temperature({ advert: 'bthome', field: 'temperature' })], { address: { adapter } }),
    ])
    const reading = await host.until(() => host.readings[0])
    expect(reading).toMatchObject({ device: 'ns/room', property: 'temperature', value: 25.06, quality: 'good' })
    const news = await host.until(() => host.news.find(({ batteryPercent }) => batteryPercent === 97))
    expect(news).toMatchObject({ online: true, rssiDbm: -71 })
  })

  it('survives advertisements that make noble throw, and keeps hearing the others', async () => {
    const { radio, host, adapter } = setUp()
    const mac = 'A4:C1:38:00:00:02'
    for (const [index, data] of ['010a', '01ff', '0116', '02', 'ff', '0000', '03160102'].entries()) {
      radio.air.beacon({ mac: `66:66:66:66:66:0${index}`, intervalMs: 10, data: () => hex(data) })
    }
    radio.air.beacon({ mac, intervalMs: 30, data: () => hex('0616 d2fc 40 0161') })
    start(host).configure([
      device('ns/room', mac, [{ name: 'charge', type: 'int', ble: { advert: 'bthome', field: 'battery' } }], {
        address: { adapter },
        spec: { poll: { every: '20ms' } },
      }),
    ])
    await host.until(() => host.values('charge').length >= 5)
    expect(host.values('charge')).toContain(97)
  })

  it('reads, is notified and writes over GATT', async () => {
    const { radio, host, adapter } = setUp()
    const { process } = await peripheral(radio)
    const mapper = start(host)
    mapper.configure([
      device(
        'ns/room',
        PERIPHERAL,
        [
          temperature({ characteristic: 'temperature', notify: true }),
          { name: 'charge', type: 'int', ble: { characteristic: 'batteryLevel' } },
          { name: 'setpoint', type: 'int', access: 'readwrite', min: 5, max: 30, ble: { characteristic: 'fff1' } },
        ],
        { address: { adapter } },
      ),
    ])
    await host.until(() => host.values('setpoint').length > 0)
    expect(host.values('temperature')[0]).toBe(21.5)
    expect(host.values('charge')[0]).toBe(87)
    process.tell({ temperature: -525 })
    await host.until(() => host.values('temperature').includes(-5.25))
    const command = { device: 'ns/room', property: 'setpoint', value: 23, version: 1 }
    const deadlineMs = host.host.clock.monotonic() + 10_000
    const outcome = await mapper.write({ ...command, deadlineMs }, new AbortController().signal)
    expect(outcome).toMatchObject({ state: 'applied', readBack: 23 })
    expect(await process.said((message) => 'wrote' in message)).toMatchObject({ wrote: '17', withoutResponse: false })
    expect(mapper.explain('ns/room')?.notes.join()).toContain('connected, MTU 256')
    expect(mapper.links()[0]).toMatchObject({ protocol: 'ble', state: 'up', devices: 1 })
  })

  it('takes indications: the ST board of the catalogue, as its model says', async () => {
    const { radio, host, adapter } = setUp()
    const { process } = await peripheral(radio)
    const file = new URL('../../devicemodels/st/stwin-box.yaml', import.meta.url)
    const { spec }: { spec: DeviceModelSpec } = parse(await readFile(file, 'utf8'))
    const [first] = spec.properties
    expect(first?.['ble']).toMatchObject({ notify: true })
    start(host).configure([device('ns/board', PERIPHERAL, spec.properties, { address: { adapter } })])
    await process.said(({ subscribed }) => subscribed === '00140000000111e1ac360002a5d5c51b')
    // Timestamp, 1013.25 hPa in hundredths, 21.7 degrees in tenths, each lowest byte first.
    process.tell({ board: '0100' + 'cd8b0100' + 'd900' })
    await host.until(() => host.values('temperature').length > 0)
    expect(host.values('temperature')).toEqual([21.7])
    expect(host.values('pressure')).toEqual([1013.25])
  })

  it('notices that a peer died, leaves the others alone, and takes it back', async () => {
    const { radio, host, adapter } = setUp()
    const other = 'C0:00:00:00:00:11'
    const first = await peripheral(radio)
    const second = await peripheral(radio, other)
    const bindings = [PERIPHERAL, other].map((mac, i) =>
      device(`ns/${i}`, mac, [temperature({ characteristic: 'temperature', notify: true })], { address: { adapter } }),
    )
    const mapper = start(host)
    mapper.configure(bindings)
    await host.until(
      () => host.values('temperature', 'ns/0').length > 0 && host.values('temperature', 'ns/1').length > 0,
    )
    await first.port.unplug()
    const gone = await host.until(() => host.news.find(({ device: key, online }) => key === 'ns/0' && !online))
    expect(gone.reason).toContain('disconnected (8)')
    second.process.tell({ temperature: 1234 })
    await host.until(() => host.values('temperature', 'ns/1').includes(12.34))
    expect(host.news.some(({ device: key, online }) => key === 'ns/1' && !online)).toBe(false)
    expect(mapper.links()[0]?.errors).not.toHaveProperty('radio-reset')
    const from = host.readings.length
    await peripheral(radio)
    await host.until(() =>
      host.readings.slice(from).some(({ device: key, quality }) => key === 'ns/0' && quality === 'good'),
    )
  })

  it('writes without response where the model says so, and over a bad path', async () => {
    const { radio, host, adapter } = setUp()
    radio.air.path(CENTRAL, PERIPHERAL, { loss: 0.2, latencyMs: 3 })
    const { process } = await peripheral(radio)
    const mapper = start(host)
    const ble = { characteristic: 'fff1', write: 'withoutResponse', writeValues: { on: '01', off: '00' } }
    mapper.configure([
      device('ns/room', PERIPHERAL, [{ name: 'lamp', type: 'string', access: 'write', ble }], { address: { adapter } }),
    ])
    await host.until(() => host.news.some(({ online }) => online))
    const command = { device: 'ns/room', property: 'lamp', value: 'on', version: 1 }
    const deadlineMs = host.host.clock.monotonic() + 15_000
    const outcome = await mapper.write({ ...command, deadlineMs }, new AbortController().signal)
    expect(outcome).toMatchObject({ state: 'applied' })
    expect(await process.said((message) => 'wrote' in message)).toMatchObject({ wrote: '01', withoutResponse: true })
  })

  it('notices that the radio was unplugged', async () => {
    const { radio, host, adapter } = setUp()
    const mac = 'A4:C1:38:00:00:03'
    radio.air.beacon({ mac, intervalMs: 30, data: () => hex('0616 d2fc 40 0161') })
    const port = [...radio.ports].find(({ path }) => path === adapter)
    start(host).configure([
      device('ns/room', mac, [{ name: 'charge', type: 'int', ble: { advert: 'bthome', field: 'battery' } }], {
        address: { adapter },
      }),
    ])
    await host.until(() => host.values('charge').length > 0)
    await port?.unplug()
    const down = await host.until(() => host.news.find(({ online }) => !online))
    expect(down.reason).toContain(adapter)
    expect(host.readings.at(-1)).toMatchObject({ quality: 'bad(radio-down)' })
  })

  it('resets a radio that hangs, and serves on', async () => {
    const { radio, host, adapter } = setUp()
    const mac = 'A4:C1:38:00:00:04'
    radio.air.beacon({ mac, intervalMs: 30, data: () => hex('0616 d2fc 40 0161') })
    const port = [...radio.ports].find(({ path }) => path === adapter)
    const mapper = start(host)
    mapper.configure([
      device('ns/room', mac, [{ name: 'charge', type: 'int', ble: { advert: 'bthome', field: 'battery' } }], {
        address: { adapter },
      }),
    ])
    await host.until(() => host.values('charge').length > 0)
    port?.controller.hang()
    const down = await host.until(() => host.news.find(({ online }) => !online))
    expect(down.reason).toContain('does not answer')
    port?.controller.revive()
    await host.until(() => host.news.at(-1)?.online === true)
    expect(mapper.links()[0]).toMatchObject({ state: 'up', errors: { 'radio-reset': 1 } })
  })

  it('takes up its connections again after the radio hung and was reset', async () => {
    const { radio, host, adapter } = setUp()
    await peripheral(radio)
    const port = [...radio.ports].find(({ path }) => path === adapter)
    const mapper = start(host)
    mapper.configure([
      device('ns/room', PERIPHERAL, [temperature({ characteristic: 'temperature', notify: true })], {
        address: { adapter },
      }),
    ])
    await host.until(() => host.values('temperature').length > 0)
    port?.controller.hang()
    await host.until(() => host.news.find(({ online }) => !online))
    const from = host.readings.length
    port?.controller.revive()
    await host.until(() => host.readings.slice(from).some(({ quality }) => quality === 'good'))
    expect(mapper.links()[0]).toMatchObject({ state: 'up', use: 1 / 7, errors: { 'radio-reset': 1 } })
  })

  it.each([
    ['/dev/no-such-radio', 'is not there'],
    ['bluez:hci9', 'bluez'],
    ['hci7', 'hci7'],
  ])('says what is wrong with the radio %s and does not end the process', async (adapter, words) => {
    const { host } = setUp()
    start(host).configure([
      device('ns/room', 'A4:C1:38:00:00:05', [temperature({ advert: 'bthome', field: 'temperature' })], {
        address: { adapter },
      }),
    ])
    const down = await host.until(() => host.news[0])
    expect(down).toMatchObject({ online: false, reason: expect.stringContaining(words) })
  })
})
