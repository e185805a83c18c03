import type { KubeObject, OwnerReference } from '../objects.ts'
import { withMetadata } from '../objects.ts'
import type { Propagation } from '../registry/deletion.ts'
import { deleteObject, FOREGROUND, ORPHAN } from '../registry/deletion.ts'
import type { Registry } from '../registry/registry.ts'
import type { ObjectKey, Revision } from '../storage/revision.ts'
import { WorkQueue } from './work-queue.ts'

/**
 * Deletes objects whose owners are all gone, and carries out foreground and orphaning deletes. Only objects that have
 * owners are remembered, by their owners' uid.
 */
export class GarbageCollector {
  readonly #registry: Registry
  readonly #queue: WorkQueue
  readonly #dependents = new Map<string, Map<string, ObjectKey>>()

  constructor(registry: Registry, onError: (error: unknown) => void) {
    this.#registry = registry
    this.#queue = new WorkQueue((name) => this.#visit(readKey(name)), onError)
  }

  load(): void {
    for (const resource of this.#registry.store.resources()) {
      for (const { key, stored } of this.#registry.store.all(resource)) {
        if (!stored.body.includes('"ownerReferences"') && !stored.body.includes('"deletionTimestamp"')) continue
        this.#remember(key, stored.object)
        this.#queue.add(writeKey(key))
      }
    }
  }

  onCommit(revisions: readonly Revision[]): void {
    for (const { key, type, stored, previous } of revisions) {
      // Most objects have no owners; a look at the text spares parsing them.
      if (previous?.body.includes('"ownerReferences"') === true) this.#forget(key, previous.object)
      if (type === 'DELETED') {
        this.#ownerGone(stored.object)
        continue
      }
      if (stored.body.includes('"ownerReferences"')) {
        this.#remember(key, stored.object)
        if (type === 'ADDED') this.#queue.add(writeKey(key))
      }
      if (stored.object.metadata.deletionTimestamp !== undefined) this.#queue.add(writeKey(key))
    }
  }

  close(): void {
    this.#queue.close()
  }

