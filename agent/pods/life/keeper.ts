import { rmSync } from 'node:fs'
import type { Timer } from '../../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../../api/errors.ts'
import type { PodLinkObject } from '../../../api/link/messages.ts'
import type { LinkPod } from '../../../api/link/pods.ts'
import { isStatic } from '../../../api/link/static-pods.ts'
import { type ObjectKey, objectKey } from '../../../api/resources.ts'
import type { Leash } from '../../../api/tether/tether.ts'
import type { HostEvent } from '../../../mappers/sdk/mapper.ts'
import { currentSandbox, type PodAction, type PodInput, type PodPlan, planPod } from '../plan.ts'
import type { ContainerView, SandboxState } from '../runtimes/runtime.ts'
import type { PodStatusBoard } from '../status-board.ts'
import type { Known } from './known.ts'
import { lastWords } from './last-words.ts'
import { capital, everyContainerOf } from './pod-parts.ts'
import { Probes } from './probes.ts'
import { podStatus } from './status.ts'
import { removeVolumes } from './volumes.ts'
import { type PodEvent, PodWork, type WorkOptions } from './work.ts'

export interface KeeperOptions extends WorkOptions {
  readonly board: PodStatusBoard
  readonly leash: () => Leash
  /** Why a pod is not to begin here, or undefined. */
  readonly refuse: (pod: LinkPod) => string | undefined
  /** Why a pod is to stand still although the tether lets it run, or undefined. */
  readonly paused?: (pod: LinkPod) => string | undefined
  readonly onEvent: (event: HostEvent & { readonly pod?: true }) => void
}

/** Truth without events: a runtime that lost a word of its own is asked anyway. */
const RELIST_MS = 10_000

/**
 * Brings what runs to what is wanted: looks, plans, acts, tells, and looks again when something has changed. It keeps
 * nothing that the runtime and the store do not know, so that it may be ended and begun again at any moment.
 */
export class PodKeeper implements AsyncDisposable {
  readonly #options: KeeperOptions
  readonly #known = new Map<string, Known>()
  readonly #stop = new AbortController()
  readonly #pending = new Set<Promise<unknown>>()
  readonly #work: PodWork
  readonly #unsubscribe: () => void
  #sandboxes: readonly SandboxState[] = []
  #timer: Timer | undefined
  #looking = false
  #again = false
  #finished = 0

