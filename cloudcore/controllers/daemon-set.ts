import { createHash } from 'node:crypto'
import { toSluiceError } from '../../api/errors.ts'
import type { JsonObject, KubeObject } from '../apiserver/objects.ts'
import { at, deepEqual, isObject, listAt, stringAt, withField, withMetadata } from '../apiserver/objects.ts'
import { nodeKind } from '../apiserver/registry/kinds/node.ts'
import { podKind } from '../apiserver/registry/kinds/pod.ts'
import { controllerRevisionKind, daemonSetKind } from '../apiserver/registry/kinds/workloads.ts'
import { type NodeTaint, type NodeWish, type Toleration, tolerates, wantsNode } from '../scheduler/node-match.ts'
import { availableFromMs, hasEnded, isReady } from './pod-facts.ts'
import { resolveShare } from './rollout.ts'
import {
  change,
  claim,
  create,
  keyOfObject,
  makePod,
  ownerReference,
  remove,
  tell,
  type Workshop,
  writeStatus,
} from './workshop.ts'

const HASH = 'controller-revision-hash'
const GENERATION = 'pod-template-generation'
const TRY_AGAIN_MS = 5_000

/** What a pod of a DaemonSet tolerates because it belongs to its node (kube-controller-manager's daemon util). */
const OWN_TOLERATIONS: readonly Toleration[] = [
  ...['not-ready', 'unreachable'].map((name) => ({ key: `node.kubernetes.io/${name}`, effect: 'NoExecute' })),
  ...['disk-pressure', 'memory-pressure', 'pid-pressure', 'unschedulable'].map((name) => ({
    ...{ key: `node.kubernetes.io/${name}`, effect: 'NoSchedule' },
  })),
].map((each) => ({ ...each, operator: 'Exists' }))

/** One pod on each node that the template fits; a new template replaces them a few at a time. */
export function reconcileDaemonSet(shop: Workshop, set: KubeObject): boolean {
  const pods = claim(shop, set, podKind)
  if (set.metadata.deletionTimestamp !== undefined) return false
  const template = at(set, 'spec', 'template')
  const hash = createHash('sha256').update(JSON.stringify(template)).digest('hex').slice(0, 10)
  keepRevision(shop, set, hash, template)
  const onNode = new Map<string, KubeObject[]>()
  for (const pod of pods) {
    const node = nodeOf(pod)
    onNode.set(node, [...(onNode.get(node) ?? []), pod])
  }
  const wanted: string[] = []
  let failed = false
  for (const { stored } of [...shop.registry.store.all(nodeKind.resource)]) {
    const { name } = stored.object.metadata
    const here = (onNode.get(name) ?? []).filter((pod) => pod.metadata.deletionTimestamp === undefined)
    const { runs, stays } = fits(template, stored.object)
    if (runs) wanted.push(name)
    for (const pod of here.filter(hasEnded)) {
      remove(shop, podKind, pod)
      tell(
        shop,
        set,
        'Warning',
        'FailedDaemonPod',
        `Found failed daemon pod ${pod.metadata.name} on node ${name}, will try to kill it`,
      )
    }
    const alive = here.filter((pod) => !hasEnded(pod))
    if (!stays) for (const pod of alive) remove(shop, podKind, pod)
    // Two on one node: the older one stays.
    else for (const pod of alive.sort(byAge).slice(1)) remove(shop, podKind, pod)
    // A pod that is ending still has the node; its successor comes when it is gone.
    if (runs && (onNode.get(name) ?? []).length === 0) failed = !place(shop, set, template, name, hash) || failed
  }
  const nodes = new Set(wanted)
  for (const [node, there] of onNode) {
    // The node itself is gone, and with it what ran there.
    const known = shop.registry.store.get({ resource: nodeKind.resource, namespace: '', name: node })
    if (node !== '' && known === undefined) for (const pod of there) remove(shop, podKind, pod)
  }
  if (failed) shop.again(keyOfObject(daemonSetKind, set), TRY_AGAIN_MS)
  const current = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined && !hasEnded(pod))
  if (stringAt(set, 'spec', 'updateStrategy', 'type') !== 'OnDelete') replaceOld(shop, set, current, nodes, hash)
  writeDaemonStatus(shop, set, current, nodes, hash)
  return false
}

const byAge = (left: KubeObject, right: KubeObject) =>
  (left.metadata.creationTimestamp ?? '').localeCompare(right.metadata.creationTimestamp ?? '')

/** The node a pod is on, or is meant for while it waits. */
function nodeOf(pod: KubeObject): string {
  const bound = stringAt(pod, 'spec', 'nodeName')
  if (bound !== '') return bound
  const terms = listAt(
    pod,
    'spec',
    'affinity',
    'nodeAffinity',
    'requiredDuringSchedulingIgnoredDuringExecution',
    'nodeSelectorTerms',
  )
  return String(listAt(listAt(terms[0], 'matchFields')[0], 'values')[0] ?? '')
}

/** Whether the pod belongs on a node, and whether one that is there may stay. */
function fits(template: unknown, node: KubeObject): { runs: boolean; stays: boolean } {
  const spec = at(template, 'spec') as JsonObject & { tolerations?: readonly Toleration[]; affinity?: JsonObject }
  const wish = { nodeSelector: spec['nodeSelector'], nodeAffinity: spec.affinity?.['nodeAffinity'] } as NodeWish
  if (!wantsNode(wish, node.metadata.name, node.metadata.labels ?? {})) return { runs: false, stays: false }
  const tolerations = [...(spec.tolerations ?? []), ...OWN_TOLERATIONS]
  const taints = listAt(node, 'spec', 'taints') as readonly NodeTaint[]
  const against = taints.filter((taint) => taint.effect !== 'PreferNoSchedule' && !tolerates(tolerations, taint))
  return { runs: against.length === 0, stays: against.every(({ effect }) => effect !== 'NoExecute') }
}

