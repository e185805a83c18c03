import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../../api/clock.ts'
import { SluiceError } from '../../../../api/errors.ts'
import { SOCKETS } from '../choice.ts'
import { EngineEvents } from '../engine-events.ts'
import { ControlGroups, DEFAULT_PIDS } from '../process/control-group.ts'
import { OwnGroups } from '../process/own-groups.ts'
import type {
  AttachOptions,
  ContainerSpec,
  ExecOptions,
  ExecSession,
  PodRuntime,
  Resources,
  SandboxSpec,
  SandboxState,
  SandboxStats,
} from '../runtime.ts'
import { type CallOptions, Channel, down, isGone, Refusal } from './channel.ts'
import { openCommand, openPort } from './commands.ts'
import { CONTAINERD, CRI, type Method } from './cri.ts'
import { Daemon, type DaemonFacts } from './daemon.ts'
import { type TaskTold, taskWords } from './events.ts'
import { ContainerdImages } from './images.ts'
import { containerConfig, LABEL_OWNER, linuxResources, sandboxConfig } from './specs.ts'
import { Starts } from './starts.ts'
import { States } from './state.ts'
import { type Dial, dialTcp } from './stream-client.ts'
import type { Fields, Given, Taken } from './wire.ts'

export interface ContainerdOptions {
  /** Where containerd listens. Default `/run/containerd/containerd.sock`. */
  readonly socket?: string
  /** Whose sandboxes these are: the gateway's name. */
  readonly owner: string
  /** For what is on its way into containerd. */
  readonly folder: string
  readonly clock: Clock
  readonly dial?: Dial
  readonly cgroupRoot?: string
  /** The group that all pods are in. Default `kubepods`, as the kubelet's. */
  readonly cgroupBase?: string
}

/** The namespace of containerd that its pods are in. */
const NAMESPACE = 'k8s.io'
/** What making a sandbox may take besides: a network plugin that waits for an address. */
const SANDBOX_MS = 240_000
const AFTER_GRACE_MS = 60_000
const CODES = { unavailable: 'SLUICE_POD_RUNTIME_DOWN', notFound: 'SLUICE_POD_GONE' } as const

/**
 * Pods with containerd, over the Container Runtime Interface. Everything is containerd's and its shims': this agent and
 * containerd itself may end at any moment, and what runs goes on.
 */
export class ContainerdRuntime implements PodRuntime {
  readonly name = 'containerd'
  readonly version: string
  readonly images: ContainerdImages
  readonly #options: ContainerdOptions
  readonly #channel: Channel
  readonly #daemon: Daemon
  readonly #starts: Starts
  readonly #states: States
  readonly #facts: DaemonFacts
  readonly #groups: ControlGroups | undefined
  readonly #podGroups: OwnGroups | undefined
  readonly #events: EngineEvents<TaskTold>
  /** Sandboxes that stand still, or may from before. */
  readonly #frozen = new Set<string>()
  #known = false

  private constructor(
    options: ContainerdOptions,
    channel: Channel,
    daemon: Daemon,
    version: string,
    facts: DaemonFacts,
  ) {
    this.#options = options
    this.#channel = channel
    this.#daemon = daemon
    this.#facts = facts
    this.version = `containerd://${version}`
    const { clock, owner } = options
    this.#starts = new Starts({ socket: channel.socket, folder: join(options.folder, 'starts'), clock })
    this.#states = new States(channel, owner, this.#starts)
    this.images = new ContainerdImages(
      channel,
      options.folder,
      () => options.clock.now(),
      (error, what) => this.#trouble(error, what),
    )
    this.#groups = facts.systemdCgroups
      ? undefined
      : new ControlGroups(options.cgroupRoot, options.cgroupBase ?? 'kubepods')
    this.#podGroups = this.#groups && new OwnGroups(join(options.folder, 'groups'), this.#groups, options.clock)
    this.#events = new EngineEvents(taskWords(channel, NAMESPACE), options.clock)
  }

