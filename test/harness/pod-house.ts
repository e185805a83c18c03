import { execFile, execFileSync } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFailed } from 'vitest'
import { busyboxImage, missingForPods } from '../../agent/pods/images/busybox.test-helper.ts'
import { ContainerdHouse, missingForContainerd } from '../../agent/pods/runtimes/containerd/house.test-helper.ts'
import { ConsoleApi } from '../../cli/console-api.ts'
import { cloudEndpoint } from '../../cli/device-api.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import { collectionPath, GATEWAYS, NAMESPACES, objectPath, PODS } from '../../cloudcore/kube/paths.ts'
import { type Bridge, openBridge } from './bridge.ts'
import { temporaryFolder } from './folder.ts'
import { LossyRelay } from './lossy-relay.ts'
import { Part } from './part.ts'
import type { KubectlAnswer } from './stack.ts'
import { eventually } from './until.ts'

const program = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** What it takes to run pods here, or undefined: a machine without it may skip such a suite, a CI run may not. */
export const missingForHouse = missingForPods()
export const missingForEngine = missingForContainerd()
export const skipHouse = missingForHouse !== undefined && process.env['CI'] === undefined

export interface PodHouseOptions {
  readonly gateways: readonly string[]
  /** The API as a process of its own, so that it can be killed alone. */
  readonly apart?: boolean
  /** Each gateway in a network namespace of its own; needs root. */
  readonly namespaces?: boolean
  /** Gateways that run their pods with a containerd of their own instead of as processes. */
  readonly withContainerd?: readonly string[]
  /** Of what the relays lose. */
  readonly seed?: number
  readonly agentFlags?: readonly string[]
  readonly cloudFlags?: readonly string[]
}

export interface HousePod {
  readonly metadata: {
    readonly name: string
    readonly uid: string
    readonly annotations?: Readonly<Record<string, string>>
    readonly deletionTimestamp?: string
  }
  readonly spec: { readonly nodeName?: string }
  readonly status: {
    readonly phase: string
    readonly reason?: string
    readonly message?: string
    readonly containerStatuses?: readonly {
      readonly restartCount: number
      readonly ready: boolean
      readonly lastState?: { readonly terminated?: { readonly reason?: string } }
    }[]
  }
}

export interface HouseGateway {
  readonly name: string
  readonly agent: Part
  readonly relay: LossyRelay
  readonly data: string
  readonly engine: Engine | undefined
}

/** What tests kill and start again: a program of ours, or an engine. */
export type Mortal = Pick<Part, 'name' | 'running' | 'kill'> & { start(): Promise<unknown> }

const IMAGE = 'test/busybox:1'

/**
 * A cloud core and several gateways that run pods as processes, all real, each gateway behind a way that may be bad. What
 * each pod does is told by the pod itself, in a journal on this machine: a line when it begins; and by the list of processes.
 */
export class PodHouse implements AsyncDisposable {
  readonly gateways = new Map<string, HouseGateway>()
  readonly folder: string
  readonly cloudData: string
  readonly namespace = `pods-${randomBytes(3).toString('hex')}`
  readonly api: Part | undefined
  readonly cloud: Part
  readonly #shared: string
  readonly #bridge: Bridge | undefined
  readonly #stack: AsyncDisposableStack
  readonly #options: PodHouseOptions
  readonly #ports: { api?: number; hub?: number } = {}
  readonly #works = new Map<string, number>()
  readonly #firstSeconds = 100_000_000 + randomInt(1_000_000) * 100
  #kube: KubeClient | undefined

