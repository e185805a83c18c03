import { createHash } from 'node:crypto'
import type { LinkPod, PodContainer } from '../../api/link/pods.ts'
import type { Leash } from '../../api/tether/tether.ts'
import type { ContainerView, SandboxState } from './runtimes/runtime.ts'

/** One pod as it is wanted and as it is found. */
export interface PodInput {
  readonly uid: string
  /** Undefined: nobody wants it any more. */
  readonly pod: LinkPod | undefined
  /** Sandboxes of this pod, whoever made them. */
  readonly sandboxes: readonly SandboxState[]
  readonly nowMs: number
  readonly leash: Leash
  /** What is known of containers besides what the runtime says, by name. */
  readonly notes: ReadonlyMap<string, ContainerNotes>
  /** Why this gateway does not begin it, or gives it back: `Reason: words`; undefined: it runs here. */
  readonly refused: string | undefined
  /** When the first attempt to run it was made, for `activeDeadlineSeconds`. */
  readonly sinceMs: number
}

export interface ContainerNotes {
  /** The startup probe has succeeded, or there is none. */
  readonly startedUp: boolean
  /** A probe found it dead, or a hook failed: this container is to end. */
  readonly condemned?: { readonly containerId: string; readonly reason: string; readonly graceMs?: number }
  /** The last attempt to make or start it failed. */
  readonly failure?: { readonly count: number; readonly atMs: number }
}

/** What is to be done, as data: nothing here has happened yet. */
export type PodAction =
  | { readonly do: 'createSandbox'; readonly attempt: number }
  | { readonly do: 'removeSandbox'; readonly sandboxId: string }
  | {
      readonly do: 'startContainer'
      readonly sandboxId: string
      readonly name: string
      readonly attempt: number
      readonly backoff: number
    }
  | {
      readonly do: 'stopContainer'
      readonly containerId: string
      readonly name: string
      readonly graceMs: number
      readonly reason: string
    }
  | { readonly do: 'removeContainer'; readonly containerId: string; readonly name: string }

export interface PodPlan {
  readonly actions: readonly PodAction[]
  /** When to look again, even if nothing happens; undefined: only when something does. */
  readonly wakeAtMs: number | undefined
  /** How it ended, once it has; nothing of it begins again. */
  readonly over: 'Succeeded' | 'Failed' | undefined
  /** Why, when its containers do not say it. */
  readonly overReason?: string
  /** Nothing of it exists any more. */
  readonly gone: boolean
}

/** Reason of a pod that its gateway gave back to the scheduler. */
export const HANDED_BACK = 'HandedBack'
/** Reason of a pod that had to go so that others can stay. */
export const EVICTED = 'Evicted'
export const LABEL_BACKOFF = 'sluice.dev/backoff'
export const LABEL_HASH = 'sluice.dev/container-hash'
export const LABEL_GRACE = 'sluice.dev/grace-seconds'

const FIRST_BACKOFF_MS = 10_000
const MAX_BACKOFF_MS = 300_000
/** A container that ran this long begins with no pause again. */
const STEADY_MS = 600_000
export const DEFAULT_GRACE_S = 30
/** The one that runs and the one before it, whose log can still be asked for. */
const KEPT_ATTEMPTS = 2

/** Pause before the `level`th restart in a row: none, 10 s, 20 s, ... five minutes, as the kubelet's. */
export const backoffMs = (level: number): number =>
  level <= 0 ? 0 : Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(level - 1, 10))

/** Changes when a container has to be made anew. */
export function containerHash(container: PodContainer): string {
  return createHash('sha256').update(JSON.stringify(container)).digest('base64url').slice(0, 12)
}

/** The newest container of each name, in whatever sandbox it is, with the sandbox. */
export function newestContainers(
  sandboxes: readonly SandboxState[],
): ReadonlyMap<string, { readonly container: ContainerView; readonly sandbox: SandboxState }> {
  const newest = new Map<string, { container: ContainerView; sandbox: SandboxState }>()
  for (const sandbox of sandboxes) {
    for (const container of sandbox.containers) {
      const held = newest.get(container.name)
      if (held === undefined || isNewer(container, held.container)) newest.set(container.name, { container, sandbox })
    }
  }
  return newest
}

