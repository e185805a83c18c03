import { readdirSync, readFileSync } from 'node:fs'
import { systemClock } from '../../api/clock.ts'
import type { DeviceModelSpec, DeviceSpec } from '../../api/resources.ts'
import { createMapper } from '../../mappers/ble/mapper.ts'
import type { DeviceReachability, GatewayHost, HostEvent, Mapper, Reading, Sighting } from '../../mappers/sdk/mapper.ts'

/**
 * Runs inside the guest of `guest-machine.ts` as an ordinary user: the BLE mapper as any gateway has it, on the adapter
 * that is named, and prints what it found. `bluetooth-client.ts ROLE ADAPTER ...`.
 */

const result = (name: string, value: unknown) =>
  process.stdout.write(`SLUICE result ${name} ${JSON.stringify(value)}\n`)

export interface Figures {
  readonly readings: Reading[]
  readonly news: DeviceReachability[]
  readonly sightings: Sighting[]
  readonly events: HostEvent[]
}

const seen: Figures = { readings: [], news: [], sightings: [], events: [] }
const watchers = new Set<() => void>()
const look = () => {
  for (const watcher of [...watchers]) watcher()
}

const host: GatewayHost = {
  clock: systemClock,
  random: Math.random,
  readings: (batch) => {
    seen.readings.push(...batch)
    look()
  },
  reachability: (news) => {
    seen.news.push(...news)
    look()
  },
  sighted: (some) => {
    seen.sightings.push(...some)
    look()
  },
  event: (event) => void seen.events.push(event),
  writeNews: () => undefined,
  log: (level, message, fields) => void process.stdout.write(`${level} ${message} ${JSON.stringify(fields ?? {})}\n`),
  storage: { get: () => undefined, keys: () => [], put: () => undefined },
  broker: () => Promise.reject(new Error('no broker here')),
}

function until<T>(what: string, seconds: number, find: () => T | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      clearTimeout(timer)
      watchers.delete(watcher)
      settle()
    }
    const watcher = () => {
      const found = find()
      if (found !== undefined) end(() => resolve(found))
    }
    const told = () =>
      JSON.stringify({ ...seen, readings: seen.readings.slice(-5), sightings: seen.sightings.slice(-5) })
    const timer = setTimeout(
      () => end(() => reject(new Error(`${what} did not come within ${seconds} s: ${told()}`))),
      seconds * 1000,
    )
    watchers.add(watcher)
    watcher()
  })
}

type Properties = DeviceModelSpec['properties']

function serve(mapper: Mapper, key: string, ble: object, properties: Properties): void {
  const device: DeviceSpec = { model: 'm', ble }
  mapper.configure([{ key, device, model: { properties }, revision: key }])
}

const good = (property: string, wants: (value: unknown) => boolean = () => true) =>
  seen.readings.find((one) => one.property === property && one.quality === 'good' && wants(one.value))

/** Who this process is and what it may: no root, and no capability but those it was given. */
function whoAmI(): object {
  const status = readFileSync('/proc/self/status', 'latin1')
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]?.trim() ?? ''
  return { uid: process.getuid?.(), groups: field('Groups'), capabilities: field('CapEff') }
}

/** Hears the peripheral, connects, reads, is notified and writes. */
async function gatt(role: string, adapter: string, mac: string): Promise<void> {
  await using mapper = createMapper(host)
  serve(mapper, 'ns/room', { mac, adapter }, [
    { name: 'temperature', type: 'float', ble: { characteristic: 'temperature', notify: true } },
    { name: 'charge', type: 'int', ble: { characteristic: 'batteryLevel' } },
    { name: 'setpoint', type: 'int', access: 'readwrite', min: 5, max: 30, ble: { characteristic: 'fff1' } },
  ])
  const first = await until('a value', 60, () => (good('charge') && good('setpoint') ? good('temperature') : undefined))
  // The peripheral counts its temperature up as soon as somebody listens.
  const told = await until('a notification', 30, () => good('temperature', (value) => value !== first.value))
  const command = { device: 'ns/room', property: 'setpoint', value: 23, version: 1 }
  const deadlineMs = systemClock.monotonic() + 20_000
  const outcome = await mapper.write({ ...command, deadlineMs }, new AbortController().signal)
  result(role, {
    ...whoAmI(),
    charge: good('charge')?.value,
    first: first.value,
    told: told.value,
    outcome,
    online: seen.news.at(-1)?.online,
    rssiDbm: seen.news.findLast(({ rssiDbm }) => rssiDbm !== undefined)?.rssiDbm,
    notes: mapper.explain('ns/room')?.notes,
    link: mapper.links()[0],
  })
}

