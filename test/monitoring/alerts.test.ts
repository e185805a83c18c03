import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { temporaryFolder } from '../harness/folder.ts'
import { promtool } from './prometheus.ts'

const ALERTS = join(import.meta.dirname, '../../monitoring/alerts.yaml')

/** Series by name in promtool's notation: `a+bxn` is a, then n times b more, a step a minute. */
type Series = Readonly<Record<string, string>>

interface Case {
  readonly alert: string
  readonly fires: { readonly series: Series; readonly at: string }
  /** The value of the last series of `fires` once the trouble is over; a counter stays as it was then. */
  readonly over: number | 'as it was'
  /** The nearest thing that must stay quiet. */
  readonly quiet: { readonly series: Series; readonly at: string }
}

const up = { 'sluice_gateway_up{gateway="a"}': '1x60' }
const discharging = { 'sluice_gateway_battery_state{gateway="a",state="discharging"}': '1x60' }
const charging = { 'sluice_gateway_battery_state{gateway="a",state="charging"}': '1x60' }
const nowS = 86_400 * 7

const cases: readonly Case[] = [
  {
    alert: 'SluiceGatewayOffline',
    over: 1,
    fires: { series: { 'sluice_gateway_up{gateway="a"}': '0x60' }, at: '6m' },
    quiet: { series: { 'sluice_gateway_up{gateway="a"}': '0x3 1x60' }, at: '6m' },
  },
  {
    alert: 'SluiceGatewayBatteryLow',
    over: 0.5,
    fires: { series: { ...discharging, 'sluice_gateway_battery_ratio{gateway="a"}': '0.15x60' }, at: '5m' },
    quiet: { series: { ...charging, 'sluice_gateway_battery_ratio{gateway="a"}': '0.15x60' }, at: '5m' },
  },
  {
    alert: 'SluiceGatewayBatteryEmptySoon',
    over: 20000,
    fires: { series: { ...discharging, 'sluice_gateway_battery_empty_low_seconds{gateway="a"}': '1200x60' }, at: '5m' },
    quiet: { series: { ...discharging, 'sluice_gateway_battery_empty_low_seconds{gateway="a"}': '2000x60' }, at: '5m' },
  },
  {
    alert: 'SluiceGatewayThrottled',
    over: 0,
    fires: { series: { 'sluice_gateway_throttled{gateway="a"}': '1x60' }, at: '12m' },
    quiet: { series: { 'sluice_gateway_throttled{gateway="a"}': '1x5 0x2 1x60' }, at: '12m' },
  },
  {
    alert: 'SluiceGatewayHot',
    over: 60,
    fires: { series: { 'sluice_gateway_temperature_celsius{gateway="a"}': '84x60' }, at: '12m' },
    quiet: { series: { 'sluice_gateway_temperature_celsius{gateway="a"}': '79x60' }, at: '12m' },
  },
  {
    alert: 'SluiceGatewayLinkPoor',
    over: 0.9,
    fires: { series: { 'sluice_gateway_link_quality_ratio{gateway="a"}': '0.2x60' }, at: '12m' },
    quiet: { series: { 'sluice_gateway_link_quality_ratio{gateway="a"}': '0.4x60' }, at: '12m' },
  },
  {
    alert: 'SluiceGatewayDevicesOffline',
    over: 0,
    fires: { series: { ...up, 'sluice_gateway_devices{gateway="a",state="offline"}': '2x60' }, at: '12m' },
    quiet: {
      series: {
        'sluice_gateway_up{gateway="a"}': '1x2 0x60',
        'sluice_gateway_devices{gateway="a",state="offline"}': '2x60',
      },
      at: '7m',
    },
  },
  {
    alert: 'SluiceGatewayOutboxGrows',
    over: 0,
    fires: { series: { ...up, 'sluice_gateway_outbox_batches{gateway="a"}': '1000+100x60' }, at: '30m' },
    quiet: { series: { ...up, 'sluice_gateway_outbox_batches{gateway="a"}': '9000-100x60' }, at: '30m' },
  },
  {
    alert: 'SluiceGatewayDropsValues',
    over: 'as it was',
    fires: { series: { 'sluice_gateway_outbox_dropped_values_total{gateway="a"}': '0x10 50x60' }, at: '15m' },
    quiet: { series: { 'sluice_gateway_outbox_dropped_values_total{gateway="a"}': '50x60' }, at: '15m' },
  },
  {
    alert: 'SluiceGatewayCertificateEnds',
    over: nowS * 2,
    fires: {
      series: { 'sluice_gateway_certificate_expiry_timestamp_seconds{gateway="a"}': `${nowS - 3600}x90` },
      at: '80m',
    },
    quiet: {
      series: { 'sluice_gateway_certificate_expiry_timestamp_seconds{gateway="a"}': `${nowS * 2}x90` },
      at: '80m',
    },
  },
  {
    alert: 'SluiceGatewayTetherLost',
    over: 0,
    fires: { series: { 'sluice_gateway_tether_state{gateway="a",state="lost"}': '1x60' }, at: '3m' },
    quiet: { series: { 'sluice_gateway_tether_state{gateway="a",state="slack"}': '1x60' }, at: '3m' },
  },
  {
    alert: 'SluiceStoreUnhealthy',
    over: 1,
    fires: { series: { 'sluice_store_healthy{instance="a"}': '0x60' }, at: '3m' },
    quiet: { series: { 'sluice_store_healthy{instance="a"}': '1x60' }, at: '3m' },
  },
  {
    alert: 'SluiceDeviceLinkDown',
    over: 1,
    fires: { series: { 'sluice_device_link_up{instance="a",link="/dev/ttyUSB0"}': '0x60' }, at: '7m' },
    quiet: { series: { 'sluice_device_link_up{instance="a",link="/dev/ttyUSB0"}': '0x3 1 0x60' }, at: '7m' },
  },
  {
    alert: 'SluiceDeviceLinkFull',
    over: 0.2,
    fires: { series: { 'sluice_device_link_use_ratio{instance="a",link="/dev/ttyUSB0"}': '0.97x60' }, at: '18m' },
    quiet: { series: { 'sluice_device_link_use_ratio{instance="a",link="/dev/ttyUSB0"}': '0.85x60' }, at: '18m' },
  },
  {
    alert: 'SluiceReadErrors',
    over: 'as it was',
    fires: {
      series: {
        'sluice_requests_total{instance="a",link="l"}': '0+100x60',
        'sluice_read_errors_total{instance="a",link="l",kind="timeout"}': '0+20x60',
      },
      at: '25m',
    },
    quiet: {
      series: {
        'sluice_read_errors_total{instance="a",link="l",kind="timeout"}': '0+5x60',
        'sluice_requests_total{instance="a",link="l"}': '0+100x60',
      },
      at: '25m',
    },
  },
  {
    alert: 'SluiceWritesFail',
    over: 'as it was',
    fires: { series: { 'sluice_write_ends_total{instance="a",state="rejected"}': '0x5 10x60' }, at: '10m' },
    quiet: { series: { 'sluice_write_ends_total{instance="a",state="applied"}': '0x5 10x60' }, at: '10m' },
  },
  {
    alert: 'SluiceDeviceBatteryLow',
    over: 0.9,
    fires: { series: { 'sluice_device_battery_ratio{device="plant/door"}': '0.1x120' }, at: '70m' },
    quiet: { series: { 'sluice_device_battery_ratio{device="plant/door"}': '0.1x30 0.2x5 0.1x90' }, at: '70m' },
  },
  {
    alert: 'SluiceCloudCoreDown',
    over: 1,
    fires: { series: { 'up{job="sluice-cloudcore"}': '0x60' }, at: '3m' },
    quiet: { series: { 'up{job="something-else"}': '0x60' }, at: '3m' },
  },
  {
    alert: 'SluiceHubUnexplainedBatches',
    over: 'as it was',
    fires: { series: { sluice_hub_unexplained_batches_total: '0x5 3x60' }, at: '8m' },
    quiet: { series: { sluice_hub_unexplained_batches_total: '3x60' }, at: '8m' },
  },
  {
    alert: 'SluiceHubCommitQueueGrows',
    over: 0,
    fires: { series: { sluice_hub_commit_queue: '5000x60' }, at: '7m' },
    quiet: { series: { sluice_hub_commit_queue: '5000x2 0x60' }, at: '7m' },
  },
  {
    alert: 'SluiceStatusBehind',
    over: 0,
    fires: { series: { sluice_device_status_behind: '500x60' }, at: '12m' },
    quiet: { series: { sluice_device_status_behind: '50x60' }, at: '12m' },
  },
]