  constructor(options: KeeperOptions) {
    this.#options = options
    const event: PodEvent = (known, ...words) => this.#event(known, ...words)
    this.#work = new PodWork(options, () => this.#sandboxes, event, this.#stop.signal)
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
      this.#pending.delete(looking)
      if (this.#again) {
        this.#again = false
        this.wake()
      }
    })
    this.#pending.add(looking)
  }

  /** Whether anything was made of this pod, as last seen. */
  begun(uid: string): boolean {
    return this.#sandboxes.some(({ podUid, containers }) => podUid === uid && containers.length > 0)
  }

  /** Ends nothing: what runs goes on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the agent stops'))
    this.#unsubscribe()
    this.#timer?.cancel()
    for (const { probes } of this.#known.values()) for (const each of probes.values()) each[Symbol.dispose]()
    await Promise.allSettled(this.#pending)
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
    const { clock, refuse } = this.#options
    const sandboxes = this.#sandboxes.filter(({ podUid }) => podUid === uid)
    const pod = given?.object
    const key =
      given?.key ?? this.#known.get(uid)?.key ?? objectKey(sandboxes[0]?.namespace ?? '', sandboxes[0]?.name ?? '')
    const known = this.#known.get(uid) ?? this.#begin(uid, key, sandboxes)
    // What the machine runs from its own files nobody leads.
    const led = this.#leashOf(given)
    const ending = pod === undefined || pod.metadata.deletionTimestamp !== undefined
    const paused = ending || led.work !== 'runs' ? undefined : this.#options.paused?.(pod)
    const leash: Leash = paused === undefined ? led : { ...led, work: 'frozen' }
    const frozen = leash.work === 'frozen' && pod !== undefined
    // Who stands still answers nobody: a probe would take that for death, and have it killed as soon as it may go on.
    if (frozen) this.#probe(known, undefined, [])
    else this.#probe(known, pod, sandboxes)
    const input: PodInput = {
      ...{ uid, pod, sandboxes, nowMs: clock.now(), leash, notes: known.notes, sinceMs: known.sinceMs },
      refused: pod === undefined ? undefined : refuse(pod),
    }
    const plan = planPod(input)
    this.#freeze(known, sandboxes, frozen, paused)
    for (const action of plan.actions) this.#start(known, pod, action)
    this.#tell(known, pod, input, plan)
    if (pod === undefined && plan.gone && known.busy.size === 0) this.#forget(known)
    return plan.wakeAtMs
  }

  #leashOf(given: (PodLinkObject & { kind: 'Pod' }) | undefined): Leash {
    if (given === undefined || !isStatic(given.object.metadata)) return this.#options.leash()
    const { key, object } = given
    // A file that has changed is another pod of the same name: it begins once the one before has ended.
    const ends = this.#sandboxes.some(
      ({ podUid, namespace, name, containers }) =>
        podUid !== object.uid &&
        objectKey(namespace, name) === key &&
        containers.some(({ state }) => state === 'running'),
    )
    return { begins: !ends, ownWill: true, work: 'runs' }
  }

  #begin(uid: string, key: ObjectKey, sandboxes: readonly SandboxState[]): Known {
    const sinceMs = Math.min(this.#options.clock.now(), ...sandboxes.map(({ createdMs }) => createdMs))
    const known: Known = {
      ...{ key, uid, sinceMs, frozen: undefined, over: false },
      ...{ busy: new Set(), notes: new Map(), waiting: new Map(), probes: new Map() },
    }
    this.#known.set(uid, known)
    return known
  }

  #forget(known: Known): void {
    const { board, folders } = this.#options
    this.#known.delete(known.uid)
    removeVolumes(known.uid, folders)
    rmSync(this.#work.logFolder(known.key, known.uid), { recursive: true, force: true })
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
      const wanted = everyContainerOf(pod).find(({ name }) => name === container.name)
      if (wanted === undefined || known.probes.has(id)) continue
      const probes: Probes = new Probes({
        clock: this.#options.clock,
        container: wanted,
        target: this.#work.target(pod, wanted, sandbox, id),
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

  #freeze(known: Known, sandboxes: readonly SandboxState[], frozen: boolean, paused: string | undefined): void {
    if (known.frozen === frozen) return
    const first = known.frozen === undefined
    known.frozen = frozen
    const sandbox = currentSandbox(sandboxes)
    if (sandbox === undefined) return
    const work = this.#options.runtime.freeze(sandbox.id, frozen, this.#stop.signal)
    if (first && !frozen) {
      // A machine that cannot freeze has nothing to thaw.
      this.#background(work.catch(() => {}))
      return
    }
    this.#background(work)
    const why = frozen
      ? (paused ?? 'The tether is lost')
      : known.pausedBy === undefined
        ? 'A lease is in force again'
        : `${known.pausedBy} is over`
    known.pausedBy = frozen ? paused : undefined
    this.#event(known, 'Normal', frozen ? 'Frozen' : 'Thawed', why)
  }

  #start(known: Known, pod: LinkPod | undefined, action: PodAction): void {
    const name = busyName(action)
    if (known.busy.has(name) || known.busy.has('') || (name === '' && known.busy.size > 0)) return
    known.busy.add(name)
    this.#background(
      this.#work
        .do(known, pod, action)
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
      .finally(() => this.#pending.delete(kept))
    this.#pending.add(kept)
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
      : /^SLUICE_POD_(CONFIG|DEVICE)$/.test(error.code)
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

  #tell(known: Known, pod: LinkPod | undefined, input: PodInput, plan: PodPlan): void {
    if (pod === undefined) return
    const { board, node, folders } = this.#options
    const before = board.get(known.key, known.uid)?.status
    const status = podStatus({
      ...input,
      ...{ pod, plan, runtime: this.#work.runtimeOf(pod).version, waiting: known.waiting, before, hostIp: node.hostIp },
      lastWords: (wanted, container) => lastWords(folders, known.uid, wanted, container),
      ready: ({ id }) => known.probes.get(id)?.ready ?? false,
    })
    const gone = plan.gone && known.busy.size === 0
    board.set({ key: known.key, uid: known.uid, gone, status })
    if (plan.over !== undefined && !known.over && plan.overReason !== undefined) {
      known.over = true
      this.#event(known, 'Warning', plan.overReason.split(': ')[0]!, plan.overReason)
    }
  }

  #pods() {
    return this.#options.objects().filter((one): one is PodLinkObject & { kind: 'Pod' } => one.kind === 'Pod')
  }

  #event({ key }: Known, type: HostEvent['type'], reason: string, message: string): void {
    this.#options.onEvent({ about: key, pod: true, type, reason, message })
  }
}

/** One thing at a time is done to a container, and to a sandbox nothing while anything is done in it. */
const busyName = (action: PodAction): string =>
  action.do === 'createSandbox' || action.do === 'removeSandbox' ? '' : action.name
