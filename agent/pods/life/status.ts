import type {
  ContainerState,
  ContainerStatus,
  LinkPod,
  PodCondition,
  PodContainer,
  PodStatus,
} from '../../../api/link/pods.ts'
import { backoffMs, currentSandbox, newestContainers, nextLevel, type PodInput, type PodPlan } from '../plan.ts'
import type { ContainerView } from '../runtimes/runtime.ts'
import { quantity } from './quantity.ts'

export interface StatusInput extends PodInput {
  readonly pod: LinkPod
  readonly plan: PodPlan
  readonly runtime: string
  /** Why a container waits, by name: `ErrImagePull`, `CreateContainerConfigError`, ... */
  readonly waiting: ReadonlyMap<string, { readonly reason: string; readonly message?: string }>
  /** Containers whose readiness probe succeeds, or that have none and run. */
  readonly ready: (container: ContainerView) => boolean
  readonly hostIp: string
  /** What a container that has ended left to be told of it. */
  readonly lastWords?: (wanted: PodContainer, container: ContainerView) => string | undefined
  readonly before: PodStatus | undefined
}

/** What is told of a pod, in the words of core/v1. */
export function podStatus(input: StatusInput): PodStatus {
  const { pod, plan, sandboxes, before, nowMs } = input
  const newest = newestContainers(sandboxes)
  const inits = pod.spec.initContainers ?? []
  const mains = pod.spec.containers
  const initStatuses = inits.map((one) => containerStatus(input, one))
  const statuses = mains.map((one) => containerStatus(input, one))
  const ephemeral = (pod.spec.ephemeralContainers ?? []).map((one) => ({
    ...containerStatus(input, one),
    ready: false,
  }))
  const begun = mains.some(({ name }) => {
    const state = newest.get(name)?.container.state
    return state === 'running' || state === 'exited'
  })
  // What is over has ended only when nothing of it runs: by then it may begin elsewhere.
  const runs = sandboxes.some(({ containers }) => containers.some(({ state }) => state === 'running'))
  const phase = (runs ? undefined : plan.over) ?? (begun ? 'Running' : 'Pending')
  const initialized =
    begun ||
    plan.over === 'Succeeded' ||
    inits.every(({ name, restartPolicy }, at) =>
      restartPolicy === 'Always' ? initStatuses[at]?.started === true : newest.get(name)?.container.exit?.code === 0,
    )
  const allReady =
    plan.over === undefined &&
    statuses.every(({ ready }) => ready) &&
    initStatuses.every(({ ready }, at) => ready || inits[at]?.restartPolicy !== 'Always')
  const unready = statuses.filter(({ ready }) => !ready).map(({ name }) => name)
  const done = plan.over === 'Succeeded' ? 'PodCompleted' : undefined
  const notReady = done === undefined ? `containers with unready status: [${unready.join(' ')}]` : undefined
  const sandbox = currentSandbox(sandboxes)
  const ip = pod.spec.hostNetwork === true && sandbox !== undefined ? input.hostIp : sandbox?.ips[0]
  const condition = conditions(before, nowMs)
  const started = before?.startTime ?? iso(nowMs)
  return {
    phase,
    ...(plan.overReason === undefined ? {} : { reason: plan.overReason.split(': ')[0]!, message: plan.overReason }),
    startTime: started,
    ...(ip === undefined || ip === '' ? {} : { podIP: ip, podIPs: [{ ip }] }),
    qosClass: qosClass(pod),
    conditions: [
      condition('PodReadyToStartContainers', sandbox !== undefined && plan.over === undefined),
      condition('Initialized', initialized, initialized ? done : 'ContainersNotInitialized'),
      condition(
        'Ready',
        allReady,
        allReady ? undefined : (done ?? 'ContainersNotReady'),
        allReady ? undefined : notReady,
      ),
      condition(
        'ContainersReady',
        allReady,
        allReady ? undefined : (done ?? 'ContainersNotReady'),
        allReady ? undefined : notReady,
      ),
      condition('PodScheduled', true),
    ],
    ...(inits.length === 0 ? {} : { initContainerStatuses: initStatuses }),
    containerStatuses: statuses,
    ...(ephemeral.length === 0 ? {} : { ephemeralContainerStatuses: ephemeral }),
  }
}

/** A condition keeps the time of its last change. */
function conditions(before: PodStatus | undefined, nowMs: number) {
  return (type: PodCondition['type'], is: boolean, reason?: string, message?: string): PodCondition => {
    const status = is ? 'True' : 'False'
    const held = before?.conditions.find((one) => one.type === type)
    return {
      type,
      status,
      ...(reason === undefined ? {} : { reason }),
      ...(message === undefined ? {} : { message }),
      lastTransitionTime: held?.status === status ? held.lastTransitionTime : iso(nowMs),
    }
  }
}

