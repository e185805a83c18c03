import { createHash } from 'node:crypto'
import type { JsonObject, KubeObject, OwnerReference } from '../apiserver/objects.ts'
import { at, isObject, kubeTime, stringAt, withField, withMetadata } from '../apiserver/objects.ts'
import type { WriteOptions } from '../apiserver/registry/admission.ts'
import { deleteObject } from '../apiserver/registry/deletion.ts'
import type { Kind } from '../apiserver/registry/kind.ts'
import { eventKind } from '../apiserver/registry/kinds/event.ts'
import { podKind } from '../apiserver/registry/kinds/pod.ts'
import { selects } from '../apiserver/registry/kinds/pod-template.ts'
import type { Registry } from '../apiserver/registry/registry.ts'
import type { ObjectKey } from '../apiserver/storage/revision.ts'

/** What the controllers work with: the objects that somebody owns, and the few writes they make. */
export interface Workshop {
  readonly registry: Registry
  /** Objects of a kind that `uid` controls. */
  owned(resource: string, uid: string): KubeObject[]
  /** Objects of a kind in a namespace that nobody controls. */
  orphans(resource: string, namespace: string): KubeObject[]
  /** Looks at `key` again, at the latest in `delayMs`. */
  again(key: ObjectKey, delayMs: number): void
}

const WRITE: WriteOptions = {
  manager: 'kube-controller-manager',
  dryRun: false,
  fieldValidation: 'Ignore',
  force: false,
  warnings: [],
}

export const keyOfObject = (kind: Kind, { metadata }: KubeObject): ObjectKey => ({
  resource: kind.resource,
  namespace: metadata.namespace ?? '',
  name: metadata.name,
})

const targetOf = (kind: Kind, object: KubeObject, subresource?: 'status') => ({
  ...{ kind, namespace: object.metadata.namespace ?? '', name: object.metadata.name, subresource },
})

export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find(({ controller }) => controller === true)
}

export function ownerReference(owner: KubeObject): OwnerReference {
  const { apiVersion, kind, metadata } = owner
  return { apiVersion, kind, name: metadata.name, uid: metadata.uid ?? '', controller: true, blockOwnerDeletion: true }
}

/** Creates an object; the error of a refusal is the caller's to tell. */
export function create(shop: Workshop, kind: Kind, body: KubeObject): KubeObject {
  return shop.registry.create(kind, body.metadata.namespace ?? '', body, WRITE).object
}

/** Changes an object as it is now; what is gone stays gone. */
export function change(shop: Workshop, kind: Kind, object: KubeObject, edit: (live: KubeObject) => KubeObject): void {
  if (shop.registry.find(targetOf(kind, object)) === undefined) return
  shop.registry.patch(targetOf(kind, object), edit, WRITE)
}

export function writeStatus(shop: Workshop, kind: Kind, object: KubeObject, status: JsonObject): void {
  const target = targetOf(kind, object, 'status')
  if (shop.registry.find(target) === undefined) return
  shop.registry.patch(target, (live) => withField(live, ['status'], status), WRITE)
}

export function remove(shop: Workshop, kind: Kind, object: KubeObject): void {
  const target = targetOf(kind, object)
  if (shop.registry.find(target)?.object.metadata.uid !== object.metadata.uid) return
  deleteObject(shop.registry, target, {
    gracePeriodSeconds: undefined,
    uid: object.metadata.uid,
    resourceVersion: undefined,
    propagation: 'Background',
    dryRun: false,
  })
}

/** A pod of a template, controlled by `owner`. `edit` has the last word. */
export function makePod(
  shop: Workshop,
  owner: KubeObject,
  template: unknown,
  edit: (pod: KubeObject) => KubeObject = (pod) => pod,
): KubeObject {
  const words = (field: string) => {
    const found = at(template, 'metadata', field)
    return isObject(found) ? { [field]: found } : {}
  }
  const pod: KubeObject = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: '',
      generateName: `${owner.metadata.name}-`,
      namespace: owner.metadata.namespace ?? '',
      ...words('labels'),
      ...words('annotations'),
      ownerReferences: [ownerReference(owner)],
    },
    spec: at(template, 'spec'),
  }
  const made = create(shop, podKind, edit(pod))
  tell(shop, owner, 'Normal', 'SuccessfulCreate', `Created pod: ${made.metadata.name}`)
  return made
}

