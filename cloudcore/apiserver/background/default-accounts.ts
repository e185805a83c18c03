import type { WriteOptions } from '../registry/admission.ts'
import { namespaceKind } from '../registry/kinds/namespace.ts'
import { serviceAccountKind } from '../registry/kinds/service-account.ts'
import type { Registry } from '../registry/registry.ts'
import type { Revision } from '../storage/revision.ts'
import { WorkQueue } from './work-queue.ts'

const NAME = 'default'

/** Keeps the service account `default` in every namespace, which pods and tools take for granted. */
export class DefaultAccounts {
  readonly #registry: Registry
  readonly #queue: WorkQueue

  constructor(registry: Registry, onError: (error: unknown) => void) {
    this.#registry = registry
    this.#queue = new WorkQueue((namespace) => {
      ensureDefaultAccount(registry, namespace)
      return false
    }, onError)
  }

  load(): void {
    for (const { key } of this.#registry.store.all(namespaceKind.resource)) this.#queue.add(key.name)
  }

  onCommit(revisions: readonly Revision[]): void {
    for (const { key, type } of revisions) {
      if (key.resource === namespaceKind.resource && type === 'ADDED') this.#queue.add(key.name)
      const gone = key.resource === serviceAccountKind.resource && type === 'DELETED' && key.name === NAME
      if (gone) this.#queue.add(key.namespace)
    }
  }

  close(): void {
    this.#queue.close()
  }
}

/** Creates the account unless it is there, or its namespace is not or is on its way out. */
export function ensureDefaultAccount(registry: Registry, namespace: string): void {
  const { store } = registry
  const space = store.get({ resource: namespaceKind.resource, namespace: '', name: namespace })
  if (space === undefined || space.object.metadata.deletionTimestamp !== undefined) return
  if (store.get({ resource: serviceAccountKind.resource, namespace, name: NAME }) !== undefined) return
  const options: WriteOptions = {
    manager: 'kube-controller-manager',
    dryRun: false,
    fieldValidation: 'Ignore',
    force: false,
    warnings: [],
  }
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: NAME } }
  registry.create(serviceAccountKind, namespace, account, options)
}
