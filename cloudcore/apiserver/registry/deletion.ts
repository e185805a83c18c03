import { badRequest, forbidden, preconditionFailed } from '../http/status.ts'
import type { JsonObject, KubeObject } from '../objects.ts'
import { at, isObject, kubeTime, stringAt, withMetadata } from '../objects.ts'
import type { StoredObject } from '../storage/revision.ts'
import { terminatingNamespace } from './kinds/namespace.ts'
import type { Registry, Target } from './registry.ts'
import { keyOf } from './registry.ts'

export type Propagation = 'Background' | 'Foreground' | 'Orphan'

export interface DeleteOptions {
  readonly gracePeriodSeconds: number | undefined
  readonly uid: string | undefined
  readonly resourceVersion: string | undefined
  readonly propagation: Propagation
  readonly dryRun: boolean
}

/** The finalizers that make the garbage collector act before an owner goes. */
export const FOREGROUND = 'foregroundDeletion'
export const ORPHAN = 'orphan'
export const CRD_CLEANUP = 'customresourcecleanup.apiextensions.k8s.io'

const KEPT_NAMESPACES = new Set(['default', 'kube-system', 'kube-public'])

/** Reads DeleteOptions. Query options count only without a body, as in the real server. */
export function readDeleteOptions(body: unknown, query: URLSearchParams): DeleteOptions {
  const source: JsonObject = isObject(body) ? body : Object.fromEntries(query)
  const grace = source['gracePeriodSeconds']
  const seconds = grace === undefined || grace === null || grace === '' ? undefined : Number(grace)
  if (seconds !== undefined && (!Number.isInteger(seconds) || seconds < 0))
    throw badRequest(`invalid gracePeriodSeconds ${JSON.stringify(grace)}: must be an integer of at least 0`)
  const policy = stringAt(source, 'propagationPolicy')
  if (policy !== '' && policy !== 'Background' && policy !== 'Foreground' && policy !== 'Orphan') {
    throw badRequest(`invalid propagationPolicy ${JSON.stringify(policy)}: must be Background, Foreground or Orphan`)
  }
  const orphan = at(source, 'orphanDependents') === true
  return {
    gracePeriodSeconds: seconds,
    uid: stringAt(source, 'preconditions', 'uid') || undefined,
    resourceVersion: stringAt(source, 'preconditions', 'resourceVersion') || undefined,
    propagation: policy === '' ? (orphan ? 'Orphan' : 'Background') : policy,
    dryRun: isDryRun(at(body, 'dryRun')) || query.getAll('dryRun').includes('All'),
  }
}

function isDryRun(value: unknown): boolean {
  return Array.isArray(value) && value.includes('All')
}

export interface Deleted {
  /** The object while it lingers, or as it was when it went. */
  readonly stored: StoredObject
  readonly gone: boolean
}

/**
 * Deletes an object, or begins to: finalizers, a grace period, a namespace's content or a definition's objects may
 * keep it for a while, marked with a deletionTimestamp.
 */
export function deleteObject(registry: Registry, target: Target, options: DeleteOptions): Deleted {
  const { kind, name } = target
  const live = registry.get(target)
  const { metadata } = live.object
  if (options.uid !== undefined && options.uid !== metadata.uid) {
    throw preconditionFailed(
      kind,
      name,
      `the UID in the precondition (${options.uid}) does not match the UID in record (${metadata.uid}). The object might have been deleted and then recreated`,
    )
  }
  if (options.resourceVersion !== undefined && options.resourceVersion !== String(live.rv)) {
    throw preconditionFailed(
      kind,
      name,
      `the ResourceVersion in the precondition (${options.resourceVersion}) does not match the ResourceVersion in record (${live.rv}). The object might have been modified`,
    )
  }
  if (kind.kind === 'Namespace') {
    if (KEPT_NAMESPACES.has(name)) throw forbidden(kind, name, 'this namespace may not be deleted')
    return {
      stored: store(registry, target, live, terminatingNamespace(live.object, registry.clock.now()), options),
      gone: false,
    }
  }
  const finalizers = wantedFinalizers(registry, target, live.object, options)
  const grace = kind.graceSeconds?.(live.object, options.gracePeriodSeconds) ?? 0
  if (finalizers.length === 0 && grace === 0) {
    const last = kind.graceSeconds === undefined ? live.object : marked(registry, live.object, 0, finalizers)
    return { stored: options.dryRun ? live : registry.store.delete(keyOf(target), last, live), gone: true }
  }
  const already = metadata.deletionTimestamp !== undefined
  const shorter = already && grace < (metadata.deletionGracePeriodSeconds ?? 0)
  if (already && !shorter) return { stored: live, gone: false }
  return {
    stored: store(
      registry,
      target,
      live,
      marked(registry, live.object, grace, finalizers, kind.counts && !already),
      options,
    ),
    gone: false,
  }
}

function store(
  registry: Registry,
  target: Target,
  live: StoredObject,
  next: KubeObject,
  options: DeleteOptions,
): StoredObject {
  return options.dryRun || next === live.object ? live : registry.store.update(keyOf(target), next, live)
}

function marked(
  registry: Registry,
  object: KubeObject,
  grace: number,
  finalizers: readonly string[],
  count = false,
): KubeObject {
  const { metadata } = object
  return withMetadata(object, {
    deletionTimestamp:
      metadata.deletionTimestamp !== undefined && grace === 0
        ? metadata.deletionTimestamp
        : kubeTime(registry.clock.now() + grace * 1000),
    deletionGracePeriodSeconds: grace,
    ...(finalizers.length === 0 ? {} : { finalizers }),
    ...(count ? { generation: (metadata.generation ?? 0) + 1 } : {}),
  })
}

function wantedFinalizers(
  registry: Registry,
  target: Target,
  object: KubeObject,
  options: DeleteOptions,
): readonly string[] {
  const own = (object.metadata.finalizers ?? []).filter(
    (name) => object.metadata.deletionTimestamp !== undefined || (name !== FOREGROUND && name !== ORPHAN),
  )
  if (object.metadata.deletionTimestamp !== undefined) return own
  const added: string[] = []
  if (options.propagation === 'Foreground') added.push(FOREGROUND)
  if (options.propagation === 'Orphan') added.push(ORPHAN)
  if (target.kind.kind === 'CustomResourceDefinition') {
    const resource = object.metadata.name
    const any = registry.store.page(resource, undefined, undefined, 1).length > 0
    if (any || registry.catalog.byResource(resource) !== undefined) added.push(CRD_CLEANUP)
  }
  return [...own, ...added.filter((name) => !own.includes(name))]
}