/** Takes over what the selector selects and nobody has; lets go of what it selects no more. */
export function claim(shop: Workshop, owner: KubeObject, kind: Kind): KubeObject[] {
  const selector = at(owner, 'spec', 'selector')
  const { uid = '', namespace = '' } = owner.metadata
  const mine: KubeObject[] = []
  for (const object of shop.owned(kind.resource, uid)) {
    if (selects(selector, object.metadata.labels ?? {})) mine.push(object)
    else change(shop, kind, object, (live) => withOwners(live, (each) => each.uid !== uid))
  }
  if (owner.metadata.deletionTimestamp !== undefined) return mine
  for (const object of shop.orphans(kind.resource, namespace)) {
    if (object.metadata.deletionTimestamp !== undefined || !selects(selector, object.metadata.labels ?? {})) continue
    const adopt = (live: KubeObject) =>
      withMetadata(live, { ownerReferences: [...(live.metadata.ownerReferences ?? []), ownerReference(owner)] })
    change(shop, kind, object, adopt)
    mine.push(object)
  }
  return mine
}

function withOwners(object: KubeObject, keep: (owner: OwnerReference) => boolean): KubeObject {
  const ownerReferences = (object.metadata.ownerReferences ?? []).filter(keep)
  return withMetadata(object, { ownerReferences: ownerReferences.length === 0 ? undefined : ownerReferences })
}

/** An Event about an object; what cannot be written is left out, it is only news. */
export function tell(shop: Workshop, about: KubeObject, type: string, reason: string, message: string): void {
  const { apiVersion, kind, metadata } = about
  const nowMs = shop.registry.clock.now()
  const id = createHash('sha1').update(`${metadata.uid}\n${reason}\n${message}`).digest('hex').slice(0, 8)
  const namespace = metadata.namespace ?? 'default'
  const name = `${metadata.name.slice(0, 200)}.${id}${nowMs.toString(16)}`
  const { uid, resourceVersion } = metadata
  const at = kubeTime(nowMs)
  const event: KubeObject = {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name, namespace },
    involvedObject: { apiVersion, kind, name: metadata.name, namespace, uid, resourceVersion },
    ...{ type, reason, message, count: 1, firstTimestamp: at, lastTimestamp: at },
    source: { component: `${kind.toLowerCase()}-controller` },
    reportingComponent: `${kind.toLowerCase()}-controller`,
  }
  try {
    create(shop, eventKind, event)
  } catch {
    // The namespace is going, or the same was said in this very millisecond.
  }
}

export interface Condition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason?: string
  readonly message?: string
  /** Says anew what was said before: something moved. */
  readonly renew?: boolean
}

/** The conditions with some set anew; the time of a transition stays while the status does. */
export function withConditions(held: readonly unknown[], set: readonly Condition[], nowMs: number): JsonObject[] {
  const kept = held.filter(
    (each): each is JsonObject => isObject(each) && !set.some(({ type }) => type === each['type']),
  )
  const now = kubeTime(nowMs)
  return [
    ...kept,
    ...set.map(({ renew, ...each }): JsonObject => {
      const before = held.find((old) => stringAt(old, 'type') === each.type)
      const same = stringAt(before, 'status') === each.status
      const told = same && stringAt(before, 'reason') === each.reason && stringAt(before, 'message') === each.message
      if (told && renew !== true && isObject(before)) return before
      const lastTransitionTime = same ? stringAt(before, 'lastTransitionTime') || now : now
      return { ...each, lastTransitionTime, lastUpdateTime: now }
    }),
  ]
}
