import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../api/clock.ts'
import { hasMockBluez, MOCK_BLUEZ_MISSING, type MockBluez, startMockBluez } from '../../../hil/radio/mock-bluez.ts'
import type { BleLink, Heard, Peer } from '../transport.ts'
import { DbusConnection } from './dbus-connection.ts'
import { type DbusValue, Variant } from './dbus-values.ts'
import { BluezTransport } from './transport-bluez.ts'

const patience = { timeoutMs: 10_000 }
const MAC = 'A4:C1:38:00:00:01'
const DEVICE = '/org/bluez/hci0/dev_A4_C1_38_00_00_01'
const BTHOME = '0000fcd2-0000-1000-8000-00805f9b34fb'
const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const peer: Peer = { mac: MAC, random: false }

const missing = !hasMockBluez()
if (missing && process.env['CI'] === 'true') throw new Error(MOCK_BLUEZ_MISSING)

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

/** A bus, somebody else's BlueZ on it with one adapter, and a hand that moves it. */
async function world() {
  const bluez = await startMockBluez()
  open.push(bluez)
  const hand = await DbusConnection.open(bluez.busPath, systemClock, patience)
  open.push(hand)
  const mock = (path: string, of: string, member: string, signature: string, body: readonly DbusValue[]) =>
    hand.call({ destination: 'org.bluez', path, interface: of, member, signature, body }, patience)
  await mock('/', 'org.bluez.Mock', 'AddAdapter', 'ss', ['hci0', 'gateway'])
  const device = () => mock('/', 'org.bluez.Mock', 'AddDevice', 'sss', ['hci0', MAC, 'thermometer'])
  const update = (path: string, of: string, some: Record<string, Variant>) =>
    mock(path, 'org.freedesktop.DBus.Mock', 'UpdateProperties', 'sa{sv}', [of, new Map(Object.entries(some))])
  const method = (path: string, of: string, name: string, takes: string, gives: string, code: string) =>
    mock(path, 'org.freedesktop.DBus.Mock', 'AddMethod', 'sssss', [of, name, takes, gives, code])
  /** As BlueZ tells of a frame: the mock cannot keep dictionaries in its properties. */
  const tell = (some: Record<string, Variant>) =>
    mock(DEVICE, 'org.freedesktop.DBus.Mock', 'EmitSignal', 'sssav', [
      'org.freedesktop.DBus.Properties',
      'PropertiesChanged',
      'sa{sv}as',
      [
        new Variant('s', 'org.bluez.Device1'),
        new Variant('a{sv}', new Map(Object.entries(some))),
        new Variant('as', []),
      ],
    ])
  return { bluez, hand, mock, device, update, tell, method }
}

async function radio(bluez: MockBluez) {
  const transport = new BluezTransport('hci0', systemClock, bluez.busPath)
  open.push(transport)
  await transport.open(patience)
  return transport
}

/** The thermometer's GATT tables, with methods that answer as BlueZ does. */
async function thermometer({ device, mock, update }: Awaited<ReturnType<typeof world>>) {
  await device()
  const add = (path: string, of: string, some: Record<string, Variant>, methods: string[][]) =>
    mock('/', 'org.freedesktop.DBus.Mock', 'AddObject', 'ssa{sv}a(ssss)', [
      path,
      of,
      new Map(Object.entries(some)),
      methods,
    ])
  const uuid = (short: string) => new Variant('s', `0000${short}-0000-1000-8000-00805f9b34fb`)
  await add(`${DEVICE}/service0010`, 'org.bluez.GattService1', { UUID: uuid('181a') }, [])
  const service = new Variant('o', `${DEVICE}/service0010`)
  const remember = "self.Set('org.bluez.GattCharacteristic1', 'Value', dbus.Array(args[0], signature='y'))"
  await add(
    `${DEVICE}/service0010/char0011`,
    'org.bluez.GattCharacteristic1',
    {
      UUID: uuid('2a6e'),
      Service: service,
      Flags: new Variant('as', ['read', 'notify']),
      MTU: new Variant('q', 247),
      Value: new Variant('ay', hex('6608')),
    },
    [
      ['ReadValue', 'a{sv}', 'ay', "ret = self.Get('org.bluez.GattCharacteristic1', 'Value')"],
      ['StartNotify', '', '', ''],
    ],
  )
  await add(
    `${DEVICE}/service0010/char0021`,
    'org.bluez.GattCharacteristic1',
    {
      UUID: uuid('fff1'),
      Service: service,
      Flags: new Variant('as', ['read', 'write', 'write-without-response']),
      Value: new Variant('ay', hex('05')),
      Type: new Variant('s', ''),
    },
    [
      ['ReadValue', 'a{sv}', 'ay', "ret = self.Get('org.bluez.GattCharacteristic1', 'Value')"],
      ['WriteValue', 'aya{sv}', '', `${remember}; self.Set('org.bluez.GattCharacteristic1', 'Type', args[1]['type'])`],
    ],
  )
  await update(DEVICE, 'org.bluez.Device1', { ServicesResolved: new Variant('b', true) })
}

