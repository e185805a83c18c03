import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dashboardFiles } from '../../scripts/generate-dashboards.ts'
import { counterModel } from '../harness/fleet.ts'
import { Stack } from '../harness/stack.ts'
import { eventually } from '../harness/until.ts'
import { prometheus } from './prometheus.ts'
import { RealPrometheus } from './real-prometheus.ts'

interface Panel {
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly { readonly expr: string }[]
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } }
}

const MONITORING = join(import.meta.dirname, '../../monitoring')
const dashboards = [...dashboardFiles()].map(([file, text]) => {
  const { panels, templating } = JSON.parse(text) as {
    panels: Panel[]
    templating: { list: { name: string; query: unknown }[] }
  }
  return { file, panels, templating }
})

/** Families that need hardware or an event that this machine does not have: a battery, a radio, a pod, a loss. */
const NOT_EVERYWHERE =
  /^(battery_|kepler_|sluice_(gateway_)?(battery|thermal|temperature|network_signal|network_retry|network_error|throttled)|sluice_gateway_(temperature|throttled|carbon|policy|tether|certificate)|sluice_policy|sluice_pod|sluice_device_(rssi|snr|battery|watts|error)|sluice_mapper_watts|sluice_read_errors|sluice_write_ends|sluice_link_quality|sluice_gateway_link)/

describe('the dashboards', () => {
  it('are what the generator makes', () => {
    const held = readdirSync(join(MONITORING, 'dashboards')).sort()
    expect(held).toEqual([...dashboardFiles().keys()].sort())
    for (const [file, text] of dashboardFiles()) {
      expect(readFileSync(join(MONITORING, 'dashboards', file), 'utf8'), 'node scripts/generate-dashboards.ts').toBe(
        text,
      )
    }
  })

  it('say of every figure what it is, in a unit', () => {
    for (const { file, panels } of dashboards) {
      for (const panel of panels.filter(({ type }) => type !== 'row')) {
        expect(panel.description ?? '', `${file}: ${panel.title}`).toMatch(/\.$/)
        expect(panel.fieldConfig?.defaults.unit, `${file}: ${panel.title}`).toBeTruthy()
      }
    }
  })

  it('have no panel over another, and none over the edge', () => {
    for (const { file, panels } of dashboards) {
      for (const [index, { gridPos: a, title }] of panels.entries()) {
        expect(a.x + a.w, `${file}: ${title}`).toBeLessThanOrEqual(24)
        for (const { gridPos: b } of panels.slice(index + 1)) {
          const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y
          expect(apart, `${file}: ${title}`).toBe(true)
        }
      }
    }
  })
})

describe.skipIf(prometheus === undefined)('a real Prometheus over a running system', { timeout: 120_000 }, () => {
  let stack: Stack
  let server: RealPrometheus

  beforeAll(async () => {
    stack = await Stack.start()
    await stack.createModel('counter', counterModel)
    await stack.createDevice('drive', stack.counterDevice(1, '200ms'))
    await stack.console.createToken('gw-away', 600_000, AbortSignal.timeout(15_000))
    const cloudAuth = {
      authorization: { type: 'Bearer', credentials_file: join(stack.cloudData, 'console-token') },
      tls_config: { ca_file: join(stack.cloudData, 'pki/ca.crt') },
    }
    const cloud = { scheme: 'https', ...cloudAuth }
    const hub = [new URL(stack.cloudUrl).host]
    server = await RealPrometheus.start({
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [join(MONITORING, 'alerts.yaml')],
      scrape_configs: [
        { job_name: 'sluice-cloudcore', ...cloud, static_configs: [{ targets: hub }] },
        {
          job_name: 'sluice-fleet',
          ...cloud,
          metrics_path: '/metrics/gateways',
          static_configs: [{ targets: hub }],
        },
        {
          job_name: 'sluice-agent',
          ...cloud,
          http_sd_configs: [{ url: `${stack.cloudUrl}/metrics/targets`, refresh_interval: '1s', ...cloudAuth }],
        },
      ],
    })
    await eventually(async () => (await server.query('up == 1')).length === 3, 'all three pages are read', 60_000)
    await eventually(async () => (await server.query('rate(sluice_readings_total[1m]) > 0')).length > 0, 'readings')
    await eventually(
      async () => (await server.query('sluice_gateway_power_watts')).length > 0,
      'the gateway told its power',
      60_000,
    )
  }, 120_000)
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]()
    await stack?.[Symbol.asyncDispose]()
  })

  const exprs = () =>
    dashboards.flatMap(({ file, panels }) =>
      panels.flatMap(({ title, targets }) =>
        (targets ?? []).map(({ expr }) => ({
          where: `${file}: ${title}`,
          expr: expr.replaceAll('$gateway', stack.gateway),
        })),
      ),
    )

  it('reads every query of every dashboard, and has an answer to all that need no special hardware', async () => {
    for (const { where, expr } of exprs()) {
      const needed = [...expr.matchAll(/\b(?:sluice|kepler|battery|fluidos|process)_[a-z_]+/g)].map(([name]) => name)
      const everywhere = needed.every((name) => !NOT_EVERYWHERE.test(name)) && !expr.includes(' > 0')
      // A rate needs two looks of Prometheus at the same page; a query that it cannot read is an error at once.
      if (!everywhere) await server.query(expr)
      else await eventually(async () => (await server.query(expr)).length > 0, `${where}: ${expr}`)
    }
  })

  it('finds every family that dashboards and alerts name in the sources that expose them', () => {
    const sources = [
      ...['agent/metrics/page.ts', 'agent/metrics/vitals-page.ts', 'agent/metrics/energy-families.ts'],
      ...['cloudcore/console-api/metrics.ts', 'cloudcore/console-api/gateway-metrics.ts'],
    ].map((file) => readFileSync(join(import.meta.dirname, '../..', file), 'utf8'))
    const exposed = new Set(
      sources.flatMap((text) => [...text.matchAll(/'([a-z]+_[a-z_]+)'/g)].map(([, name]) => name)),
    )
    const texts = [...exprs().map(({ expr }) => expr), readFileSync(join(MONITORING, 'alerts.yaml'), 'utf8')]
    const named = texts.flatMap((text) => [...text.matchAll(/\b(?:sluice|kepler|battery|fluidos|process)_[a-z_]+/g)])
    const unknown = named.map(([name]) => name.replace(/_bucket$/, '')).filter((name) => !exposed.has(name))
    expect(unknown).toEqual([])
  })

  it('begins to count for the gateway that is not there, and for no other', async () => {
    const begun = 'ALERTS{alertname="SluiceGatewayOffline"}'
    const found = await eventually(async () => {
      const alerts = await server.query(begun)
      return alerts.length > 0 ? alerts : undefined
    }, 'the alert is pending')
    expect(found.map(({ metric }) => metric)).toMatchObject([
      { gateway: 'gw-away', severity: 'warning', alertstate: 'pending' },
    ])
  })
})
