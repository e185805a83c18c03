import type { KubeObject } from '../objects.ts'
import { at, isObject, kubeTime, listAt, stringAt, withField, withMetadata } from '../objects.ts'
import type { WriteOptions } from '../registry/admission.ts'
import { deleteObject, readDeleteOptions } from '../registry/deletion.ts'
import { disruptionBudgetKind } from '../registry/kinds/disruption-budget.ts'
import { throughEphemeralDoor } from '../registry/kinds/pod-ephemeral.ts'
import { selects } from '../registry/kinds/pod-template.ts'
import type { Registry, Target } from '../registry/registry.ts'
import { decodeBody, mediaType, readBody } from './body.ts'
import type { Exchange } from './exchange.ts'
import { sendObject } from './exchange.ts'
import { ApiStatusError, badRequest, invalid } from './status.ts'
import { answerGet, answerPatch, answerReplace, writeOptions } from './verbs.ts'

/** Answers what is special to pods; false for a subresource that somebody else answers. */
export async function answerPodSubresource(
  name: string,
  exchange: Exchange,
  registry: Registry,
  target: Target,
): Promise<boolean> {
  switch (name) {
    case 'binding':
      await answerBinding(exchange, registry, target)
      return true
    case 'eviction':
      await answerEviction(exchange, registry, target)
      return true
    case 'ephemeralcontainers':
      await answerEphemeral(exchange, registry, target)
      return true
    default:
      return false
  }
}

const SUCCESS = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 }

/** Gives a pod its node: once, and never while it is being deleted (registry/core/pod BindingREST). */
async function answerBinding(exchange: Exchange, registry: Registry, target: Target): Promise<void> {
  const binding = decodeBody(await readBody(exchange.request), mediaType(exchange.request))
  const node = stringAt(binding, 'target', 'name')
  const kind = stringAt(binding, 'target', 'kind')
  if (node === '' || (kind !== '' && kind !== 'Node')) {
    const required = { reason: 'FieldValueRequired', message: 'Required value: a Node', field: 'target.name' }
    throw invalid({ group: '', kind: 'Binding' }, target.name, [required])
  }
  const annotations = at(binding, 'metadata', 'annotations')
  const uid = stringAt(binding, 'metadata', 'uid')
  const bound = (pod: KubeObject): KubeObject => {
    const refuse = (text: string) =>
      new ApiStatusError(409, 'Conflict', `Operation cannot be fulfilled on pods/binding "${target.name}": ${text}`, {
        name: target.name,
        kind: 'pods/binding',
      })
    const before = stringAt(pod, 'spec', 'nodeName')
    if (uid !== '' && uid !== pod.metadata.uid) {
      throw refuse(`Precondition failed: UID in precondition: ${uid}, UID in object meta: ${pod.metadata.uid ?? ''}`)
    }
    if (pod.metadata.deletionTimestamp !== undefined) {
      throw refuse(`pod ${target.name} is being deleted, cannot be assigned to a host`)
    }
    if (before !== '') throw refuse(`pod ${target.name} is already assigned to node "${before}"`)
    if (listAt(pod, 'spec', 'schedulingGates').length > 0) {
      throw refuse(`pod ${target.name} has non-empty .spec.schedulingGates`)
    }
    const next = withField(pod, ['spec', 'nodeName'], node)
    if (!isObject(annotations)) return next
    return withMetadata(next, { annotations: { ...pod.metadata.annotations, ...annotations } })
  }
  const options = writeOptions(exchange)
  registry.patch(target, bound, options)
  if (!options.dryRun) markScheduled(registry, target, options)
  await registry.store.committed()
  sendObject(exchange.response, 201, SUCCESS)
}

function markScheduled(registry: Registry, target: Target, options: WriteOptions): void {
  const lastTransitionTime = kubeTime(registry.clock.now())
  registry.patch(
    { ...target, subresource: 'status' },
    (pod) => {
      const others = listAt(pod, 'status', 'conditions').filter((each) => stringAt(each, 'type') !== 'PodScheduled')
      const scheduled = { type: 'PodScheduled', status: 'True', lastProbeTime: null, lastTransitionTime }
      return withField(pod, ['status', 'conditions'], [...others, scheduled])
    },
    options,
  )
}

