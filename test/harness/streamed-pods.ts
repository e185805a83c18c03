import { execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ContainerSpec } from '../../agent/pods/runtimes/runtime.ts'
import { type RunningAgent, runAgent } from '../../agent/run.ts'
import { HostRuntime } from '../../agent/streams/host-runtime.test-helper.ts'
import { podStreams } from '../../agent/streams/pod-streams.ts'
import { type CloudCore, runCloudCore } from '../../cloudcore/core.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'

const run = promisify(execFile)
const NOTHING: ContainerSpec = {
  ...{ name: '', attempt: 0, command: [], args: [], workingDirectory: undefined, env: [], mounts: [], devices: [] },
  ...{ image: { id: 'host', names: [], digests: [], bytes: 0, lastUsedMs: 0 }, resources: {}, logPath: '' },
  ...{ user: undefined, group: undefined, supplementalGroups: [], readOnlyRoot: false, privileged: false },
  ...{ noNewPrivileges: false, addCapabilities: [], dropCapabilities: [], unconfinedSeccomp: false },
  ...{ tty: false, stdin: false, stdinOnce: false, oomScoreAdj: 0, labels: {} },
}

export interface KubectlAnswer {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A cloud core with its API and a gateway whose pods are child processes of the test: all that kubectl needs. */
export class StreamedPods implements AsyncDisposable {
  readonly folder: string
  readonly core: CloudCore
  readonly kube: KubeClient
  readonly runtime = new HostRuntime()
  agent: RunningAgent
  readonly gateway = 'gw-1'

  private constructor(folder: string, core: CloudCore, agent: (runtime: HostRuntime) => Promise<RunningAgent>) {
    this.folder = folder
    this.core = core
    this.kube = new KubeClient(loadKubeconfig(core.info.kubeconfig))
    this.#start = () => agent(this.runtime)
    this.agent = undefined as never
  }

  readonly #start: () => Promise<RunningAgent>

  static async start(): Promise<StreamedPods> {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-pods-'))
    const core = await runCloudCore({ dataDir: join(folder, 'cloud'), hubPort: 0, apiPort: 0, kubeletPort: 0 })
    const { token } = await core.createToken({ gateway: 'gw-1' })
    const joinTokenFile = join(folder, 'token')
    writeFileSync(joinTokenFile, token)
    const pods = new StreamedPods(folder, core, (runtime) => {
      const handlers = podStreams(() => [runtime])
      return runAgent(
        { dataDir: join(folder, 'agent'), joinTokenFile },
        { log: () => {}, streams: async (kind) => handlers(kind) },
      )
    })
    await pods.startAgent()
    return pods
  }

  async startAgent(): Promise<void> {
    this.agent = await this.#start()
    await this.kubectl('wait', '--for=condition=Ready', `node/${this.gateway}`, '--timeout=20s')
  }

  /** Makes a pod that is bound to the gateway, and starts its only container there. */
  async run(name: string, command: readonly string[]): Promise<{ sandboxId: string; containerId: string }> {
    await this.kube.create('/api/v1/namespaces/default/pods', {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default' },
      spec: { nodeName: this.gateway, containers: [{ name: 'main', image: 'host', stdin: true }] },
    })
    const { metadata } = await this.kube.get<{ metadata: { uid: string } }>(`/api/v1/namespaces/default/pods/${name}`)
    const sandbox = await this.runtime.createSandbox({
      containerNames: ['main'],
      ...{ podUid: metadata.uid, namespace: 'default', name, attempt: 0, hostname: name, resources: {} },
      ...{ hostNetwork: true, hostPid: true, hostIpc: true, privileged: false, portMappings: [] },
      ...{ logDirectory: join(this.folder, 'logs', name), labels: {}, annotations: {} },
    })
    const containerId = await this.start(sandbox.id, command, 0)
    const containerStatuses = [{ name: 'main', ready: true, restartCount: 0, image: 'host', imageID: 'host' }]
    const status = { phase: 'Running', containerStatuses }
    await this.kube.patch(`/api/v1/namespaces/default/pods/${name}/status`, 'merge', { status })
    return { sandboxId: sandbox.id, containerId }
  }

  async start(sandboxId: string, command: readonly string[], attempt: number): Promise<string> {
    const spec = { ...NOTHING, name: 'main', attempt, command, logPath: `main/${attempt}.log`, stdin: true }
    const containerId = await this.runtime.createContainer(sandboxId, spec)
    await this.runtime.startContainer(containerId)
    return containerId
  }

  get env(): NodeJS.ProcessEnv {
    return { ...process.env, KUBECONFIG: this.core.info.kubeconfig, HOME: this.folder }
  }

  /** Runs kubectl to its end; whatever it ends with is the answer. */
  async kubectl(...args: readonly string[]): Promise<KubectlAnswer> {
    try {
      const options = { env: this.env, timeout: 30_000, maxBuffer: 256 * 1024 * 1024 }
      const { stdout, stderr } = await run('kubectl', args, options)
      return { code: 0, stdout, stderr }
    } catch (thrown) {
      const { code, stdout = '', stderr = '' } = thrown as { code?: unknown; stdout?: string; stderr?: string }
      return { code: typeof code === 'number' ? code : -1, stdout, stderr: stderr || String(thrown) }
    }
  }

  /** A kubectl that goes on running. */
  spawn(...args: readonly string[]) {
    return spawn('kubectl', args, { env: this.env, stdio: 'pipe' })
  }

  makeFolder(name: string): string {
    const path = join(this.folder, name)
    mkdirSync(path, { recursive: true })
    return path
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.runtime[Symbol.asyncDispose]()
    await this.agent[Symbol.asyncDispose]()
    await this.kube[Symbol.asyncDispose]()
    await this.core[Symbol.asyncDispose]()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