function place(shop: Workshop, set: KubeObject, template: unknown, node: string, hash: string): boolean {
  const fields = [{ key: 'metadata.name', operator: 'In', values: [node] }]
  try {
    makePod(shop, set, template, (pod) => {
      const { labels = {}, ...metadata } = pod.metadata
      const affinity = at(pod, 'spec', 'affinity')
      const required = { nodeSelectorTerms: [{ matchFields: fields }] }
      const nodeAffinity = at(affinity, 'nodeAffinity')
      const generation = String(set.metadata.generation ?? 1)
      let next: KubeObject = {
        ...pod,
        metadata: { ...metadata, labels: { ...labels, [HASH]: hash, [GENERATION]: generation } },
      }
      next = withField(next, ['spec', 'tolerations'], [...listAt(pod, 'spec', 'tolerations'), ...OWN_TOLERATIONS])
      return withField(next, ['spec', 'affinity'], {
        ...(isObject(affinity) ? affinity : {}),
        nodeAffinity: {
          ...(isObject(nodeAffinity) ? nodeAffinity : {}),
          requiredDuringSchedulingIgnoredDuringExecution: required,
        },
      })
    })
    return true
  } catch (thrown) {
    tell(shop, set, 'Warning', 'FailedCreate', `Error creating: ${toSluiceError(thrown).message}`)
    return false
  }
}

/** Takes old pods away as long as few enough are missing. `maxSurge` is not used: a node has one of them at a time. */
function replaceOld(
  shop: Workshop,
  set: KubeObject,
  current: readonly KubeObject[],
  nodes: ReadonlySet<string>,
  hash: string,
): void {
  const nowMs = shop.registry.clock.now()
  const here = current.filter((pod) => nodes.has(nodeOf(pod)))
  const old = here.filter(({ metadata }) => metadata.labels?.[HASH] !== hash)
  const allowed = Math.max(
    1,
    resolveShare(at(set, 'spec', 'updateStrategy', 'rollingUpdate', 'maxUnavailable') ?? 1, nodes.size, 'up'),
  )
  let missing = nodes.size - here.filter((pod) => available(set, pod, nowMs)).length
  for (const pod of old.filter((each) => !available(set, each, nowMs))) remove(shop, podKind, pod)
  for (const pod of old.filter((each) => available(set, each, nowMs))) {
    if (missing >= allowed) break
    remove(shop, podKind, pod)
    missing++
  }
}

function available(set: KubeObject, pod: KubeObject, nowMs: number): boolean {
  const fromMs = availableFromMs(pod, Number(at(set, 'spec', 'minReadySeconds') ?? 0))
  return fromMs !== undefined && fromMs <= nowMs
}

/** Keeps each template that was in force, as `kubectl rollout history` and `undo` read it. */
function keepRevision(shop: Workshop, set: KubeObject, hash: string, template: unknown): void {
  const data = { spec: { template: { ...(isObject(template) ? template : {}), $patch: 'replace' } } }
  const held = shop.owned(controllerRevisionKind.resource, set.metadata.uid ?? '').sort((a, b) => number(a) - number(b))
  const newest = held.at(-1)
  const same = held.find((each) => deepEqual(at(each, 'data'), data))
  if (same !== undefined && same === newest) return
  const revision = (newest === undefined ? 0 : number(newest)) + 1
  if (same !== undefined) {
    change(shop, controllerRevisionKind, same, (live) => ({ ...live, revision }))
    return
  }
  const { name, namespace = '', annotations } = set.metadata
  const labels = at(template, 'metadata', 'labels')
  create(
    shop,
    controllerRevisionKind,
    withMetadata(
      {
        apiVersion: 'apps/v1',
        kind: 'ControllerRevision',
        metadata: {
          ...{ name: `${name}-${hash}`, namespace },
          labels: { ...(isObject(labels) ? labels : {}), [HASH]: hash },
          ownerReferences: [ownerReference(set)],
        },
        data,
        revision,
      },
      { annotations },
    ),
  )
  const limit = Number(at(set, 'spec', 'revisionHistoryLimit') ?? 10)
  for (const old of held.slice(0, Math.max(0, held.length - limit))) remove(shop, controllerRevisionKind, old)
}

const number = (revision: KubeObject) => Number(at(revision, 'revision') ?? 0)

function writeDaemonStatus(
  shop: Workshop,
  set: KubeObject,
  current: readonly KubeObject[],
  nodes: ReadonlySet<string>,
  hash: string,
): void {
  const nowMs = shop.registry.clock.now()
  const here = current.filter((pod) => nodes.has(nodeOf(pod)))
  const scheduled = new Set(here.map(nodeOf)).size
  const serving = here.filter((pod) => available(set, pod, nowMs)).length
  const updated = here.filter(({ metadata }) => metadata.labels?.[HASH] === hash).length
  for (const pod of here) {
    const fromMs = availableFromMs(pod, Number(at(set, 'spec', 'minReadySeconds') ?? 0))
    if (fromMs !== undefined && fromMs > nowMs) shop.again(keyOfObject(daemonSetKind, set), fromMs - nowMs)
  }
  writeStatus(shop, daemonSetKind, set, {
    currentNumberScheduled: scheduled,
    numberMisscheduled: current.length - here.length,
    desiredNumberScheduled: nodes.size,
    numberReady: here.filter(isReady).length,
    observedGeneration: set.metadata.generation ?? 0,
    ...(updated > 0 ? { updatedNumberScheduled: updated } : {}),
    ...(serving > 0 ? { numberAvailable: serving } : {}),
    ...(nodes.size > serving ? { numberUnavailable: nodes.size - serving } : {}),
  })
}
