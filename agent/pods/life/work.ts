import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../../api/errors.ts'
import type { PodLinkObject } from '../../../api/link/messages.ts'
import type { LinkConfigMap, LinkPod, LinkSecret, PodContainer } from '../../../api/link/pods.ts'
import { type ObjectKey, objectKey, splitKey } from '../../../api/resources.ts'
import type { HostEvent } from '../../../mappers/sdk/mapper.ts'
import { type Attached, NOTHING } from '../devices/pod-devices.ts'
import { removeLogs } from '../logs/rotation.ts'
import { LABEL_GRACE, type PodAction } from '../plan.ts'
import type { PodRuntime, SandboxState } from '../runtimes/runtime.ts'
import { act, type Target } from './action.ts'
import { containerSpec } from './container-spec.ts'
import { imageFor } from './image.ts'
import type { Known } from './known.ts'
import { containersOf, everyContainerOf, portMappings, tcp } from './pod-parts.ts'
import type { NodeFacts, PodFacts, Sources } from './values.ts'
import type { VolumeFolders } from './volumes.ts'

export type PodEvent = (known: Known, type: HostEvent['type'], reason: string, message: string) => void

export interface WorkOptions {
  readonly runtime: PodRuntime
  /** Where the sandboxes of a pod are made; absent: all in `runtime`, which knows every sandbox in any case. */
  readonly runtimeOf?: (pod: LinkPod) => PodRuntime
  readonly clock: Clock
  readonly objects: () => readonly PodLinkObject[]
  readonly node: NodeFacts
  readonly folders: VolumeFolders & { readonly logs: string }
  /** What of the gateway's devices a pod gets; absent where there are none to give. */
  readonly attach?: (key: ObjectKey, pod: LinkPod) => Promise<Attached>
}

const HOOK_TIMEOUT_MS = 60_000

/** Carries out what a plan says, one action at a time. */
export class PodWork {
  readonly #options: WorkOptions
  readonly #signal: AbortSignal
  readonly #sandboxes: () => readonly SandboxState[]
  readonly #event: PodEvent

  constructor(options: WorkOptions, sandboxes: () => readonly SandboxState[], event: PodEvent, signal: AbortSignal) {
    this.#options = options
    this.#sandboxes = sandboxes
    this.#event = event
    this.#signal = signal
  }

