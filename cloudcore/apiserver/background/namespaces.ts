import { deleteObject } from '../registry/deletion.ts'
import { namespaceKind } from '../registry/kinds/namespace.ts'
import type { Registry } from '../registry/registry.ts'
import type { Revision } from '../storage/revision.ts'
import { WorkQueue } from './work-queue.ts'

const CHUNK = 100

/** Empties namespaces that were deleted, and removes them when nothing is left inside. */
export class Namespaces {
  readonly #registry: Registry
  readonly #queue: WorkQueue
  readonly #terminating = new Set<string>()

  constructor(registry: Registry, onError: (error: unknown) => void) {
    this.#registry = registry
    this.#queue = new WorkQueue((name) => this.#empty(name), onError)
  }

  load(): void {
    for (const { key, stored } of this.#registry.store.all(namespaceKind.resource)) {
      if (stored.object.metadata.deletionTimestamp !== undefined) this.#begin(key.name)
    }
  }

  onCommit(revisions: readonly Revision[]): void {
    for (const { key, type, stored } of revisions) {
      if (key.resource === namespaceKind.resource) {
        if (type === 'DELETED') this.#terminating.delete(key.name)
        else if (stored.object.metadata.deletionTimestamp !== undefined) this.#begin(key.name)
      } else if (type === 'DELETED' && this.#terminating.has(key.namespace)) this.#queue.add(key.namespace)
    }
  }

  close(): void {
    this.#queue.close()
  }

  #begin(name: string): void {
    this.#terminating.add(name)
    this.#queue.add(name)
  }

  #empty(name: string): boolean {
    const { store, catalog } = this.#registry
    const key = { resource: namespaceKind.resource, namespace: '', name }
    const live = store.get(key)
    if (live?.object.metadata.deletionTimestamp === undefined) return false
    let deleted = 0
    let remaining = 0
    for (const resource of store.resources()) {
      const kind = catalog.byResource(resource)
      for (const item of store.all(resource, name)) {
        remaining++
        if (kind === undefined || item.stored.object.metadata.deletionTimestamp !== undefined) continue
        deleteObject(this.#registry, { kind, namespace: name, name: item.key.name, subresource: undefined }, BACKGROUND)
        if (++deleted >= CHUNK) return true
      }
    }
    if (remaining > 0) return deleted > 0
    if ((live.object.metadata.finalizers ?? []).length === 0) store.delete(key, live.object, live)
    return false
  }
}

const BACKGROUND = {
  gracePeriodSeconds: undefined,
  uid: undefined,
  resourceVersion: undefined,
  propagation: 'Background',
  dryRun: false,
} as const