/** Longer than any rule looks back. */
const CALM_M = 20

/** Every value of promtool's notation, one a minute. */
const values = (notation: string): number[] =>
  notation.split(' ').flatMap((part) => {
    const [, start, step, times] = /^([\d.]+)([+-][\d.]+)?(?:x(\d+))?$/.exec(part)!
    return Array.from({ length: Number(times ?? 0) + 1 }, (_, n) => Number(start) + Number(step ?? 0) * n)
  })

/** The same trouble, ended a minute after it is told: what is the matter changes, everything around it goes on. */
function ended({ fires: { series, at }, over }: Case): Series {
  const untilM = Number.parseInt(at, 10) + 1
  const names = Object.keys(series)
  return Object.fromEntries(
    Object.entries(series).map(([name, notation]) => {
      const all = values(notation)
      if (name !== names.at(-1)) return [name, [...all, ...Array(90).fill(all.at(-1))].join(' ')]
      const during = all.slice(0, untilM)
      return [name, [...during, ...Array(CALM_M + 1).fill(over === 'as it was' ? during.at(-1) : over)].join(' ')]
    }),
  )
}

interface RuleTest {
  readonly series: Series
  /** What has to fire, and when. */
  readonly firing: Readonly<Record<string, readonly string[]>>
}

/** What promtool reads: one file, in which time is its own. */
function ruleTest(wanted: readonly RuleTest[]): string {
  return JSON.stringify({
    rule_files: [ALERTS],
    evaluation_interval: '1m',
    tests: wanted.map(({ series, firing }) => ({
      interval: '1m',
      input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
      promql_expr_test: Object.entries(firing).map(([at, names]) => ({
        expr: 'count by (alertname) (ALERTS{alertstate="firing"})',
        eval_time: at,
        exp_samples: names.map((alertname) => ({ labels: `{alertname="${alertname}"}`, value: 1 })),
      })),
    })),
  })
}

