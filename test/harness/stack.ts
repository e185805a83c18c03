import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFailed } from 'vitest'
import { DeviceApi } from '../../api/client/device-api.ts'
import { type Endpoint, openRequest, readBody } from '../../api/client/http.ts'
import { ConsoleApi } from '../../cli/console-api.ts'
import { cloudEndpoint } from '../../cli/device-api.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import { collectionPath, GATEWAYS, NAMESPACES, NODES, objectPath } from '../../cloudcore/kube/paths.ts'
import { keptPort } from '../../hil/kept-port.ts'
import { type DeviceWatch, watchDevices } from './devices.ts'
import { type FarSide, farSide } from './far-side.ts'
import { FleetOfTest } from './fleet.ts'
import { temporaryFolder } from './folder.ts'
import { type LinkProxy, linkProxy } from './link-proxy.ts'
import { Part } from './part.ts'
import { type TcpProxy, tcpProxy } from './tcp-proxy.ts'

const program = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** A cluster to run against instead of our embedded API. */
export const FOREIGN_CLUSTER = process.env['SLUICE_KUBECONFIG']

export interface StackOptions {
  /** The API as a process of its own, so that it can be killed alone. Not with a foreign cluster. */
  readonly apart?: boolean
  /** Revisions the API keeps for watches, when it is apart. */
  readonly keepRevisions?: number
  /** Who stands between agent and hub: nobody, one who passes bytes, or one who sees frames. */
  readonly between?: 'bytes' | 'frames'
  readonly agentFlags?: readonly string[]
}

export interface KubectlAnswer {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Everything there is, as real processes in a folder of their own: API, cloud core, one agent, devices that are not ours. */
export class Stack extends FleetOfTest implements AsyncDisposable {
  readonly folder: string
  readonly cloudData: string
  readonly agentData: string
  readonly namespace: string
  readonly gateway: string
  readonly api: Part | undefined
  readonly cloud: Part
  readonly agent: Part
  readonly far: FarSide
  readonly #stack: AsyncDisposableStack
  #kube: KubeClient | undefined
  #devices: DeviceWatch | undefined
  #bytes: TcpProxy | undefined
  #apiWire: TcpProxy | undefined
  #frames: LinkProxy | undefined
  #ports = { api: 0, hub: 0 }