  /** Throws `SLUICE_POD_RUNTIME_MISSING` or `SLUICE_POD_RUNTIME_DOWN`. */
  static async open(options: ContainerdOptions, signal: AbortSignal): Promise<ContainerdRuntime> {
    const channel = await Channel.open(options.socket ?? SOCKETS.containerd, NAMESPACE)
    try {
      const { version } = await channel.call(CRI.version, {}, { signal })
      const daemon = new Daemon(channel, options.clock)
      return new ContainerdRuntime(options, channel, daemon, version, await daemon.facts(signal))
    } catch (error) {
      channel[Symbol.dispose]()
      if (!(error instanceof Refusal)) throw error
      if (error.status === 'unavailable') throw down(channel.socket, error)
      throw new SluiceError('SLUICE_POD_RUNTIME_DOWN', `containerd does not run pods: ${error.message}`, {
        hint: "Take 'cri' out of disabled_plugins in /etc/containerd/config.toml and restart containerd.",
        cause: error,
      })
    }
  }

  async list(signal: AbortSignal): Promise<readonly SandboxState[]> {
    try {
      const list = await this.#states.list(signal)
      if (!this.#known) {
        for (const { id } of list) this.#frozen.add(id)
        this.#podGroups?.sweep(new Set(list.map(({ podUid }) => groupOf(podUid))))
      }
      this.#known = true
      return list
    } catch (error) {
      throw this.#trouble(error, 'its pods cannot be listed')
    }
  }

  async createSandbox(spec: SandboxSpec, signal: AbortSignal): Promise<SandboxState> {
    try {
      await Promise.all([
        this.#daemon.sandboxImage(signal),
        spec.hostNetwork ? undefined : this.#daemon.network(signal),
      ])
      // containerd's interface has no limit of processes for version 1 of control groups; the pod as a whole gets one.
      this.#podGroups?.make(groupOf(spec.podUid), { pidsLimit: DEFAULT_PIDS * (spec.containerNames.length + 1) })
      const config = sandboxConfig(spec, { owner: this.#options.owner, cgroupParent: this.#cgroupParent(spec.podUid) })
      const { id } = await this.#channel.call(CRI.runSandbox, { config }, { signal, timeoutMs: SANDBOX_MS })
      this.#states.made(id, spec)
      const { podUid, namespace, name, attempt, labels } = spec
      const ips = spec.hostNetwork ? [] : await this.#states.addresses(id, signal)
      const createdMs = this.#options.clock.now()
      return { id, podUid, namespace, name, attempt, labels, ready: true, createdMs, ips, containers: [] }
    } catch (error) {
      if (error instanceof Refusal && /\bcni\b|network for sandbox/i.test(error.message)) {
        throw new SluiceError('SLUICE_POD_NETWORK', `The pod gets no network: ${error.message}`, {
          hint: 'Look at the CNI configuration and its plugins, or give the pod hostNetwork: true.',
          cause: error,
        })
      }
      throw this.#trouble(error, `a sandbox for ${spec.namespace}/${spec.name} cannot be made`)
    }
  }

  async removeSandbox(id: string, signal: AbortSignal): Promise<void> {
    const list = await this.list(signal)
    const sandbox = list.find((one) => one.id === id)
    if (sandbox === undefined) return
    await this.#thaw(sandbox, signal)
    try {
      await this.#channel.call(CRI.stopSandbox, { id }, { signal })
      await this.#channel.call(CRI.removeSandbox, { id }, { signal })
    } catch (error) {
      if (!isGone(error)) {
        throw this.#trouble(error, `the sandbox of ${sandbox.namespace}/${sandbox.name} cannot be removed`)
      }
    }
    this.#frozen.delete(id)
    const { podUid } = sandbox
    this.#events.changed()
    if (!list.some((one) => one.id !== id && one.podUid === podUid)) {
      await this.#podGroups?.remove(groupOf(podUid), signal)
    }
  }

  async createContainer(sandboxId: string, spec: ContainerSpec, signal: AbortSignal): Promise<string> {
    try {
      const sandbox = await this.#states.spec(sandboxId, signal)
      if (sandbox === undefined) throw gone(sandboxId)
      const { owner } = this.#options
      const surroundings = { owner, cgroupParent: this.#cgroupParent(sandbox.podUid) }
      const { id } = await this.#channel.call(
        CRI.createContainer,
        {
          sandboxId,
          config: containerConfig(spec, sandbox, owner),
          sandboxConfig: sandboxConfig(sandbox, surroundings),
        },
        { signal },
      )
      this.images.used(spec.image.id)
      return id
    } catch (error) {
      if (error instanceof Refusal && /image .*not found/i.test(error.message)) {
        throw new SluiceError('SLUICE_POD_IMAGE_MISSING', `The image ${spec.image.id} is not here any more`, {
          cause: error,
        })
      }
      throw this.#trouble(error, `container ${spec.name} cannot be made`, 'SLUICE_POD_START')
    }
  }

  async startContainer(id: string, signal: AbortSignal): Promise<void> {
    await this.#starts.start(id, signal).catch((error: unknown) => {
      throw this.#trouble(error, 'the container cannot be started', 'SLUICE_POD_START')
    })
    this.#events.changed()
  }