  private constructor(options: PodHouseOptions, stack: AsyncDisposableStack) {
    this.#options = options
    this.#stack = stack
    this.folder = stack.use(temporaryFolder('house')).path
    // Pods are users of their own, who have to get through to their images and to the journal.
    chmodSync(this.folder, 0o711)
    this.cloudData = join(this.folder, 'cloud')
    this.#shared = join(this.folder, 'shared')
    mkdirSync(this.#shared)
    chmodSync(this.#shared, 0o777)
    writeFileSync(this.#journalFile, '')
    chmodSync(this.#journalFile, 0o666)
    const apart = options.apart === true
    if (apart) {
      const argv = () => ['--data', join(this.folder, 'kube'), '--port', String(this.#ports.api ?? 0)]
      this.api = stack.use(new Part('api', program('test/harness/api-main.ts'), argv))
    }
    const cluster = () => (apart ? ['--kubeconfig', this.kubeconfig] : ['--api-port', String(this.#ports.api ?? 0)])
    const bridge = options.namespaces === true ? stack.use(openBridge()) : undefined
    this.#bridge = bridge
    const host = bridge === undefined ? [] : ['--host', '0.0.0.0', '--advertise', bridge.address]
    this.cloud = stack.use(
      new Part('cloud', program('cloudcore/main.ts'), () => [
        ...['--data', this.cloudData, '--hub-port', String(this.#ports.hub ?? 0), ...cluster(), ...host],
        ...(options.cloudFlags ?? []),
      ]),
    )
  }

  static async start(options: PodHouseOptions): Promise<PodHouse> {
    const resources = new AsyncDisposableStack()
    try {
      const house = new PodHouse(options, resources)
      await house.#open()
      return house
    } catch (error) {
      await resources.disposeAsync()
      throw error
    }
  }

  async #open(): Promise<void> {
    const { gateways } = this.#options
    if (this.api !== undefined) this.#ports.api = Number((await this.api.start())['port'])
    const ready = await this.cloud.start()
    this.#ports.hub = Number(ready['hubPort'])
    if (this.api === undefined) this.#ports.api = Number(ready['apiPort'])
    this.#kube = this.#stack.use(new KubeClient(loadKubeconfig(this.kubeconfig)))
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: this.namespace } }
    await this.kube.create(collectionPath(NAMESPACES), namespace)
    using image = busyboxImage({ name: IMAGE })
    for (const [index, name] of gateways.entries()) await this.#addGateway(name, index, image.archive)
    // What a gateway runs goes on without its agent: it has to be ended as a person would.
    this.#stack.defer(() => this.#endPods())
  }

  async #addGateway(name: string, index: number, archive: string): Promise<void> {
    const data = join(this.folder, name)
    const pods = `${data}-pods`
    mkdirSync(data)
    mkdirSync(join(pods, 'import'), { recursive: true })
    chmodSync(pods, 0o711)
    chmodSync(join(pods, 'import'), 0o700)
    copyFileSync(archive, join(pods, 'import', 'busybox.tar'))
    const host = this.#bridge?.address ?? '127.0.0.1'
    const relay = this.#stack.use(await LossyRelay.open(this.#ports.hub!, host, (this.#options.seed ?? 1) + index))
    const wrapper = this.#bridge?.namespace(index)
    const { token } = await new ConsoleApi(cloudEndpoint(this.cloudData)).createToken(
      ...([name, 600_000, AbortSignal.timeout(15_000)] as const),
    )
    const tokenFile = join(this.folder, `${name}.token`)
    writeFileSync(tokenFile, token, { mode: 0o600 })
    const engine = this.#options.withContainerd?.includes(name) ? this.#stack.use(await Engine.start(name)) : undefined
    const runtime = engine === undefined ? 'process' : `containerd=${engine.socket}`
    const argv = () => [
      ...['--data', data, '--token-file', tokenFile, '--hub', `wss://${host}:${relay.port}`],
      ...['--pods', runtime, '--pods-dir', pods, ...(this.#options.agentFlags ?? [])],
    ]
    const agent = this.#stack.use(
      new Part(name, program('agent/main.ts'), argv, wrapper === undefined ? {} : { wrapper }),
    )
    await agent.start()
    this.gateways.set(name, { name, agent, relay, data, engine })
  }

  get kube(): KubeClient {
    return this.#kube!
  }

  get kubeconfig(): string {
    return this.api === undefined ? join(this.cloudData, 'kubeconfig') : join(this.folder, 'kube', 'kubeconfig')
  }

  gateway(name: string): HouseGateway {
    return this.gateways.get(name)!
  }

  tellOnFailure(): void {
    onTestFailed(() => console.error(this.logs()))
  }

  logs(): string {
    const parts = [this.api, this.cloud, ...[...this.gateways.values()].flatMap(({ agent, engine }) => [agent, engine])]
    const told = parts.filter((part) => part !== undefined).map((part) => `== ${part.name}\n${part.log().slice(-6000)}`)
    return [...told, '== journal', readFileSync(this.#journalFile, 'utf8').slice(-4000)].join('\n')
  }

  kubectl(...args: readonly string[]): Promise<KubectlAnswer> {
    return this.kubectlWith(undefined, ...args)
  }

  kubectlWith(input: string | undefined, ...args: readonly string[]): Promise<KubectlAnswer> {
    const env = { ...process.env, KUBECONFIG: this.kubeconfig, HOME: this.folder }
    return new Promise((resolve) => {
      const all = ['--namespace', this.namespace, ...args]
      const child = execFile('kubectl', all, { env, timeout: 90_000 }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
      )
      child.stdin?.on('error', () => {})
      child.stdin?.end(input ?? '')
    })
  }

  setGateway(name: string, spec: object): Promise<unknown> {
    return this.kube.patch(objectPath(GATEWAYS, name), 'merge', { spec })
  }

  /** A pod's template: it says in the journal that it begins, and sleeps. */
  template(work: string, more: object = {}): object {
    const script = `echo "$POD_UID ${work}" >> /shared/journal; exec sleep ${this.#secondsOf(work)}`
    return {
      terminationGracePeriodSeconds: 1,
      // An API that is apart is somebody's cluster to the cloud core, with a scheduler of its own.
      ...(this.api === undefined ? {} : { schedulerName: 'sluice' }),
      containers: [
        {
          ...{ name: 'main', image: IMAGE, command: ['sh', '-c', script] },
          env: [{ name: 'POD_UID', valueFrom: { fieldRef: { fieldPath: 'metadata.uid' } } }],
          volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
          resources: { requests: { cpu: '10m', memory: '8Mi' } },
        },
      ],
      volumes: [{ name: 'shared', hostPath: { path: this.#shared } }],
      ...more,
    }
  }

  /** A pod whose work is itself. */
  createPod(name: string, more: object = {}, metadata: object = {}): Promise<HousePod> {
    return this.kube.create(collectionPath(PODS, this.namespace), {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, ...metadata }, spec: this.template(name, more) },
    })
  }

  async pods(): Promise<readonly HousePod[]> {
    return (await this.kube.list<HousePod>(collectionPath(PODS, this.namespace))).items
  }

  async pod(name: string): Promise<HousePod | undefined> {
    return (await this.pods()).find(({ metadata }) => metadata.name === name)
  }

  running(name: string, on?: string, timeoutMs = 30_000): Promise<HousePod> {
    return eventually(
      async () => {
        const found = await this.pod(name)
        const is = found?.status.phase === 'Running' && (on === undefined || found.spec.nodeName === on)
        return is && found?.metadata.deletionTimestamp === undefined && found
      },
      `${name} runs${on === undefined ? '' : ` on ${on}`}`,
      timeoutMs,
    )
  }

  /** Uids of the pods that have begun, in order, each as often as it began. */
  begun(work?: string): string[] {
    const lines = readFileSync(this.#journalFile, 'utf8').split('\n').filter(Boolean)
    return lines.flatMap((line) => {
      const [uid = '', of] = line.split(' ')
      return work === undefined || of === work ? [uid] : []
    })
  }

  /** Processes of a work that live, and what the kernel says of each: `S` sleeps, `T` stands still. */
  processes(work: string): { readonly pid: number; readonly state: string }[] {
    const program = `sleep ${this.#secondsOf(work)}`
    const listed = execFileSync('ps', ['-eo', 'pid=,stat=,args='], { encoding: 'utf8' }).split('\n')
    return listed.flatMap((line) => {
      const [, pid, state, args = ''] = /^\s*(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? []
      return args === program ? [{ pid: Number(pid), state: state ?? '' }] : []
    })
  }

  /** How long the program of a work sleeps: by that it is known among all processes. */
  #secondsOf(work: string): number {
    const held = this.#works.get(work) ?? this.#firstSeconds + this.#works.size
    this.#works.set(work, held)
    return held
  }

  get #journalFile(): string {
    return join(this.#shared, 'journal')
  }

  async #endPods(): Promise<void> {
    for (const { agent, relay, engine } of this.gateways.values()) {
      relay.loss = 0
      relay.unplugged = false
      if (engine?.running === false) await engine.start()
      if (!agent.running) await agent.start()
    }
    if (this.api?.running === false) await this.api.start()
    if (!this.cloud.running) await this.cloud.start()
    for (const name of this.gateways.keys()) {
      await this.setGateway(name, { mode: 'autonomous', policy: null }).catch(() => {})
    }
    await this.kubectl('delete', 'deployments,daemonsets,jobs,pods', '--all', '--wait', '--timeout=60s')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

/** A containerd that tests kill and start again; its shims, and what they hold, go on. */
class Engine implements Mortal, AsyncDisposable {
  readonly name: string
  readonly #house: ContainerdHouse
  running = true

  private constructor(name: string, house: ContainerdHouse) {
    this.name = name
    this.#house = house
  }

  static async start(gateway: string): Promise<Engine> {
    return new Engine(`containerd of ${gateway}`, await ContainerdHouse.start())
  }

  get socket(): string {
    return this.#house.socket
  }

  log(): string {
    return this.#house.log
  }

  async kill(): Promise<void> {
    this.running = false
    await this.#house.kill()
  }

  async start(): Promise<void> {
    await this.#house.up()
    this.running = true
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#house[Symbol.asyncDispose]()
  }
}
