import type { Schema } from '../../crd/schema.ts'

/** Words to write the built-in kinds' schemas with. */
export const text: Schema = { type: 'string' }
/** A string that is not stored when empty. */
export const optionalText: Schema = { type: 'string', 'x-sluice-omit-empty': true }
export const integer: Schema = { type: 'integer' }
export const flag: Schema = { type: 'boolean' }
export const time: Schema = { type: 'string', format: 'date-time', nullable: true }
export const bytes: Schema = { type: 'string', format: 'byte' }
export const quantity: Schema = { type: 'string', format: 'quantity', 'x-kubernetes-int-or-string': true }
export const intOrString: Schema = { 'x-kubernetes-int-or-string': true }
/** Anything at all: parts of an API that are stored and handed on, but not looked into. */
export const anything: Schema = { 'x-kubernetes-preserve-unknown-fields': true }

export function fields(properties: Readonly<Record<string, Schema>>, required: readonly string[] = []): Schema {
  return { type: 'object', properties, ...(required.length === 0 ? {} : { required }) }
}

export function mapOf(values: Schema): Schema {
  return { type: 'object', additionalProperties: values }
}

export function list(items: Schema): Schema {
  return { type: 'array', items, 'x-kubernetes-list-type': 'atomic' }
}

/** A list whose items are merged by a key; the first key is also the one of strategic merge patches. */
export function listBy(keys: readonly string[], items: Schema): Schema {
  return { type: 'array', items, 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': keys }
}

export function withDefault(schema: Schema, value: unknown): Schema {
  return { ...schema, default: value }
}

export function oneOf(...values: readonly string[]): Schema {
  return { type: 'string', enum: values }
}

export const objectReference = fields({
  apiVersion: text,
  kind: text,
  name: text,
  namespace: text,
  uid: text,
  resourceVersion: text,
  fieldPath: text,
})

export const localObjectReference = fields({ name: text })

/** metav1.Condition and its older relatives. */
export function conditions(...times: readonly string[]): Schema {
  const item = fields(
    {
      type: text,
      status: text,
      reason: optionalText,
      message: optionalText,
      observedGeneration: integer,
      ...Object.fromEntries(times.map((name) => [name, withDefault(time, null)])),
    },
    ['type', 'status'],
  )
  return listBy(['type'], item)
}

/** Describes a whole object: the header every object has, and its own fields. */
export function objectSchema(description: string, properties: Readonly<Record<string, Schema>>): Schema {
  return {
    type: 'object',
    description,
    properties: { apiVersion: text, kind: text, metadata: { type: 'object' }, ...properties },
  }
}
