import type { Timer } from '../../api/clock.ts'
import { WorkQueue } from '../apiserver/background/work-queue.ts'
import type { KubeObject } from '../apiserver/objects.ts'
import { disruptionBudgetKind } from '../apiserver/registry/kinds/disruption-budget.ts'
import { nodeKind } from '../apiserver/registry/kinds/node.ts'
import { podKind } from '../apiserver/registry/kinds/pod.ts'
import {
  controllerRevisionKind,
  daemonSetKind,
  deploymentKind,
  jobKind,
  replicaSetKind,
} from '../apiserver/registry/kinds/workloads.ts'
import type { Registry } from '../apiserver/registry/registry.ts'
import type { ObjectKey, Revision } from '../apiserver/storage/revision.ts'
import { reconcileDaemonSet } from './daemon-set.ts'
import { reconcileDeployment } from './deployment.ts'
import { reconcileBudget } from './disruption-budget.ts'
import { reconcileJob } from './job.ts'
import { reconcileReplicaSet } from './replica-set.ts'
import { controllerOf, type Workshop } from './workshop.ts'

type Reconcile = (shop: Workshop, object: KubeObject) => boolean

const RECONCILERS: Readonly<Record<string, Reconcile>> = {
  [deploymentKind.resource]: reconcileDeployment,
  [replicaSetKind.resource]: reconcileReplicaSet,
  [daemonSetKind.resource]: reconcileDaemonSet,
  [jobKind.resource]: reconcileJob,
  [disruptionBudgetKind.resource]: reconcileBudget,
}

/** Kinds that are owned, and looked up by their owner. */
const OWNED = new Set([podKind.resource, replicaSetKind.resource, controllerRevisionKind.resource])

const OWNER_RESOURCES: Readonly<Record<string, string>> = {
  Deployment: deploymentKind.resource,
  ReplicaSet: replicaSetKind.resource,
  DaemonSet: daemonSetKind.resource,
  Job: jobKind.resource,
}

/**
 * The controllers of the kinds that make pods, inside the embedded API. Reading and writing happen in one piece, so each
 * of them decides on what is there and not on what a cache believes: a pod is made once, also when everything is killed
 * in between. On a real cluster these are the cluster's own.
 */
export class Workloads implements Workshop {
  readonly registry: Registry
  readonly #queue: WorkQueue
  /** By resource and owner's uid ('' for nobody, then by namespace). */
  readonly #owned = new Map<string, Map<string, ObjectKey>>()
  readonly #due = new Map<string, { atMs: number; timer: Timer }>()

  constructor(registry: Registry, onError: (error: unknown) => void) {
    this.registry = registry
    this.#queue = new WorkQueue((name) => this.#visit(readKey(name)), onError)
  }

  load(): void {
    for (const resource of [...OWNED, ...Object.keys(RECONCILERS)]) {
      for (const { key, stored } of this.registry.store.all(resource)) {
        if (OWNED.has(resource)) this.#index(key, stored.object)
        if (RECONCILERS[resource] !== undefined) this.#queue.add(writeKey(key))
      }
    }
  }

  onCommit(revisions: readonly Revision[]): void {
    for (const { key, type, stored, previous } of revisions) {
      const { resource } = key
      if (OWNED.has(resource)) {
        if (previous !== undefined) this.#unindex(key, previous.object)
        if (type !== 'DELETED') this.#index(key, stored.object)
        for (const object of previous === undefined ? [stored.object] : [stored.object, previous.object])
          this.#wake(key, object, type === 'DELETED')
      }
      if (RECONCILERS[resource] !== undefined && type !== 'DELETED') this.#queue.add(writeKey(key))
      if (resource === nodeKind.resource && nodeMatters(stored.object, previous?.object))
        this.#wakeAll(daemonSetKind.resource)
    }
  }

  owned(resource: string, uid: string): KubeObject[] {
    return this.#objects(`${resource} ${uid}`)
  }

