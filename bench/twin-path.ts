import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { BatchBody, LinkDevice } from '../api/link/messages.ts'
import type { Device } from '../api/resources.ts'
import type { StreamEvent } from '../api/views.ts'
import { KubeClient } from '../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../cloudcore/kube/config.ts'
import { collectionPath, DEVICE_MODELS, DEVICES, objectPath } from '../cloudcore/kube/paths.ts'
import { CLOUD_FLAGS } from '../cloudcore/launch.ts'
import { httpsCall, joinAs, ScriptedAgent } from '../cloudcore/testing/scripted-agent.ts'
import { type BenchOptions, type Figure, percentile, residentMiB, significant } from './harness.ts'

/**
 * The cloud's half of the twin path, with the cloud core in a process of its own and a scripted agent here: a change
 * from the agent's socket to a subscriber's, a change of a quiet device to its status in a watch, and a desired value
 * from the patch to the agent's socket.
 */
export interface RunningCloud extends AsyncDisposable {
  readonly pid: number
  readonly hubUrl: string
  readonly caPem: string
  readonly token: string
  readonly kube: KubeClient
}

export async function startCloud(): Promise<RunningCloud> {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const main = fileURLToPath(new URL('../cloudcore/main.ts', import.meta.url))
  const args = [...CLOUD_FLAGS, main, '--data', directory, '--hub-port', '0', '--api-port', '0']
  const child: ChildProcess = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'ignore'] })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const info = await new Promise<{ hubUrl: string; kubeconfig: string }>((resolve, reject) => {
    createInterface({ input: child.stdout! }).once('line', (line) => resolve(JSON.parse(line)))
    child.once('exit', (code) => reject(new Error(`the cloud core ended with ${code}`)))
  })
  const kube = new KubeClient(loadKubeconfig(info.kubeconfig))
  return {
    pid: child.pid!,
    hubUrl: info.hubUrl,
    caPem: readFileSync(join(directory, 'pki/ca.crt'), 'utf8'),
    token: readFileSync(join(directory, 'console-token'), 'utf8').trim(),
    kube,
    async [Symbol.asyncDispose]() {
      await kube[Symbol.asyncDispose]()
      child.kill('SIGTERM')
      await ended
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

export async function createToken(cloud: RunningCloud, gateway: string): Promise<string> {
  const { hubUrl, caPem, token } = cloud
  const headers = { authorization: `Bearer ${token}` }
  const answer = await httpsCall(`${hubUrl}/v1/tokens`, { method: 'POST', caPem, headers, body: { gateway } })
  return (JSON.parse(answer.body) as { token: string }).token
}

const PROPERTIES = 10
/** The figure is about a load that lasts; what was compiled on its first use does not count. */
const WARM_UP_MS = 3_000

export async function createModel(kube: KubeClient): Promise<void> {
  const properties = Array.from({ length: PROPERTIES }, (_, index) => ({
    name: `p${index}`,
    type: 'float',
    unit: 'V',
    access: 'readwrite',
    modbus: { holding: index * 2, as: 'float32' },
  }))
  await kube.create(collectionPath(DEVICE_MODELS, 'default'), {
    apiVersion: 'sluice.dev/v1alpha1',
    kind: 'DeviceModel',
    metadata: { name: 'bench' },
    spec: { properties },
  })
}

export async function createDevice(kube: KubeClient, name: string, gateway: string): Promise<string> {
  const device = await kube.create<Device>(collectionPath(DEVICES, 'default'), {
    apiVersion: 'sluice.dev/v1alpha1',
    kind: 'Device',
    metadata: { name },
    spec: { model: 'bench', nodeName: gateway, modbus: { tcp: { host: '192.0.2.1' }, unit: 1 } },
  })
  return device.metadata.uid!
}

/** Follows the event stream; `onEvents` gets each message with the time it arrived. */
export function followEvents(cloud: RunningCloud, onEvents: (events: StreamEvent[], atMs: number) => void) {
  const headers = { authorization: `Bearer ${cloud.token}` }
  return new Promise<() => void>((resolve, reject) => {
    const call = request(`${cloud.hubUrl}/v1/events`, { ca: cloud.caPem, agent: false, headers }, (answer) => {
      let held = ''
      answer.setEncoding('utf8')
      answer.on('data', (chunk: string) => {
        const atMs = performance.now()
        held += chunk
        for (let end = held.indexOf('\n\n'); end !== -1; end = held.indexOf('\n\n')) {
          const data = /^data: (\[.*)$/m.exec(held.slice(0, end))
          held = held.slice(end + 2)
          if (data !== null) onEvents(JSON.parse(data[1]!) as StreamEvent[], atMs)
        }
      })
      resolve(() => call.destroy())
    })
    call.on('error', reject)
    call.end()
  })
}

async function connect(cloud: RunningCloud, gateway: string, devices: readonly string[]) {
  const uids = new Map<string, string>()
  for (const name of devices) uids.set(name, await createDevice(cloud.kube, name, gateway))
  const identity = await joinAs(gateway, await createToken(cloud, gateway), cloud.hubUrl, cloud.caPem)
  const agent = await ScriptedAgent.open(identity)
  await agent.hello()
  for (const name of devices) await agent.object('Device', `default/${name}`)
  return { agent, uids }
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** 10 000 changes a second in batches of 100; the value says when its batch was sent. */
async function sustained(cloud: RunningCloud, seconds: number): Promise<Figure[]> {
  const names = Array.from({ length: 100 }, (_, index) => `fast-${index}`)
  const { agent, uids } = await connect(cloud, 'gw-fast', names)
  const latencies: number[] = []
  let received = 0
  const stop = await followEvents(cloud, (events, atMs) => {
    received += events.length
    for (const event of events) if (event.kind === 'reported') latencies.push(atMs - (event.value as number))
  })
  await sleep(2_000)
  let startedMs = performance.now()
  let sent = 0
  let warm = false
  while (performance.now() - startedMs < seconds * 1000) {
    if (!warm && performance.now() - startedMs > WARM_UP_MS && received === sent) {
      warm = true
      startedMs = performance.now()
      sent = 0
      received = 0
      latencies.length = 0
    }
    const due = Math.floor((performance.now() - startedMs) / 10)
    while (sent / 100 < due) {
      const first = ((sent / 100) % 10) * 10
      const group = names.slice(first, first + 10)
      const body: BatchBody = {
        d: group.map((name) => [`default/${name}`, uids.get(name)!]),
        r: group.flatMap((_, device) =>
          Array.from({ length: PROPERTIES }, (_, p) => [device, `p${p}`, performance.now(), Date.now()] as const),
        ),
      }
      agent.send({ t: 'batch', seq: ++agent.seq, lane: 'live', body })
      sent += 100
    }
    await sleep(2)
  }
  const waitMs = performance.now()
  while (received < sent && performance.now() - waitMs < 5_000) await sleep(10)
  const took = (performance.now() - startedMs) / 1000
  const p99 = percentile(latencies, 0.99)
  stop()
  agent.cut()
  const bench = 'twin-path'
  return [
    {
      bench,
      figure: 'changes/s agent to subscriber',
      value: significant(received / took),
      unit: '1/s',
      budget: '>= 9 500',
      ok: received === sent && received / took >= 9_500,
    },
    { bench, figure: 'agent to subscriber p50', value: significant(percentile(latencies, 0.5)), unit: 'ms', ok: true },
    { bench, figure: 'agent to subscriber p99', value: significant(p99), unit: 'ms', budget: '<= 50', ok: p99 <= 50 },
    {
      bench,
      figure: 'cloud core memory at 10 000/s',
      value: significant(await residentMiB(cloud.pid)),
      unit: 'MiB',
      ok: true,
    },
  ]
}

/** Each device was silent for more than a second when its one change comes. */
async function quiet(cloud: RunningCloud, rounds: number, properties: number): Promise<Figure[]> {
  const names = Array.from({ length: 50 }, (_, index) => `quiet-${properties}-${index}`)
  const { agent, uids } = await connect(cloud, `gw-quiet-${properties}`, names)
  const sentAt = new Map<string, number>()
  const latencies: number[] = []
  const closing = new AbortController()
  const list = await cloud.kube.list<Device>(collectionPath(DEVICES, 'default'))
  const query = { watch: true, resourceVersion: list.metadata.resourceVersion }
  const watch = await cloud.kube.stream(collectionPath(DEVICES, 'default'), query, closing.signal)
  let held = ''
  watch.on('error', () => {})
  watch.on('data', (chunk: Buffer) => {
    const atMs = performance.now()
    const lines = (held + chunk.toString()).split('\n')
    held = lines.pop() ?? ''
    for (const line of lines) {
      const { object } = JSON.parse(line) as { object: Device }
      const stamp = sentAt.get(object.metadata.name)
      if (stamp === undefined || object.status?.twins?.find((t) => t.name === 'p0')?.reported?.value !== stamp) continue
      latencies.push(atMs - stamp)
      sentAt.delete(object.metadata.name)
    }
  })
  // Connecting changes every status once more; after that each has to have been silent for its second.
  await sleep(2_500)
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const stamp = performance.now()
      sentAt.set(name, stamp)
      const r = Array.from({ length: properties }, (_, p) => [0, `p${p}`, stamp, Date.now()] as const)
      agent.send({ t: 'batch', seq: ++agent.seq, lane: 'live', body: { d: [[`default/${name}`, uids.get(name)!]], r } })
      await sleep(25)
    }
  }
  await sleep(500)
  closing.abort()
  agent.cut()
  const p99 = percentile(latencies, 0.99)
  const what = `quiet device, ${properties} changed, to its status`
  const complete = latencies.length === rounds * names.length
  return [
    {
      bench: 'twin-path',
      figure: `${what} p50`,
      value: significant(percentile(latencies, 0.5)),
      unit: 'ms',
      ok: complete,
    },
    {
      bench: 'twin-path',
      figure: `${what} p99`,
      value: significant(p99),
      unit: 'ms',
      budget: '<= 30',
      ok: complete && p99 <= 30,
    },
  ]
}

async function downwards(cloud: RunningCloud, rounds: number): Promise<Figure[]> {
  const { agent } = await connect(cloud, 'gw-down', ['down'])
  const latencies: number[] = []
  const after: number[] = []
  for (let round = 0; round < rounds; round++) {
    const key = 'default/down'
    const value = round + 0.5
    const startedMs = performance.now()
    const patched = cloud.kube.patch(objectPath(DEVICES, 'down', 'default'), 'merge', {
      spec: { desired: { p1: value } },
    })
    const answered = patched.then(() => performance.now())
    await agent.object('Device', key, (o) => (o.object as LinkDevice).desired['p1']?.value === value)
    const arrivedMs = agent.arrivals.get(`Device ${key}`)!
    latencies.push(arrivedMs - startedMs)
    after.push(arrivedMs - (await answered))
    await sleep(20)
  }
  agent.cut()
  const bench = 'twin-path'
  const p99 = percentile(latencies, 0.99)
  return [
    {
      bench,
      figure: 'patch sent to frame at the agent p50',
      value: significant(percentile(latencies, 0.5)),
      unit: 'ms',
      ok: true,
    },
    {
      bench,
      figure: 'patch sent to frame at the agent p99',
      value: significant(p99),
      unit: 'ms',
      budget: '<= 12',
      ok: p99 <= 12,
    },
    {
      bench,
      figure: 'patch answered to frame at the agent p50',
      value: significant(percentile(after, 0.5)),
      unit: 'ms',
      budget: '<= 5',
      ok: percentile(after, 0.5) <= 5,
    },
  ]
}

export async function run(options: BenchOptions): Promise<readonly Figure[]> {
  await using cloud = await startCloud()
  await createModel(cloud.kube)
  return [
    ...(await quiet(cloud, options.quick ? 2 : 10, 1)),
    ...(await quiet(cloud, options.quick ? 2 : 10, PROPERTIES)),
    ...(await downwards(cloud, options.quick ? 100 : 500)),
    ...(await sustained(cloud, options.quick ? 8 : 30)),
  ]
}
