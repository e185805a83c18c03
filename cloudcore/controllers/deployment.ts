import { createHash } from 'node:crypto'
import type { JsonObject, KubeObject } from '../apiserver/objects.ts'
import { at, deepEqual, isObject, listAt, stringAt, withField, withMetadata } from '../apiserver/objects.ts'
import { podKind } from '../apiserver/registry/kinds/pod.ts'
import { deploymentKind, replicaSetKind } from '../apiserver/registry/kinds/workloads.ts'
import { positive } from './replica-set.ts'
import { planRollout, type RolloutPlan, resolveShare, type SetView } from './rollout.ts'
import {
  type Condition,
  change,
  claim,
  create,
  keyOfObject,
  ownerReference,
  remove,
  tell,
  type Workshop,
  withConditions,
  writeStatus,
} from './workshop.ts'

const HASH = 'pod-template-hash'
const REVISION = 'deployment.kubernetes.io/revision'
const DESIRED = 'deployment.kubernetes.io/desired-replicas'
const MAXIMUM = 'deployment.kubernetes.io/max-replicas'

/** One step of a deployment: the ReplicaSet of the newest template grows, the others shrink, within the bounds asked for. */
export function reconcileDeployment(shop: Workshop, deployment: KubeObject): boolean {
  const sets = claim(shop, deployment, replicaSetKind)
  if (deployment.metadata.deletionTimestamp !== undefined) return false
  const paused = at(deployment, 'spec', 'paused') === true
  const plan = bounds(deployment)
  let newest = sets.find((set) => sameTemplate(set, deployment))
  const others = sets.filter((set) => set !== newest)
  if (!paused) newest = newest === undefined ? first(shop, deployment, others, plan) : numbered(shop, newest, others)
  const views = [...others, ...(newest === undefined ? [] : [newest])].map((set) => viewOf(set, set === newest))
  const steps = paused ? scaleOnly(views, plan) : planRollout(views, plan)
  for (const { name, replicas } of steps) {
    const set = sets.find(({ metadata }) => metadata.name === name) ?? newest
    if (set !== undefined) scale(shop, deployment, set, replicas, plan)
  }
  if (!paused) forgetOld(shop, deployment, others)
  const revision = newest?.metadata.annotations?.[REVISION]
  if (revision !== undefined && deployment.metadata.annotations?.[REVISION] !== revision) {
    change(shop, deploymentKind, deployment, (live) => annotated(live, { [REVISION]: revision }))
  }
  writeDeploymentStatus(shop, deployment, others, newest, plan)
  return false
}

function bounds(deployment: KubeObject): RolloutPlan {
  const wanted = Number(at(deployment, 'spec', 'replicas') ?? 1)
  const rolling = at(deployment, 'spec', 'strategy', 'rollingUpdate')
  const recreate = stringAt(deployment, 'spec', 'strategy', 'type') === 'Recreate'
  const surge = recreate ? 0 : resolveShare(at(rolling, 'maxSurge') ?? '25%', wanted, 'up')
  const unavailable = recreate ? wanted : resolveShare(at(rolling, 'maxUnavailable') ?? '25%', wanted, 'down')
  // With neither nothing could ever move.
  return { wanted, surge, unavailable: surge === 0 && unavailable === 0 ? 1 : unavailable, recreate }
}

function viewOf(set: KubeObject, newest: boolean): SetView {
  return {
    name: set.metadata.name,
    newest,
    createdAt: set.metadata.creationTimestamp ?? '',
    replicas: Number(at(set, 'spec', 'replicas') ?? 0),
    available: Number(at(set, 'status', 'availableReplicas') ?? 0),
    existing: Number(at(set, 'status', 'replicas') ?? 0),
  }
}

/** While paused only the number of pods follows the deployment. */
function scaleOnly(views: readonly SetView[], { wanted }: RolloutPlan): { name: string; replicas: number }[] {
  const active = views.filter(({ replicas }) => replicas > 0)
  const only = active.length === 1 ? active[0] : undefined
  return only === undefined || only.replicas === wanted ? [] : [{ name: only.name, replicas: wanted }]
}

function templateWithoutHash(object: KubeObject): unknown {
  const template = at(object, 'spec', 'template')
  const labels = at(template, 'metadata', 'labels')
  if (!isObject(template) || !isObject(labels)) return template
  const { [HASH]: _hash, ...rest } = labels
  return withField(template, ['metadata', 'labels'], rest)
}