/** Deletes a pod if every budget that covers it allows that (policy/v1 Eviction). */
async function answerEviction(exchange: Exchange, registry: Registry, target: Target): Promise<void> {
  const body = decodeBody(await readBody(exchange.request), mediaType(exchange.request))
  const named = stringAt(body, 'metadata', 'name')
  if (named !== '' && named !== target.name) {
    throw badRequest(`name in URL does not match name in Eviction object: ${target.name} ${named}`)
  }
  const asked = at(body, 'deleteOptions')
  const given = readDeleteOptions(isObject(asked) ? asked : undefined, exchange.query)
  const options = { ...given, dryRun: given.dryRun || writeOptions(exchange).dryRun }
  const { object: pod } = registry.get(target)
  if (!endsAnyway(pod)) takeFromBudget(registry, pod, options.dryRun)
  deleteObject(registry, target, options)
  await registry.store.committed()
  sendObject(exchange.response, 201, SUCCESS)
}

/** Pods that run nothing, and those that go already, take nothing from a budget. */
function endsAnyway(pod: KubeObject): boolean {
  const phase = stringAt(pod, 'status', 'phase')
  return ['Succeeded', 'Failed', 'Pending'].includes(phase) || pod.metadata.deletionTimestamp !== undefined
}

function takeFromBudget(registry: Registry, pod: KubeObject, dryRun: boolean): void {
  const { namespace = '', labels = {} } = pod.metadata
  const found = [...registry.store.all(disruptionBudgetKind.resource, namespace)].filter(({ stored }) =>
    selects(at(stored.object, 'spec', 'selector'), labels),
  )
  if (found.length > 1) {
    const text = 'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.'
    throw new ApiStatusError(500, 'InternalError', text)
  }
  const budget = found[0]?.stored.object
  if (budget === undefined) return
  const allowed = Number(at(budget, 'status', 'disruptionsAllowed') ?? 0)
  const stale = Number(at(budget, 'status', 'observedGeneration') ?? 0) < (budget.metadata.generation ?? 0)
  if (stale || allowed <= 0) {
    const [wanted, healthy] = ['desiredHealthy', 'currentHealthy'].map((key) => Number(at(budget, 'status', key) ?? 0))
    const message = stale
      ? `The disruption budget ${budget.metadata.name} is still being processed by the server.`
      : `The disruption budget ${budget.metadata.name} needs ${wanted} healthy pods and has ${healthy} currently`
    throw new ApiStatusError(
      429,
      'TooManyRequests',
      "Cannot evict pod as it would violate the pod's disruption budget.",
      { causes: [{ reason: 'DisruptionBudget', message, field: '' }], ...(stale ? { retryAfterSeconds: 10 } : {}) },
    )
  }
  if (dryRun) return
  const { name } = budget.metadata
  const budgetTarget = { kind: disruptionBudgetKind, namespace, name, subresource: 'status' } as const
  // Counted at once: the next eviction may come before the budget's controller has looked.
  const less = (object: KubeObject) => withField(object, ['status', 'disruptionsAllowed'], allowed - 1)
  registry.patch(budgetTarget, less, QUIET)
}

const QUIET: WriteOptions = {
  manager: 'kube-apiserver',
  dryRun: false,
  fieldValidation: 'Ignore',
  force: false,
  warnings: [],
}

/** `kubectl debug` adds containers here. */
async function answerEphemeral(exchange: Exchange, registry: Registry, target: Target): Promise<void> {
  if (exchange.method === 'GET') return answerGet(exchange, registry, target)
  const door = { ...target, kind: throughEphemeralDoor(target.kind) }
  return exchange.method === 'PUT' ? answerReplace(exchange, registry, door) : answerPatch(exchange, registry, door)
}
