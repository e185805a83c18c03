import type { StatusCause } from '../http/status.ts'
import { badRequest } from '../http/status.ts'
import type { JsonObject, KubeObject, ManagedFieldsEntry, ObjectMeta, OwnerReference } from '../objects.ts'
import { at, isObject } from '../objects.ts'
import type { Kind } from './kind.ts'
import { groupVersion } from './kind.ts'
import { dnsSubdomainProblem, labelValueProblem, qualifiedNameProblem } from './names.ts'

const MAX_ANNOTATION_BYTES = 256 * 1024

type Check = (value: unknown) => boolean

const isText: Check = (value) => typeof value === 'string'
const isNumber: Check = (value) => Number.isInteger(value)
const isTime: Check = (value) => value === null || (typeof value === 'string' && !Number.isNaN(Date.parse(value)))
const isTextMap: Check = (value) => isObject(value) && Object.values(value).every(isText)
const isTextList: Check = (value) => Array.isArray(value) && value.every(isText)
const isList: Check = (value) => Array.isArray(value) && value.every(isObject)

const FIELDS: Readonly<Record<string, Check>> = {
  name: isText,
  generateName: isText,
  namespace: isText,
  selfLink: isText,
  uid: isText,
  resourceVersion: isText,
  generation: isNumber,
  creationTimestamp: isTime,
  deletionTimestamp: isTime,
  deletionGracePeriodSeconds: isNumber,
  labels: isTextMap,
  annotations: isTextMap,
  ownerReferences: isList,
  finalizers: isTextList,
  managedFields: isList,
}

/**
 * Turns decoded JSON into an object whose header has the right types. Nulls and empty maps and lists in metadata are
 * the same as nothing; unknown metadata fields go to `unknown`. Throws 400 for a wrong type.
 */
export function readObject(value: unknown, kind: Kind, unknown: string[] = []): KubeObject {
  const what = `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}`
  if (!isObject(value)) throw badRequest(`${what}: the body is no object`)
  const { apiVersion, kind: name, metadata, ...rest } = value
  if (metadata !== undefined && metadata !== null && !isObject(metadata))
    throw badRequest(`${what}: metadata is no object`)
  const header: Record<string, unknown> = {}
  for (const [key, field] of Object.entries(isObject(metadata) ? metadata : {})) {
    const check = Object.hasOwn(FIELDS, key) ? FIELDS[key] : undefined
    if (check === undefined) unknown.push(`metadata.${key}`)
    else if (field !== null && !isEmptyCollection(field)) {
      if (!check(field))
        throw badRequest(
          `${what}: json: cannot unmarshal ${JSON.stringify(field).slice(0, 100)} into field ObjectMeta.metadata.${key}`,
        )
      header[key] = field
    }
  }
  return {
    apiVersion: typeof apiVersion === 'string' ? apiVersion : groupVersion(kind),
    kind: typeof name === 'string' ? name : kind.kind,
    metadata: typedMetadata(header),
    ...rest,
  }
}

function isEmptyCollection(value: unknown): boolean {
  return Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0
}

function typedMetadata(header: JsonObject): ObjectMeta {
  const text = (key: string) => (typeof header[key] === 'string' ? { [key]: header[key] } : {})
  const owners = Array.isArray(header['ownerReferences']) ? header['ownerReferences'].flatMap(ownerReference) : []
  const { ownerReferences: _owners, managedFields: _managed, ...plain } = header
  const managed = Array.isArray(header['managedFields'])
    ? { managedFields: header['managedFields'].flatMap(managedEntry) }
    : {}
  return {
    ...plain,
    ...text('uid'),
    name: typeof header['name'] === 'string' ? header['name'] : '',
    ...(owners.length === 0 ? {} : { ownerReferences: owners }),
    ...managed,
  }
}

function ownerReference(value: unknown): OwnerReference[] {
  if (!isObject(value)) return []
  const text = (key: string) => (typeof value[key] === 'string' ? value[key] : '')
  const flag = (key: string) => (typeof value[key] === 'boolean' ? { [key]: value[key] } : {})
  return [
    {
      apiVersion: text('apiVersion'),
      kind: text('kind'),
      name: text('name'),
      uid: text('uid'),
      ...flag('controller'),
      ...flag('blockOwnerDeletion'),
    },
  ]
}