const sameTemplate = (set: KubeObject, deployment: KubeObject) =>
  deepEqual(templateWithoutHash(set), templateWithoutHash(deployment))

const revisionOf = (set: KubeObject) => Number(set.metadata.annotations?.[REVISION] ?? 0) || 0
const annotated = (object: KubeObject, more: Readonly<Record<string, string>>) =>
  withMetadata(object, { annotations: { ...object.metadata.annotations, ...more } })

/** Makes the ReplicaSet of a template that had none. */
function first(
  shop: Workshop,
  deployment: KubeObject,
  others: readonly KubeObject[],
  plan: RolloutPlan,
): KubeObject | undefined {
  // Recreate: nothing new before the last old pod is gone, also those that are still ending.
  if (plan.recreate && others.some((set) => Number(at(set, 'spec', 'replicas') ?? 0) > 0 || podsLeft(shop, set)))
    return undefined
  const template = at(deployment, 'spec', 'template')
  const hash = hashOf([template, at(deployment, 'status', 'collisionCount') ?? 0])
  const labelled = (value: unknown) => ({ ...(isObject(value) ? value : {}), [HASH]: hash })
  const labels = labelled(at(template, 'metadata', 'labels'))
  const selector = at(deployment, 'spec', 'selector')
  const { name, namespace = '', annotations = {} } = deployment.metadata
  const { 'kubectl.kubernetes.io/last-applied-configuration': _applied, ...kept } = annotations
  const replicas = plan.recreate ? plan.wanted : 0
  const revision = String(Math.max(0, ...others.map(revisionOf)) + 1)
  const set = create(shop, replicaSetKind, {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      ...{ name: `${name}-${hash}`, namespace, labels },
      annotations: {
        ...kept,
        [REVISION]: revision,
        [DESIRED]: String(plan.wanted),
        [MAXIMUM]: String(plan.wanted + plan.surge),
      },
      ownerReferences: [ownerReference(deployment)],
    },
    spec: {
      replicas,
      ...(at(deployment, 'spec', 'minReadySeconds') === undefined
        ? {}
        : { minReadySeconds: at(deployment, 'spec', 'minReadySeconds') }),
      selector: { ...(isObject(selector) ? selector : {}), matchLabels: labelled(at(selector, 'matchLabels')) },
      template: isObject(template) ? withField(template, ['metadata', 'labels'], labels) : template,
    },
  })
  return set
}

/** Going back to an older template makes it the newest revision. */
function numbered(shop: Workshop, newest: KubeObject, others: readonly KubeObject[]): KubeObject {
  const highest = Math.max(0, ...others.map(revisionOf))
  if (revisionOf(newest) > highest) return newest
  const next = annotated(newest, { [REVISION]: String(highest + 1) })
  change(shop, replicaSetKind, newest, (live) => annotated(live, { [REVISION]: String(highest + 1) }))
  return next
}

const podsLeft = (shop: Workshop, set: KubeObject) => shop.owned(podKind.resource, set.metadata.uid ?? '').length > 0

function hashOf(value: unknown): string {
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789'
  const digest = createHash('sha256').update(JSON.stringify(value)).digest()
  return [...digest.subarray(0, 10)].map((byte) => alphabet[byte % alphabet.length]).join('')
}

function scale(shop: Workshop, deployment: KubeObject, set: KubeObject, replicas: number, plan: RolloutPlan): void {
  const before = Number(at(set, 'spec', 'replicas') ?? 0)
  if (before === replicas) return
  const marks = { [DESIRED]: String(plan.wanted), [MAXIMUM]: String(plan.wanted + plan.surge) }
  change(shop, replicaSetKind, set, (live) => withField(annotated(live, marks), ['spec', 'replicas'], replicas))
  const words = `Scaled ${replicas > before ? 'up' : 'down'} replica set ${set.metadata.name} from ${before} to ${replicas}`
  tell(shop, deployment, 'Normal', 'ScalingReplicaSet', words)
}

function forgetOld(shop: Workshop, deployment: KubeObject, others: readonly KubeObject[]): void {
  const limit = Number(at(deployment, 'spec', 'revisionHistoryLimit') ?? 10)
  const idle = others
    .filter((set) => Number(at(set, 'spec', 'replicas') ?? 0) === 0 && Number(at(set, 'status', 'replicas') ?? 0) === 0)
    .sort((left, right) => revisionOf(right) - revisionOf(left))
  for (const set of idle.slice(limit)) remove(shop, replicaSetKind, set)
}

