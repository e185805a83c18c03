import { kindsOf } from '../crd/custom-kind.ts'
import type { KubeObject } from '../objects.ts'
import { deepEqual, kubeTime, listAt, stringAt, withField, withMetadata } from '../objects.ts'
import type { WriteOptions } from '../registry/admission.ts'
import { CRD_CLEANUP, deleteObject } from '../registry/deletion.ts'
import { customResourceDefinitionKind } from '../registry/kinds/custom-resource-definition.ts'
import type { Registry, Target } from '../registry/registry.ts'
import type { Revision } from '../storage/revision.ts'
import { WorkQueue } from './work-queue.ts'

const CHUNK = 100
const RESOURCE = customResourceDefinitionKind.resource

/**
 * Serves what definitions define. A definition is in force when its commit is, before its creator has the answer, so
 * that an object of the new kind may follow at once. A deleted one goes when its last object has gone.
 */
export class Definitions {
  readonly #registry: Registry
  readonly #queue: WorkQueue
  readonly #terminating = new Set<string>()

  constructor(registry: Registry, onError: (error: unknown) => void) {
    this.#registry = registry
    this.#queue = new WorkQueue((name) => this.#empty(name), onError)
  }

  /** Takes up every stored definition; called once, before anything is served. */
  load(): void {
    for (const { stored } of this.#registry.store.all(RESOURCE)) this.#serve(stored.object)
  }

  onCommit(revisions: readonly Revision[]): void {
    for (const revision of revisions) {
      if (revision.key.resource === RESOURCE) {
        if (revision.type === 'DELETED') this.#withdraw(revision.key.name)
        else this.#serve(revision.stored.object)
      } else if (revision.type === 'DELETED' && this.#terminating.has(revision.key.resource)) {
        this.#queue.add(revision.key.resource)
      }
    }
  }

  close(): void {
    this.#queue.close()
  }

  #serve(definition: KubeObject): void {
    const name = definition.metadata.name
    const rival = this.#registry.catalog
      .all()
      .find(
        (kind) =>
          kind.resource !== name &&
          kind.group === stringAt(definition, 'spec', 'group') &&
          kind.kind === stringAt(definition, 'spec', 'names', 'kind'),
      )
    const kinds = rival === undefined ? kindsOf(definition) : []
    if (definition.metadata.deletionTimestamp !== undefined) {
      this.#terminating.add(name)
      this.#registry.catalog.setCustom(
        name,
        kinds.map((kind) => ({ ...kind, verbs: kind.verbs.filter((verb) => verb !== 'create') })),
      )
      this.#queue.add(name)
      return
    }
    this.#registry.catalog.setCustom(name, kinds)
    this.#report(definition, rival?.resource)
  }

  /** Says in the status that the names are taken and the kind is served. */
  #report(definition: KubeObject, rival: string | undefined): void {
    const accepted = rival === undefined
    const conditions = [
      condition(
        'NamesAccepted',
        accepted,
        accepted ? 'NoConflicts' : 'KindConflict',
        accepted ? 'no conflicts found' : `the kind is already in use by ${rival}`,
      ),
      condition(
        'Established',
        accepted,
        accepted ? 'InitialNamesAccepted' : 'NotAccepted',
        accepted ? 'the initial names have been accepted' : 'not all names are accepted',
      ),
    ]
    const now = kubeTime(this.#registry.clock.now())
    const before = listAt(definition, 'status', 'conditions')
    const merged = conditions.map((wanted) => {
      const old = before.find((item) => stringAt(item, 'type') === wanted.type)
      const since = stringAt(old, 'status') === wanted.status ? stringAt(old, 'lastTransitionTime') : now
      return { ...wanted, lastTransitionTime: since || now }
    })
    const stored = definition['spec']
    const names = withField(
      { status: definition['status'] },
      ['status', 'acceptedNames'],
      accepted ? nameFields(definition) : undefined,
    )
    const status = withField(names, ['status', 'conditions'], merged)['status']
    if (deepEqual(status, definition['status']) || stored === undefined) return
    const target: Target = {
      kind: customResourceDefinitionKind,
      namespace: '',
      name: definition.metadata.name,
      subresource: 'status',
    }
    const options: WriteOptions = {
      manager: 'kube-apiserver',
      dryRun: false,
      fieldValidation: 'Ignore',
      force: true,
      warnings: [],
    }
    this.#registry.patch(target, (live) => withMetadata(withField(live, ['status'], status), {}), options)
  }

  #withdraw(name: string): void {
    this.#terminating.delete(name)
    this.#registry.catalog.setCustom(name, [])
  }

  /** Deletes objects of a terminating definition, and lets it go when there are none. */
  #empty(name: string): boolean {
    const { store, catalog } = this.#registry
    const target: Target = { kind: customResourceDefinitionKind, namespace: '', name, subresource: undefined }
    const live = this.#registry.find(target)
    if (live === undefined) return false
    const kind = catalog.byResource(name)
    let deleted = 0
    let remaining = 0
    for (const { key, stored } of store.all(name)) {
      remaining++
      if (kind === undefined || stored.object.metadata.deletionTimestamp !== undefined) continue
      deleteObject(
        this.#registry,
        { kind, namespace: key.namespace, name: key.name, subresource: undefined },
        BACKGROUND,
      )
      if (++deleted >= CHUNK) return true
    }
    if (remaining > 0) return deleted > 0
    const finalizers = (live.object.metadata.finalizers ?? []).filter((item) => item !== CRD_CLEANUP)
    const next = withMetadata(live.object, { finalizers: finalizers.length === 0 ? undefined : finalizers })
    const key = { resource: RESOURCE, namespace: '', name }
    if (finalizers.length === 0) store.delete(key, next, live)
    else store.update(key, next, live)
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

function condition(type: string, holds: boolean, reason: string, message: string) {
  return { type, status: holds ? 'True' : 'False', reason, message }
}

function nameFields(definition: KubeObject): unknown {
  const spec = definition['spec']
  return typeof spec === 'object' && spec !== null && 'names' in spec ? spec.names : undefined
}