/** Pairs with a lock, reads what it shows only to friends, and comes back later without pairing again. */
async function bond(role: string, adapter: string, mac: string): Promise<void> {
  const properties: Properties = [
    { name: 'secret', type: 'int', ble: { characteristic: 'fff1' }, poll: { every: '5s' } },
  ]
  const visit = async (name: string, pair: boolean) => {
    seen.readings.length = 0
    await using mapper = createMapper(host)
    serve(
      mapper,
      'ns/lock',
      { mac, adapter, connectTimeout: '45s', timeout: '20s', ...(pair ? { pair } : {}) },
      properties,
    )
    const read = await until(`${name} reading`, 90, () => good('secret'))
    return read.value
  }
  const first = await visit('a first', true)
  result(role, { ...whoAmI(), first, again: await visit('another', true) })
}

const ADVERTISERS = 20
const COUNT_MS = 20_000

/** What the processes named take of the processor, milliseconds since they began. */
function cpuMs(names: readonly string[]): Record<string, number> {
  const used: Record<string, number> = {}
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))
    // After the name: state is field 3, user and system time are 14 and 15, in hundredths of a second.
    const [user, system] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13)
    if (names.includes(name)) used[name] = (used[name] ?? 0) + (Number(user) + Number(system)) * 10
  }
  return used
}

/** Counts what it costs to hear advertisers that send BTHome once a second, each of them a twin. */
async function adverts(role: string, adapter: string): Promise<void> {
  await using mapper = createMapper(host)
  const properties: Properties = [
    { name: 'temperature', type: 'float', ble: { advert: 'bthome', field: 'temperature' } },
    { name: 'humidity', type: 'float', ble: { advert: 'bthome', field: 'humidity' } },
  ]
  const model: DeviceModelSpec = { properties }
  const mac = (number: number) => `A4:C1:38:00:00:${number.toString(16).padStart(2, '0').toUpperCase()}`
  mapper.configure(
    Array.from({ length: ADVERTISERS }, (_, number) => ({
      key: `ns/sensor-${number}`,
      device: { model: 'm', ble: { mac: mac(number), adapter } },
      model,
      revision: '1',
    })),
  )
  await until('all advertisers', 60, () =>
    new Set(seen.readings.map(({ device }) => device)).size === ADVERTISERS ? true : undefined,
  )
  seen.readings.length = 0
  const others = ['bluetoothd', 'dbus-daemon']
  const before = cpuMs(others)
  const own = process.cpuUsage()
  const startMs = performance.now()
  await new Promise((resolve) => setTimeout(resolve, COUNT_MS))
  const { user, system } = process.cpuUsage(own)
  const after = cpuMs(others)
  const seconds = (performance.now() - startMs) / 1000
  const heard = seen.readings.filter(({ quality }) => quality === 'good').length / properties.length
  result(`adverts_${adapter.startsWith('bluez') ? 'bluez' : 'uart'}`, {
    role,
    ...whoAmI(),
    heard,
    perSecond: heard / seconds,
    microsecondsEach: Math.round((user + system) / heard),
    others: Object.fromEntries(
      others.map((name) => [name, Math.round((((after[name] ?? 0) - (before[name] ?? 0)) * 1000) / heard)]),
    ),
    rssiDbm: seen.news.at(-1)?.rssiDbm,
    news: seen.news.at(-1),
  })
}

const roles: Readonly<Record<string, (role: string, ...argv: string[]) => Promise<void>>> = {
  bluez: gatt,
  hci: gatt,
  adverts,
  bond,
}

const [role = '', ...argv] = process.argv.slice(2)
try {
  const run = roles[role]
  if (run === undefined) throw new Error(`no role '${role}'`)
  await run(role, ...argv)
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.stack : String(error)}\n`)
  process.exit(1)
}
process.exit(0)