function writeDeploymentStatus(
  shop: Workshop,
  deployment: KubeObject,
  others: readonly KubeObject[],
  newest: KubeObject | undefined,
  plan: RolloutPlan,
): void {
  const nowMs = shop.registry.clock.now()
  const all = [...others, ...(newest === undefined ? [] : [newest])]
  const sum = (field: string, sets: readonly KubeObject[]) =>
    sets.reduce((total, set) => total + Number(at(set, 'status', field) ?? 0), 0)
  const replicas = sum('replicas', all)
  const available = sum('availableReplicas', all)
  const updated = newest === undefined ? 0 : sum('replicas', [newest])
  const newAvailable = newest === undefined ? 0 : sum('availableReplicas', [newest])
  const collisionCount = at(deployment, 'status', 'collisionCount')
  const enough = available >= plan.wanted - plan.unavailable
  const complete = updated === plan.wanted && replicas === plan.wanted && newAvailable >= plan.wanted
  const held = listAt(deployment, 'status', 'conditions')
  const counts: JsonObject = {
    ...positive('replicas', replicas),
    ...positive('updatedReplicas', updated),
    ...positive('readyReplicas', sum('readyReplicas', all)),
    ...positive('availableReplicas', available),
    ...positive('unavailableReplicas', Math.max(0, Math.max(plan.wanted, replicas) - available)),
  }
  const progress = progressOf(shop, deployment, newest?.metadata.name, counts, complete, nowMs)
  writeStatus(shop, deploymentKind, deployment, {
    observedGeneration: deployment.metadata.generation ?? 0,
    ...counts,
    ...(collisionCount === undefined ? {} : { collisionCount }),
    conditions: withConditions(
      held,
      [
        enough
          ? {
              ...{ type: 'Available', status: 'True' as const, reason: 'MinimumReplicasAvailable' },
              message: 'Deployment has minimum availability.',
            }
          : {
              ...{ type: 'Available', status: 'False' as const, reason: 'MinimumReplicasUnavailable' },
              message: 'Deployment does not have minimum availability.',
            },
        progress,
      ],
      nowMs,
    ),
  })
}

/** How the rollout goes, and whether it has stood still for too long. */
function progressOf(
  shop: Workshop,
  deployment: KubeObject,
  newest: string | undefined,
  counts: JsonObject,
  complete: boolean,
  nowMs: number,
): Condition {
  const type = 'Progressing'
  const held = listAt(deployment, 'status', 'conditions').find((each) => stringAt(each, 'type') === type)
  const what = `ReplicaSet "${newest ?? ''}"`
  if (complete) {
    const message = `${what} has successfully progressed.`
    return { type, status: 'True', reason: 'NewReplicaSetAvailable', message }
  }
  if (at(deployment, 'spec', 'paused') === true) {
    return { type, status: 'Unknown', reason: 'DeploymentPaused', message: 'Deployment is paused' }
  }
  const moved = Object.entries(counts).some(([field, count]) => at(deployment, 'status', field) !== count)
  const changed = deployment.metadata.generation !== at(deployment, 'status', 'observedGeneration')
  const deadlineMs = Number(at(deployment, 'spec', 'progressDeadlineSeconds') ?? 600) * 1000
  const lastMs = Date.parse(stringAt(held, 'lastUpdateTime')) || nowMs
  const late = !moved && !changed && nowMs >= lastMs + deadlineMs
  if (late || (stringAt(held, 'reason') === 'ProgressDeadlineExceeded' && !moved && !changed)) {
    const message = `${what} has timed out progressing.`
    return { type, status: 'False', reason: 'ProgressDeadlineExceeded', message }
  }
  shop.again(keyOfObject(deploymentKind, deployment), Math.max(1_000, lastMs + deadlineMs - nowMs))
  if (changed && held === undefined) {
    return {
      type,
      status: 'True',
      reason: 'NewReplicaSetCreated',
      message: `Created new replica set "${newest ?? ''}"`,
    }
  }
  const message = `${what} is progressing.`
  return { type, status: 'True', reason: 'ReplicaSetUpdated', message, renew: moved || changed }
}
