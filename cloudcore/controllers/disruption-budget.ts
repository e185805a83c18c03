import type { KubeObject } from '../apiserver/objects.ts'
import { at, listAt } from '../apiserver/objects.ts'
import { disruptionBudgetKind } from '../apiserver/registry/kinds/disruption-budget.ts'
import { podKind } from '../apiserver/registry/kinds/pod.ts'
import { selects } from '../apiserver/registry/kinds/pod-template.ts'
import { isActive, isReady } from './pod-facts.ts'
import { resolveShare } from './rollout.ts'
import { controllerOf, type Workshop, withConditions, writeStatus } from './workshop.ts'

/** Counts how many pods of a budget may be taken away now. */
export function reconcileBudget(shop: Workshop, budget: KubeObject): boolean {
  const nowMs = shop.registry.clock.now()
  const { namespace = '' } = budget.metadata
  const selector = at(budget, 'spec', 'selector')
  const pods = [...shop.registry.store.all(podKind.resource, namespace)]
    .map(({ stored }) => stored.object)
    .filter((pod) => selects(selector, pod.metadata.labels ?? {}) && isActive(pod))
  const expected = expectedPods(shop, pods)
  const healthy = pods.filter(isReady).length
  const most = at(budget, 'spec', 'maxUnavailable')
  const least = at(budget, 'spec', 'minAvailable') ?? 1
  const wanted =
    most === undefined
      ? resolveShare(least, expected, 'up')
      : Math.max(0, expected - resolveShare(most, expected, 'up'))
  const allowed = expected === 0 ? 0 : Math.max(0, healthy - wanted)
  const enough = allowed > 0
  writeStatus(shop, disruptionBudgetKind, budget, {
    observedGeneration: budget.metadata.generation ?? 0,
    ...{ disruptionsAllowed: allowed, currentHealthy: healthy, desiredHealthy: wanted, expectedPods: expected },
    conditions: withConditions(
      listAt(budget, 'status', 'conditions'),
      [
        {
          type: 'DisruptionAllowed',
          status: enough ? 'True' : 'False',
          reason: enough ? 'SufficientPods' : 'InsufficientPods',
          message: '',
        },
      ],
      nowMs,
    ),
  })
  return false
}

/** As many as their controllers want, not as many as happen to be there. */
function expectedPods(shop: Workshop, pods: readonly KubeObject[]): number {
  const owners = new Map<string, number>()
  for (const pod of pods) {
    const owner = controllerOf(pod)
    const uid = owner?.uid ?? pod.metadata.uid ?? ''
    if (owners.has(uid)) continue
    const resource = owner === undefined ? undefined : SCALED[owner.kind]
    const found =
      owner === undefined || resource === undefined
        ? undefined
        : shop.registry.store.get({ resource, namespace: pod.metadata.namespace ?? '', name: owner.name })
    const replicas = found === undefined ? undefined : at(found.object, 'spec', 'replicas')
    owners.set(uid, typeof replicas === 'number' ? replicas : 1)
  }
  return [...owners.values()].reduce((sum, count) => sum + count, 0)
}

const SCALED: Readonly<Record<string, string>> = { ReplicaSet: 'replicasets.apps' }
