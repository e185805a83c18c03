import { type Static, type TSchema, Type } from 'typebox'
import { DURATION_PATTERN } from './patterns.ts'

/**
 * Building blocks for every resource schema. Each block emits JSON Schema that is at the same time *structural* in the
 * Kubernetes sense, so the one source yields TypeScript types, ajv validators and CRD manifests without translation
 * of meaning. List bounds are there because a Kubernetes API server estimates the cost of CEL rules from them.
 */

export interface Doc {
  readonly description?: string
}

/** Any JSON value: number, string, boolean, array, object or null. */
export type Json = number | string | boolean | null | readonly Json[] | { readonly [key: string]: Json }

export const text = (options: Doc & { maxLength?: number; minLength?: number; pattern?: string } = {}) =>
  Type.String({ maxLength: 1024, ...options })

export const integer = (options: Doc & { minimum?: number; maximum?: number; default?: number } = {}) =>
  Type.Integer({ ...options })

export const number = (options: Doc & { minimum?: number; maximum?: number; exclusiveMinimum?: number } = {}) =>
  Type.Number({ ...options })

export const flag = (options: Doc & { default?: boolean } = {}) => Type.Boolean({ ...options })

/** One of a fixed set of words. */
export const word = <const W extends readonly string[]>(words: W, options: Doc & { default?: W[number] } = {}) =>
  Type.Unsafe<W[number]>({ type: 'string', enum: [...words], ...options })

/** One of a fixed set of numbers. */
export const oneNumberOf = <const N extends readonly number[]>(
  numbers: N,
  options: Doc & { default?: N[number] } = {},
) => Type.Unsafe<N[number]>({ type: 'number', enum: [...numbers], ...options })

/** Any JSON value, kept as it is. */
export const anyValue = (options: Doc = {}) =>
  Type.Unsafe<Json>({ 'x-kubernetes-preserve-unknown-fields': true, ...options })

/** A JSON object of unknown shape, kept as it is. */
export const anyObject = (options: Doc = {}) =>
  Type.Unsafe<{ readonly [key: string]: Json }>({
    type: 'object',
    'x-kubernetes-preserve-unknown-fields': true,
    ...options,
  })

export const mapOf = <T extends TSchema>(value: T, options: Doc & { maxProperties?: number } = {}) =>
  Type.Unsafe<{ readonly [key: string]: Static<T> }>({
    type: 'object',
    additionalProperties: value,
    maxProperties: 4096,
    ...options,
  })

/** A plain list, replaced as a whole on apply. */
export const listOf = <T extends TSchema>(item: T, options: Doc & { maxItems?: number; minItems?: number } = {}) =>
  Type.Array(item, { maxItems: 256, 'x-kubernetes-list-type': 'atomic', ...options })

/** A list keyed by one field of its items, merged item by item on server-side apply. */
export const keyedList = <T extends TSchema>(item: T, key: string, options: Doc & { maxItems?: number } = {}) =>
  Type.Array(item, {
    maxItems: 4096,
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': [key],
    ...options,
  })

/** A time span such as `500ms`, `1.5s`, `10m`, `6h`, `1d`. */
export const duration = (options: Doc & { default?: string } = {}) =>
  Type.String({ pattern: DURATION_PATTERN, maxLength: 20, ...options })

/** RFC 3339 in UTC with milliseconds, for example `2026-01-31T08:15:30.125Z`. */
export const timestamp = (options: Doc = {}) => Type.String({ format: 'date-time', maxLength: 40, ...options })

/** A CEL rule for what a schema cannot say; `message` is what the user reads. */
export interface Rule {
  readonly rule: string
  readonly message: string
}

/** An object that allows no other fields. */
export const object = <P extends Record<string, TSchema>>(properties: P, options: Doc & { rules?: Rule[] } = {}) => {
  const { rules, ...rest } = options
  return Type.Object(properties, {
    additionalProperties: false,
    ...rest,
    ...(rules === undefined ? {} : { 'x-kubernetes-validations': rules }),
  })
}

export const optional = Type.Optional

/** Standard Kubernetes condition. */
export const condition = () =>
  object({
    type: text({ maxLength: 316 }),
    status: word(['True', 'False', 'Unknown']),
    reason: text({ maxLength: 1024 }),
    message: text({ maxLength: 32768 }),
    lastTransitionTime: timestamp(),
    observedGeneration: optional(integer({ minimum: 0 })),
  })

export interface ObjectMeta {
  name: string
  namespace?: string
  uid?: string
  resourceVersion?: string
  generation?: number
  creationTimestamp?: string
  deletionTimestamp?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
  finalizers?: string[]
  managedFields?: ReadonlyArray<{
    manager?: string
    operation?: string
    subresource?: string
    time?: string
    fieldsV1?: { readonly [key: string]: Json }
  }>
}

/** A Kubernetes object with a spec and a status. */
export interface KubeObject<Spec, Status> {
  apiVersion: string
  kind: string
  metadata: ObjectMeta
  spec: Spec
  status?: Status
}