const isNewer = (a: ContainerView, b: ContainerView): boolean =>
  a.attempt !== b.attempt ? a.attempt > b.attempt : a.createdMs > b.createdMs

/** The sandbox that containers are made in: the newest that is ready. */
export function currentSandbox(sandboxes: readonly SandboxState[]): SandboxState | undefined {
  return sandboxes
    .filter(({ ready }) => ready)
    .reduce<SandboxState | undefined>(
      (best, one) => (best === undefined || one.attempt > best.attempt ? one : best),
      undefined,
    )
}

/**
 * What is to be done so that the machine becomes what is wanted. The same input gives the same plan; a plan that was
 * carried out gives one without actions; nothing that runs as wanted is ever named in it.
 */
export function planPod(input: PodInput): PodPlan {
  const { pod, leash } = input
  if (pod === undefined || pod.metadata.deletionTimestamp !== undefined) return planEnd(input)
  const over = howItEnded(input, pod)
  if (over !== undefined) {
    // What is short is short now: the kubelet gives no time either.
    const graceMs = over.reason.startsWith(`${EVICTED}:`) ? 0 : graceOf(pod)
    return { ...stopAll(input, graceMs, over.reason), ...ended(over), gone: false }
  }
  if (leash.work === 'stopped') {
    return { ...stopAll(input, graceOf(pod), 'TetherLost'), over: undefined, gone: false }
  }
  if (leash.work === 'frozen') return { actions: [], wakeAtMs: undefined, over: undefined, gone: false }
  return planRun(input, pod)
}

const ended = ({ phase, reason }: Ending) => ({ over: phase, ...(reason === '' ? {} : { overReason: reason }) })

const graceOf = (pod: LinkPod): number =>
  (pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_S) * 1000

function planEnd(input: PodInput): PodPlan {
  const { pod, sandboxes } = input
  const labelled = sandboxes.map(({ labels }) => Number(labels[LABEL_GRACE] ?? DEFAULT_GRACE_S) * 1000)
  const graceMs = pod === undefined ? Math.max(0, ...labelled) : graceOf(pod)
  const stopping = stopAll(input, graceMs, 'Killing')
  if (stopping.actions.length > 0) return { ...stopping, over: undefined, gone: false }
  const actions = sandboxes.map(({ id }): PodAction => ({ do: 'removeSandbox', sandboxId: id }))
  return { actions, wakeAtMs: undefined, over: undefined, gone: actions.length === 0 }
}

function stopAll({ sandboxes }: PodInput, graceMs: number, reason: string): Pick<PodPlan, 'actions' | 'wakeAtMs'> {
  const actions = sandboxes
    .flatMap(({ containers }) => containers)
    .filter(({ state }) => state === 'running')
    .map(({ id, name }): PodAction => ({ do: 'stopContainer', containerId: id, name, graceMs, reason }))
  return { actions, wakeAtMs: undefined }
}

interface Ending {
  readonly phase: 'Succeeded' | 'Failed'
  readonly reason: string
}

function howItEnded({ sandboxes, nowMs, sinceMs, refused }: PodInput, { spec }: LinkPod): Ending | undefined {
  const deadlineS = spec.activeDeadlineSeconds
  const newest = newestContainers(sandboxes)
  const mains = spec.containers.map(({ name }) => newest.get(name)?.container)
  const exits = mains.map((container) => (container?.state === 'exited' ? container.exit : undefined))
  const final = exits.every((exit) => exit !== undefined && !restarts(spec.restartPolicy ?? 'Always', exit.code))
  if (final) return { phase: exits.every((exit) => exit?.code === 0) ? 'Succeeded' : 'Failed', reason: '' }
  // What runs is not refused any more; it may be given back.
  const ends = [HANDED_BACK, EVICTED].some((reason) => refused?.startsWith(`${reason}:`))
  if (refused !== undefined && (newest.size === 0 || ends)) return { phase: 'Failed', reason: refused }
  if (spec.restartPolicy === 'Never') {
    for (const init of spec.initContainers ?? []) {
      const exit = newest.get(init.name)?.container.exit
      if (init.restartPolicy !== 'Always' && exit !== undefined && exit.code !== 0)
        return { phase: 'Failed', reason: '' }
    }
  }
  if (deadlineS !== undefined && nowMs >= sinceMs + deadlineS * 1000)
    return { phase: 'Failed', reason: 'DeadlineExceeded' }
  return undefined
}

