import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock, Timer } from '../../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../../api/errors.ts'
import type { PodLinkObject } from '../../../api/link/messages.ts'
import type { LinkConfigMap, LinkPod, LinkSecret, PodContainer } from '../../../api/link/pods.ts'
import { type ObjectKey, objectKey, splitKey } from '../../../api/resources.ts'
import type { Leash } from '../../../api/tether/tether.ts'
import type { HostEvent } from '../../../mappers/sdk/mapper.ts'
import {
  type ContainerNotes,
  currentSandbox,
  LABEL_GRACE,
  type PodAction,
  type PodInput,
  type PodPlan,
  planPod,
} from '../plan.ts'
import type { ContainerView, PodRuntime, SandboxState } from '../runtimes/runtime.ts'
import type { PodStatusBoard } from '../status-board.ts'
import { act, type Target } from './action.ts'
import { containerSpec } from './container-spec.ts'
import { imageFor } from './image.ts'
import { capital, containersOf, portMappings, tcp } from './pod-parts.ts'
import { Probes } from './probes.ts'
import { podStatus } from './status.ts'
import type { NodeFacts, PodFacts } from './values.ts'
import { removeVolumes, type VolumeFolders } from './volumes.ts'

export interface KeeperOptions {
  readonly runtime: PodRuntime
  readonly clock: Clock
  readonly board: PodStatusBoard
  readonly objects: () => readonly PodLinkObject[]
  readonly leash: () => Leash
  readonly node: NodeFacts
  readonly folders: VolumeFolders & { readonly logs: string }
  /** Why a pod is not to begin here, or undefined. */
  readonly refuse: (pod: LinkPod) => string | undefined
  readonly onEvent: (event: HostEvent & { readonly pod?: true }) => void
}

interface Known {
  readonly key: ObjectKey
  readonly uid: string
  readonly sinceMs: number
  /** Names with something going on; the plan is not asked about them meanwhile. */
  readonly busy: Set<string>
  readonly notes: Map<string, ContainerNotes>
  readonly waiting: Map<string, { reason: string; message?: string }>
  readonly probes: Map<string, Probes>
  frozen: boolean
  over: boolean
}

/** Truth without events: a runtime that lost a word of its own is asked anyway. */
const RELIST_MS = 10_000
const HOOK_TIMEOUT_MS = 60_000

/**
 * Brings what runs to what is wanted: looks, plans, acts, tells, and looks again when something has changed. It keeps
 * nothing that the runtime and the store do not know, so that it may be ended and begun again at any moment.
 */
export class PodKeeper implements AsyncDisposable {
  readonly #options: KeeperOptions
  readonly #known = new Map<string, Known>()
  readonly #stop = new AbortController()
  readonly #work = new Set<Promise<unknown>>()
  readonly #unsubscribe: () => void
  #sandboxes: readonly SandboxState[] = []
  #timer: Timer | undefined
  #looking = false
  #again = false
  #finished = 0

  constructor(options: KeeperOptions) {
    this.#options = options
    this.#unsubscribe = options.runtime.onChange(() => this.wake())
  }

