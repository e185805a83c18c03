import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Exposition } from '../../api/metrics/exposition.ts'
import type { EnergySnapshot, PodFigure } from '../energy/snapshot.ts'
import { addVitals, type VitalMetrics } from './vitals-page.ts'

const at = '2026-01-01T00:00:00.000Z'
const part = (name: string, watts: number) => ({ name, watts, joules: watts * 100 })
const pod: PodFigure = {
  ...part('plant/web"\\\n', 1),
  uid: 'u-1',
  cpuSeconds: 12,
  zones: [{ zone: 'package', watts: 0.6, joules: 60 }],
  containers: [
    {
      id: 'abcdef0123456789',
      cpuSeconds: 12,
      watts: 1,
      joules: 100,
      zones: [{ zone: 'package', watts: 0.6, joules: 60 }],
    },
  ],
  state: 'running',
}
const zone = (name: string) => ({
  zone: name,
  path: `/sys/class/powercap/${name}`,
  watts: 6,
  joules: 600,
  activeWatts: 4,
  activeJoules: 400,
  idleWatts: 2,
  idleJoules: 200,
})

const energy = (words: Partial<EnergySnapshot> = {}): EnergySnapshot => ({
  power: { watts: 8, source: 'measured', by: 'hwmon:ina226', supply: 'battery', at, errorPercent: 1 },
  energy: { todayJ: 5000, source: 'measured', by: 'hwmon:ina226', todayCarbonG: 0.4, carbonGPerKWh: 288, at },
  battery: {
    percent: 81,
    state: 'discharging',
    timeToEmpty: { seconds: 7200, lowSeconds: 6000, highSeconds: 9000 },
    source: 'measured',
    by: 'battery',
    at,
  },
  thermal: { celsius: 61, zones: [{ name: 'cpu', celsius: 61 }], throttled: false, at },
  attribution: {
    policy: 'system',
    source: 'measured',
    whole: part('whole', 8),
    idle: part('idle', 3),
    rest: part('rest', 1),
    pods: [pod],
    slices: [part('system.slice', 2)],
    agent: {
      ...part('agent', 1),
      own: part('own', 0.4),
      mappers: [{ ...part('modbus', 0.6), devices: [part('plant/meter-1', 0.5)] }],
    },
  },
  totals: { measuredJ: 800, estimatedJ: 20, unknownS: 3 },
  zones: [zone('package'), zone('dram')],
  meters: [
    {
      meter: 'hwmon:ina226:hwmon2/power1',
      by: 'hwmon:ina226',
      covers: 'machine',
      source: 'measured',
      watts: 8,
      joules: 800,
    },
    { meter: 'model', by: 'model', covers: 'machine', source: 'estimated', watts: 7, joules: 700 },
  ],
  packs: [
    {
      name: 'BAT0',
      by: 'battery',
      state: 'discharging',
      percent: 81,
      watts: -8,
      volts: 11.8,
      fullJ: 90,
      designJ: 100,
      cycles: 12,
      celsius: 30,
    },
  ],
  sources: [{ source: 'rapl', state: 'ok' }],
  usageRatio: 0.4,
  ...words,
})

const vitals = (words: Partial<VitalMetrics> = {}): VitalMetrics => ({
  gateway: 'gw-1',
  energy: energy(),
  networks: [{ name: 'wlan0', kind: 'wifi', up: true, toHub: true, signalDbm: -61, quality: 0.7, roams: 2 }],
  link: { roundTripMs: 24, jitterMs: 2, lossRatio: 0.01, quality: 0.6, trend: 'steady' },
  policy: { stage: 'saver', since: at, stretched: 3, paused: 1 },
  devices: [{ namespace: 'plant', name: 'tag-1', link: { rssiDbm: -77 }, battery: { percent: 55 } }],
  robots: [{ device: 'plant/agv-1', status: 'moving' }],
  ...words,
})

const page = (given: VitalMetrics): string => {
  const exposition = new Exposition()
  addVitals(exposition, given)
  return exposition.toString()
}
const series = (text: string) => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
const value = (text: string, name: string) =>
  Number(
    series(text)
      .find((line) => line.startsWith(name))
      ?.split(' ')
      .at(-1),
  )

