import { toSluiceError } from '../../api/errors.ts'
import type { KubeObject } from '../apiserver/objects.ts'
import { at, listAt } from '../apiserver/objects.ts'
import { podKind } from '../apiserver/registry/kinds/pod.ts'
import { replicaSetKind } from '../apiserver/registry/kinds/workloads.ts'
import { availableFromMs, byDispensability, hasEnded, isActive, isReady } from './pod-facts.ts'
import { claim, keyOfObject, makePod, remove, tell, type Workshop, withConditions, writeStatus } from './workshop.ts'

/** Pods made or taken away in one turn; the rest comes in the next. */
const BURST = 50
const TRY_AGAIN_MS = 5_000
/** Pods that ended and are kept to be looked at. */
const KEPT_ENDED = 5

/** Brings the number of pods to what is asked for; true while there is more to do. */
export function reconcileReplicaSet(shop: Workshop, set: KubeObject): boolean {
  const nowMs = shop.registry.clock.now()
  const pods = claim(shop, set, podKind)
  const going = set.metadata.deletionTimestamp !== undefined
  const wanted = Number(at(set, 'spec', 'replicas') ?? 1)
  const active = pods.filter(isActive)
  let failure: string | undefined
  let more = false
  if (!going && active.length < wanted) {
    try {
      for (let made = 0; made < Math.min(BURST, wanted - active.length); made++) {
        active.push(makePod(shop, set, at(set, 'spec', 'template')))
      }
      more = active.length < wanted
    } catch (thrown) {
      failure = toSluiceError(thrown).message
      tell(shop, set, 'Warning', 'FailedCreate', `Error creating: ${failure}`)
      shop.again(keyOfObject(replicaSetKind, set), TRY_AGAIN_MS)
    }
  } else if (!going && active.length > wanted) {
    for (const pod of active.sort(byDispensability).splice(0, Math.min(BURST, active.length - wanted))) {
      remove(shop, podKind, pod)
      tell(shop, set, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`)
    }
    more = active.length > wanted
  }
  dropEnded(shop, pods)
  writeSetStatus(shop, set, active, failure, nowMs)
  return more
}

/** A gateway that hands its work back again and again must not fill the store with what it handed back. */
function dropEnded(shop: Workshop, pods: readonly KubeObject[]): void {
  const ended = pods.filter((pod) => hasEnded(pod) && pod.metadata.deletionTimestamp === undefined)
  const byAge = ended.sort((a, b) =>
    (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? ''),
  )
  for (const pod of byAge.slice(KEPT_ENDED)) remove(shop, podKind, pod)
}

function writeSetStatus(
  shop: Workshop,
  set: KubeObject,
  active: readonly KubeObject[],
  failure: string | undefined,
  nowMs: number,
): void {
  const available = countAvailable(shop, set, active, nowMs)
  const held = listAt(set, 'status', 'conditions')
  const failing = failure !== undefined || held.some((each) => at(each, 'type') === 'ReplicaFailure')
  writeStatus(shop, replicaSetKind, set, {
    replicas: active.length,
    ...(active.length === 0 ? {} : { fullyLabeledReplicas: active.length }),
    ...positive('readyReplicas', active.filter(isReady).length),
    ...positive('availableReplicas', available),
    observedGeneration: set.metadata.generation ?? 0,
    ...(failing
      ? {
          conditions: withConditions(
            held,
            [
              failure === undefined
                ? { type: 'ReplicaFailure', status: 'False' }
                : { type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message: failure.slice(0, 1024) },
            ],
            nowMs,
          ),
        }
      : {}),
  })
}

/** Pods that have been ready for long enough; when the next one will have been, the set is looked at again. */
function countAvailable(shop: Workshop, set: KubeObject, active: readonly KubeObject[], nowMs: number): number {
  const minReadySeconds = Number(at(set, 'spec', 'minReadySeconds') ?? 0)
  let count = 0
  for (const pod of active) {
    const fromMs = availableFromMs(pod, minReadySeconds)
    if (fromMs === undefined) continue
    if (fromMs <= nowMs) count++
    else shop.again(keyOfObject(replicaSetKind, set), fromMs - nowMs)
  }
  return count
}

/** Counts of zero are left out, as the real controllers do it. */
export const positive = (field: string, count: number) => (count > 0 ? { [field]: count } : {})
