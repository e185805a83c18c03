import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, it } from 'vitest'
import { openRequest, readBody } from '../../api/client/http.ts'
import { canMount } from '../harness/small-disk.ts'
import { eventually } from '../harness/until.ts'

/** What others ask for by name. */
const KEPLER = [
  'joules_total',
  'watts',
  'active_joules_total',
  'active_watts',
  'idle_joules_total',
  'idle_watts',
  'usage_ratio',
]
  .map((name) => `kepler_node_cpu_${name}`)
  .concat(['pod', 'container'].flatMap((of) => [`kepler_${of}_cpu_joules_total`, `kepler_${of}_cpu_watts`]))
  .concat('kepler_container_cpu_seconds_total', 'kepler_platform_watts')
const FLUIDOS = ['fluidos_battery']
const BATTERY = [
  'percentage',
  'power_draw_watts',
  'charge_rate_watts',
  'discharge_rate_watts',
  'health_percent',
  'voltage_volts',
  'temperature_celsius',
  'cycle_count',
].map((name) => `battery_${name}`)
const OURS = [
  ...['power_watts', 'energy_joules_total', 'energy_today_joules', 'energy_source', 'meter_joules_total'],
  ...['part_watts', 'part_joules_total', 'pod_watts', 'pod_joules_total'],
  ...['thermal_celsius', 'throttled', 'battery_state', 'policy_stage'],
].map((name) => `sluice_${name}`)

describe.skipIf(!canMount)('the metrics page of a running agent', { timeout: 60_000 }, () => {
  it('has every series that is promised of a machine with RAPL, a battery, heat and pods, each with its labels', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'sluice-own-metrics-'))
    const manifest = join(directory, 'objects.json')
    const policy = { stages: [{ name: 'saver', when: [{ batteryBelow: 30 }] }] }
    const spec = { policy }
    writeFileSync(
      manifest,
      JSON.stringify([{ kind: 'Gateway', key: '/gw-own', rev: '1', object: { uid: 'own', generation: 1, spec } }]),
    )
    const program = join(import.meta.dirname, 'own-power-main.ts')
    const child = spawn('unshare', ['--mount', process.execPath, program, directory, manifest, 'all'])
    child.stderr.resume()
    const lines = createInterface({ input: child.stdout })
    try {
      await Promise.race([once(lines, 'line'), once(child, 'exit').then(() => expect.fail('the agent did not begin'))])
      const wanted = [...KEPLER, ...FLUIDOS, ...BATTERY, ...OURS]
      const page = await eventually(async () => {
        const told = once(lines, 'line')
        child.stdin.write('tick 1\n')
        await told
        const endpoint = { kind: 'socket', path: join(directory, 'agent.sock') } as const
        const text = await readBody(
          await openRequest(endpoint, { path: '/metrics', signal: AbortSignal.timeout(10_000) }),
        )
        const names = new Set(text.split('\n').map((line) => /^[a-z_]+/.exec(line)?.[0]))
        return wanted.every((name) => names.has(name)) ? text : undefined
      }, 'every series')
      expect(page).toMatch(/^kepler_node_cpu_joules_total\{zone="package",path="[^"]+",node_name="gw-own"\} \d/m)
      expect(page).toMatch(/^kepler_node_cpu_joules_total\{zone="dram",/m)
      expect(page).toMatch(/^kepler_pod_cpu_joules_total\{pod_id="[^"]+",.*zone="package",node_name="gw-own"\} \d/m)
      expect(page).toMatch(/^fluidos_battery(\{\})? 50$/m)
      // What is measured and what is estimated are never one series: the name or the label tells them apart.
      for (const line of page.split('\n')) {
        if (!/^sluice_(power_watts|energy_joules_total|part_|pod_|mapper_|device_(watts|joules)|meter_)/.test(line))
          continue
        expect(line).toMatch(/source="(measured|estimated)"/)
      }
      // No zero in place of what nobody knows: no robot, no hub.
      expect(page).not.toMatch(/^(robot_status|fluidos_latency)/m)
    } finally {
      const ended = once(child, 'exit')
      child.stdin.end('stop\n')
      await ended
      rmSync(directory, { recursive: true, force: true })
    }
  })
})