  #remember(key: ObjectKey, object: KubeObject): void {
    for (const { uid } of object.metadata.ownerReferences ?? []) {
      const known = this.#dependents.get(uid) ?? new Map<string, ObjectKey>()
      this.#dependents.set(uid, known.set(writeKey(key), key))
    }
  }

  #forget(key: ObjectKey, object: KubeObject): void {
    for (const { uid } of object.metadata.ownerReferences ?? []) {
      const known = this.#dependents.get(uid)
      known?.delete(writeKey(key))
      if (known?.size === 0) this.#dependents.delete(uid)
    }
  }

  #ownerGone(object: KubeObject): void {
    for (const name of this.#dependents.get(object.metadata.uid ?? '')?.keys() ?? []) this.#queue.add(name)
    // An owner that waits for its dependents to go looks again.
    for (const owner of object.metadata.ownerReferences ?? []) {
      const key = this.#ownerKey(owner, object.metadata.namespace ?? '')
      if (key !== undefined) this.#queue.add(writeKey(key))
    }
  }

  #visit(key: ObjectKey): boolean {
    const live = this.#registry.store.get(key)
    if (live === undefined) return false
    if (live.object.metadata.deletionTimestamp !== undefined) {
      const finalizers = live.object.metadata.finalizers ?? []
      if (finalizers.includes(ORPHAN)) this.#orphan(key, live.object)
      else if (finalizers.includes(FOREGROUND)) this.#deleteDependents(key, live.object)
      return false
    }
    this.#checkOwners(key, live.object)
    return false
  }

  #checkOwners(key: ObjectKey, object: KubeObject): void {
    const owners = object.metadata.ownerReferences ?? []
    if (owners.length === 0) return
    const present = owners.filter((owner) => this.#exists(owner, key.namespace))
    if (present.length === owners.length) return
    if (present.length === 0) this.#delete(key, 'Background')
    else this.#rewrite(key, { ownerReferences: present })
  }

  /** Whether an owner is there. One of a kind that is not served cannot be looked for, and so counts as there. */
  #exists(owner: OwnerReference, namespace: string): boolean {
    const key = this.#ownerKey(owner, namespace)
    return key === undefined || this.#registry.store.get(key)?.object.metadata.uid === owner.uid
  }

  #ownerKey(owner: OwnerReference, namespace: string): ObjectKey | undefined {
    const kind = this.#registry.catalog.findKind(owner.apiVersion, owner.kind)
    return kind === undefined
      ? undefined
      : { resource: kind.resource, namespace: kind.namespaced ? namespace : '', name: owner.name }
  }

  #deleteDependents(key: ObjectKey, owner: KubeObject): void {
    let waiting = false
    for (const dependent of [...(this.#dependents.get(owner.metadata.uid ?? '')?.values() ?? [])]) {
      const object = this.#registry.store.get(dependent)?.object
      if (object === undefined) continue
      const reference = object.metadata.ownerReferences?.find((item) => item.uid === owner.metadata.uid)
      if (reference?.blockOwnerDeletion === true) waiting = true
      if (object.metadata.deletionTimestamp === undefined) this.#delete(dependent, 'Foreground')
    }
    // Dependents that went just now are gone from the store, but not yet from the index.
    if (
      waiting &&
      [...(this.#dependents.get(owner.metadata.uid ?? '')?.values() ?? [])].some(
        (item) => this.#registry.store.get(item) !== undefined,
      )
    )
      return
    this.#dropFinalizer(key, FOREGROUND)
  }

  #orphan(key: ObjectKey, owner: KubeObject): void {
    for (const dependent of [...(this.#dependents.get(owner.metadata.uid ?? '')?.values() ?? [])]) {
      const object = this.#registry.store.get(dependent)?.object
      const rest = object?.metadata.ownerReferences?.filter((item) => item.uid !== owner.metadata.uid) ?? []
      if (object !== undefined) this.#rewrite(dependent, { ownerReferences: rest.length === 0 ? undefined : rest })
    }
    this.#dropFinalizer(key, ORPHAN)
  }

  #dropFinalizer(key: ObjectKey, finalizer: string): void {
    const left = this.#registry.store.get(key)?.object.metadata.finalizers?.filter((name) => name !== finalizer) ?? []
    this.#rewrite(key, { finalizers: left.length === 0 ? undefined : left })
  }

  #rewrite(key: ObjectKey, changes: Readonly<Record<string, unknown>>): void {
    const live = this.#registry.store.get(key)
    if (live === undefined) return
    const next = withMetadata(live.object, changes)
    const done =
      next.metadata.deletionTimestamp !== undefined &&
      (next.metadata.finalizers ?? []).length === 0 &&
      (next.metadata.deletionGracePeriodSeconds ?? 0) === 0
    if (done) this.#registry.store.delete(key, next, live)
    else this.#registry.store.update(key, next, live)
  }

  #delete(key: ObjectKey, propagation: Propagation): void {
    const kind = this.#registry.catalog.byResource(key.resource)
    if (kind === undefined) return
    const hasDependents =
      propagation === 'Foreground' && this.#dependents.has(this.#registry.store.get(key)?.object.metadata.uid ?? '')
    deleteObject(
      this.#registry,
      { kind, namespace: key.namespace, name: key.name, subresource: undefined },
      {
        gracePeriodSeconds: undefined,
        uid: undefined,
        resourceVersion: undefined,
        propagation: hasDependents ? 'Foreground' : 'Background',
        dryRun: false,
      },
    )
  }
}

function writeKey(key: ObjectKey): string {
  return `${key.resource}/${key.namespace}/${key.name}`
}

function readKey(text: string): ObjectKey {
  const [resource = '', namespace = '', name = ''] = text.split('/')
  return { resource, namespace, name }
}
