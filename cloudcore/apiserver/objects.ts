/** A JSON object as it comes from the wire. Objects are never changed in place: every step copies what it changes. */
export type JsonObject = { readonly [key: string]: unknown }

export interface OwnerReference {
  readonly apiVersion: string
  readonly kind: string
  readonly name: string
  readonly uid: string
  readonly controller?: boolean
  readonly blockOwnerDeletion?: boolean
}

/** One writer's entry in metadata.managedFields (KEP-555). */
export interface ManagedFieldsEntry {
  readonly manager: string
  readonly operation: 'Apply' | 'Update'
  readonly apiVersion: string
  readonly time?: string
  readonly fieldsType: 'FieldsV1'
  readonly fieldsV1: JsonObject
  readonly subresource?: string
}

export interface ObjectMeta {
  readonly name: string
  readonly generateName?: string
  readonly namespace?: string
  readonly uid?: string
  readonly resourceVersion?: string
  readonly generation?: number
  readonly creationTimestamp?: string | null
  readonly deletionTimestamp?: string
  readonly deletionGracePeriodSeconds?: number
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly finalizers?: readonly string[]
  readonly ownerReferences?: readonly OwnerReference[]
  readonly managedFields?: readonly ManagedFieldsEntry[]
  readonly [field: string]: unknown
}

export interface KubeObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: ObjectMeta
  readonly [field: string]: unknown
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Follows field names; undefined as soon as one is missing. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let current = value
  for (const key of path) {
    if (!isObject(current) || !Object.hasOwn(current, key)) return undefined
    current = current[key]
  }
  return current
}

export function stringAt(value: unknown, ...path: readonly string[]): string {
  const found = at(value, ...path)
  return typeof found === 'string' ? found : ''
}

export function listAt(value: unknown, ...path: readonly string[]): readonly unknown[] {
  const found = at(value, ...path)
  return Array.isArray(found) ? found : []
}

/** A copy of `object` with the field at `path` set, or dropped when `value` is undefined. Shares what is unchanged. */
export function withField<T extends JsonObject>(object: T, path: readonly string[], value: unknown): T
export function withField(object: JsonObject, path: readonly string[], value: unknown): JsonObject {
  const [key, ...rest] = path
  if (key === undefined) return object
  if (rest.length > 0) {
    const child = object[key]
    if (value === undefined && !isObject(child)) return object
    return { ...object, [key]: withField(isObject(child) ? child : {}, rest, value) }
  }
  if (value !== undefined) return object[key] === value ? object : { ...object, [key]: value }
  if (!Object.hasOwn(object, key)) return object
  const { [key]: _dropped, ...others } = object
  return others
}

export function withMetadata(object: KubeObject, changes: Readonly<Record<string, unknown>>): KubeObject {
  let metadata = object.metadata
  for (const [key, value] of Object.entries(changes)) metadata = withField(metadata, [key], value)
  return metadata === object.metadata ? object : { ...object, metadata }
}

/** Structural equality; identical references end the walk, which makes comparing shared copies cheap. */
export function deepEqual(left: unknown, right: unknown): boolean {
  if (left === right) return true
  if (Array.isArray(left)) {
    return (
      Array.isArray(right) && left.length === right.length && left.every((item, index) => deepEqual(item, right[index]))
    )
  }
  if (!isObject(left) || !isObject(right)) return false
  const keys = Object.keys(left)
  if (keys.length !== Object.keys(right).length) return false
  return keys.every((key) => Object.hasOwn(right, key) && deepEqual(left[key], right[key]))
}

/** Kubernetes writes times to the second, in UTC (metav1.Time). */
export function kubeTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}
