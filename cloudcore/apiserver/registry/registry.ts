import { randomBytes, randomUUID } from 'node:crypto'
import type { Clock } from '../../../api/clock.ts'
import { afterUpdate, applyConfiguration } from '../apply/managed-fields.ts'
import { prune } from '../crd/prune.ts'
import { ApiStatusError, alreadyExists, badRequest, conflict, forbidden, invalid, notFound } from '../http/status.ts'
import type { KubeObject, ManagedFieldsEntry } from '../objects.ts'
import { deepEqual, kubeTime, withField, withMetadata } from '../objects.ts'
import type { ObjectKey, StoredObject } from '../storage/revision.ts'
import { StoredObject as Stored } from '../storage/revision.ts'
import type { ObjectStore } from '../storage/store.ts'
import type { WriteOptions } from './admission.ts'
import { normalise, reportUnknown, validate } from './admission.ts'
import type { Catalog } from './catalog.ts'
import type { Kind, LookUp } from './kind.ts'
import { groupVersion } from './kind.ts'
import { readObject, resetsManagedFields } from './metadata.ts'
import { checkKind, desiredChanged, inScope, keepIdentity, resetFields, stale } from './update-rules.ts'

/** Which object, through which door. `namespace` is '' for a cluster kind. */
export interface Target {
  readonly kind: Kind
  readonly namespace: string
  readonly name: string
  readonly subresource: 'status' | undefined
}

export interface Written {
  readonly stored: StoredObject
  readonly created: boolean
}

const NAME_TRIES = 8

/**
 * The generic verbs, the same for every kind. All of them are synchronous: between reading an object and writing it
 * nothing else can happen, so there is nothing to retry. Callers wait for the store's commit before they answer.
 */
export class Registry {
  readonly store: ObjectStore
  readonly catalog: Catalog
  readonly clock: Clock

  constructor(store: ObjectStore, catalog: Catalog, clock: Clock) {
    this.store = store
    this.catalog = catalog
    this.clock = clock
  }

  find(target: Target): StoredObject | undefined {
    return this.store.get(keyOf(target))
  }

  get(target: Target): StoredObject {
    const found = this.find(target)
    if (found === undefined) throw notFound(target.kind, target.name)
    return found
  }

  /** An object as one version of its kind shows it. Versions differ by name only (conversion strategy None). */
  inVersion(object: KubeObject, kind: Kind): KubeObject {
    return withField(object, ['apiVersion'], groupVersion(kind))
  }

