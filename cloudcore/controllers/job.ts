import { toSluiceError } from '../../api/errors.ts'
import type { JsonObject, KubeObject } from '../apiserver/objects.ts'
import { at, kubeTime, listAt, stringAt, withField, withMetadata } from '../apiserver/objects.ts'
import { podKind } from '../apiserver/registry/kinds/pod.ts'
import { jobKind } from '../apiserver/registry/kinds/workloads.ts'
import { isReady } from './pod-facts.ts'
import { positive } from './replica-set.ts'
import {
  type Condition,
  change,
  claim,
  keyOfObject,
  makePod,
  remove,
  tell,
  type Workshop,
  withConditions,
  writeStatus,
} from './workshop.ts'

/** Keeps a pod that ended until it was counted, whoever deletes it. */
const TRACKING = 'batch.kubernetes.io/job-tracking'
const INDEX = 'batch.kubernetes.io/job-completion-index'
const FIRST_BACKOFF_MS = 10_000
const MAX_BACKOFF_MS = 360_000
const BURST = 50

interface Tally {
  succeeded: number
  failed: number
  readonly indexes: Set<number>
}

/** Runs pods until enough have succeeded, or too many have failed. */
export function reconcileJob(shop: Workshop, job: KubeObject): boolean {
  const nowMs = shop.registry.clock.now()
  const pods = claim(shop, job, podKind)
  const tally: Tally = {
    succeeded: Number(at(job, 'status', 'succeeded') ?? 0),
    failed: Number(at(job, 'status', 'failed') ?? 0),
    indexes: readIndexes(stringAt(job, 'status', 'completedIndexes')),
  }
  const lastFailureMs = count(shop, pods, tally)
  const living = pods.filter((pod) => !ended(pod))
  const active = living.filter((pod) => pod.metadata.deletionTimestamp === undefined)
  if (job.metadata.deletionTimestamp !== undefined) return false
  const over = finished(job)
  if (over !== undefined) {
    for (const pod of active) remove(shop, podKind, pod)
    expire(shop, job, nowMs)
    return false
  }
  const suspended = at(job, 'spec', 'suspend') === true
  const start = suspended ? '' : stringAt(job, 'status', 'startTime') || kubeTime(nowMs)
  const restarts = active.reduce((sum, pod) => sum + restartsOf(pod), 0)
  const end = suspended ? undefined : verdict(job, tally, restarts, start, nowMs, active.length)
  let more = false
  let now = active
  if (end !== undefined || suspended) {
    for (const pod of active) remove(shop, podKind, pod)
    now = []
  } else {
    const made = fill(shop, job, tally, active, living.length, lastFailureMs, nowMs)
    now = [...active, ...made.pods]
    more = made.more
    deadline(shop, job, start, nowMs)
  }
  const conditions: Condition[] = end === undefined ? [] : [...end]
  if (suspended || listAt(job, 'status', 'conditions').some((each) => stringAt(each, 'type') === 'Suspended')) {
    const reason = suspended ? 'JobSuspended' : 'JobResumed'
    conditions.push({
      type: 'Suspended',
      status: suspended ? 'True' : 'False',
      reason,
      message: suspended ? 'Job suspended' : 'Job resumed',
    })
  }
  const complete = end?.some(({ type }) => type === 'Complete') === true
  const status: JsonObject = {
    ...(start === '' ? {} : { startTime: start }),
    ...positive('active', now.length),
    ready: now.filter(isReady).length,
    terminating: living.length - active.length + (active.length > now.length ? active.length : 0),
    ...positive('succeeded', tally.succeeded),
    ...positive('failed', tally.failed),
    ...(tally.indexes.size > 0 ? { completedIndexes: writeIndexes(tally.indexes) } : {}),
    ...(complete ? { completionTime: kubeTime(nowMs) } : {}),
    uncountedTerminatedPods: {},
    ...(conditions.length === 0 && listAt(job, 'status', 'conditions').length === 0
      ? {}
      : { conditions: withConditions(listAt(job, 'status', 'conditions'), conditions, nowMs) }),
  }
  writeStatus(shop, jobKind, job, status)
  if (end !== undefined) {
    const last = end.at(-1)
    const words = complete ? 'Job completed' : (last?.message ?? '')
    tell(shop, job, complete ? 'Normal' : 'Warning', complete ? 'Completed' : (last?.reason ?? 'Failed'), words)
    shop.again(keyOfObject(jobKind, job), 0)
  }
  return more
}

