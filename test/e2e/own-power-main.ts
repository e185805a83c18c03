import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { runAgent } from '../../agent/run.ts'

/**
 * An agent as any gateway has it, without one option about files: only that a battery lies over `/sys/class/power_supply` and
 * nothing over `/sys/class/powercap`, in this process's own view of the file system (`unshare --mount`).
 * Takes `FILE VALUE` and `stop` on its standard input, answers each value with a line. With a third argument there are also
 * RAPL zones, a thermal zone and a pod's control group, which `tick` moves on.
 */
const [dataDir = '', manifest = '', more] = process.argv.slice(2)
let ticks = 0
const PACK = '/sys/class/power_supply/BAT0'

// Not every kernel has a class of each kind: for more than a battery all classes are laid over.
execFileSync('mount', ['-t', 'tmpfs', 'sluice-test', more === undefined ? '/sys/class/power_supply' : '/sys/class'])
mkdirSync(PACK, { recursive: true })
const first = {
  type: 'Battery',
  present: 1,
  status: 'Discharging',
  voltage_now: 12_000_000,
  current_now: -750_000,
  charge_now: 2_000_000,
  charge_full: 4_000_000,
  capacity: 50,
}
for (const [file, value] of Object.entries(first)) writeFileSync(join(PACK, file), `${value}\n`)
if (more !== undefined) furnish()
const agent = await runAgent({ dataDir, gateway: 'gw-own', manifests: [manifest] })
process.stdout.write('ready\n')
for await (const line of createInterface({ input: process.stdin })) {
  const [file = '', value = ''] = line.split(' ')
  if (file === 'stop') break
  if (file === 'tick') tick()
  else writeFileSync(join(PACK, file), `${value}\n`)
  process.stdout.write(`${line}\n`)
}
await agent[Symbol.asyncDispose]()

function furnish(): void {
  execFileSync('mount', ['-t', 'tmpfs', 'sluice-test', '/sys/fs/cgroup'])
  const further = { charge_full_design: 4_400_000, cycle_count: 211, temp: 291 }
  for (const [file, value] of Object.entries(further)) writeFileSync(join(PACK, file), `${value}\n`)
  for (const [zone, name] of [
    ['intel-rapl:0', 'package-0'],
    ['intel-rapl:0:0', 'dram'],
  ] as const) {
    put(`/sys/class/powercap/${zone}/name`, name)
    put(`/sys/class/powercap/${zone}/max_energy_range_uj`, 262_143_328_850)
  }
  put('/sys/class/thermal/thermal_zone0/type', 'x86_pkg_temp')
  put('/sys/class/thermal/thermal_zone0/temp', 47_000)
  put('/sys/fs/cgroup/cgroup.controllers', 'cpu memory io')
  tick()
}

/** A pod at work, and what the processor took meanwhile. */
function tick(): void {
  ticks++
  const zone = '/sys/class/powercap/intel-rapl:0'
  writeFileSync(`${zone}/energy_uj`, `${ticks * 9_000_000}\n`)
  writeFileSync(`${zone}:0/energy_uj`, `${ticks * 2_000_000}\n`)
  const pod = '/sys/fs/cgroup/kubepods.slice/kubepods-pod0f6c3f2e_8a51_4d2b_9c3e_000000000001.slice'
  const stat = `usage_usec ${ticks * 200_000}\nuser_usec 0\nsystem_usec 0`
  for (const folder of [pod, `${pod}/cri-containerd-${'ab'.repeat(32)}.scope`]) {
    put(`${folder}/cpu.stat`, stat)
    put(`${folder}/memory.current`, 41_000_000)
  }
}

function put(path: string, value: string | number): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${value}\n`)
}