  async do(known: Known, pod: LinkPod | undefined, action: PodAction): Promise<void> {
    const { runtime } = this.#options
    switch (action.do) {
      case 'createSandbox':
        await this.#createSandbox(known, pod!, action.attempt)
        return
      case 'removeSandbox':
        await runtime.removeSandbox(action.sandboxId, this.#signal)
        return
      case 'removeContainer':
        await runtime.removeContainer(action.containerId, this.#signal)
        this.#removeLog(action.containerId)
        return
      case 'stopContainer':
        await this.#stopContainer(known, pod, action)
        return
      case 'startContainer':
        await this.#startContainer(known, pod!, action)
    }
  }

  /** Where a probe or a hook of a container acts. */
  target(pod: LinkPod, container: PodContainer, sandbox: SandboxState | undefined, containerId: string): Target {
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

  runtimeOf(pod: LinkPod): PodRuntime {
    return this.#options.runtimeOf?.(pod) ?? this.#options.runtime
  }

  logFolder(key: ObjectKey, uid: string): string {
    const { namespace, name } = splitKey(key)
    return join(this.#options.folders.logs, `${namespace}_${name}_${uid}`)
  }

  async #createSandbox(known: Known, pod: LinkPod, attempt: number): Promise<void> {
    const { namespace, name } = splitKey(known.key)
    const { spec, metadata } = pod
    const logDirectory = this.logFolder(known.key, known.uid)
    mkdirSync(logDirectory, { recursive: true, mode: 0o750 })
    await this.runtimeOf(pod).createSandbox(
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
      this.#signal,
    )
  }

  async #startContainer(known: Known, pod: LinkPod, action: PodAction & { do: 'startContainer' }): Promise<void> {
    const { runtime, folders } = this.#options
    const wanted = everyContainerOf(pod).find(({ name }) => name === action.name)!
    const sandbox = this.#sandboxes().find(({ id }) => id === action.sandboxId)
    const facts: PodFacts = { key: known.key, pod, podIp: sandbox?.ips[0] ?? '' }
    const sources = this.#sources(known.key)
    const image = await imageFor(this.runtimeOf(pod), pod, wanted, sources, this.#signal, (message) =>
      this.#event(known, 'Normal', 'Pulled', message),
    )
    const attached = (await this.#options.attach?.(known.key, pod)) ?? NOTHING
    const looked = pod.spec.ephemeralContainers?.find(({ name }) => name === action.name)?.targetContainerName
    const target = sandbox?.containers.find(({ name, state }) => name === looked && state === 'running')
    if (looked !== undefined && target === undefined) {
      throw new SluiceError('SLUICE_POD_CONFIG', `The container ${looked} that it is to look at does not run`, {
        hint: 'It begins once that runs.',
      })
    }
    const spec = containerSpec({
      facts,
      targetContainerId: target?.id,
      mountsFiles: this.runtimeOf(pod).name !== 'wasm',
      wanted,
      image,
      sources,
      folders,
      attempt: action.attempt,
      backoff: action.backoff,
      attached,
    })
    const id = await runtime.createContainer(action.sandboxId, spec, this.#signal)
    try {
      await runtime.startContainer(id, this.#signal)
    } catch (error) {
      // It is there as one that has ended, with the reason; a second word about it would only repeat that.
      if (toSluiceError(error).code !== 'SLUICE_POD_START') throw error
    }
    this.#event(known, 'Normal', 'Started', `Started container ${wanted.name}`)
    const hook = wanted.lifecycle?.postStart
    if (hook === undefined) return
    const { ok, message } = await act(hook, this.target(pod, wanted, sandbox, id), HOOK_TIMEOUT_MS, this.#signal)
    if (ok || this.#signal.aborted) return
    this.#event(known, 'Warning', 'FailedPostStartHook', `${wanted.name}: ${message}`)
    known.notes.set(wanted.name, { startedUp: false, condemned: { containerId: id, reason: 'FailedPostStartHook' } })
  }

  async #stopContainer(
    known: Known,
    pod: LinkPod | undefined,
    action: PodAction & { do: 'stopContainer' },
  ): Promise<void> {
    const { runtime, clock } = this.#options
    this.#event(known, 'Normal', 'Killing', `Stopping container ${action.name}`)
    const wanted = pod === undefined ? undefined : everyContainerOf(pod).find(({ name }) => name === action.name)
    let graceMs = action.graceMs
    const hook = wanted?.lifecycle?.preStop
    const sandbox = this.#sandboxes().find(({ containers }) => containers.some(({ id }) => id === action.containerId))
    if (hook !== undefined && graceMs > 0) {
      const began = clock.monotonic()
      const target = this.target(pod!, wanted!, sandbox, action.containerId)
      const { ok, message } = await act(hook, target, graceMs, this.#signal)
      if (!ok) this.#event(known, 'Warning', 'FailedPreStopHook', `${action.name}: ${message}`)
      // As the kubelet: what the hook left of the grace, and two seconds at least.
      graceMs = Math.max(2000, graceMs - (clock.monotonic() - began))
    }
    await runtime.stopContainer(action.containerId, graceMs, this.#signal)
  }

  /** As the kubelet: a pod that begins again and again must not fill the disk with what it said before. */
  #removeLog(containerId: string): void {
    const all = this.#sandboxes().flatMap(({ containers }) => containers)
    const path = all.find(({ id }) => id === containerId)?.logPath
    if (path !== undefined) removeLogs(path)
  }

  #sources(pod: ObjectKey): Sources {
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
}
