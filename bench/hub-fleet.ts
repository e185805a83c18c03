import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type BenchOptions, type Figure, residentMiB, significant } from './harness.ts'
import { createDevice, createModel, createToken, type RunningCloud, startCloud } from './twin-path.ts'

/**
 * A fleet on one cloud core: every gateway with a real WebSocket over mutual TLS, its devices, and a report of each
 * device every ten seconds. The gateways run in a process of their own. The memory of a gateway is what the cloud core
 * grew by between none and all connected, after garbage collection has had its time.
 */
const DEVICES = 10
const REPORT_EVERY_MS = 10_000

interface FarSide extends AsyncDisposable {
  step<T>(input: string): Promise<T>
}

export function startGateways(): FarSide {
  const file = fileURLToPath(new URL('./far-side/fleet-gateways.ts', import.meta.url))
  const child: ChildProcess = spawn(process.execPath, [file], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  return {
    async step<T>(input: string) {
      child.stdin!.write(`${input}\n`)
      const { value, done } = await lines.next()
      if (done) throw new Error('the simulated gateways ended early')
      return JSON.parse(value) as T
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await ended
    },
  }
}

export async function inParallel(count: number, act: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < count) await act(next++)
  }
  await Promise.all(Array.from({ length: 16 }, worker))
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

async function fleet(cloud: RunningCloud, count: number, seconds: number): Promise<Figure[]> {
  const names = Array.from({ length: count }, (_, index) => `gw-${count}-${index}`)
  const tokens: { gateway: string; token: string }[] = []
  const objectsMs = performance.now()
  await inParallel(count, async (index) => {
    const gateway = names[index]!
    tokens.push({ gateway, token: await createToken(cloud, gateway) })
    for (let device = 0; device < DEVICES; device++)
      await createDevice(cloud.kube, `d-${count}-${index}-${device}`, gateway)
  })
  const objectsTookMs = performance.now() - objectsMs
  await using far = startGateways()
  const { hubUrl, caPem } = cloud
  await far.step(JSON.stringify({ hubUrl, caPem, tokens, devices: DEVICES, seconds, everyMs: REPORT_EVERY_MS }))
  await sleep(2_000)
  const before = await residentMiB(cloud.pid)
  const { tookMs } = await far.step<{ tookMs: number }>('connect')
  const cpuBefore = cpuSeconds(cloud.pid)
  const reportMs = performance.now()
  const { sent, ackP50Ms, ackP99Ms } = await far.step<{ sent: number; ackP50Ms: number; ackP99Ms: number }>('report')
  const wallSeconds = (performance.now() - reportMs) / 1000
  const after = await residentMiB(cloud.pid)
  const bench = 'hub-fleet'
  const of = (what: string) => `${count} gateways: ${what}`
  const figure = (what: string, value: number, unit: string, ok = true, budget?: string): Figure => ({
    bench,
    figure: of(what),
    value: significant(value),
    unit,
    ...(budget === undefined ? {} : { budget }),
    ok,
  })
  return [
    figure('devices created in the API', (count * DEVICES) / (objectsTookMs / 1000), '1/s'),
    figure('connected, every object delivered', tookMs / 1000, 's'),
    figure('changes taken', sent / wallSeconds, '1/s'),
    figure('batch to durable acknowledgement p50', ackP50Ms, 'ms'),
    figure('batch to durable acknowledgement p99', ackP99Ms, 'ms'),
    figure('cloud core memory', after, 'MiB', after <= 1024, '<= 1024'),
    figure('memory a connected gateway', ((after - before) * 1024) / count, 'KiB'),
    figure('processor', (100 * (cpuSeconds(cloud.pid) - cpuBefore)) / wallSeconds, '% of a core'),
  ]
}

export async function run(options: BenchOptions): Promise<readonly Figure[]> {
  const figures: Figure[] = []
  for (const count of options.quick ? [200] : [100, 1000]) {
    await using cloud = await startCloud()
    await createModel(cloud.kube)
    figures.push(...(await fleet(cloud, count, options.quick ? 10 : 30)))
  }
  return figures
}
