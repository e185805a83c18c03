import { systemClock } from '../../api/clock.ts'
import { DbusConnection } from '../../mappers/ble/bluez/dbus-connection.ts'
import { type DbusValue, Variant } from '../../mappers/ble/bluez/dbus-values.ts'
import { startBus } from './mock-bluez.ts'

/**
 * A real dbus-daemon with a service that tells of advertisers as BlueZ does, in a process of its own: `fork(this, [count,
 * intervalMs])`. Says `{busPath}` when it is ready; begins when it is asked to scan; ends with its parent.
 */
const [count = '200', interval = '1000'] = process.argv.slice(2)
const patience = { timeoutMs: 10_000 }
const bus = await startBus()
const service = await DbusConnection.open(bus.busPath, systemClock, patience)
const adapter = '/org/bluez/hci0'
const TICK_MS = 5
let timer: NodeJS.Timeout | undefined

service.serve('/', () => ({
  signature: 'a{oa{sa{sv}}}',
  body: [new Map([[adapter, new Map([['org.bluez.Adapter1', new Map([['Powered', new Variant('b', true)]])]])]])],
}))
service.serve('/org/bluez', () => ({}))
service.serve(adapter, ({ member }) => {
  if (member === 'StartDiscovery') timer ??= setInterval(tick, TICK_MS)
  return member === 'Get' ? { signature: 'v', body: [new Variant('b', true)] } : {}
})
await service.requestName('org.bluez', patience)

let sent = 0
let dueMs = performance.now()
/** As many as are due, so that the rate holds whatever the timer does. */
function tick(): void {
  const everyMs = Number(interval) / Number(count)
  dueMs = Math.max(dueMs, performance.now() - 1000)
  for (; dueMs <= performance.now(); dueMs += everyMs) advertise(sent++)
}

/** BTHome v2: packet number, battery, temperature, humidity, all of them moving. */
function advertise(number: number): void {
  const one = number % Number(count)
  const round = Math.floor(number / Number(count))
  const data = Buffer.from('4000000161020000030000', 'hex')
  data[2] = round & 0xff
  data.writeInt16LE(2000 + (round % 500), 6)
  data.writeUInt16LE(4000 + (round % 900), 9)
  const changed = new Map<string, DbusValue>([
    ['RSSI', new Variant('n', -60 - (round % 9))],
    ['ServiceData', new Variant('a{sv}', new Map([['0000fcd2-0000-1000-8000-00805f9b34fb', new Variant('ay', data)]]))],
  ])
  const hex = (byte: number) => byte.toString(16).padStart(2, '0').toUpperCase()
  const path = `${adapter}/dev_A4_C1_38_00_${hex(one >> 8)}_${hex(one & 0xff)}`
  service.signal(path, 'org.freedesktop.DBus.Properties', 'PropertiesChanged', 'sa{sv}as', [
    'org.bluez.Device1',
    changed,
    [],
  ])
}

process.on('disconnect', () => {
  clearInterval(timer)
  void bus[Symbol.asyncDispose]().then(() => process.exit(0))
})
process.send?.({ busPath: bus.busPath })
