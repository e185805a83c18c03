import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { openEnergy } from '../../agent/energy/energy.ts'
import { systemClock } from '../../api/clock.ts'

/** Runs in a mount namespace of its own: covers `/sys/class`, samples three times with every default, prints what it saw. */
execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/sys/class'])
const write = (path: string, value: string | number): void => {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${value}\n`)
}
const battery = {
  type: 'Battery',
  status: 'Discharging',
  capacity: 81,
  energy_now: 41_000_000,
  energy_full: 50_000_000,
  power_now: 7_100_000,
  voltage_now: 11_800_000,
}
for (const [name, value] of Object.entries(battery)) write(`/sys/class/power_supply/BAT0/${name}`, value)
write('/sys/class/thermal/thermal_zone0/type', 'acpitz')
write('/sys/class/thermal/thermal_zone0/temp', 61_500)
write('/sys/class/powercap/intel-rapl:0/name', 'package-0')
write('/sys/class/powercap/intel-rapl:0/energy_uj', 1_000_000)

const energy = openEnergy({
  clock: systemClock,
  log: () => undefined,
  storage: { get: () => undefined, put: () => undefined },
})
let samples = 0
await new Promise<void>((resolve) => {
  energy.observe(() => {
    samples++
    write('/sys/class/powercap/intel-rapl:0/energy_uj', 1_000_000 + samples * 4_000_000)
    if (samples === 3) resolve()
    // The sampler's own timer does not keep a process alive.
    else systemClock.after(1500, () => undefined)
  })
  energy.start()
})
process.stdout.write(JSON.stringify(energy.snapshot()))
await energy[Symbol.asyncDispose]()