function containerStatus(input: StatusInput, wanted: PodContainer): ContainerStatus {
  const { sandboxes, runtime, pod } = input
  const all = sandboxes.flatMap(({ containers }) => containers).filter(({ name }) => name === wanted.name)
  const current = newestContainers(sandboxes).get(wanted.name)?.container
  const previous = all
    .filter((one) => one.id !== current?.id && one.exit !== undefined)
    .sort((a, b) => b.attempt - a.attempt)[0]
  const scheme = runtime.slice(0, runtime.indexOf('://') + 3)
  const shown = (one: ContainerView): ContainerState =>
    one.exit === undefined
      ? one.startedMs === undefined
        ? { waiting: { reason: 'ContainerCreating' } }
        : { running: { startedAt: iso(one.startedMs) } }
      : { terminated: terminated(one, scheme, input.lastWords?.(wanted, one)) }
  const waiting = input.waiting.get(wanted.name)
  const isInit = (pod.spec.initContainers ?? []).some(({ name }) => name === wanted.name)
  let state: ContainerState
  let last: ContainerState = previous === undefined ? {} : shown(previous)
  const runs = current?.state === 'running'
  const willRestart =
    current?.exit !== undefined &&
    !(pod.spec.ephemeralContainers ?? []).some(({ name }) => name === wanted.name) &&
    input.plan.over === undefined &&
    (waiting !== undefined || restartsNow(input, wanted, current))
  if (current === undefined)
    state = {
      waiting: waiting ?? {
        reason: input.pod.spec.initContainers !== undefined && !isInit ? 'PodInitializing' : 'ContainerCreating',
      },
    }
  else if (willRestart) {
    last = shown(current)
    const pauseMs = backoffMs(nextLevel(current) - 1)
    state = {
      waiting: waiting ?? {
        reason: 'CrashLoopBackOff',
        message: `back-off ${Math.round(pauseMs / 1000)}s restarting failed container=${wanted.name}`,
      },
    }
  } else state = shown(current)
  const startedUp = runs && (input.notes.get(wanted.name)?.startedUp ?? false)
  const finishedInit = isInit && wanted.restartPolicy !== 'Always' && current?.exit?.code === 0
  return {
    name: wanted.name,
    state,
    lastState: last,
    ready: finishedInit || (runs && startedUp && input.ready(current)),
    started: runs && startedUp,
    restartCount: current?.attempt ?? 0,
    image: wanted.image,
    imageID: current?.imageId ?? '',
    ...(current === undefined ? {} : { containerID: scheme + current.id }),
  }
}

function restartsNow({ pod, plan }: StatusInput, wanted: PodContainer, current: ContainerView): boolean {
  if (plan.actions.some((action) => action.do === 'startContainer' && action.name === wanted.name)) return true
  const isInit = (pod.spec.initContainers ?? []).some(({ name }) => name === wanted.name)
  if (isInit && wanted.restartPolicy !== 'Always') return current.exit?.code !== 0 && pod.spec.restartPolicy !== 'Never'
  const policy = isInit ? 'Always' : (pod.spec.restartPolicy ?? 'Always')
  return policy === 'Always' || (policy === 'OnFailure' && current.exit?.code !== 0)
}

function terminated(
  { exit, startedMs, id }: ContainerView,
  scheme: string,
  words: string | undefined,
): NonNullable<ContainerState['terminated']> {
  const { code, reason, message = words, finishedMs } = exit!
  return {
    exitCode: code,
    reason,
    ...(message === undefined ? {} : { message }),
    ...(startedMs === undefined ? {} : { startedAt: iso(startedMs) }),
    finishedAt: iso(finishedMs),
    containerID: scheme + id,
  }
}

/** As the API server computes it (core/v1 PodQOSClass). */
export function qosClass({ spec }: LinkPod): NonNullable<PodStatus['qosClass']> {
  const all = [...(spec.initContainers ?? []), ...spec.containers]
  const named = (one: PodContainer, list: 'limits' | 'requests', name: string) =>
    quantity(one.resources?.[list]?.[name] ?? (list === 'requests' ? one.resources?.limits?.[name] : undefined))
  const any = all.some((one) =>
    ['cpu', 'memory'].some((name) => (named(one, 'limits', name) ?? named(one, 'requests', name) ?? 0) > 0),
  )
  if (!any) return 'BestEffort'
  const guaranteed = all.every((one) =>
    ['cpu', 'memory'].every((name) => {
      const limit = named(one, 'limits', name)
      return limit !== undefined && limit > 0 && limit === named(one, 'requests', name)
    }),
  )
  return guaranteed ? 'Guaranteed' : 'Burstable'
}

/** Core/v1 times have whole seconds. */
const iso = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