  /** Something has changed: objects, the tether, a container. */
  wake(): void {
    if (this.#stop.signal.aborted) return
    if (this.#looking) {
      this.#again = true
      return
    }
    this.#looking = true
    const looking = this.#look().finally(() => {
      this.#looking = false
      this.#work.delete(looking)
      if (this.#again) {
        this.#again = false
        this.wake()
      }
    })
    this.#work.add(looking)
  }

  /** Ends nothing: what runs goes on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the agent stops'))
    this.#unsubscribe()
    this.#timer?.cancel()
    for (const { probes } of this.#known.values()) for (const each of probes.values()) each[Symbol.dispose]()
    await Promise.allSettled(this.#work)
  }

  async #look(): Promise<void> {
    const { runtime, clock, onEvent } = this.#options
    try {
      let before: number
      do {
        // What was listed while something ended is a look at the past: acting upon it would do things twice.
        before = this.#finished
        this.#sandboxes = await runtime.list(this.#stop.signal)
      } while (before !== this.#finished)
    } catch (thrown) {
      if (this.#stop.signal.aborted) return
      onEvent({ about: 'gateway', type: 'Warning', reason: 'PodRuntimeFailed', message: toSluiceError(thrown).message })
      this.#arm(RELIST_MS)
      return
    }
    const pods = new Map(this.#pods().map((one) => [one.object.uid, one]))
    const uids = new Set([...pods.keys(), ...this.#sandboxes.map(({ podUid }) => podUid), ...this.#known.keys()])
    let nextMs = clock.now() + RELIST_MS
    for (const uid of uids) {
      const wakeAtMs = this.#one(uid, pods.get(uid))
      if (wakeAtMs !== undefined) nextMs = Math.min(nextMs, wakeAtMs)
    }
    this.#arm(Math.max(0, nextMs - clock.now()))
  }

  #arm(delayMs: number): void {
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(delayMs, () => this.wake(), true)
  }

  #one(uid: string, given: (PodLinkObject & { kind: 'Pod' }) | undefined): number | undefined {
    const { clock, leash, refuse } = this.#options
    const sandboxes = this.#sandboxes.filter(({ podUid }) => podUid === uid)
    const pod = given?.object
    const key =
      given?.key ?? this.#known.get(uid)?.key ?? objectKey(sandboxes[0]?.namespace ?? '', sandboxes[0]?.name ?? '')
    const known = this.#known.get(uid) ?? this.#begin(uid, key, sandboxes)
    this.#probe(known, pod, sandboxes)
    const { work } = leash()
    const input: PodInput = {
      ...{ uid, pod, sandboxes, nowMs: clock.now(), leash: leash(), notes: known.notes, sinceMs: known.sinceMs },
      refused: pod === undefined || known.busy.size > 0 ? undefined : refuse(pod),
    }
    const plan = planPod(input)
    this.#freeze(known, sandboxes, work === 'frozen' && pod !== undefined)
    for (const action of plan.actions) this.#start(known, pod, action)
    this.#tell(known, pod, input, plan)
    if (pod === undefined && plan.gone && known.busy.size === 0) this.#forget(known)
    return plan.wakeAtMs
  }

  #begin(uid: string, key: ObjectKey, sandboxes: readonly SandboxState[]): Known {
    const sinceMs = Math.min(this.#options.clock.now(), ...sandboxes.map(({ createdMs }) => createdMs))
    const known: Known = {
      ...{ key, uid, sinceMs, frozen: false, over: false },
      ...{ busy: new Set(), notes: new Map(), waiting: new Map(), probes: new Map() },
    }
    this.#known.set(uid, known)
    return known
  }

  #forget(known: Known): void {
    const { board, folders } = this.#options
    this.#known.delete(known.uid)
    removeVolumes(known.uid, folders)
    rmSync(this.#logFolder(known.key, known.uid), { recursive: true, force: true })
    board.delete(known.key, known.uid)
  }

  /** Probes follow the containers that run. */
  #probe(known: Known, pod: LinkPod | undefined, sandboxes: readonly SandboxState[]): void {
    const running = new Map<string, { sandbox: SandboxState; container: ContainerView }>()
    for (const sandbox of sandboxes) {
      for (const container of sandbox.containers) {
        if (container.state === 'running') running.set(container.id, { sandbox, container })
      }
    }
    for (const [id, probes] of known.probes) {
      if (running.has(id)) continue
      probes[Symbol.dispose]()
      known.probes.delete(id)
    }
    if (pod === undefined) return
    for (const [id, { sandbox, container }] of running) {
      const wanted = containersOf(pod).find(({ name }) => name === container.name)
      if (wanted === undefined || known.probes.has(id)) continue
      const probes: Probes = new Probes({
        clock: this.#options.clock,
        container: wanted,
        target: this.#target(pod, wanted, sandbox, id),
        startedMs: container.startedMs ?? container.createdMs,
        onChange: () => {
          this.#note(known, container, probes)
          this.wake()
        },
        onUnhealthy: (kind, message) =>
          this.#event(known, 'Warning', 'Unhealthy', `${capital(kind)} probe failed: ${message}`),
      })
      known.probes.set(id, probes)
      this.#note(known, container, probes)
    }
  }

  #note(known: Known, { id, name }: ContainerView, { startedUp, dead }: Probes): void {
    const { failure: _, ...rest } = known.notes.get(name) ?? { startedUp }
    const condemned =
      dead === undefined
        ? {}
        : {
            condemned: {
              containerId: id,
              reason: 'Unhealthy',
              ...(dead.graceMs === undefined ? {} : { graceMs: dead.graceMs }),
            },
          }
    known.notes.set(name, { ...rest, startedUp, ...condemned })
  }

  #freeze(known: Known, sandboxes: readonly SandboxState[], frozen: boolean): void {
    if (known.frozen === frozen) return
    known.frozen = frozen
    const sandbox = currentSandbox(sandboxes)
    if (sandbox === undefined) return
    this.#background(this.#options.runtime.freeze(sandbox.id, frozen, this.#stop.signal))
    this.#event(
      known,
      'Normal',
      frozen ? 'Frozen' : 'Thawed',
      frozen ? 'The tether is lost' : 'A lease is in force again',
    )
  }

  #start(known: Known, pod: LinkPod | undefined, action: PodAction): void {
    const name = busyName(action)
    if (known.busy.has(name) || known.busy.has('') || (name === '' && known.busy.size > 0)) return
    known.busy.add(name)
    this.#background(
      this.#do(known, pod, action)
        .then(
          () => {
            const note = known.notes.get(name)
            if (note?.failure !== undefined) known.notes.set(name, { startedUp: note.startedUp })
            known.waiting.delete(name)
          },
          (thrown: unknown) => this.#failed(known, name, toSluiceError(thrown)),
        )
        .finally(() => {
          this.#finished++
          known.busy.delete(name)
          this.wake()
        }),
    )
  }

  #background(work: Promise<unknown>): void {
    const kept = work
      .catch((thrown: unknown) => {
        if (this.#stop.signal.aborted) return
        this.#options.onEvent({
          about: 'gateway',
          type: 'Warning',
          reason: 'PodFailed',
          message: toSluiceError(thrown).message,
        })
      })
      .finally(() => this.#work.delete(kept))
    this.#work.add(kept)
  }

  #failed(known: Known, name: string, error: SluiceError): void {
    if (this.#stop.signal.aborted) return
    const note = known.notes.get(name)
    const count = (note?.failure?.count ?? 0) + 1
    known.notes.set(name, { startedUp: false, ...note, failure: { count, atMs: this.#options.clock.now() } })
    const image = /^SLUICE_(POD_IMAGE|REGISTRY)/.test(error.code)
    const reason = image
      ? count > 1
        ? 'ImagePullBackOff'
        : error.code === 'SLUICE_POD_IMAGE_NAME'
          ? 'InvalidImageName'
          : 'ErrImagePull'
      : error.code === 'SLUICE_POD_CONFIG'
        ? 'CreateContainerConfigError'
        : 'CreateContainerError'
    const message = error.hint === undefined ? error.message : `${error.message}. ${error.hint}`
    known.waiting.set(name, { reason, message: message.slice(0, 1024) })
    this.#event(
      known,
      'Warning',
      name === '' ? 'FailedCreatePodSandBox' : 'Failed',
      name === '' ? message : `${name}: ${message}`,
    )
  }

  async #do(known: Known, pod: LinkPod | undefined, action: PodAction): Promise<void> {
    const { runtime } = this.#options
    const { signal } = this.#stop
    switch (action.do) {
      case 'createSandbox':
        await this.#createSandbox(known, pod!, action.attempt)
        return
      case 'removeSandbox':
        await runtime.removeSandbox(action.sandboxId, signal)
        return
      case 'removeContainer':
        await runtime.removeContainer(action.containerId, signal)
        return
      case 'stopContainer':
        await this.#stopContainer(known, pod, action)
        return
      case 'startContainer':
        await this.#startContainer(known, pod!, action)
    }
  }

  async #createSandbox(known: Known, pod: LinkPod, attempt: number): Promise<void> {
    const { namespace, name } = splitKey(known.key)
    const { spec, metadata } = pod
    const logDirectory = this.#logFolder(known.key, known.uid)
    mkdirSync(logDirectory, { recursive: true, mode: 0o750 })
    await this.#options.runtime.createSandbox(
      {
        ...{ podUid: known.uid, namespace, name, attempt, logDirectory },
        hostname: spec.hostname ?? name.slice(0, 63).replace(/[^a-z0-9]+$/i, ''),
        hostNetwork: spec.hostNetwork ?? false,
        hostPid: spec.hostPID ?? false,
        hostIpc: spec.hostIPC ?? false,
        privileged: containersOf(pod).some(({ securityContext }) => securityContext?.privileged === true),
        resources: {},
        portMappings: spec.hostNetwork === true ? [] : containersOf(pod).flatMap(portMappings),
        containerNames: containersOf(pod).map((one) => one.name),
        labels: { [LABEL_GRACE]: String(spec.terminationGracePeriodSeconds ?? 30) },
        annotations: metadata.annotations ?? {},
      },
      this.#stop.signal,
    )
  }

  async #startContainer(known: Known, pod: LinkPod, action: PodAction & { do: 'startContainer' }): Promise<void> {
    const { runtime, folders } = this.#options
    const { signal } = this.#stop
    const wanted = containersOf(pod).find(({ name }) => name === action.name)!
    const sandbox = this.#sandboxes.find(({ id }) => id === action.sandboxId)
    const facts: PodFacts = { key: known.key, pod, podIp: sandbox?.ips[0] ?? '' }
    const sources = this.#sources(known.key)
    const image = await imageFor(runtime, pod, wanted, sources, signal, (message) =>
      this.#event(known, 'Normal', 'Pulled', message),
    )
    const spec = containerSpec({
      facts,
      wanted,
      image,
      sources,
      folders,
      attempt: action.attempt,
      backoff: action.backoff,
    })
    const id = await runtime.createContainer(action.sandboxId, spec, signal)
    try {
      await runtime.startContainer(id, signal)
    } catch (error) {
      // It is there as one that has ended, with the reason; a second word about it would only repeat that.
      if (toSluiceError(error).code !== 'SLUICE_POD_START') throw error
    }
    this.#event(known, 'Normal', 'Started', `Started container ${wanted.name}`)
    const hook = wanted.lifecycle?.postStart
    if (hook === undefined) return
    const { ok, message } = await act(hook, this.#target(pod, wanted, sandbox, id), HOOK_TIMEOUT_MS, signal)
    if (ok || signal.aborted) return
    this.#event(known, 'Warning', 'FailedPostStartHook', `${wanted.name}: ${message}`)
    known.notes.set(wanted.name, { startedUp: false, condemned: { containerId: id, reason: 'FailedPostStartHook' } })
  }

  async #stopContainer(
    known: Known,
    pod: LinkPod | undefined,
    action: PodAction & { do: 'stopContainer' },
  ): Promise<void> {
    const { runtime, clock } = this.#options
    const { signal } = this.#stop
    this.#event(known, 'Normal', 'Killing', `Stopping container ${action.name}`)
    const wanted = pod === undefined ? undefined : containersOf(pod).find(({ name }) => name === action.name)
    let graceMs = action.graceMs
    const hook = wanted?.lifecycle?.preStop
    const sandbox = this.#sandboxes.find(({ containers }) => containers.some(({ id }) => id === action.containerId))
    if (hook !== undefined && graceMs > 0) {
      const began = clock.monotonic()
      const { ok, message } = await act(hook, this.#target(pod!, wanted!, sandbox, action.containerId), graceMs, signal)
      if (!ok) this.#event(known, 'Warning', 'FailedPreStopHook', `${action.name}: ${message}`)
      // As the kubelet: what the hook left of the grace, and two seconds at least.
      graceMs = Math.max(2000, graceMs - (clock.monotonic() - began))
    }
    await runtime.stopContainer(action.containerId, graceMs, signal)
  }

  #tell(known: Known, pod: LinkPod | undefined, input: PodInput, plan: PodPlan): void {
    if (pod === undefined) return
    const { runtime, board, node } = this.#options
    const before = board.get(known.key, known.uid)?.status
    const status = podStatus({
      ...input,
      ...{ pod, plan, runtime: runtime.version, waiting: known.waiting, before, hostIp: node.hostIp },
      ready: ({ id }) => known.probes.get(id)?.ready ?? false,
    })
    const gone = plan.gone && known.busy.size === 0
    board.set({ key: known.key, uid: known.uid, gone, status })
    if (plan.over !== undefined && !known.over && plan.overReason !== undefined) {
      known.over = true
      this.#event(known, 'Warning', plan.overReason.split(': ')[0]!, plan.overReason)
    }
  }

  #target(pod: LinkPod, container: PodContainer, sandbox: SandboxState | undefined, containerId: string): Target {
    const { runtime, clock } = this.#options
    const ip = pod.spec.hostNetwork === true ? '127.0.0.1' : sandbox?.ips[0]
    return {
      ...{ runtime, clock, container, containerId, sandboxId: sandbox?.id ?? '' },
      connect: (port, host, signal) => {
        const to = host ?? ip
        return to === undefined ? runtime.portForward(sandbox?.id ?? '', port, signal) : tcp(to, port, signal)
      },
    }
  }

  #sources(pod: ObjectKey) {
    const { namespace } = splitKey(pod)
    const objects = this.#options.objects()
    const find = (kind: 'ConfigMap' | 'Secret', name: string) =>
      objects.find((one) => one.kind === kind && one.key === objectKey(namespace, name))?.object
    return {
      configMap: (name: string) => find('ConfigMap', name) as LinkConfigMap | undefined,
      secret: (name: string) => find('Secret', name) as LinkSecret | undefined,
      node: this.#options.node,
    }
  }

  #pods() {
    return this.#options.objects().filter((one): one is PodLinkObject & { kind: 'Pod' } => one.kind === 'Pod')
  }

  #logFolder(key: ObjectKey, uid: string): string {
    const { namespace, name } = splitKey(key)
    return join(this.#options.folders.logs, `${namespace}_${name}_${uid}`)
  }

  #event({ key }: Known, type: HostEvent['type'], reason: string, message: string): void {
    this.#options.onEvent({ about: key, pod: true, type, reason, message })
  }
}

/** One thing at a time is done to a container, and to a sandbox nothing while anything is done in it. */
const busyName = (action: PodAction): string =>
  action.do === 'createSandbox' || action.do === 'removeSandbox' ? '' : action.name
