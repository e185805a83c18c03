import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { EnergySnapshot } from '../../agent/energy/snapshot.ts'

const root = process.getuid?.() === 0
const namespaces = root && spawnSync('unshare', ['-m', 'true']).status === 0
if (!namespaces && process.env['CI'] !== 'true') {
  process.stderr.write('the default paths of /sys are not tested: it takes root and mount namespaces\n')
}

/** A memory file system over `/sys/class` of a mount namespace: the readers run with no option at all. */
test.skipIf(!namespaces && process.env['CI'] !== 'true')(
  'with no option the readers read /sys and /proc of the kernel',
  () => {
    const child = fileURLToPath(new URL('default-paths-child.ts', import.meta.url))
    const output = execFileSync('unshare', ['-m', process.execPath, child], { encoding: 'utf8' })
    const { power, battery, thermal, zones, activity, sources } = JSON.parse(output) as EnergySnapshot
    expect(power).toMatchObject({ watts: 7.1, source: 'measured', by: 'battery', supply: 'battery' })
    expect(battery).toMatchObject({
      percent: 81,
      volts: 11.8,
      state: 'discharging',
      energyJ: 147_600,
    })
    expect(thermal).toMatchObject({ celsius: 61.5 })
    expect(zones).toMatchObject([{ zone: 'package', path: '/sys/class/powercap/intel-rapl:0' }])
    expect(activity!.totalCpuS).toBeGreaterThan(0)
    expect(sources.filter(({ state }) => state === 'ok').map(({ source }) => source)).toEqual(
      expect.arrayContaining(['rapl', 'battery', 'thermal', 'activity']),
    )
  },
)