async function run(file: string) {
  await using folder = temporaryFolder('alerts')
  const path = join(folder.path, 'rules.json')
  writeFileSync(path, file)
  return spawnSync(promtool!, ['test', 'rules', path], { encoding: 'utf8' })
}

describe.skipIf(promtool === undefined)('the alert rules, by Prometheus itself (apt-get install prometheus)', () => {
  const rules = (
    parse(readFileSync(ALERTS, 'utf8')) as {
      groups: { rules: { alert: string; annotations: Record<string, string>; labels: { severity: string } }[] }[]
    }
  ).groups.flatMap((group) => group.rules)

  it('are all tried here', () => {
    expect(cases.map(({ alert }) => alert)).toEqual(rules.map(({ alert }) => alert))
  })

  it('say what is wrong and what to do', () => {
    for (const { annotations, labels } of rules) {
      expect(Object.keys(annotations)).toEqual(['summary', 'description'])
      expect(['warning', 'critical']).toContain(labels.severity)
    }
  })

  it('are sound', () => {
    expect(spawnSync(promtool!, ['check', 'rules', ALERTS], { encoding: 'utf8' })).toMatchObject({ status: 0 })
  })

  it('fire when they have to, each alone, and are over when the trouble is', async () => {
    const wanted = cases.map((one) => {
      const later = `${Number.parseInt(one.fires.at, 10) + CALM_M}m`
      return { series: ended(one), firing: { [one.fires.at]: [one.alert], [later]: [] } }
    })
    const answer = await run(ruleTest(wanted))
    expect(answer.stderr + answer.stdout).not.toContain('FAILED')
    expect(answer.status).toBe(0)
  })

  it('stay quiet at the nearest thing that is none of their business', async () => {
    const answer = await run(ruleTest(cases.map(({ quiet: { series, at } }) => ({ series, firing: { [at]: [] } }))))
    expect(answer.stderr + answer.stdout).not.toContain('FAILED')
    expect(answer.status).toBe(0)
  })

  it('are told apart from rules that do not fire', async () => {
    const [{ alert, quiet }] = cases as [Case]
    const answer = await run(ruleTest([{ series: quiet.series, firing: { [quiet.at]: [alert] } }]))
    expect(answer.status).not.toBe(0)
  })
})
