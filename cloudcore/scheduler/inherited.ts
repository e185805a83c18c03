import type { Clock } from '../../api/clock.ts'
import { toSluiceError } from '../../api/errors.ts'
import { ANNOTATIONS_OF_A_WORKLOAD, INTENT_PREFIX } from '../../api/intents/intents.ts'
import { at, isObject, listAt, stringAt } from '../apiserver/objects.ts'
import type { KubeClient } from '../kube/client.ts'
import { type KubeResource, objectPath } from '../kube/paths.ts'

const apps = (plural: string, kind: string): KubeResource => ({
  ...{ prefix: '/apis/apps/v1', plural, apiVersion: 'apps/v1', kind },
})
const batch = (plural: string, kind: string): KubeResource => ({
  ...{ prefix: '/apis/batch/v1', plural, apiVersion: 'batch/v1', kind },
})
/** Who makes pods, and who makes those. */
const WORKLOADS: readonly KubeResource[] = [
  apps('replicasets', 'ReplicaSet'),
  apps('deployments', 'Deployment'),
  apps('statefulsets', 'StatefulSet'),
  apps('daemonsets', 'DaemonSet'),
  batch('jobs', 'Job'),
  batch('cronjobs', 'CronJob'),
]

export type Annotations = Readonly<Record<string, string>>

const NOTHING: Annotations = {}

/**
 * What a pod's workload means by it: FLUIDOS reads its annotations on a Deployment as well as in its template. Whoever is
 * nearer to the pod has the last word. Rejects when the API does not answer; what is gone or forbidden says nothing.
 */
export async function intentsOfWorkload(client: KubeClient, pod: unknown, signal: AbortSignal): Promise<Annotations> {
  let found = NOTHING
  let object: unknown = pod
  // A Deployment's ReplicaSet, and the Deployment; nothing is owned any deeper.
  for (let level = 0; level < 2; level++) {
    const namespace = stringAt(pod, 'metadata', 'namespace') || 'default'
    const owner = ownerOf(object)
    if (owner === undefined) break
    try {
      object = await client.get<unknown>(objectPath(owner.resource, owner.name, namespace), { signal })
    } catch (thrown) {
      const { code } = toSluiceError(thrown)
      if (code === 'SLUICE_KUBE_NOT_FOUND' || code === 'SLUICE_KUBE_FORBIDDEN') break
      throw thrown
    }
    // Another one of the same name is not its owner.
    if (stringAt(object, 'metadata', 'uid') !== owner.uid) break
    found = { ...meantFor(at(object, 'metadata', 'annotations')), ...found }
  }
  return found
}

/** Of what a workload says, what the pod does not say itself. */
export function lackedBy(pod: unknown, told: Annotations): Annotations {
  const own = at(pod, 'metadata', 'annotations')
  return Object.fromEntries(Object.entries(told).filter(([key]) => !isObject(own) || own[key] === undefined))
}

/** A pod as it is read with annotations that it lacks. */
export function withIntents(pod: unknown, lacked: Annotations): unknown {
  if (!isObject(pod) || Object.keys(lacked).length === 0) return pod
  const own = at(pod, 'metadata', 'annotations')
  const metadata = at(pod, 'metadata')
  const annotations = { ...(isObject(own) ? own : {}), ...lacked }
  return { ...pod, metadata: { ...(isObject(metadata) ? metadata : {}), annotations } }
}

function ownerOf(
  object: unknown,
): { readonly resource: KubeResource; readonly name: string; readonly uid: string } | undefined {
  const owner = listAt(object, 'metadata', 'ownerReferences').find((each) => at(each, 'controller') === true)
  const resource = WORKLOADS.find(
    ({ kind, apiVersion }) => stringAt(owner, 'kind') === kind && stringAt(owner, 'apiVersion') === apiVersion,
  )
  return resource === undefined ? undefined : { resource, name: stringAt(owner, 'name'), uid: stringAt(owner, 'uid') }
}

function meantFor(annotations: unknown): Annotations {
  if (!isObject(annotations)) return NOTHING
  const ours = Object.entries(annotations).filter(
    ([key]) => key.toLowerCase().startsWith(INTENT_PREFIX) || ANNOTATIONS_OF_A_WORKLOAD.some((each) => each === key),
  )
  return Object.fromEntries(ours.map(([key, value]) => [key, String(value)]))
}

/** What somebody writes anew on a workload counts for pods that are made this much later. */
const KEEP_MS = 10_000
const AGAIN_MS = 1_000
const MOST_KEPT = 10_000

interface Held {
  readonly atMs: number
  readonly known: Annotations
}

/** What workloads say, asked once for all the pods of one that come together. */
export class WorkloadIntents {
  readonly #client: KubeClient
  readonly #clock: Clock
  readonly #signal: AbortSignal
  readonly #held = new Map<string, Held>()
  readonly #asking = new Map<string, (() => void)[]>()

  constructor(client: KubeClient, clock: Clock, signal: AbortSignal) {
    this.#client = client
    this.#clock = clock
    this.#signal = signal
  }

  /** What the workload of a pod says. Undefined while that is being asked: then `again` is called once it is known. */
  of(pod: unknown, again: () => void): Annotations | undefined {
    const owner = ownerOf(pod)
    if (owner === undefined) return NOTHING
    const held = this.#held.get(owner.uid)
    if (held !== undefined && this.#clock.monotonic() - held.atMs < KEEP_MS) return held.known
    const waiting = this.#asking.get(owner.uid)
    if (waiting !== undefined) {
      waiting.push(again)
      return undefined
    }
    this.#asking.set(owner.uid, [again])
    void this.#ask(owner.uid, pod)
    return undefined
  }

  async #ask(uid: string, pod: unknown): Promise<void> {
    try {
      const known = await intentsOfWorkload(this.#client, pod, this.#signal)
      if (this.#held.size >= MOST_KEPT) this.#held.clear()
      this.#held.set(uid, { atMs: this.#clock.monotonic(), known })
      const waiting = this.#asking.get(uid) ?? []
      this.#asking.delete(uid)
      for (const again of waiting) again()
    } catch {
      // The API is away: nobody is placed by half of what was meant.
      if (!this.#signal.aborted) this.#clock.after(AGAIN_MS, () => void this.#ask(uid, pod), true)
    }
  }
}