const restarts = (policy: string, code: number): boolean =>
  policy === 'Always' || (policy === 'OnFailure' && code !== 0)

function planRun(input: PodInput, pod: LinkPod): PodPlan {
  const { sandboxes, leash, nowMs, sinceMs } = input
  const deadlineS = pod.spec.activeDeadlineSeconds
  const steps = new Steps(deadlineS === undefined ? undefined : sinceMs + deadlineS * 1000)
  const current = currentSandbox(sandboxes)
  const newest = newestContainers(sandboxes)
  // Two sandboxes of one pod would be two pods: what is not the current one ends first.
  for (const sandbox of sandboxes) {
    if (sandbox === current) continue
    for (const container of sandbox.containers) {
      if (container.state === 'running') steps.stop(container, graceOf(pod), 'SandboxChanged')
    }
    const superseded = sandbox.containers.every(
      (container) => newest.get(container.name)?.container.id !== container.id || current === undefined,
    )
    if (superseded && current !== undefined) steps.add({ do: 'removeSandbox', sandboxId: sandbox.id })
  }
  for (const container of surplus(sandboxes))
    steps.add({ do: 'removeContainer', containerId: container.id, name: container.name })
  if (current === undefined) {
    const running = sandboxes.some(({ containers }) => containers.some(({ state }) => state === 'running'))
    const failure = input.notes.get('')?.failure
    const notBeforeMs = failure === undefined ? 0 : failure.atMs + backoffMs(failure.count)
    if (leash.begins && !running) {
      if (nowMs < notBeforeMs) steps.wakeAt(notBeforeMs)
      else steps.add({ do: 'createSandbox', attempt: Math.max(-1, ...sandboxes.map(({ attempt }) => attempt)) + 1 })
    }
    return steps.plan()
  }
  // Beside whatever else becomes of the pod, and once: one that has ended is never begun again.
  for (const { name } of pod.spec.ephemeralContainers ?? []) {
    const held = newest.get(name)?.container
    if (held?.state === 'created') steps.add({ do: 'removeContainer', containerId: held.id, name })
    if (held === undefined && leash.begins) planFirst(input, current, name, steps)
  }
  const ready = planInits(input, pod, current, steps)
  if (ready) for (const container of pod.spec.containers) planContainer(input, pod, current, container, 'main', steps)
  return steps.plan()
}

function planFirst({ notes, nowMs }: PodInput, { id }: SandboxState, name: string, steps: Steps): void {
  const failure = notes.get(name)?.failure
  const notBeforeMs = failure === undefined ? 0 : failure.atMs + backoffMs(failure.count)
  if (nowMs < notBeforeMs) steps.wakeAt(notBeforeMs)
  else steps.add({ do: 'startContainer', sandboxId: id, name, attempt: 0, backoff: 0 })
}

/** Whether the pod's own containers may begin: what comes first has ended well, and the sidecars are up. */
function planInits(input: PodInput, pod: LinkPod, current: SandboxState, steps: Steps): boolean {
  const newest = newestContainers(input.sandboxes)
  const begun = pod.spec.containers.some(({ name }) => newest.get(name)?.sandbox.id === current.id)
  for (const init of pod.spec.initContainers ?? []) {
    const sidecar = init.restartPolicy === 'Always'
    const held = newest.get(init.name)
    const here = held?.sandbox.id === current.id ? held.container : undefined
    if (!sidecar && (begun || here?.exit?.code === 0)) continue
    planContainer(input, pod, current, init, sidecar ? 'sidecar' : 'init', steps)
    const up = sidecar && here?.state === 'running' && (input.notes.get(init.name)?.startedUp ?? false)
    if (!up && !begun) return false
  }
  return true
}

