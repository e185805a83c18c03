import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EnergySnapshot } from '../agent/energy/snapshot.ts'
import { metricsPage } from '../agent/metrics/page.ts'
import { deviceObject, modelObject, Plant } from '../agent/test-helpers/plant.ts'
import { Vitals } from '../agent/vitals.ts'
import { type BenchOptions, type Figure, percentile } from './harness.ts'

const bench = 'metrics-page'
/** Prometheus asks every 15 s where nobody says otherwise. */
const SCRAPE_MS = 15_000

/**
 * What a scrape of a gateway costs, with everything there is to say: signal, errors, battery and energy of every device,
 * and of the gateway. With ten thousand devices the page stays bounded: there is one series a mapper then.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const thousand = await pageOf(1000, quick ? 20 : 200)
  const tenThousand = await pageOf(10_000, quick ? 5 : 30)
  return [
    {
      bench,
      figure: 'time to make the page, 1 000 devices, p99',
      value: thousand.p99Ms,
      unit: 'ms',
      budget: '<= 50 ms',
      ok: thousand.p99Ms <= 50,
    },
    {
      bench,
      figure: `processor for a scrape every ${SCRAPE_MS / 1000} s, 1 000 devices`,
      value: (thousand.cpuMs / SCRAPE_MS) * 100,
      unit: '% of a core',
      budget: '<= 0.2 %',
      ok: thousand.cpuMs / SCRAPE_MS <= 0.002,
    },
    { bench, figure: 'page of 1 000 devices', value: thousand.bytes / 1024, unit: 'KiB', ok: true },
    {
      bench,
      figure: 'page of 10 000 devices',
      value: tenThousand.bytes / 1024,
      unit: 'KiB',
      peer: 'the page of 1 000 devices',
      ratio: tenThousand.bytes / thousand.bytes,
      budget: '<= 1 of the page of 1 000 devices',
      ok: tenThousand.bytes <= thousand.bytes,
    },
    {
      bench,
      figure: 'time to make the page, 10 000 devices, p99',
      value: tenThousand.p99Ms,
      unit: 'ms',
      budget: '<= 50 ms',
      ok: tenThousand.p99Ms <= 50,
    },
  ]
}

interface PageCost {
  readonly p99Ms: number
  /** Processor time of one page. */
  readonly cpuMs: number
  readonly bytes: number
}

async function pageOf(devices: number, rounds: number): Promise<PageCost> {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-metrics-bench-'))
  const plant = new Plant(directory)
  const energy = snapshotOf(devices)
  const vitals = new Vitals({
    ...{ core: plant.core, clock: plant.clock, onChange: () => undefined },
    ...{ link: () => undefined, energy: () => energy },
  })
  try {
    const names = Array.from({ length: devices }, (_, index) => `d${index}`)
    await plant.put(modelObject(), ...names.map((name) => deviceObject(name)))
    const atMs = plant.clock.now()
    plant.core.engine.reachability(
      names.map((name) => ({
        ...{ device: `plant/${name}`, online: true, atMs },
        ...{ errorRate: 0.01, latencyMs: 12, rssiDbm: -71, snrDb: 9, batteryPercent: 64 },
      })),
    )
    const page = () =>
      metricsPage({
        ...{ core: plant.core, clock: plant.clock, version: '0', gateway: 'gw', startedMonotonicMs: 0 },
        ...{ link: () => undefined, subscribers: () => 0, vitals: () => vitals.metrics('gw', undefined) },
      })
    for (let warm = 0; warm < 5; warm++) page()
    const times: number[] = []
    let bytes = 0
    const cpu = process.cpuUsage()
    for (let round = 0; round < rounds; round++) {
      const startMs = performance.now()
      bytes = page().length
      times.push(performance.now() - startMs)
    }
    const { user, system } = process.cpuUsage(cpu)
    return { p99Ms: percentile(times, 0.99), cpuMs: (user + system) / 1000 / rounds, bytes }
  } finally {
    vitals[Symbol.dispose]()
    await plant.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

function snapshotOf(devices: number): EnergySnapshot {
  const part = (name: string, watts: number) => ({ name, watts, joules: watts * 1000 })
  const listed = Array.from({ length: devices }, (_, index) => part(`plant/d${index}`, 0.001))
  return {
    power: { watts: 8, source: 'measured', by: 'rapl', at: new Date(0).toISOString() },
    attribution: {
      ...{ policy: 'system' as const, source: 'measured' as const },
      ...{ whole: part('whole', 8), idle: part('idle', 3), rest: part('rest', 1), slices: [] },
      pods: Array.from({ length: 30 }, (_, index) => ({
        ...part(`plant/pod-${index}`, 0.1),
        ...{ uid: `uid-${index}`, cpuSeconds: 1, containers: [], state: 'running' as const },
        zones: [{ zone: 'package', watts: 0.1, joules: 100 }],
      })),
      agent: { ...part('agent', 1), own: part('own', 0.1), mappers: [{ ...part('modbus', 0.9), devices: listed }] },
    },
    totals: { measuredJ: 8000, estimatedJ: 0, unknownS: 0 },
    ...{ zones: [], meters: [], packs: [], sources: [], usageRatio: 0.2 },
  }
}
