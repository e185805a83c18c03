import { type TSchema, Type } from 'typebox'
import { API_VERSION } from '../resources.ts'
import { anyObject, anyValue, integer, listOf, mapOf, object, optional, text, timestamp } from './parts.ts'
import { LABEL_PATTERN, NAME_PATTERN } from './patterns.ts'
import type { ResourceDefinition } from './resources.ts'

const metadata = (namespaced: boolean) =>
  object({
    name: text({ minLength: 1, maxLength: 253, pattern: NAME_PATTERN }),
    ...(namespaced ? { namespace: optional(text({ minLength: 1, maxLength: 63, pattern: LABEL_PATTERN })) } : {}),
    labels: optional(mapOf(text({ maxLength: 63 }))),
    annotations: optional(mapOf(text({ maxLength: 262_144 }))),
    // What an API server adds: a person may feed back what `kubectl get -o yaml` printed.
    generateName: optional(text()),
    uid: optional(text()),
    resourceVersion: optional(text()),
    generation: optional(integer()),
    creationTimestamp: optional(timestamp()),
    deletionTimestamp: optional(timestamp()),
    deletionGracePeriodSeconds: optional(integer()),
    finalizers: optional(listOf(text())),
    ownerReferences: optional(listOf(anyObject())),
    managedFields: optional(listOf(anyObject(), { maxItems: 1024 })),
    selfLink: optional(text()),
  })

/** Schema of a whole object as a person writes it. The status is not a person's to write, so it is let through. */
export const manifestSchema = (definition: ResourceDefinition): TSchema => {
  const { specRequired, spec, rules } = definition
  return Type.Object(
    {
      apiVersion: Type.Unsafe({ type: 'string', enum: [API_VERSION] }),
      kind: Type.Unsafe({ type: 'string', enum: [definition.kind] }),
      metadata: metadata(definition.namespaced),
      spec: specRequired ? spec : optional(spec),
      status: optional(anyValue()),
    },
    { additionalProperties: false, ...(rules === undefined ? {} : { 'x-kubernetes-validations': rules }) },
  )
}