const ended = (pod: KubeObject) => ['Succeeded', 'Failed'].includes(stringAt(pod, 'status', 'phase'))

/** Counts what ended since the last look and lets go of it, in the same commit. Gives when a pod last failed. */
function count(shop: Workshop, pods: readonly KubeObject[], tally: Tally): number {
  let lastFailureMs = 0
  for (const pod of pods) {
    const phase = stringAt(pod, 'status', 'phase')
    const failed = phase === 'Failed' || (pod.metadata.deletionTimestamp !== undefined && phase !== 'Succeeded')
    if (phase === 'Failed') lastFailureMs = Math.max(lastFailureMs, endedMs(pod))
    if (!(pod.metadata.finalizers ?? []).includes(TRACKING)) continue
    const gone = pod.metadata.deletionTimestamp !== undefined && (pod.metadata.deletionGracePeriodSeconds ?? 0) === 0
    if (!ended(pod) && !gone) continue
    if (phase === 'Succeeded') {
      const index = Number(pod.metadata.annotations?.[INDEX] ?? Number.NaN)
      if (Number.isNaN(index)) tally.succeeded++
      else tally.indexes.add(index)
    } else if (failed && !isGivenBack(pod)) tally.failed++
    change(shop, podKind, pod, (live) => {
      const left = (live.metadata.finalizers ?? []).filter((each) => each !== TRACKING)
      return withMetadata(live, { finalizers: left.length === 0 ? undefined : left })
    })
  }
  if (tally.indexes.size > 0) tally.succeeded = tally.indexes.size
  return lastFailureMs
}

/** A gateway that takes or keeps no work says nothing of the work. */
const isGivenBack = (pod: KubeObject) => ['HandedBack', 'RefusedByGateway'].includes(stringAt(pod, 'status', 'reason'))

function endedMs(pod: KubeObject): number {
  const times = listAt(pod, 'status', 'containerStatuses').map((each) =>
    Date.parse(stringAt(each, 'state', 'terminated', 'finishedAt')),
  )
  return (
    Math.max(0, ...times.filter((time) => !Number.isNaN(time))) || Date.parse(pod.metadata.creationTimestamp ?? '') || 0
  )
}

const restartsOf = (pod: KubeObject) =>
  listAt(pod, 'status', 'containerStatuses').reduce<number>(
    (sum, each) => sum + Number(at(each, 'restartCount') ?? 0),
    0,
  )

export function finished(job: KubeObject): 'Complete' | 'Failed' | undefined {
  const held = listAt(job, 'status', 'conditions')
  const holds = (type: string) =>
    held.some((each) => stringAt(each, 'type') === type && stringAt(each, 'status') === 'True')
  return holds('Complete') ? 'Complete' : holds('Failed') ? 'Failed' : undefined
}

/** The conditions that end the job, or undefined while it goes on. */
function verdict(
  job: KubeObject,
  tally: Tally,
  restarts: number,
  start: string,
  nowMs: number,
  active: number,
): Condition[] | undefined {
  const failing = (reason: string, message: string): Condition[] => [
    { type: 'FailureTarget', status: 'True', reason, message },
    { type: 'Failed', status: 'True', reason, message },
  ]
  const limit = Number(at(job, 'spec', 'backoffLimit') ?? 6)
  if (tally.failed > limit || (restarts > 0 && tally.failed + restarts > limit)) {
    return failing('BackoffLimitExceeded', 'Job has reached the specified backoff limit')
  }
  const seconds = at(job, 'spec', 'activeDeadlineSeconds')
  if (typeof seconds === 'number' && nowMs >= Date.parse(start) + seconds * 1000) {
    return failing('DeadlineExceeded', 'Job was active longer than specified deadline')
  }
  const completions = at(job, 'spec', 'completions')
  const done = typeof completions === 'number' ? tally.succeeded >= completions : tally.succeeded > 0 && active === 0
  if (!done) return undefined
  const reason = 'CompletionsReached'
  const message = 'Reached expected number of succeeded pods'
  return [
    { type: 'SuccessCriteriaMet', status: 'True', reason, message },
    { type: 'Complete', status: 'True', reason, message },
  ]
}

