import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { runAgent } from '../../agent/run.ts'
import { DeviceApi } from '../../api/client/device-api.ts'
import { requestJson } from '../../api/client/http.ts'

/**
 * Runs inside the guest of `guest-machine.ts`, as root on a kernel of its own: loads the drivers, sets up two access points
 * and a station of `mac80211_hwsim`, starts the agent as any gateway has it and prints what its local API answers.
 */

const run = promisify(execFile)
const children: ChildProcess[] = []
const say = (text: string) => process.stdout.write(`SLUICE say ${text}\n`)
const result = (name: string, value: unknown) =>
  process.stdout.write(`SLUICE result ${name} ${JSON.stringify(value)}\n`)

const modprobe = (...argv: string[]) =>
  run('modprobe', ['-d', process.env['MODULES_ROOT']!, '-S', process.env['MODULES_VERSION']!, ...argv])

/** An emulated machine on one that has other work is that much slower than on one that has not. */
const PATIENCE = 3

/** Waits until something is as it should be; ten times a second, as nothing in a guest tells. */
async function until<T>(what: string, seconds: number, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (const endMs = performance.now() + seconds * PATIENCE * 1000; performance.now() < endMs; await pause(100)) {
    const found = await look()
    if (found !== undefined) return found
  }
  throw new Error(`${what} did not come within ${seconds * PATIENCE} s`)
}

/** Old drivers have their name beside the device instead of the sensor. */
const sensorName = (name: string): string => {
  const path = ['name', 'device/name']
    .map((file) => join('/sys/class/hwmon', name, file))
    .find((each) => existsSync(each))
  return path === undefined ? `${name} without a name` : readFileSync(path, 'latin1').trim()
}

const SSID = 'plant'
const ACCESS_POINTS = ['wlan0', 'wlan2'] as const
const STATION = 'wlan1'

function accessPoint(name: string): ChildProcess {
  const path = `/run/${name}.conf`
  writeFileSync(path, `interface=${name}\ndriver=nl80211\nssid=${SSID}\nhw_mode=g\nchannel=1\nbeacon_int=100\n`)
  return start('hostapd', path)
}

function start(command: string, ...argv: string[]): ChildProcess {
  const child = spawn(command, argv, { stdio: 'ignore' })
  children.push(child)
  return child
}

/** Received signal of what this radio sends, dBm: hwsim adds 20 to what is written, an unsigned number of 64 bits. */
function sendsAt(interfaceName: string, signalDbm: number): void {
  const phy = readFileSync(`/sys/class/net/${interfaceName}/phy80211/name`, 'latin1').trim()
  const path = `/sys/kernel/debug/ieee80211/${phy}/hwsim/rx_rssi`
  writeFileSync(path, String(BigInt.asUintN(64, BigInt(signalDbm - 20))))
}

interface Network {
  readonly name: string
  readonly up: boolean
  readonly signalDbm?: number
  readonly accessPoint?: string
  readonly roams?: number
}

async function main(): Promise<void> {
  say('loading drivers')
  for (const module of ['battery', 'ac', 'acpi_power_meter']) await modprobe(module)
  await modprobe('mac80211_hwsim', 'radios=3')
  result('drivers', {
    supplies: readdirSync('/sys/class/power_supply').sort(),
    hwmon: readdirSync('/sys/class/hwmon').map(sensorName).sort(),
    thermal: existsSync('/sys/class/thermal/thermal_zone0/temp'),
  })
  say('starting access point and station')
  mkdirSync('/run/wpa', { recursive: true })
  const first = accessPoint(ACCESS_POINTS[0])
  for (const name of ACCESS_POINTS) sendsAt(name, -50)
  await run('/bin/busybox', ['ip', 'link', 'set', 'lo', 'up'])
  await run('/bin/busybox', ['ip', 'link', 'set', STATION, 'up'])
  await run('/bin/busybox', ['ip', 'addr', 'add', '192.0.2.2/24', 'dev', STATION])
  writeFileSync('/run/wpa.conf', `network={\n ssid="${SSID}"\n key_mgmt=NONE\n scan_freq=2412\n}\n`)
  start('wpa_supplicant', '-Dnl80211', `-i${STATION}`, '-c/run/wpa.conf')

  say('starting the agent')
  const dataDir = '/tmp/agent'
  const startedMs = performance.now()
  await using agent = await runAgent({ dataDir, gateway: 'guest' })
  result('startMs', Math.round(performance.now() - startedMs))
  const endpoint = { kind: 'socket' as const, path: agent.socketPath }
  const signal = AbortSignal.timeout(500_000)
  const ask = <T>(path: string) => requestJson<T>(endpoint, { path, signal })
  const networks = async () => (await ask<{ networks: Network[] }>('/v1/network?look=now')).networks
  const station = async (wants: (network: Network) => boolean) => {
    const found = (await networks()).find(({ name }) => name === STATION)
    return found !== undefined && wants(found) ? found : undefined
  }
  await until('an association', 60, () => station(({ up, accessPoint: at }) => up && at !== undefined))

  for (const dbm of [-50, -75, -80]) {
    say(`signal ${dbm} dBm`)
    sendsAt(ACCESS_POINTS[0], dbm)
    const near = (network: Network) => Math.abs((network.signalDbm ?? 0) - dbm) < 1.5
    result(`signal${-dbm}`, await until(`a signal of ${dbm} dBm`, 40, () => station(near)))
  }
  result('wireless', readFileSync('/proc/net/wireless', 'latin1'))

  say('roaming')
  const before = (await station(() => true))?.accessPoint
  sendsAt(ACCESS_POINTS[0], -50)
  accessPoint(ACCESS_POINTS[1])
  first.kill()
  const moved = (network: Network) => network.up && network.accessPoint !== undefined && network.accessPoint !== before
  result('roamed', await until('another access point', 60, () => station(moved)))

  say('asking for power')
  result(
    'energy',
    await until('power', 20, async () => {
      const energy = await ask<{ power?: unknown; battery?: unknown }>('/v1/energy')
      return energy.power === undefined || energy.battery === undefined ? undefined : energy
    }),
  )
  result('policy', await ask('/v1/policy'))
  const gateways = await ask<{ items: unknown[] }>('/v1/gateways')
  result('gateway', gateways.items[0])
  result('devices', await new DeviceApi(endpoint).devices(signal))
  for (const child of children) child.kill()
}

try {
  await main()
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.stack : String(error)}\n`)
  process.exit(1)
}
process.exit(0)