describe('the page of power, battery and link', () => {
  it('has the names that dashboards of Kepler and FLUIDOS ask for', () => {
    const text = page(vitals())
    expect(
      value(text, 'kepler_node_cpu_joules_total{zone="package",path="/sys/class/powercap/package",node_name="gw-1"}'),
    ).toBe(600)
    expect(text).toContain(
      'kepler_pod_cpu_joules_total{pod_id="u-1",pod_name="web\\"\\\\\\n",pod_namespace="plant",state="running",zone="package",node_name="gw-1"} 60',
    )
    expect(value(text, 'kepler_platform_watts{source="hwmon:ina226"')).toBe(8)
    expect(value(text, 'fluidos_battery')).toBe(81)
    expect(value(text, 'fluidos_latency{cluster="gw-1"}')).toBe(24)
    expect(value(text, 'fluidos_bandwidth_against{cluster="gw-1",point="hub"}')).toBe(24)
    expect(value(text, 'battery_discharge_rate_watts{device="BAT0"}')).toBe(8)
    expect(value(text, 'battery_charge_rate_watts{device="BAT0"}')).toBe(0)
    expect(value(text, 'battery_health_percent{device="BAT0"}')).toBe(90)
    expect(value(text, 'battery_remaining_time_seconds{device="BAT0"}')).toBe(7200)
    expect(value(text, 'robot_status{cluster="gw-1",device="plant/agv-1",status="moving"}')).toBe(1)
    expect(value(text, 'kepler_container_cpu_joules_total{container_id="abcdef0123456789"')).toBe(60)
  })

  it("never has what is measured and what is estimated in one series, and nothing estimated under Kepler's names", () => {
    const measured = page(vitals())
    const estimated = page(
      vitals({
        energy: energy({
          zones: [],
          power: { watts: 7, source: 'estimated', by: 'model', at },
          meters: [energy().meters[1]!],
          attribution: { ...energy().attribution!, source: 'estimated', pods: [{ ...pod, zones: [], containers: [] }] },
        }),
      }),
    )
    expect(series(estimated).filter((line) => /^kepler_.*(joules|watts)/.test(line))).toEqual([])
    const names = (text: string) =>
      new Set(
        series(text)
          .filter((line) => /^sluice_power_watts|^sluice_energy_today/.test(line))
          .map((line) => line.split(' ')[0]),
      )
    for (const name of names(measured))
      if (name?.startsWith('sluice_power')) expect(names(estimated).has(name)).toBe(false)
    for (const line of series(measured)) {
      if (
        !/^sluice_(power_watts|energy_joules|part|pod|mapper|device)_(watts|joules_total)/.test(line) &&
        !/^sluice_meter/.test(line)
      )
        continue
      expect(line).toMatch(/source="(measured|estimated)"/)
    }
  })

  it('says nothing of what nobody knows: no family without a sample, no zero in its place', () => {
    expect(
      page(
        vitals({ energy: undefined, networks: [], link: undefined, policy: undefined, devices: [], robots: [] }),
      ).trim(),
    ).toBe('')
    const bare = page(
      vitals({
        devices: [],
        energy: { totals: { measuredJ: 0, estimatedJ: 0, unknownS: 0 }, zones: [], meters: [], packs: [], sources: [] },
      }),
    )
    expect(bare).not.toMatch(/battery|kepler|sluice_power_watts|thermal/)
    const odd = page(vitals({ energy: energy({ usageRatio: Number.NaN }) }))
    expect(odd).not.toContain('NaN')
  })

  it('stays bounded with ten thousand devices', () => {
    const devices = Array.from({ length: 10_000 }, (_, index) => part(`plant/d${index}`, 0.001))
    const { attribution } = energy()
    const agent = { ...attribution!.agent, mappers: [{ ...part('modbus', 10), devices }] }
    const text = page(vitals({ energy: energy({ attribution: { ...attribution!, agent } }) }))
    expect(series(text).length).toBeLessThan(200)
    expect(value(text, 'sluice_mapper_joules_total{mapper="modbus"')).toBe(1000)
  })

  const promtool = ['/usr/bin/promtool', '/usr/local/bin/promtool'].find((path) => existsSync(path))
  if (promtool === undefined && process.env['CI'] === 'true') throw new Error('apt-get install prometheus')
  it.skipIf(promtool === undefined)('is read by Prometheus itself (apt-get install prometheus)', () => {
    const answer = spawnSync(promtool!, ['check', 'metrics'], { input: page(vitals()), encoding: 'utf8' })
    // 0: fine, 3: readable, with remarks on style. Of those only names that others have chosen may be the cause.
    expect([0, 3]).toContain(answer.status)
    const remarks = answer.stderr.split('\n').filter((line) => line !== '')
    expect(remarks.filter((line) => !/^(kepler|fluidos|battery|robot)_/.test(line))).toEqual([])
    const broken = spawnSync(promtool!, ['check', 'metrics'], { input: 'a{b="c} 1\n', encoding: 'utf8' })
    expect(broken.status).toBe(1)
  })
})