async function next<T>(listen: (listener: (one: T) => void) => void): Promise<T> {
  return new Promise((resolve) => listen(resolve))
}

describe.skipIf(missing)(`BlueZ on a real bus (${MOCK_BLUEZ_MISSING})`, { timeout: 30_000 }, () => {
  it('turns what BlueZ says of a device back into advertisements, new ones and changes', async () => {
    const { bluez, device, tell } = await world()
    const transport = await radio(bluez)
    const heard: Heard[] = []
    const waiting: (() => void)[] = []
    transport.onHeard((one) => {
      heard.push(one)
      for (const wake of waiting.splice(0)) wake()
    })
    const more = () => new Promise<void>((resolve) => waiting.push(resolve))
    await transport.scan(true, patience)
    const first = more()
    await device()
    await first
    expect(heard[0]).toMatchObject({ mac: MAC, rssiDbm: -79, random: false })
    const second = more()
    const data = new Map([[BTHOME, new Variant('ay', hex('40 0161'))]])
    await tell({ RSSI: new Variant('n', -61), ServiceData: new Variant('a{sv}', data) })
    await second
    expect(heard[1]).toMatchObject({ mac: MAC, rssiDbm: -61 })
    expect(Buffer.from(heard[1]?.data ?? []).toString('hex')).toBe('0616d2fc400161')
    const third = more()
    const two = new Map([...data, ['0000feaa-0000-1000-8000-00805f9b34fb', new Variant('ay', hex('20 00'))]])
    const maker = new Map([[0x0499, new Variant('ay', hex('05 12'))]])
    await tell({
      ServiceData: new Variant('a{sv}', two),
      ManufacturerData: new Variant('a{qv}', maker),
    })
    await third
    // The service data of before is in the message once more, but was not in the frame.
    expect(Buffer.from(heard[2]?.data ?? []).toString('hex')).toBe('05ff99040512' + '0516aafe2000')
    // Some controllers do not measure; BlueZ passes on what they say instead.
    const fourth = more()
    await tell({ RSSI: new Variant('n', 127) })
    await fourth
    expect(heard[3]).toMatchObject({ mac: MAC, rssiDbm: undefined })
  })

  it('asks for Low Energy and every frame, and does without what an old BlueZ does not know', async () => {
    const { bluez, mock, method } = await world()
    const filter = async () => {
      const [value] = await mock('/org/bluez/hci0', 'org.freedesktop.DBus.Properties', 'Get', 'ss', [
        'org.bluez.Adapter1',
        'DiscoveryFilter',
      ])
      return value instanceof Variant && value.value instanceof Map ? [...value.value.keys()] : []
    }
    const transport = await radio(bluez)
    await transport.scan(true, patience)
    expect(await filter()).toEqual(['Transport', 'DuplicateData'])
    const old = `
if 'DuplicateData' in args[0]:
    raise dbus.exceptions.DBusException('unknown', name='org.bluez.Error.InvalidArguments')
self.props['org.bluez.Adapter1']['DiscoveryFilter'] = args[0]`
    await method('/org/bluez/hci0', 'org.bluez.Adapter1', 'SetDiscoveryFilter', 'a{sv}', '', old)
    await transport.scan(true, patience)
    expect(await filter()).toEqual(['Transport'])
  })

  it('ends its scan while it connects, and takes it up again whether or not that came to something', async () => {
    const here = await world()
    await thermometer(here)
    const transport = await radio(here.bluez)
    await transport.scan(true, patience)
    const property = async (name: string) => {
      const of = ['org.bluez.Adapter1', name]
      const [value] = await here.mock('/org/bluez/hci0', 'org.freedesktop.DBus.Properties', 'Get', 'ss', of)
      return value instanceof Variant ? value.value : value
    }
    expect(await property('Discovering')).toBe(true)
    const refusing = `
on = objects['/org/bluez/hci0'].props['org.bluez.Adapter1']['Discovering']
raise dbus.exceptions.DBusException('scan on' if on else 'scan off', name='org.bluez.Error.Failed')`
    await here.method(DEVICE, 'org.bluez.Device1', 'Connect', '', '', refusing)
    await expect(transport.connect(peer, patience)).rejects.toThrow('scan off')
    expect(await property('Discovering')).toBe(true)
  })

  it('connects, finds characteristics, reads, writes both ways, is notified and leaves', async () => {
    const here = await world()
    await thermometer(here)
    const transport = await radio(here.bluez)
    const link: BleLink = await transport.connect(peer, patience)
    const remotes = await link.discover(patience)
    const temperature = remotes.find(({ uuid }) => uuid === '2a6e')
    const setpoint = remotes.find(({ uuid }) => uuid === 'fff1')
    if (temperature === undefined || setpoint === undefined) throw new Error('not found')
    expect(temperature).toMatchObject({ service: '181a', canRead: true, canNotify: true, canWrite: false })
    expect(link.mtu).toBe(247)
    expect(await link.read(temperature, patience)).toEqual(hex('6608'))
    const told = await next<Uint8Array>((resolve) => {
      void link.subscribe(temperature, resolve, patience).then(() =>
        here.update(`${DEVICE}/service0010/char0011`, 'org.bluez.GattCharacteristic1', {
          Value: new Variant('ay', hex('ca09')),
        }),
      )
    })
    expect(told).toEqual(hex('ca09'))
    const kind = async () => {
      const at = `${DEVICE}/service0010/char0021`
      const of = 'org.freedesktop.DBus.Properties'
      const [value] = await here.mock(at, of, 'Get', 'ss', ['org.bluez.GattCharacteristic1', 'Type'])
      return value instanceof Variant ? value.value : value
    }
    await link.write(setpoint, hex('17'), true, patience)
    expect(await link.read(setpoint, patience)).toEqual(hex('17'))
    expect(await kind()).toBe('request')
    await link.write(setpoint, hex('18'), false, patience)
    expect(await kind()).toBe('command')
    expect(await link.rssi(patience)).toBe(-79)
    await expect(link.write(temperature, hex('00'), true, patience)).rejects.toMatchObject({
      code: 'SLUICE_BLE_REFUSED',
    })
    await link.disconnect(patience)
    expect(await link.ended).toBe('disconnected by us')
    await expect(link.read(temperature, patience)).rejects.toMatchObject({ code: 'SLUICE_BLE_DISCONNECTED' })
  })

  it('says when the device leaves, and that one that BlueZ has not heard cannot be connected to', async () => {
    const here = await world()
    await thermometer(here)
    const transport = await radio(here.bluez)
    const link = await transport.connect(peer, patience)
    await here.mock(DEVICE, 'org.bluez.Device1', 'Disconnect', '', [])
    expect(await link.ended).toContain('disconnected')
    const stranger = transport.connect({ mac: '11:22:33:44:55:66', random: true }, patience)
    await expect(stranger).rejects.toMatchObject({ code: expect.stringMatching(/DISCONNECTED|REFUSED/) })
  })

  it('ends a call that BlueZ never answers by its own deadline, and when it is cancelled', async () => {
    const here = await world()
    await thermometer(here)
    await here.method(DEVICE, 'org.bluez.Device1', 'Connect', '', '', 'import time; time.sleep(1.5)')
    const transport = await radio(here.bluez)
    await expect(transport.connect(peer, { timeoutMs: 100 })).rejects.toMatchObject({ code: 'SLUICE_BLE_TIMEOUT' })
    const signal = AbortSignal.abort()
    await expect(transport.connect(peer, { ...patience, signal })).rejects.toMatchObject({
      code: 'SLUICE_BLE_CANCELLED',
    })
  })

  it('pairs with the passkey it was given, answers nobody who was not asked for, and pairs only once', async () => {
    const here = await world()
    await thermometer(here)
    // As BlueZ: asks the agent of whoever called, and takes 123456 only.
    const ask = (path: string) => `
bus = dbus.SystemBus()
asked = None
for name in bus.list_names():
    if not name.startswith(':') or name == bus.get_unique_name(): continue
    try:
        agent = dbus.Interface(bus.get_object(name, '/dev/sluice/agent', introspect=False), 'org.bluez.Agent1')
        asked = agent.RequestPasskey(dbus.ObjectPath('${path}'))
    except dbus.exceptions.DBusException as error:
        if 'Rejected' in error.get_dbus_name(): raise dbus.exceptions.DBusException('no', name='org.bluez.Error.AuthenticationRejected')
`
    const take = `${ask(DEVICE)}
if asked != 123456: raise dbus.exceptions.DBusException('wrong', name='org.bluez.Error.AuthenticationFailed')
self.UpdateProperties('org.bluez.Device1', {'Paired': dbus.Boolean(True)})`
    await here.method(DEVICE, 'org.bluez.Device1', 'Pair', '', '', take)
    await here.method('/org/bluez', 'test.Foe', 'Bond', '', '', ask('/org/bluez/hci0/dev_66_66_66_66_66_66'))
    const transport = await radio(here.bluez)
    await expect(transport.connect({ ...peer, pairing: { passkey: 1 } }, patience)).rejects.toMatchObject({
      code: 'SLUICE_BLE_REFUSED',
      message: expect.stringContaining('pairing'),
    })
    await transport.connect({ ...peer, pairing: { passkey: 123456 } }, patience)
    await here.method(DEVICE, 'org.bluez.Device1', 'Pair', '', '', "raise Exception('once is enough')")
    await transport.connect({ ...peer, pairing: { passkey: 123456 } }, patience)
    const foe = here.mock('/org/bluez', 'test.Foe', 'Bond', '', [])
    await expect(foe).rejects.toMatchObject({ errorName: 'org.bluez.Error.AuthenticationRejected' })
  })

  it.each([
    ['the adapter is switched off', 'switched off'],
    ['the adapter is taken out', 'taken out'],
    ['bluetoothd dies', 'bluetoothd has ended'],
    ['the bus dies', 'the system bus is gone'],
  ])('notices that %s, and ends the links', async (what, words) => {
    const here = await world()
    await thermometer(here)
    const transport = await radio(here.bluez)
    const link = await transport.connect(peer, patience)
    expect(await transport.alive(patience)).toBe(true)
    const down = next<string>((resolve) => transport.onDown(resolve))
    if (words === 'switched off') {
      await here.update('/org/bluez/hci0', 'org.bluez.Adapter1', { Powered: new Variant('b', false) })
    } else if (words === 'taken out') await here.mock('/', 'org.bluez.Mock', 'RemoveAdapter', 's', ['hci0'])
    else await here.bluez.kill(what === 'bluetoothd dies' ? 'bluez' : 'bus')
    expect(await down).toContain(words)
    expect(await link.ended).toContain(words)
    expect(await transport.alive(patience)).toBe(false)
  })

  it('says what is there when an adapter is not, and what to do when there is no bus', async () => {
    const { bluez } = await world()
    const wrong = new BluezTransport('hci3', systemClock, bluez.busPath)
    await expect(wrong.open(patience)).rejects.toMatchObject({ message: expect.stringContaining('BlueZ has hci0') })
    const nowhere = new BluezTransport('hci0', systemClock, '/nonexistent/bus')
    await expect(nowhere.open(patience)).rejects.toMatchObject({
      code: 'SLUICE_BLE_RADIO',
      hint: expect.stringContaining('bluez'),
    })
  })

  it('hears nothing that another program says in the name of BlueZ', async () => {
    const { bluez, hand, device, update } = await world()
    await device()
    const transport = await radio(bluez)
    const heard: Heard[] = []
    const last = next<Heard>((resolve) =>
      transport.onHeard((one) => {
        heard.push(one)
        if (one.rssiDbm === -50) resolve(one)
      }),
    )
    hand.signal(DEVICE, 'org.freedesktop.DBus.Properties', 'PropertiesChanged', 'sa{sv}as', [
      'org.bluez.Device1',
      new Map([['RSSI', new Variant('n', -1)]]),
      [],
    ])
    await update(DEVICE, 'org.bluez.Device1', { RSSI: new Variant('n', -50) })
    await last
    expect(heard.map(({ rssiDbm }) => rssiDbm)).toEqual([-50])
  })
})
