import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFailed } from 'vitest'
import { type AgentDeps, type AgentOptions, type RunningAgent, runAgent } from '../../agent/run.ts'
import { DeviceApi } from '../../api/client/device-api.ts'
import type { Endpoint } from '../../api/client/http.ts'
import type { Clock } from '../../api/clock.ts'
import { cloudEndpoint } from '../../cli/device-api.ts'
import { type CloudCore, runCloudCore } from '../../cloudcore/core.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import { collectionPath, NAMESPACES } from '../../cloudcore/kube/paths.ts'
import type { CloudCoreOptions } from '../../cloudcore/options.ts'
import { type AgentIdentity, joinAs } from '../../cloudcore/testing/scripted-agent.ts'
import { keptPort } from '../../hil/kept-port.ts'
import { type DeviceWatch, watchDevices } from './devices.ts'
import { type FarSide, farSide } from './far-side.ts'
import { FleetOfTest } from './fleet.ts'
import { temporaryFolder } from './folder.ts'

export interface AssemblyOptions {
  /** Called with the cloud core's folder before it starts. */
  readonly prepare?: (cloudData: string) => Disposable
  readonly cloudClock?: Clock
  readonly cloud?: Partial<CloudCoreOptions>
}

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly [field: string]: unknown
}

/**
 * The real cloud core and real agents in this process, over real sockets: where a test needs a clock, a heartbeat or a
 * life of an agent that no command line gives.
 */
export class Assembly extends FleetOfTest implements AsyncDisposable {
  readonly folder: string
  readonly cloudData: string
  readonly namespace = `in-${randomBytes(3).toString('hex')}`
  readonly gateway = 'gw-1'
  readonly far: FarSide
  /** What the cloud core and the agents logged. */
  readonly log: LogLine[] = []
  readonly #stack: AsyncDisposableStack
  readonly #options: AssemblyOptions
  #core: CloudCore | undefined
  #kube: KubeClient | undefined
  #devices: DeviceWatch | undefined

  private constructor(options: AssemblyOptions, far: FarSide, stack: AsyncDisposableStack) {
    super()
    this.#options = options
    this.#stack = stack
    this.far = far
    this.folder = stack.use(temporaryFolder('assembly')).path
    this.cloudData = join(this.folder, 'cloud')
  }

  static async start(options: AssemblyOptions = {}): Promise<Assembly> {
    const stack = new AsyncDisposableStack()
    try {
      const assembly = new Assembly(options, stack.use(await farSide()), stack)
      if (options.prepare !== undefined) stack.use(options.prepare(assembly.cloudData))
      await assembly.startCloud()
      stack.defer(() => assembly.stopCloud())
      const kube = stack.use(new KubeClient(loadKubeconfig(assembly.kubeconfig)))
      assembly.#kube = kube
      await assembly.makeNamespace()
      assembly.#devices = stack.use(watchDevices(kube, assembly.namespace))
      await assembly.#devices.synced
      return assembly
    } catch (error) {
      await stack.disposeAsync()
      throw error
    }
  }

  async startCloud(): Promise<void> {
    const { cloud, cloudClock } = this.#options
    // Later starts take the ports of the first one by themselves.
    const ports = this.#core === undefined ? { hubPort: await keptPort(), apiPort: await keptPort() } : {}
    this.#core = await runCloudCore(
      { dataDir: this.cloudData, ...ports, ...cloud },
      {
        ...(cloudClock === undefined ? {} : { clock: cloudClock }),
        log: (level, message, fields) => void this.log.push({ level, message, ...fields }),
      },
    )
  }

  async makeNamespace(): Promise<void> {
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: this.namespace } }
    await this.kube.create(collectionPath(NAMESPACES), namespace)
  }

  async stopCloud(): Promise<void> {
    await this.#core?.[Symbol.asyncDispose]()
  }

  get core(): CloudCore {
    return this.#core!
  }

  get kube(): KubeClient {
    return this.#kube!
  }

  get devices(): DeviceWatch {
    return this.#devices!
  }

  get kubeconfig(): string {
    return join(this.cloudData, 'kubeconfig')
  }

  readonly endpoint = (): Endpoint => cloudEndpoint(this.cloudData)

  get cloudApi(): DeviceApi {
    return new DeviceApi(this.endpoint())
  }

  tellOnFailure(): void {
    onTestFailed(() => console.error(this.log.map((line) => JSON.stringify(line)).join('\n')))
  }

  /** Resolves when a line with that code was logged. */
  logged(code: string): LogLine | undefined {
    return this.log.find((line) => line['code'] === code)
  }

  /** An agent of our own; it joins with a token the first time. */
  async startAgent(options: Partial<AgentOptions> = {}, deps: Partial<AgentDeps> = {}): Promise<RunningAgent> {
    const dataDir = options.dataDir ?? join(this.folder, 'gateway')
    mkdirSync(dataDir, { recursive: true })
    const joinTokenFile = join(this.folder, 'token')
    const { token } = await this.core.createToken({ gateway: options.gateway ?? this.gateway })
    writeFileSync(joinTokenFile, token, { mode: 0o600 })
    return runAgent(
      { joinTokenFile, ...options, dataDir },
      { log: (level, message, fields) => void this.log.push({ ...fields, level: `agent ${level}`, message }), ...deps },
    )
  }

  /** The identity of a scripted gateway. */
  async joinScripted(gateway: string): Promise<AgentIdentity> {
    const { readFileSync } = await import('node:fs')
    const { token } = await this.core.createToken({ gateway })
    const caPem = readFileSync(join(this.cloudData, 'pki/ca.crt'), 'utf8')
    return joinAs(gateway, token, this.core.info.hubUrl, caPem)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}
