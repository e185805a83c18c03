import type { Duplex } from 'node:stream'
import { SluiceError, toSluiceError } from '../../../api/errors.ts'
import type { LinkPod } from '../../../api/link/pods.ts'
import type {
  AttachOptions,
  ContainerSpec,
  ExecOptions,
  ExecSession,
  ImageStore,
  PodRuntime,
  Resources,
  RuntimeName,
  SandboxSpec,
  SandboxState,
  SandboxStats,
} from './runtime.ts'

/**
 * Several runtimes as one: a pod's `runtimeClassName` says where its sandbox is made, and what has an id goes to the runtime
 * that it is of. Whoever makes a sandbox asks `of(pod)` for the runtime; everything else may be asked here.
 */
export class RuntimesByClass implements PodRuntime {
  readonly name: RuntimeName
  readonly version: string
  readonly images: ImageStore
  readonly #default: PodRuntime
  /** By class; an error says why this gateway has it not. */
  readonly #others: ReadonlyMap<string, PodRuntime | SluiceError>
  /** Of sandboxes and containers, as last listed. */
  #homes = new Map<string, PodRuntime>()
  readonly #lastLists = new Map<PodRuntime, readonly SandboxState[]>()

  constructor(usual: PodRuntime, others: ReadonlyMap<string, PodRuntime | SluiceError>) {
    this.#default = usual
    this.#others = others
    this.name = usual.name
    this.version = usual.version
    this.images = usual.images
  }

  /** Runtimes that are there. */
  get all(): readonly PodRuntime[] {
    return [
      this.#default,
      ...[...this.#others.values()].filter((one): one is PodRuntime => !(one instanceof SluiceError)),
    ]
  }

  /** Where the sandboxes of a pod are made; of one that `refusal` speaks of it means nothing. */
  of({ spec: { runtimeClassName = '' } }: LinkPod): PodRuntime {
    const other = this.#others.get(runtimeClassName)
    return other === undefined || other instanceof SluiceError ? this.#default : other
  }

  /** Why the class that a pod names cannot be had here, with the remedy. */
  refusal({ spec: { runtimeClassName = '' } }: LinkPod): string | undefined {
    if (runtimeClassName === '' || runtimeClassName === this.#default.name) return undefined
    const other = this.#others.get(runtimeClassName)
    if (other instanceof SluiceError)
      return other.hint === undefined ? other.message : `${other.message}. ${other.hint}`
    if (other !== undefined) return undefined
    const known = [this.#default.name, ...this.#others.keys()].join(', ')
    return `This gateway has no runtime class '${runtimeClassName}', only ${known}. Correct runtimeClassName, or leave it out`
  }

  async list(signal: AbortSignal): Promise<readonly SandboxState[]> {
    const homes = new Map<string, PodRuntime>()
    const lists = await Promise.all(
      this.all.map(async (runtime) => {
        const list = await this.#listOf(runtime, signal)
        for (const { id, containers } of list) {
          homes.set(id, runtime)
          for (const container of containers) homes.set(container.id, runtime)
        }
        return list
      }),
    )
    this.#homes = homes
    return lists.flat()
  }

  createSandbox(spec: SandboxSpec, signal: AbortSignal): Promise<SandboxState> {
    return this.#default.createSandbox(spec, signal)
  }

  async removeSandbox(id: string, signal: AbortSignal): Promise<void> {
    const home = await this.#find(id, signal)
    await home?.removeSandbox(id, signal)
  }

  async createContainer(sandboxId: string, spec: ContainerSpec, signal: AbortSignal): Promise<string> {
    const home = await this.#home(sandboxId, signal)
    const id = await home.createContainer(sandboxId, spec, signal)
    this.#homes.set(id, home)
    return id
  }

  async startContainer(id: string, signal: AbortSignal): Promise<void> {
    await (await this.#home(id, signal)).startContainer(id, signal)
  }

  async stopContainer(id: string, graceMs: number, signal: AbortSignal): Promise<void> {
    const home = await this.#find(id, signal)
    await home?.stopContainer(id, graceMs, signal)
  }

  async removeContainer(id: string, signal: AbortSignal): Promise<void> {
    const home = await this.#find(id, signal)
    await home?.removeContainer(id, signal)
  }

  async updateResources(id: string, resources: Resources, signal: AbortSignal): Promise<void> {
    await (await this.#home(id, signal)).updateResources(id, resources, signal)
  }

  async freeze(sandboxId: string, frozen: boolean, signal: AbortSignal): Promise<void> {
    await (await this.#home(sandboxId, signal)).freeze(sandboxId, frozen, signal)
  }

  async exec(id: string, options: ExecOptions, signal: AbortSignal): Promise<ExecSession> {
    return await (await this.#home(id, signal)).exec(id, options, signal)
  }

  async attach(id: string, options: AttachOptions, signal: AbortSignal): Promise<ExecSession> {
    return await (await this.#home(id, signal)).attach(id, options, signal)
  }

  async portForward(sandboxId: string, port: number, signal: AbortSignal): Promise<Duplex> {
    return await (await this.#home(sandboxId, signal)).portForward(sandboxId, port, signal)
  }

  async stats(signal: AbortSignal): Promise<readonly SandboxStats[]> {
    return (await Promise.all(this.all.map((runtime) => runtime.stats(signal)))).flat()
  }

  async reopenLog(id: string, signal: AbortSignal): Promise<void> {
    const home = await this.#find(id, signal)
    await home?.reopenLog(id, signal)
  }

  onChange(wake: () => void): () => void {
    const ends = this.all.map((runtime) => runtime.onChange(wake))
    return () => {
      for (const end of ends) end()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = await Promise.allSettled(this.all.map((runtime) => runtime[Symbol.asyncDispose]()))
    for (const one of ended) if (one.status === 'rejected') throw toSluiceError(one.reason)
  }

  /** An engine beside the usual one that does not answer disturbs nobody else's pods: its own are as they were last seen. */
  async #listOf(runtime: PodRuntime, signal: AbortSignal): Promise<readonly SandboxState[]> {
    try {
      const list = await runtime.list(signal)
      this.#lastLists.set(runtime, list)
      return list
    } catch (error) {
      const last = this.#lastLists.get(runtime)
      if (runtime === this.#default || last === undefined || signal.aborted) throw error
      return last
    }
  }

  async #find(id: string, signal: AbortSignal): Promise<PodRuntime | undefined> {
    if (!this.#homes.has(id)) await this.list(signal)
    return this.#homes.get(id)
  }

  async #home(id: string, signal: AbortSignal): Promise<PodRuntime> {
    const home = await this.#find(id, signal)
    if (home === undefined)
      throw new SluiceError('SLUICE_POD_GONE', `There is no sandbox or container ${id.slice(0, 12)}`)
    return home
  }
}