  async stopContainer(id: string, graceMs: number, signal: AbortSignal): Promise<void> {
    const sandbox = this.#frozen.size === 0 ? undefined : await this.#sandboxOf(id, signal)
    if (sandbox !== undefined) await this.#thaw(sandbox, signal)
    const asked = { id, timeoutS: Math.ceil(graceMs / 1000) }
    const options = { signal, timeoutMs: graceMs + AFTER_GRACE_MS }
    await this.#channel.call(CRI.stopContainer, asked, options).catch((error: unknown) => {
      if (!isGone(error)) throw this.#trouble(error, 'the container does not end', 'SLUICE_POD_STOP')
    })
    this.#events.changed()
  }

  async removeContainer(id: string, signal: AbortSignal): Promise<void> {
    await this.#channel.call(CRI.removeContainer, { id }, { signal }).catch((error: unknown) => {
      if (!isGone(error)) throw this.#trouble(error, 'the container cannot be removed')
    })
  }

  async updateResources(id: string, resources: Resources, signal: AbortSignal): Promise<void> {
    const linux = linuxResources(resources)
    await this.#do(CRI.updateResources, { id, linux }, { signal }, 'limits cannot be changed')
  }

  async freeze(sandboxId: string, frozen: boolean, signal: AbortSignal): Promise<void> {
    const sandbox = (await this.list(signal)).find(({ id }) => id === sandboxId)
    if (sandbox === undefined) throw gone(sandboxId)
    if (!frozen) {
      this.#frozen.add(sandboxId)
      await this.#thaw(sandbox, signal)
      return
    }
    this.#frozen.add(sandboxId)
    await this.#each(sandbox, CONTAINERD.pause, signal)
  }

  async exec(id: string, { command, stdin, tty, size }: ExecOptions, signal: AbortSignal): Promise<ExecSession> {
    const asked = { id, command, stdin, tty, stdout: true, stderr: !tty }
    const { url } = await this.#do(CRI.exec, asked, { signal }, 'the command cannot be run', 'SLUICE_POD_EXEC')
    return await openCommand(url, { stdin, tty, ...(size === undefined ? {} : { size }) }, this.#dial, signal)
  }

  async attach(id: string, { stdin, tty }: AttachOptions, signal: AbortSignal): Promise<ExecSession> {
    const asked = { id, stdin, tty, stdout: true, stderr: !tty }
    const { url } = await this.#do(CRI.attach, asked, { signal }, 'it cannot be attached to', 'SLUICE_POD_EXEC')
    return await openCommand(url, { stdin, tty, attached: true }, this.#dial, signal)
  }

  /** That nothing listens is told by the connection itself, as `SLUICE_POD_PORT`. */
  async portForward(sandboxId: string, port: number, signal: AbortSignal): Promise<Duplex> {
    const asked = { id: sandboxId, ports: [port] }
    const { url } = await this.#do(
      CRI.portForward,
      asked,
      { signal },
      'the port cannot be forwarded',
      'SLUICE_POD_PORT',
    )
    return await openPort(url, port, this.#dial, signal)
  }

  async stats(signal: AbortSignal): Promise<readonly SandboxStats[]> {
    const [list, { stats }] = await Promise.all([
      this.list(signal),
      this.#do(CRI.listStats, this.#mine, { signal }, 'what is used cannot be read'),
    ])
    const byId = new Map(stats.map((one) => [one.attributes?.id ?? '', one]))
    return list
      .filter(({ ready }) => ready)
      .map(({ id, podUid, containers }) => {
        const uses = containers
          .filter(({ state }) => state === 'running')
          .map((container) => {
            const found = byId.get(container.id)
            return {
              ...{ id: container.id, name: container.name, startedMs: container.startedMs ?? container.createdMs },
              cpuS: (found?.cpu?.coreNs?.value ?? 0) / 1e9,
              memoryBytes: found?.memory?.workingSetBytes?.value ?? 0,
            }
          })
        const whole = this.#groups?.use(groupOf(podUid))
        const sum = (of: 'cpuS' | 'memoryBytes') => uses.reduce((total, each) => total + each[of], 0)
        return { id, podUid, cpuS: sum('cpuS'), memoryBytes: sum('memoryBytes'), ...whole, containers: uses }
      })
  }

  async reopenLog(id: string, signal: AbortSignal): Promise<void> {
    await this.#do(CRI.reopenLog, { id }, { signal }, 'its log cannot be opened anew')
  }

  onChange(wake: () => void): () => void {
    return this.#events.onChange(wake)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#events[Symbol.asyncDispose]()
    this.#channel[Symbol.dispose]()
  }

  get #dial(): Dial {
    return this.#options.dial ?? dialTcp
  }

  get #mine() {
    return { filter: { labels: { [LABEL_OWNER]: this.#options.owner } } }
  }

  #cgroupParent(podUid: string): string {
    const base = this.#options.cgroupBase ?? 'kubepods'
    if (this.#facts.systemdCgroups) return `${base}-${groupOf(podUid).replaceAll('-', '_')}.slice`
    return `/${base}/${groupOf(podUid)}`
  }

  async #sandboxOf(containerId: string, signal: AbortSignal): Promise<SandboxState | undefined> {
    return (await this.list(signal)).find(({ containers }) => containers.some(({ id }) => id === containerId))
  }

  /** What stands still hears no signal. */
  async #thaw(sandbox: SandboxState, signal: AbortSignal): Promise<void> {
    if (!this.#frozen.has(sandbox.id)) return
    await this.#each(sandbox, CONTAINERD.resume, signal)
    this.#frozen.delete(sandbox.id)
  }

  async #each(
    { containers }: SandboxState,
    what: typeof CONTAINERD.pause | typeof CONTAINERD.resume,
    signal: AbortSignal,
  ): Promise<void> {
    const running = containers.filter(({ state }) => state === 'running')
    const done = await Promise.allSettled(running.map(({ id }) => this.#channel.call(what, { id }, { signal })))
    for (const one of done) {
      // That it already stands still, or does not, or has ended meanwhile, is what was wanted.
      if (one.status === 'rejected' && !(one.reason instanceof Refusal && one.reason.status !== 'unavailable')) {
        throw this.#trouble(one.reason, 'the pod cannot be made to stand still or go on')
      }
    }
  }

  /** One call, with its errors in the words of the agent; `about` says what did not work. */
  async #do<In extends Fields, Out extends Fields>(
    method: Method<In, Out>,
    message: Given<In>,
    options: CallOptions,
    about: string,
    code?: string,
  ): Promise<Taken<Out>> {
    try {
      return await this.#channel.call(method, message, options)
    } catch (error) {
      throw this.#trouble(error, about, code)
    }
  }

  #trouble(error: unknown, what: string, code?: string): SluiceError {
    if (error instanceof SluiceError) return error
    if (!(error instanceof Refusal)) throw error
    if (error.status === 'unavailable') return down(this.#channel.socket, error)
    const given = error.status === 'notFound' ? (code ?? CODES.notFound) : (code ?? 'SLUICE_POD_RUNTIME_FAILED')
    return new SluiceError(given, `containerd: ${what}: ${error.message}`, { cause: error })
  }
}

const groupOf = (podUid: string): string => `pod${podUid}`

const gone = (id: string): SluiceError =>
  new SluiceError('SLUICE_POD_GONE', `There is no sandbox ${id.slice(0, 12)} of this gateway`)