function planContainer(
  input: PodInput,
  pod: LinkPod,
  current: SandboxState,
  wanted: PodContainer,
  role: 'main' | 'init' | 'sidecar',
  steps: Steps,
): void {
  const { nowMs, leash, notes } = input
  const held = newestContainers(input.sandboxes).get(wanted.name)
  const note = notes.get(wanted.name)
  const container = held?.container
  const here = held?.sandbox.id === current.id
  if (container?.state === 'running') {
    if (!here) return
    const { condemned } = note ?? {}
    if (condemned?.containerId === container.id) {
      steps.stop(container, condemned.graceMs ?? graceOf(pod), condemned.reason)
    } else if ((container.labels[LABEL_HASH] ?? '') !== containerHash(wanted)) {
      steps.stop(container, graceOf(pod), 'Changed')
    }
    return
  }
  if (container !== undefined && container.state !== 'exited') {
    // Made and never started: whoever made it is gone, or failed.
    steps.add({ do: 'removeContainer', containerId: container.id, name: container.name })
  }
  const changed = container !== undefined && container.labels[LABEL_HASH] !== containerHash(wanted)
  const policy = role === 'sidecar' ? 'Always' : (pod.spec.restartPolicy ?? 'Always')
  const wants =
    container?.exit === undefined ||
    changed ||
    (role === 'init' ? (container.exit.code === 0 ? !here : policy !== 'Never') : restarts(policy, container.exit.code))
  if (!wants || !leash.begins) return
  const level = changed ? 0 : nextLevel(container)
  const exitMs = container?.exit === undefined ? 0 : container.exit.finishedMs + backoffMs(level - 1)
  const failureMs = note?.failure === undefined ? 0 : note.failure.atMs + backoffMs(note.failure.count)
  const notBeforeMs = Math.max(exitMs, failureMs)
  if (nowMs < notBeforeMs) {
    steps.wakeAt(notBeforeMs)
    return
  }
  const attempt = container === undefined ? 0 : container.attempt + 1
  steps.add({ do: 'startContainer', sandboxId: current.id, name: wanted.name, attempt, backoff: level })
}

/** How many restarts in a row the next one will be. */
export function nextLevel(container: ContainerView | undefined): number {
  const { exit, startedMs, labels } = container ?? {}
  if (exit === undefined) return 0
  if (startedMs !== undefined && exit.finishedMs - startedMs >= STEADY_MS) return 1
  return Number(labels?.[LABEL_BACKOFF] ?? 0) + 1
}

function surplus(sandboxes: readonly SandboxState[]): ContainerView[] {
  const all = sandboxes.flatMap(({ containers }) => containers)
  return [...Map.groupBy(all, ({ name }) => name).values()].flatMap((same) =>
    same
      .filter(({ state }) => state === 'exited')
      .sort((a, b) => (isNewer(a, b) ? -1 : 1))
      .slice(KEPT_ATTEMPTS),
  )
}

class Steps {
  readonly #actions: PodAction[] = []
  #wakeAtMs: number | undefined

  constructor(wakeAtMs: number | undefined) {
    this.#wakeAtMs = wakeAtMs
  }

  add(action: PodAction): void {
    this.#actions.push(action)
  }

  stop({ id, name }: ContainerView, graceMs: number, reason: string): void {
    this.add({ do: 'stopContainer', containerId: id, name, graceMs, reason })
  }

  wakeAt(atMs: number): void {
    this.#wakeAtMs = Math.min(this.#wakeAtMs ?? atMs, atMs)
  }

  plan(): PodPlan {
    return { actions: this.#actions, wakeAtMs: this.#wakeAtMs, over: undefined, gone: false }
  }
}