  private constructor(options: StackOptions, far: FarSide, stack: AsyncDisposableStack) {
    super()
    this.#stack = stack
    this.far = far
    this.folder = stack.use(temporaryFolder('stack')).path
    this.cloudData = join(this.folder, 'cloud')
    this.agentData = join(this.folder, 'gateway')
    mkdirSync(this.agentData)
    const run = randomBytes(4).toString('hex')
    this.namespace = `e2e-${run}`
    this.gateway = `gw-${run}`
    const apiData = join(this.folder, 'kube')
    const keep = options.keepRevisions === undefined ? [] : ['--keep', String(options.keepRevisions)]
    if (options.apart === true) {
      const argv = () => ['--data', apiData, '--port', String(this.#ports.api), ...keep]
      this.api = stack.use(new Part('api', program('test/harness/api-main.ts'), argv))
    }
    const kubeconfig = options.apart === true ? join(this.folder, 'kubeconfig') : FOREIGN_CLUSTER
    const cluster = () =>
      kubeconfig === undefined ? ['--api-port', String(this.#ports.api)] : ['--kubeconfig', kubeconfig]
    this.cloud = stack.use(
      new Part('cloud', program('cloudcore/main.ts'), () => [
        ...['--data', this.cloudData, '--hub-port', String(this.#ports.hub)],
        ...cluster(),
      ]),
    )
    const flags = options.agentFlags ?? []
    this.agent = stack.use(
      new Part('agent', program('agent/main.ts'), () => [
        ...['--data', this.agentData, '--token-file', join(this.folder, 'token'), '--local-port', '0', ...flags],
        ...(this.linkUrl === undefined ? [] : ['--hub', this.linkUrl]),
      ]),
    )
  }

  /** Starts everything and joins the agent; resolves when its link is up. */
  static async start(options: StackOptions = {}): Promise<Stack> {
    const resources = new AsyncDisposableStack()
    let stack: Stack | undefined
    try {
      stack = new Stack(options, resources.use(await farSide()), resources)
      await stack.#open(options)
      return stack
    } catch (error) {
      const log = stack?.logs() ?? ''
      await resources.disposeAsync()
      throw new Error(`the stack did not start: ${log}`, { cause: error })
    }
  }

  async #open(options: StackOptions): Promise<void> {
    this.#ports = { api: await keptPort(), hub: await keptPort() }
    if (this.api !== undefined) {
      await this.api.start()
      const wire = (this.#apiWire = this.#stack.use(await tcpProxy(this.#ports.api)))
      const own = readFileSync(join(this.folder, 'kube', 'kubeconfig'), 'utf8')
      writeFileSync(join(this.folder, 'kubeconfig'), own.replace(`:${this.#ports.api}`, `:${wire.port}`))
    }
    await this.cloud.start()
    const kube = this.#stack.use(new KubeClient(loadKubeconfig(this.kubeconfig)))
    this.#kube = kube
    const made = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: this.namespace } }
    await kube.create(collectionPath(NAMESPACES), made)
    if (FOREIGN_CLUSTER !== undefined && options.apart !== true) this.#stack.defer(() => this.#leaveCluster())
    this.#devices = this.#stack.use(watchDevices(kube, this.namespace))
    await this.#devices.synced
    if (options.between === 'bytes') this.#bytes = this.#stack.use(await tcpProxy(this.#ports.hub))
    if (options.between === 'frames') {
      this.#frames = this.#stack.use(
        await linkProxy({
          pki: join(this.cloudData, 'pki'),
          hub: () => this.cloudUrl,
          identity: () => JSON.parse(readFileSync(join(this.agentData, 'identity.json'), 'utf8')),
        }),
      )
    }
    const { token } = await this.console.createToken(this.gateway, 600_000, AbortSignal.timeout(15_000))
    writeFileSync(join(this.folder, 'token'), token, { mode: 0o600 })
    await this.agent.start()
  }

  get kube(): KubeClient {
    return this.#kube!
  }

  get devices(): DeviceWatch {
    return this.#devices!
  }

  /** Between the cloud core and the API that is apart; tests and kubectl have a way of their own. */
  get apiWire(): TcpProxy {
    return this.#apiWire!
  }

  /** Between agent and hub, when `between: 'bytes'`. */
  get bytes(): TcpProxy {
    return this.#bytes!
  }

  /** Between agent and hub, when `between: 'frames'`. */
  get frames(): LinkProxy {
    return this.#frames!
  }

  get linkUrl(): string | undefined {
    return this.#frames?.url ?? (this.#bytes === undefined ? undefined : `wss://127.0.0.1:${this.#bytes.port}`)
  }

  get kubeconfig(): string {
    return this.api === undefined ? join(this.cloudData, 'kubeconfig') : join(this.folder, 'kube', 'kubeconfig')
  }

  get cloudUrl(): string {
    return `https://127.0.0.1:${this.#ports.hub}`
  }

  readonly cloudEndpoint = (): Endpoint => cloudEndpoint(this.cloudData)

  get agentEndpoint(): Endpoint {
    return { kind: 'socket', path: join(this.agentData, 'agent.sock') }
  }

  get console(): ConsoleApi {
    return new ConsoleApi(this.cloudEndpoint())
  }

  get agentApi(): DeviceApi {
    return new DeviceApi(this.agentEndpoint)
  }

  get cloudApi(): DeviceApi {
    return new DeviceApi(this.cloudEndpoint())
  }

  /** Prints every part's log when the test that is running fails. Call it at the beginning of a test. */
  tellOnFailure(): void {
    onTestFailed(() => console.error(this.logs()))
  }

  logs(): string {
    const parts = [this.api, this.cloud, this.agent].filter((part) => part !== undefined)
    return parts.map((part) => `===== ${part.name} =====\n${part.log().slice(-8000)}`).join('\n')
  }

  /** Runs the real kubectl on this cluster, in this stack's namespace. */
  kubectl(...args: readonly string[]): Promise<KubectlAnswer> {
    return this.kubectlWith(undefined, ...args)
  }

  kubectlWith(input: string | undefined, ...args: readonly string[]): Promise<KubectlAnswer> {
    const env = { ...process.env, KUBECONFIG: this.kubeconfig, HOME: this.folder }
    return new Promise((resolve) => {
      const child = execFile(
        'kubectl',
        ['--namespace', this.namespace, ...args],
        { env, timeout: 60_000 },
        (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
      )
      child.stdin?.on('error', () => {})
      child.stdin?.end(input ?? '')
    })
  }

  /** One figure of the agent's or the cloud core's metrics, summed over its labels. */
  async metric(of: 'agent' | 'cloud', name: string): Promise<number> {
    const endpoint = of === 'agent' ? this.agentEndpoint : this.cloudEndpoint()
    const text = await readBody(await openRequest(endpoint, { path: '/metrics', signal: AbortSignal.timeout(5_000) }))
    const lines = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))]
    if (lines.length === 0) throw new Error(`no metric ${name} in:\n${text}`)
    return lines.reduce((sum, [, value]) => sum + Number(value), 0)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }

  async #leaveCluster(): Promise<void> {
    for (const path of [
      objectPath(NAMESPACES, this.namespace),
      objectPath(GATEWAYS, this.gateway),
      objectPath(NODES, this.gateway),
    ]) {
      await this.kube.delete(path).catch(() => {})
    }
  }
}