  orphans(resource: string, namespace: string): KubeObject[] {
    return this.#objects(`${resource}  ${namespace}`)
  }

  again(key: ObjectKey, delayMs: number): void {
    const name = writeKey(key)
    const { clock } = this.registry
    const atMs = clock.monotonic() + Math.max(0, delayMs)
    const held = this.#due.get(name)
    if (held !== undefined && held.atMs <= atMs) return
    held?.timer.cancel()
    const timer = clock.after(
      Math.max(0, delayMs),
      () => {
        this.#due.delete(name)
        this.#queue.add(name)
      },
      true,
    )
    this.#due.set(name, { atMs, timer })
  }

  close(): void {
    this.#queue.close()
    for (const { timer } of this.#due.values()) timer.cancel()
    this.#due.clear()
  }

  #objects(entry: string): KubeObject[] {
    const found: KubeObject[] = []
    for (const key of this.#owned.get(entry)?.values() ?? []) {
      const stored = this.registry.store.get(key)
      if (stored !== undefined) found.push(stored.object)
    }
    return found
  }

  #index(key: ObjectKey, object: KubeObject): void {
    const entry = entryOf(key, object)
    const known = this.#owned.get(entry) ?? new Map<string, ObjectKey>()
    this.#owned.set(entry, known.set(writeKey(key), key))
  }

  #unindex(key: ObjectKey, object: KubeObject): void {
    const entry = entryOf(key, object)
    const known = this.#owned.get(entry)
    known?.delete(writeKey(key))
    if (known?.size === 0) this.#owned.delete(entry)
  }

  #wake(key: ObjectKey, object: KubeObject, gone: boolean): void {
    const owner = controllerOf(object)
    const resource = owner === undefined ? undefined : OWNER_RESOURCES[owner.kind]
    if (owner !== undefined && resource !== undefined) {
      this.#queue.add(writeKey({ resource, namespace: key.namespace, name: owner.name }))
    }
    if (owner === undefined) {
      // Somebody may adopt it.
      for (const each of [replicaSetKind, daemonSetKind, jobKind]) {
        if (key.resource === podKind.resource) this.#wakeAll(each.resource, key.namespace)
      }
      if (key.resource === replicaSetKind.resource) this.#wakeAll(deploymentKind.resource, key.namespace)
    }
    if (key.resource !== podKind.resource) return
    this.#wakeAll(disruptionBudgetKind.resource, key.namespace)
    if (!gone || owner === undefined || resource !== replicaSetKind.resource) return
    // A deployment that recreates waits for the very last pod of its old set.
    const set = this.registry.store.get({ resource, namespace: key.namespace, name: owner.name })
    if (set !== undefined) this.#wake({ ...key, resource }, set.object, false)
  }

  #wakeAll(resource: string, namespace?: string): void {
    for (const { key } of this.registry.store.all(resource, namespace)) this.#queue.add(writeKey(key))
  }

  #visit(key: ObjectKey): boolean {
    const live = this.registry.store.get(key)
    if (live === undefined) return false
    return RECONCILERS[key.resource]?.(this, live.object) ?? false
  }
}

/** A node that only renewed its heartbeat is no news. */
function nodeMatters(node: KubeObject, before: KubeObject | undefined): boolean {
  if (before === undefined) return true
  const said = ({ metadata, spec }: KubeObject) => JSON.stringify([metadata.labels, spec, metadata.deletionTimestamp])
  return said(node) !== said(before)
}

function entryOf(key: ObjectKey, object: KubeObject): string {
  const owner = controllerOf(object)
  return owner === undefined ? `${key.resource}  ${key.namespace}` : `${key.resource} ${owner.uid}`
}

const writeKey = ({ resource, namespace, name }: ObjectKey) => `${resource}/${namespace}/${name}`

function readKey(text: string): ObjectKey {
  const [resource = '', namespace = '', name = ''] = text.split('/')
  return { resource, namespace, name }
}
