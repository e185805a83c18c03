import { systemClock } from '../api/clock.ts'
import type { DeviceModelSpec } from '../api/resources.ts'
import { hasBus } from '../hil/radio/mock-bluez.ts'
import { startPeripheral } from '../hil/radio/peripheral-process.ts'
import { BluezTransport } from '../mappers/ble/bluez/transport-bluez.ts'
import { createMapper } from '../mappers/ble/mapper.ts'
import type { OpenTransport } from '../mappers/ble/radio.ts'
import type { DeviceBinding, GatewayHost, Reading } from '../mappers/sdk/mapper.ts'
import { startFarSide } from './far-side/process.ts'
import type { BenchOptions, Figure } from './harness.ts'

const bench = 'ble'
const PERIPHERALS = 3
const ADVERTISERS = 200
const radioMain = new URL('../hil/radio/radio-main.ts', import.meta.url)
const busMain = new URL('../hil/radio/bus-advertisers.ts', import.meta.url)

/**
 * The mapper and noble in this process; the virtual radio in another; each bleno peripheral in its own. Advertisements:
 * 200 devices send BTHome once a second, and each is a twin. Notifications: 20 bytes each, counted as readings.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const durationMs = quick ? 8000 : 30_000
  return [
    await overHci(durationMs),
    ...(hasBus() ? [await overBluez(durationMs)] : []),
    ...(await notifications(quick ? 10_000 : 40_000)),
  ]
}

/** Over HCI as a controller tells of them. */
async function overHci(durationMs: number): Promise<Figure> {
  await using radio = await startFarSide(radioMain, ['C0:00:00:00:00:01', String(ADVERTISERS), '1000'])
  return await advertisements('over HCI', pathsOf(radio.ready)[0]!, undefined, durationMs)
}

/** Over a real system bus as BlueZ tells of them: one signal each. */
async function overBluez(durationMs: number): Promise<Figure> {
  await using bus = await startFarSide(busMain, [String(ADVERTISERS), '1000'])
  const busPath = String(bus.ready['busPath'])
  const open: OpenTransport = async (_, host) => new BluezTransport('hci0', host.clock, busPath)
  return await advertisements('through BlueZ', 'bluez:hci0', open, durationMs)
}

async function advertisements(
  way: string,
  adapter: string,
  open: OpenTransport | undefined,
  durationMs: number,
): Promise<Figure> {
  let readings = 0
  const devices = new Set<string>()
  await using mapper = createMapper(
    hostOf((batch) => {
      readings += batch.filter(({ quality }) => quality === 'good').length
      for (const { device } of batch) devices.add(device)
    }),
    open,
  )
  const properties: DeviceModelSpec['properties'] = [
    { name: 'temperature', type: 'float', ble: { advert: 'bthome', field: 'temperature' } },
    { name: 'humidity', type: 'float', ble: { advert: 'bthome', field: 'humidity' } },
    { name: 'battery', type: 'int', role: 'battery', ble: { advert: 'bthome', field: 'battery' } },
  ]
  const hex = (byte: number) => byte.toString(16).padStart(2, '0').toUpperCase()
  mapper.configure(
    Array.from({ length: ADVERTISERS }, (_, i) =>
      binding(`bench/sensor-${i}`, `A4:C1:38:00:${hex(i >> 8)}:${hex(i & 0xff)}`, adapter, properties),
    ),
  )
  await until(() => devices.size === ADVERTISERS)
  await pause(2000)
  readings = 0
  const cpu = process.cpuUsage()
  const start = performance.now()
  await pause(durationMs)
  const elapsedMs = performance.now() - start
  const { user, system } = process.cpuUsage(cpu)
  const share = (user + system) / 10 / elapsedMs
  const rate = Math.round(readings / properties.length / (elapsedMs / 1000))
  return {
    bench,
    figure: `processor for ${ADVERTISERS} advertisers a second ${way} (${rate}/s decoded into ${properties.length} twins each)`,
    value: share,
    unit: '%',
    budget: '<= 2 %',
    ok: share <= 2 && rate >= ADVERTISERS * 0.95,
  }
}

async function notifications(count: number): Promise<readonly Figure[]> {
  const macs = Array.from({ length: PERIPHERALS }, (_, i) => `C0:00:00:00:00:1${i}`)
  await using radio = await startFarSide(radioMain, [['C0:00:00:00:00:01', ...macs].join(',')])
  const [adapter, ...ports] = pathsOf(radio.ready)
  await using far = new AsyncDisposableStack()
  const peripherals = await Promise.all(ports.map((port) => startPeripheral(port, 'bench')))
  for (const peripheral of peripherals) far.use(peripheral)
  const next = new Map<string, number>()
  let received = 0
  let gaps = 0
  let endMs = 0
  await using mapper = createMapper(
    hostOf((batch) => {
      for (const { device, value } of batch) {
        if (typeof value !== 'number') continue
        if (value !== (next.get(device) ?? 0)) gaps++
        next.set(device, value + 1)
        received++
      }
      endMs = performance.now()
    }),
  )
  const properties: DeviceModelSpec['properties'] = [
    { name: 'number', type: 'int', ble: { characteristic: 'fff2', notify: true, as: 'uint32' } },
  ]
  mapper.configure(macs.map((mac, i) => binding(`bench/stream-${i}`, mac, adapter!, properties)))
  await Promise.all(peripherals.map((peripheral) => peripheral.said(({ subscribed }) => subscribed === 'fff2')))
  const startMs = performance.now()
  for (const peripheral of peripherals) peripheral.tell({ stream: count, bytes: 20 })
  await until(() => received === count * PERIPHERALS, 120_000)
  const rate = (received * 1000) / (endMs - startMs)
  const whole = received === count * PERIPHERALS && gaps === 0
  return [
    {
      bench,
      figure: `notifications of ${PERIPHERALS} peripherals into readings (${whole ? 'none lost, in order' : `${gaps} gaps, ${received} of ${count * PERIPHERALS}`})`,
      value: rate,
      unit: '1/s',
      budget: '>= 5000/s',
      ok: rate >= 5000 && whole,
    },
  ]
}

function hostOf(readings: (batch: readonly Reading[]) => void): GatewayHost {
  return {
    clock: systemClock,
    random: Math.random,
    readings,
    reachability: () => undefined,
    event: () => {},
    writeNews: () => {},
    sighted: () => undefined,
    log: () => undefined,
    storage: { get: () => undefined, keys: () => [], put: () => undefined },
    broker: () => Promise.reject(new Error('no broker in this benchmark')),
  }
}

const binding = (
  key: string,
  mac: string,
  adapter: string,
  properties: DeviceModelSpec['properties'],
): DeviceBinding => ({ key, device: { model: 'bench', ble: { mac, adapter } }, model: { properties }, revision: '1' })

const pathsOf = (ready: Record<string, unknown>): string[] =>
  Array.isArray(ready['paths']) ? ready['paths'].map(String) : []

const pause = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))

async function until(holds: () => boolean, withinMs = 30_000): Promise<void> {
  const endMs = performance.now() + withinMs
  while (!holds() && performance.now() < endMs) await pause(20)
}
