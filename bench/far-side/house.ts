import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { AGENT_ENVIRONMENT, AGENT_FLAGS } from '../../agent/launch.ts'
import { join as enrol } from '../../agent/link/enrol.ts'
import { saveIdentity } from '../../agent/link/identity.ts'
import type { Device } from '../../api/resources.ts'
import type { StreamEvent } from '../../api/views.ts'
import { ConsoleApi } from '../../cli/console-api.ts'
import { cloudEndpoint } from '../../cli/device-api.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import { collectionPath, DEVICE_MODELS, DEVICES } from '../../cloudcore/kube/paths.ts'
import { CLOUD_FLAGS } from '../../cloudcore/launch.ts'
import { buildPrograms } from '../../scripts/build.ts'
import { machineMs } from '../harness.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const GATEWAY = 'gw-bench'

interface Program {
  readonly child: ChildProcess
  readonly pid: number
  readonly ready: Readonly<Record<string, unknown>>
}

/** Address of one device at the far side (`far-side/registers.ts`): each has a loopback address of its own. */
export const addressOf = (index: number, port: number) => ({
  modbus: { tcp: { host: `127.0.${1 + Math.floor(index / 250)}.${1 + (index % 250)}`, port }, unit: 1 },
})

/**
 * Cloud core and agent as they are published: bundled, each a process of its own, with the agent's V8 flags, the gateway
 * joined over mutual TLS. What they keep is in a temporary folder that goes with them.
 */
export class BenchHouse implements AsyncDisposable {
  readonly kube: KubeClient
  readonly agentData: string
  readonly #folder: string
  readonly #dist: string
  readonly #cloudData: string
  readonly #cloud: Program
  #agent: Program | undefined

  private constructor(folder: string, dist: string, cloudData: string, agentData: string, cloud: Program) {
    this.#folder = folder
    this.#dist = dist
    this.#cloudData = cloudData
    this.agentData = agentData
    this.#cloud = cloud
    this.kube = new KubeClient(loadKubeconfig(String(cloud.ready['kubeconfig'])))
  }

  /** Cloud core up, gateway joined, agent not started yet. */
  static async open(): Promise<BenchHouse> {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
    const dist = join(ROOT, 'node_modules', '.cache', `sluice-bench-${process.pid}`)
    await buildPrograms(ROOT, dist)
    const [cloudData, agentData] = [join(folder, 'cloud'), join(folder, 'agent')]
    await Promise.all([mkdir(cloudData), mkdir(agentData)])
    const flags = process.env['SLUICE_BENCH_CLOUD_FLAGS']?.split(' ') ?? []
    const args = ['--data', cloudData, '--hub-port', '0', '--api-port', '0']
    const cloud = await start([...CLOUD_FLAGS, ...flags, join(dist, 'cloud.js'), ...args])
    const { token } = await new ConsoleApi(cloudEndpoint(cloudData)).createToken(
      GATEWAY,
      60_000,
      AbortSignal.timeout(30_000),
    )
    saveIdentity(agentData, await enrol(token))
    return new BenchHouse(folder, dist, cloudData, agentData, cloud)
  }

  get cloudPid(): number {
    return this.#cloud.pid
  }

  get agentPid(): number {
    return this.#agent?.pid ?? 0
  }

  async startAgent(): Promise<void> {
    const flags = process.env['SLUICE_BENCH_AGENT_FLAGS']?.split(' ') ?? []
    this.#agent = await start(
      [...AGENT_FLAGS, ...flags, join(this.#dist, 'agent.js'), '--data', this.agentData],
      AGENT_ENVIRONMENT,
    )
  }

  async stopAgent(): Promise<void> {
    const { child } = this.#agent ?? {}
    this.#agent = undefined
    if (child !== undefined) await stop(child)
  }

  async createModel(name: string, properties: readonly object[]): Promise<void> {
    await this.kube.create(collectionPath(DEVICE_MODELS, 'default'), {
      apiVersion: 'sluice.dev/v1alpha1',
      kind: 'DeviceModel',
      metadata: { name },
      spec: { properties },
    })
  }

  createDevice(name: string, spec: object): Promise<Device> {
    return this.kube.create<Device>(collectionPath(DEVICES, 'default'), {
      apiVersion: 'sluice.dev/v1alpha1',
      kind: 'Device',
      metadata: { name },
      spec: { nodeName: GATEWAY, ...spec },
    })
  }

  /** Subscribes to the cloud's stream of changes, as any program would. Returns how to stop. */
  async follow(onEvents: (events: readonly StreamEvent[], atMs: number) => void): Promise<() => void> {
    const [caPem, token] = await Promise.all([
      readFile(join(this.#cloudData, 'pki/ca.crt'), 'utf8'),
      readFile(join(this.#cloudData, 'console-token'), 'utf8'),
    ])
    const headers = { authorization: `Bearer ${token.trim()}` }
    const url = `${String(this.#cloud.ready['consoleUrl'])}/v1/events`
    return new Promise((resolve, reject) => {
      const call = request(url, { ca: caPem, agent: false, headers }, (answer) => {
        const reader = new EventReader(onEvents)
        answer.setEncoding('utf8')
        answer.on('data', (chunk: string) => reader.take(chunk))
        resolve(() => call.destroy())
      })
      call.on('error', reject)
      call.end()
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAgent()
    await this.kube[Symbol.asyncDispose]()
    await stop(this.#cloud.child)
    await Promise.all([this.#folder, this.#dist].map((path) => rm(path, { recursive: true, force: true })))
  }
}

/** Server-sent events out of chunks of text; a message that arrives in pieces is put together once. */
class EventReader {
  readonly #onEvents: (events: readonly StreamEvent[], atMs: number) => void
  #pieces: string[] = []

  constructor(onEvents: (events: readonly StreamEvent[], atMs: number) => void) {
    this.#onEvents = onEvents
  }

  take(chunk: string): void {
    const end = chunk.lastIndexOf('\n\n')
    this.#pieces.push(end === -1 ? chunk : chunk.slice(0, end))
    if (end === -1) return
    const atMs = machineMs()
    const text = this.#pieces.join('')
    this.#pieces = [chunk.slice(end + 2)]
    for (const message of text.split('\n\n')) {
      const data = message.indexOf('data: [')
      if (data !== -1) this.#onEvents(JSON.parse(message.slice(data + 6)) as StreamEvent[], atMs)
    }
  }
}

async function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Program> {
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-8192)
    if (process.env['SLUICE_BENCH_VERBOSE'] !== undefined) process.stderr.write(text)
  })
  const lines = createInterface({ input: child.stdout })
  const [line] = (await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`${args.join(' ')} ended with ${String(code)} before it was ready: ${said}`)
    }),
  ])) as [string]
  return { child, pid: child.pid!, ready: JSON.parse(line) as Record<string, unknown> }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}
