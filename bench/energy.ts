import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { openEnergy } from '../agent/energy/energy.ts'
import { AGENT_ENVIRONMENT, AGENT_FLAGS } from '../agent/launch.ts'
import type { Clock } from '../api/clock.ts'
import type { BenchOptions, Figure } from './harness.ts'

const bench = 'energy'
const PODS = 30
const execute = promisify(execFile)
const parts = fileURLToPath(new URL('far-side/energy-parts.ts', import.meta.url))
const samplerMain = fileURLToPath(new URL('far-side/energy-sampler.ts', import.meta.url))

interface SamplerCost {
  readonly cpuPercent: number
  readonly samples: number
  readonly seconds: number
  readonly spawned: number
  readonly memoryMiB: number
  readonly meters: number
  readonly packs: number
  readonly zones: number
  readonly pods: number
  readonly networks: number
}

/**
 * As shipped, bundled and with the agent's flags: everything at 1 Hz on a machine that has everything, as files on a memory file system (a read of sysfs costs about the
 * same): two sockets with nine RAPL zones, two packs, four current sensors, eight thermal zones, 30 pods. Then the facts
 * that `systeminformation` also knows, both from the real `/proc` and `/sys` of this machine, children included.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const root = mkdtempSync('/dev/shm/sluice-energy-bench-')
  try {
    furnish(root)
    const seconds = quick ? 10 : 60
    const bundle = join(root, 'energy.mjs')
    await build({
      entryPoints: [parts],
      bundle: true,
      platform: 'node',
      format: 'esm',
      minify: true,
      outfile: bundle,
    })
    const argv = [...AGENT_FLAGS, '--expose-gc', samplerMain, bundle, root, String(seconds)]
    const { stdout } = await execute(process.execPath, argv, { env: { ...process.env, ...AGENT_ENVIRONMENT } })
    return [...samplingFigures(JSON.parse(stdout) as SamplerCost), await besidePeer(quick ? 6 : 30)]
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

function samplingFigures(cost: SamplerCost): Figure[] {
  const what = `${cost.meters} meters, ${cost.packs} packs, ${cost.zones} thermal zones, ${cost.pods} pods, ${cost.networks} networks`
  const whole =
    cost.meters >= 12 &&
    cost.packs === 2 &&
    cost.networks === 2 &&
    cost.pods === PODS &&
    cost.samples >= cost.seconds * 0.9
  return [
    {
      bench,
      figure: `processor for sampling at 1 Hz (${what})`,
      value: cost.cpuPercent,
      unit: '% of a core',
      budget: '<= 0.3 %',
      ok: cost.cpuPercent <= 0.3 && whole,
    },
    {
      bench,
      figure: 'memory of the sampler',
      value: cost.memoryMiB,
      unit: 'MiB',
      budget: '<= 3 MiB',
      ok: cost.memoryMiB <= 3,
    },
    {
      bench,
      figure: `processes started in ${cost.samples} samples`,
      value: cost.spawned,
      unit: 'processes',
      budget: '0',
      ok: cost.spawned === 0,
    },
  ]
}

/** Processor time of this process and of the children it has waited for, milliseconds. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  const stat = readFileSync('/proc/self/stat', 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (user + system) / 1000 + (Number(fields[13]) + Number(fields[14])) * 10
}

async function besidePeer(rounds: number): Promise<Figure> {
  const information = await import('systeminformation')
  const ask = () =>
    Promise.all([
      information.battery(),
      information.cpuTemperature(),
      information.currentLoad(),
      information.cpuCurrentSpeed(),
      information.networkStats('*'),
      information.disksIO(),
    ])
  await ask()
  const peerStart = cpuMs()
  for (let round = 0; round < rounds; round++) await ask()
  const peerMs = (cpuMs() - peerStart) / rounds

  const clock = new SteppedClock()
  const energy = openEnergy({ clock, log: () => undefined, storage: { get: () => undefined, put: () => undefined } })
  energy.start()
  for (let warm = 0; warm < 120; warm++) clock.step()
  const samples = rounds * 100
  const ownStart = cpuMs()
  for (let sample = 0; sample < samples; sample++) clock.step()
  const ownMs = (cpuMs() - ownStart) / samples
  await energy[Symbol.asyncDispose]()
  const ratio = peerMs / ownMs
  return {
    bench,
    figure: 'processor time to ask for battery, temperatures, load, frequency, network and disk once',
    value: ownMs,
    unit: 'ms',
    peer: `systeminformation 5.33 (${peerMs.toPrecision(3)} ms)`,
    ratio,
    budget: '>= 50 times less',
    ok: ratio >= 50,
  }
}

/** Each step is a second later and runs what falls due, so that a sample's cost is not hidden in waiting. */
class SteppedClock implements Clock {
  #nowMs = Date.now()
  #due: (() => void) | undefined

