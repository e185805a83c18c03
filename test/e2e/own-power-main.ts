import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { runAgent } from '../../agent/run.ts'

/**
 * An agent as any gateway has it, without one option about files: only that a battery lies over `/sys/class/power_supply` and
 * nothing over `/sys/class/powercap`, in this process's own view of the file system (`unshare --mount`).
 * Takes `FILE VALUE` and `stop` on its standard input, answers each value with a line.
 */
const [dataDir = '', manifest = ''] = process.argv.slice(2)
const PACK = '/sys/class/power_supply/BAT0'

execFileSync('mount', ['-t', 'tmpfs', 'sluice-test', '/sys/class/power_supply'])
mkdirSync(PACK)
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
const agent = await runAgent({ dataDir, gateway: 'gw-own', manifests: [manifest] })
process.stdout.write('ready\n')
for await (const line of createInterface({ input: process.stdin })) {
  const [file = '', value = ''] = line.split(' ')
  if (file === 'stop') break
  writeFileSync(join(PACK, file), `${value}\n`)
  process.stdout.write(`${line}\n`)
}
await agent[Symbol.asyncDispose]()