/** Starts what is missing, not sooner than the pause after failures allows. */
function fill(
  shop: Workshop,
  job: KubeObject,
  tally: Tally,
  active: readonly KubeObject[],
  living: number,
  lastFailureMs: number,
  nowMs: number,
): { pods: KubeObject[]; more: boolean } {
  const parallel = Number(at(job, 'spec', 'parallelism') ?? 1)
  const completions = at(job, 'spec', 'completions')
  const open =
    typeof completions === 'number'
      ? Math.min(parallel, completions - tally.succeeded)
      : tally.succeeded > 0
        ? active.length
        : parallel
  for (const pod of [...active].slice(Math.max(0, open))) remove(shop, podKind, pod)
  // What is still ending counts: never more at a time than asked for.
  const missing = Math.min(BURST, open - living)
  if (missing <= 0) return { pods: [], more: false }
  const backoffMs = tally.failed === 0 ? 0 : Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (tally.failed - 1))
  const waitMs = lastFailureMs + backoffMs - nowMs
  if (tally.failed > 0 && waitMs > 0) {
    shop.again(keyOfObject(jobKind, job), waitMs)
    return { pods: [], more: false }
  }
  const pods: KubeObject[] = []
  try {
    const free = freeIndexes(job, tally, active)
    for (let made = 0; made < missing; made++)
      pods.push(makePod(shop, job, at(job, 'spec', 'template'), asJobPod(free?.next().value)))
  } catch (thrown) {
    tell(shop, job, 'Warning', 'FailedCreate', `Error creating: ${toSluiceError(thrown).message}`)
    shop.again(keyOfObject(jobKind, job), FIRST_BACKOFF_MS)
    return { pods, more: false }
  }
  return { pods, more: open - living > missing }
}

function freeIndexes(job: KubeObject, tally: Tally, active: readonly KubeObject[]): Iterator<number> | undefined {
  if (stringAt(job, 'spec', 'completionMode') !== 'Indexed') return undefined
  const taken = new Set(active.map(({ metadata }) => Number(metadata.annotations?.[INDEX] ?? -1)))
  const completions = Number(at(job, 'spec', 'completions') ?? 0)
  const free = Array.from({ length: completions }, (_, index) => index).filter(
    (index) => !taken.has(index) && !tally.indexes.has(index),
  )
  return free[Symbol.iterator]()
}

const asJobPod =
  (index: number | undefined) =>
  (pod: KubeObject): KubeObject => {
    const tracked = withMetadata(pod, { finalizers: [...(pod.metadata.finalizers ?? []), TRACKING] })
    if (index === undefined) return tracked
    const marked = withMetadata(tracked, {
      annotations: { ...pod.metadata.annotations, [INDEX]: String(index) },
      labels: { ...pod.metadata.labels, [INDEX]: String(index) },
    })
    const containers = listAt(pod, 'spec', 'containers').map((each) => ({
      ...(each as JsonObject),
      env: [...listAt(each, 'env'), { name: 'JOB_COMPLETION_INDEX', value: String(index) }],
    }))
    return withField(marked, ['spec', 'containers'], containers)
  }

function deadline(shop: Workshop, job: KubeObject, start: string, nowMs: number): void {
  const seconds = at(job, 'spec', 'activeDeadlineSeconds')
  if (typeof seconds === 'number') shop.again(keyOfObject(jobKind, job), Date.parse(start) + seconds * 1000 - nowMs)
}

function expire(shop: Workshop, job: KubeObject, nowMs: number): void {
  const ttl = at(job, 'spec', 'ttlSecondsAfterFinished')
  if (typeof ttl !== 'number') return
  const last = listAt(job, 'status', 'conditions').find((each) =>
    ['Complete', 'Failed'].includes(stringAt(each, 'type')),
  )
  const dueMs = (Date.parse(stringAt(last, 'lastTransitionTime')) || nowMs) + ttl * 1000
  if (dueMs <= nowMs) remove(shop, jobKind, job)
  else shop.again(keyOfObject(jobKind, job), dueMs - nowMs)
}

/** `0-2,5` */
function readIndexes(text: string): Set<number> {
  const found = new Set<number>()
  for (const part of text.split(',').filter(Boolean)) {
    const [from = 0, to = from] = part.split('-').map(Number)
    for (let index = from; index <= to; index++) found.add(index)
  }
  return found
}

function writeIndexes(indexes: ReadonlySet<number>): string {
  const sorted = [...indexes].sort((a, b) => a - b)
  const parts: [number, number][] = []
  for (const index of sorted) {
    const last = parts.at(-1)
    if (last !== undefined && last[1] === index - 1) last[1] = index
    else parts.push([index, index])
  }
  return parts.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',')
}