  now(): number {
    return this.#nowMs
  }

  monotonic(): number {
    return this.#nowMs
  }

  after(_: number, fn: () => void) {
    this.#due = fn
    return { cancel: () => undefined }
  }

  step(): void {
    this.#nowMs += 1000
    const due = this.#due
    this.#due = undefined
    due?.()
  }
}

function furnish(root: string): void {
  const write = (path: string, value: string | number) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), `${value}\n`)
  }
  const powercap = 'sys/class/powercap'
  for (const socket of [0, 1]) {
    const zones = { '': `package-${socket}`, ':0': 'core', ':1': 'uncore', ':2': 'dram' }
    for (const [sub, name] of Object.entries(zones)) {
      const zone = `${powercap}/intel-rapl:${socket}${sub}`
      for (const [file, value] of Object.entries({
        name,
        energy_uj: 123_456_789,
        max_energy_range_uj: 262_143_328_850,
      })) {
        write(`${zone}/${file}`, value)
      }
    }
  }
  write(`${powercap}/intel-rapl:2/name`, 'psys')
  write(`${powercap}/intel-rapl:2/energy_uj`, 987_654_321)
  for (const pack of ['BAT0', 'BAT1']) {
    const attributes = {
      type: 'Battery',
      status: 'Discharging',
      present: 1,
      capacity: 71,
      energy_now: 31_000_000,
      energy_full: 43_000_000,
      energy_full_design: 50_000_000,
      power_now: 7_100_000,
      voltage_now: 11_800_000,
      cycle_count: 211,
      temp: 291,
    }
    for (const [name, value] of Object.entries(attributes)) write(`sys/class/power_supply/${pack}/${name}`, value)
  }
  write('sys/class/power_supply/AC/type', 'Mains')
  write('sys/class/power_supply/AC/online', 0)
  for (const n of [0, 1, 2, 3]) {
    write(`sys/class/hwmon/hwmon${n}/name`, 'ina226')
    write(`sys/class/hwmon/hwmon${n}/power1_input`, 3_200_000 + n)
  }
  for (let n = 0; n < 8; n++) {
    write(`sys/class/thermal/thermal_zone${n}/type`, `zone${n}`)
    write(`sys/class/thermal/thermal_zone${n}/temp`, 41_000 + n)
    write(`sys/devices/system/cpu/cpu${n}/thermal_throttle/core_throttle_count`, 0)
    write(`sys/devices/system/cpu/cpufreq/policy${n}/cpuinfo_max_freq`, 2_400_000)
    write(`sys/devices/system/cpu/cpufreq/policy${n}/scaling_cur_freq`, 1_800_000)
  }
  write('sys/fs/cgroup/cgroup.controllers', 'cpu memory io')
  const stat = (path: string) => {
    write(`${path}/cpu.stat`, 'usage_usec 123456789\nuser_usec 100000000\nsystem_usec 23456789')
    write(`${path}/memory.current`, 41_000_000)
    write(`${path}/io.stat`, '8:0 rbytes=1 wbytes=2 rios=1 wios=1 dbytes=0 dios=0')
  }
  for (let n = 0; n < PODS; n++) {
    const uid = `0f6c3f2e_8a51_4d2b_9c3e_${String(n).padStart(12, '0')}`
    stat(`sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${uid}.slice`)
  }
  stat('sys/fs/cgroup/system.slice')
  stat('sys/fs/cgroup/user.slice')
  for (const file of ['stat', 'uptime', 'diskstats']) write(`proc/${file}`, readFileSync(`/proc/${file}`, 'utf8'))
  const counters = '1000 10 0 0 0 0 0 0 1000 10 0 0 0 0 0 0'
  write('proc/net/dev', `Inter-|\n face |\n  lo: ${counters}\neth0: ${counters}\nwlan0: ${counters}`)
  write('proc/net/wireless', 'Inter-|\n face |\n wlan0: 0000 55. -61. -95 0 0 0 0 0 0')
  write('proc/net/route', 'Iface\twlan0\t00000000\t010200C0\t0003\t0\t0\t600\t00000000\t0\t0\t0')
  write('proc/net/ipv6_route', '')
  for (const name of ['eth0', 'wlan0']) {
    for (const [file, value] of Object.entries({ type: 1, carrier: 1, carrier_changes: 2, speed: 1000 }))
      write(`sys/class/net/${name}/${file}`, value)
    write(`sys/class/net/${name}/device/uevent`, '')
  }
  write('sys/class/net/wlan0/phy80211/name', 'phy0')
  write('proc/sys/kernel/random/boot_id', 'bench')
}