/** An entry nobody can own (`{}`) is how a client asks for all entries to be forgotten. */
function managedEntry(value: unknown): ManagedFieldsEntry[] {
  if (!isObject(value)) return []
  const { manager, operation, apiVersion, time, fieldsV1, subresource } = value
  if (typeof manager !== 'string' || (operation !== 'Apply' && operation !== 'Update') || !isObject(fieldsV1)) return []
  return [
    {
      manager,
      operation,
      apiVersion: typeof apiVersion === 'string' ? apiVersion : '',
      fieldsType: 'FieldsV1',
      fieldsV1,
      ...(typeof time === 'string' ? { time } : {}),
      ...(typeof subresource === 'string' && subresource !== '' ? { subresource } : {}),
    },
  ]
}

export function metadataProblems(object: KubeObject, kind: Kind, old: KubeObject | undefined): StatusCause[] {
  const { metadata } = object
  const causes: StatusCause[] = []
  const bad = (field: string, value: unknown, text: string) =>
    void causes.push({
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(value)}: ${text}`,
      field,
    })
  if (old === undefined) {
    const problem = (kind.nameProblem ?? dnsSubdomainProblem)(metadata.name)
    if (problem !== undefined) bad('metadata.name', metadata.name, problem)
  }
  if (metadata.labels !== old?.metadata.labels) {
    for (const [key, value] of Object.entries(metadata.labels ?? {})) {
      const keyProblem = qualifiedNameProblem(key)
      if (keyProblem !== undefined) bad('metadata.labels', key, keyProblem)
      const valueProblem = labelValueProblem(value)
      if (valueProblem !== undefined) bad('metadata.labels', value, valueProblem)
    }
  }
  if (metadata.annotations !== old?.metadata.annotations) {
    let size = 0
    for (const [key, value] of Object.entries(metadata.annotations ?? {})) {
      const problem = qualifiedNameProblem(key.toLowerCase())
      if (problem !== undefined) bad('metadata.annotations', key, problem)
      size += key.length + value.length
    }
    if (size > MAX_ANNOTATION_BYTES) {
      causes.push({
        reason: 'FieldValueTooLong',
        message: `Too long: may not be more than ${MAX_ANNOTATION_BYTES} bytes`,
        field: 'metadata.annotations',
      })
    }
  }
  for (const finalizer of metadata.finalizers ?? []) {
    const problem = qualifiedNameProblem(finalizer)
    if (problem !== undefined) bad('metadata.finalizers', finalizer, problem)
  }
  for (const [index, owner] of (metadata.ownerReferences ?? []).entries()) {
    for (const field of ['apiVersion', 'kind', 'name', 'uid'] as const) {
      if (owner[field] === '')
        causes.push({
          reason: 'FieldValueInvalid',
          message: `Invalid value: "": ${field} must not be empty`,
          field: `metadata.ownerReferences[${index}].${field}`,
        })
    }
  }
  if (old?.metadata.deletionTimestamp !== undefined) {
    const added = (metadata.finalizers ?? []).filter((name) => old.metadata.finalizers?.includes(name) !== true)
    if (added.length > 0) {
      const shown = `[]string{${added.map((name) => JSON.stringify(name)).join(', ')}}`
      const cause = {
        reason: 'FieldValueForbidden',
        message: `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ${shown}`,
        field: 'metadata.finalizers',
      }
      // The real server finds it twice, once generically and once for custom resources; clients may count causes.
      causes.push(cause, ...(kind.custom ? [cause] : []))
    }
  }
  return causes
}

/** Whether the client asked, with one empty entry, for managedFields to be forgotten. */
export function resetsManagedFields(raw: unknown): boolean {
  const entries = at(raw, 'metadata', 'managedFields')
  return Array.isArray(entries) && entries.length === 1 && isObject(entries[0]) && Object.keys(entries[0]).length === 0
}