  create(kind: Kind, namespace: string, body: unknown, options: WriteOptions): StoredObject {
    const unknown: string[] = []
    const given = readObject(body, kind, unknown)
    checkKind(given, kind)
    if (kind.namespaced && (given.metadata.namespace ?? namespace) !== namespace) {
      throw badRequest('the namespace of the provided object does not match the namespace sent on the request')
    }
    if ((given.metadata.resourceVersion ?? '') !== '')
      throw badRequest('resourceVersion should not be set on objects to be created')
    if (kind.namespaced) this.#needNamespace(kind, namespace, given.metadata.name)
    const object = this.#born(given, kind, namespace)
    return this.#insert(
      object,
      kind,
      options,
      (whole) => this.#tracked(undefined, whole, kind, [], undefined, options),
      unknown,
    )
  }

  /** PUT. Creates nothing. */
  replace(target: Target, body: unknown, options: WriteOptions): Written {
    const { kind, name, namespace } = target
    const unknown: string[] = []
    const given = readObject(body, kind, unknown)
    checkKind(given, kind)
    if (given.metadata.name !== name) {
      throw badRequest(`the name of the object (${given.metadata.name}) does not match the name on the URL (${name})`)
    }
    if (kind.namespaced && (given.metadata.namespace ?? namespace) !== namespace) {
      throw badRequest('the namespace of the provided object does not match the namespace sent on the request')
    }
    const live = this.get(target)
    if (kind.needsVersion && (given.metadata.resourceVersion ?? '') === '') {
      throw invalid({ group: kind.group, kind: kind.plural }, name, [
        {
          reason: 'FieldValueInvalid',
          message: 'Invalid value: 0x0: must be specified for an update',
          field: 'metadata.resourceVersion',
        },
      ])
    }
    return { stored: this.update(target, live, given, options, unknown, resetsManagedFields(body)), created: false }
  }

  /** PATCH with a function from the live object to the wanted one. */
  patch(target: Target, change: (live: KubeObject) => unknown, options: WriteOptions): Written {
    const live = this.get(target)
    const before = this.inVersion(live.object, target.kind)
    const raw = change(before)
    const unknown: string[] = []
    const given = raw === before ? before : readObject(raw, target.kind, unknown)
    checkKind(given, target.kind)
    return { stored: this.update(target, live, given, options, unknown, resetsManagedFields(raw)), created: false }
  }

  /** Server-side apply; creates what is missing. */
  apply(target: Target, body: unknown, options: WriteOptions): Written {
    const { kind, namespace, name } = target
    const unknown: string[] = []
    const read = readObject(body, kind, unknown)
    checkKind(read, kind)
    if (read.metadata.managedFields !== undefined) throw badRequest('metadata.managedFields must be nil')
    if (read.metadata.name !== '' && read.metadata.name !== name) {
      throw badRequest(`the name of the object (${read.metadata.name}) does not match the name on the URL (${name})`)
    }
    const config = prune(
      withMetadata(read, { name, ...(kind.namespaced ? { namespace } : {}) }),
      kind.schema,
      unknown,
      '',
      true,
    )
    reportUnknown(unknown, kind, options)
    const quiet: WriteOptions = { ...options, fieldValidation: 'Ignore' }
    const writer = { manager: options.manager, subresource: target.subresource, nowMs: this.clock.now() }
    const reset = resetFields(kind, target.subresource)
    const live = this.find(target)
    if (live === undefined) {
      if (target.subresource !== undefined) throw notFound(kind, name)
      if ((config.metadata.resourceVersion ?? '') !== '') throw notFound(kind, name)
      if (kind.namespaced) this.#needNamespace(kind, namespace, name)
      const { object, entries } = applyConfiguration(undefined, config, kind.schema, writer, true, reset)
      return { stored: this.#insert(this.#born(object, kind, namespace), kind, quiet, () => entries), created: true }
    }
    if (stale(config, live)) throw conflict(kind, name)
    const before = this.inVersion(live.object, kind)
    const { resourceVersion: _stale, uid: _uid, ...metadata } = config.metadata
    const { object, entries } = applyConfiguration(
      before,
      { ...config, metadata },
      kind.schema,
      writer,
      options.force,
      reset,
    )
    return { stored: this.#store(target, live, before, object, quiet, () => entries, []), created: false }
  }

  /** Lays `given` over the live object by the rules of an update and stores it if that changes anything. */
  update(
    target: Target,
    live: StoredObject,
    given: KubeObject,
    options: WriteOptions,
    unknown: string[] = [],
    resetManaged = false,
  ): StoredObject {
    const { kind, name, subresource } = target
    if (stale(given, live)) throw conflict(kind, name)
    const before = this.inVersion(live.object, kind)
    const uid = given.metadata.uid ?? ''
    if (uid !== '' && uid !== before.metadata.uid) {
      throw new ApiStatusError(
        409,
        'Conflict',
        `Operation cannot be fulfilled on ${kind.plural}${kind.group === '' ? '' : `.${kind.group}`} "${name}": Precondition failed: UID in precondition: ${uid}, UID in object meta: ${before.metadata.uid}`,
        { name, kind: kind.plural },
      )
    }
    const asked = given.metadata.managedFields
    const base = resetManaged
      ? []
      : asked !== undefined && asked.length > 0
        ? asked
        : (before.metadata.managedFields ?? [])
    return this.#store(
      target,
      live,
      before,
      given,
      options,
      (next) => this.#tracked(before, next, kind, base, subresource, options),
      unknown,
    )
  }

  #store(
    target: Target,
    live: StoredObject,
    before: KubeObject,
    given: KubeObject,
    options: WriteOptions,
    entriesOf: (next: KubeObject) => readonly ManagedFieldsEntry[],
    unknown: string[],
  ): StoredObject {
    const { kind, subresource } = target
    const scoped = inScope(before, given, kind, subresource)
    let next = normalise(keepIdentity(before, scoped), before, kind, options, unknown)
    validate(next, before, kind)
    const entries = entriesOf(next)
    next = withMetadata(next, { managedFields: entries.length === 0 ? undefined : entries })
    if (deepEqual(next, before)) return live
    if (kind.counts && desiredChanged(before, next, kind))
      next = withMetadata(next, { generation: (before.metadata.generation ?? 0) + 1 })
    const finished =
      next.metadata.deletionTimestamp !== undefined &&
      (next.metadata.finalizers ?? []).length === 0 &&
      (next.metadata.deletionGracePeriodSeconds ?? 0) === 0
    if (options.dryRun) return unstored(next, live.rv)
    const key = keyOf(target)
    const gone = finished && kind.kind !== 'Namespace'
    return gone ? this.store.delete(key, next, live) : this.store.update(key, next, live)
  }

  readonly #lookUp: LookUp = {
    get: (resource, name) => this.store.get({ resource, namespace: '', name })?.object,
    all: (resource) => [...this.store.all(resource)].map(({ stored }) => stored.object),
  }

  #insert(
    object: KubeObject,
    kind: Kind,
    options: WriteOptions,
    entriesOf: (whole: KubeObject) => readonly ManagedFieldsEntry[],
    unknown: string[] = [],
  ): StoredObject {
    let whole = normalise(kind.admit?.(object, this.#lookUp) ?? object, undefined, kind, options, unknown)
    if (whole.metadata.name === '' && (whole.metadata.generateName ?? '') !== '') whole = this.#named(whole, kind)
    if (whole.metadata.name === '') {
      throw invalid(kind, '', [
        {
          reason: 'FieldValueRequired',
          message: 'Required value: name or generateName is required',
          field: 'metadata.name',
        },
      ])
    }
    validate(whole, undefined, kind)
    const entries = entriesOf(whole)
    whole = withMetadata(whole, { managedFields: entries.length === 0 ? undefined : entries })
    const key: ObjectKey = {
      resource: kind.resource,
      namespace: whole.metadata.namespace ?? '',
      name: whole.metadata.name,
    }
    if (this.store.get(key) !== undefined) throw alreadyExists(kind, key.name)
    return options.dryRun ? unstored(whole, 0) : this.store.create(key, whole)
  }

  /** What the server decides about a new object. */
  #born(given: KubeObject, kind: Kind, namespace: string): KubeObject {
    const {
      deletionTimestamp: _d,
      deletionGracePeriodSeconds: _g,
      resourceVersion: _r,
      managedFields: _m,
      selfLink: _s,
      namespace: _n,
      generation: _v,
      ...kept
    } = given.metadata
    const metadata = {
      ...kept,
      ...(kind.namespaced ? { namespace } : {}),
      uid: randomUUID(),
      creationTimestamp: kubeTime(this.clock.now()),
      ...(kind.counts ? { generation: 1 } : {}),
    }
    const object: KubeObject = { ...given, apiVersion: groupVersion(kind), kind: kind.kind, metadata }
    // Status has its own door, but a node that registers says what it is in one go.
    return kind.hasStatus && kind.kind !== 'Node' ? withField(object, ['status'], undefined) : object
  }

  #named(object: KubeObject, kind: Kind): KubeObject {
    const prefix = (object.metadata.generateName ?? '').slice(0, 58)
    for (let tries = 0; tries < NAME_TRIES; tries++) {
      const name = prefix + randomSuffix()
      const key = { resource: kind.resource, namespace: object.metadata.namespace ?? '', name }
      if (this.store.get(key) === undefined) return withMetadata(object, { name })
    }
    throw alreadyExists(kind, prefix)
  }

  #needNamespace(kind: Kind, namespace: string, name: string): void {
    const found = this.store.get({ resource: 'namespaces', namespace: '', name: namespace })
    if (found === undefined) throw notFound({ group: '', plural: 'namespaces', kind: 'Namespace' }, namespace)
    if (found.object.metadata.deletionTimestamp !== undefined) {
      throw forbidden(
        kind,
        name,
        `unable to create new content in namespace ${namespace} because it is being terminated`,
      )
    }
  }

  #tracked(
    before: KubeObject | undefined,
    after: KubeObject,
    kind: Kind,
    entries: readonly ManagedFieldsEntry[],
    subresource: string | undefined,
    options: WriteOptions,
  ): readonly ManagedFieldsEntry[] {
    return afterUpdate(before, after, kind.schema, entries, {
      manager: options.manager,
      subresource,
      nowMs: this.clock.now(),
    })
  }
}

export function keyOf(target: { readonly kind: Kind; readonly namespace: string; readonly name: string }): ObjectKey {
  return { resource: target.kind.resource, namespace: target.namespace, name: target.name }
}

/** The answer to a dry run. */
function unstored(object: KubeObject, rv: number): StoredObject {
  const shown = rv === 0 ? object : withMetadata(object, { resourceVersion: String(rv) })
  return new Stored(rv, JSON.stringify(shown), shown)
}

/** Five characters as the real server draws them: no vowels and no digits that look like letters. */
function randomSuffix(): string {
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789'
  return [...randomBytes(5)].map((byte) => alphabet[byte % alphabet.length]).join('')
}
