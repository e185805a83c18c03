import { badRequest, invalid } from '../http/status.ts'
import type { KubeObject } from '../objects.ts'
import { deepEqual, withField, withMetadata } from '../objects.ts'
import type { StoredObject } from '../storage/revision.ts'
import type { Kind } from './kind.ts'
import { groupVersion } from './kind.ts'

/** Throws when an object is not of the kind that the path names. */
export function checkKind(object: KubeObject, kind: Kind): void {
  if (object.apiVersion !== groupVersion(kind)) {
    throw badRequest(
      `the API version in the data (${object.apiVersion}) does not match the expected API version (${groupVersion(kind)})`,
    )
  }
  if (object.kind === kind.kind) return
  const text = `must be ${kind.kind}`
  throw kind.custom
    ? invalid({ group: kind.group, kind: object.kind }, object.metadata.name, [
        {
          reason: 'FieldValueInvalid',
          message: `Invalid value: ${JSON.stringify(object.kind)}: ${text}`,
          field: 'kind',
        },
      ])
    : badRequest(
        `${object.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: ${text}`,
      )
}

/** Whether a write was made for another version than the one that is there. */
export function stale(given: KubeObject, live: StoredObject): boolean {
  const version = given.metadata.resourceVersion ?? ''
  return version !== '' && version !== String(live.rv)
}

/** Which fields a door leaves alone. */
export function resetFields(kind: Kind, subresource: 'status' | undefined): readonly string[] {
  if (subresource === 'status')
    return [...Object.keys(kind.schema.properties ?? {}), 'spec', 'metadata'].filter(
      (name) => !['status', 'apiVersion', 'kind'].includes(name),
    )
  return kind.hasStatus ? ['status'] : []
}

/** A write through the status door changes status only, one through the main door everything else. */
export function inScope(
  before: KubeObject,
  given: KubeObject,
  kind: Kind,
  subresource: 'status' | undefined,
): KubeObject {
  if (subresource === 'status') {
    const { managedFields } = given.metadata
    const status = withField(before, ['status'], given['status'])
    return managedFields === undefined ? status : withMetadata(status, { managedFields })
  }
  return kind.hasStatus ? withField(given, ['status'], before['status']) : given
}

/** What no client may change about an object that exists. */
export function keepIdentity(before: KubeObject, given: KubeObject): KubeObject {
  const {
    name,
    namespace,
    uid,
    creationTimestamp,
    generation,
    generateName,
    deletionTimestamp,
    deletionGracePeriodSeconds,
  } = before.metadata
  let next = withMetadata(given, {
    name,
    namespace,
    uid,
    creationTimestamp,
    generation,
    generateName,
    deletionTimestamp,
    deletionGracePeriodSeconds,
    selfLink: undefined,
  })
  next = withMetadata(next, {
    resourceVersion: before.metadata.resourceVersion,
    managedFields: before.metadata.managedFields,
  })
  // What was read anew from JSON but says the same is the same: later steps then skip it.
  for (const field of ['labels', 'annotations', 'finalizers', 'ownerReferences']) {
    if (deepEqual(next.metadata[field], before.metadata[field]))
      next = withMetadata(next, { [field]: before.metadata[field] })
  }
  return deepEqual(next.metadata, before.metadata) ? { ...next, metadata: before.metadata } : next
}

/** Whether anything changed that metadata.generation counts. */
export function desiredChanged(before: KubeObject, after: KubeObject, kind: Kind): boolean {
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...names].some(
    (name) => name !== 'metadata' && !(name === 'status' && kind.hasStatus) && !deepEqual(before[name], after[name]),
  )
}
