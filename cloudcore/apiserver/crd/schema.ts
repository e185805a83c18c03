/**
 * The structural subset of OpenAPI v3 that custom resource definitions are written in
 * (apiextensions.k8s.io/v1 JSONSchemaProps). The built-in kinds are described with it too, so that pruning,
 * defaulting, validation, merging and `kubectl explain` have one source for every kind.
 */
export interface Schema {
  readonly type?: string
  readonly title?: string
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: boolean | Schema
  readonly items?: Schema
  readonly required?: readonly string[]
  readonly enum?: readonly unknown[]
  readonly default?: unknown
  readonly nullable?: boolean
  readonly format?: string
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: boolean
  readonly exclusiveMaximum?: boolean
  readonly multipleOf?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly uniqueItems?: boolean
  readonly minProperties?: number
  readonly maxProperties?: number
  readonly allOf?: readonly Schema[]
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly not?: Schema
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean
  readonly 'x-kubernetes-int-or-string'?: boolean
  readonly 'x-kubernetes-embedded-resource'?: boolean
  readonly 'x-kubernetes-list-type'?: string
  readonly 'x-kubernetes-list-map-keys'?: readonly string[]
  readonly 'x-kubernetes-map-type'?: string
  readonly 'x-kubernetes-validations'?: readonly ValidationRule[]
  /** Ours, for built-in kinds: Go's `omitempty` on a string. An empty one is not stored. */
  readonly 'x-sluice-omit-empty'?: boolean
}

/** One CEL rule. */
export interface ValidationRule {
  readonly rule: string
  readonly message?: string
  readonly messageExpression?: string
  readonly reason?: string
  readonly fieldPath?: string
  readonly optionalOldSelf?: boolean
}

export function preservesUnknown(schema: Schema): boolean {
  return schema['x-kubernetes-preserve-unknown-fields'] === true
}

/** The schema of a field, whether declared or covered by additionalProperties; undefined when it is unknown. */
export function fieldSchema(schema: Schema | undefined, key: string): Schema | undefined {
  if (schema === undefined) return undefined
  if (schema.properties !== undefined && Object.hasOwn(schema.properties, key)) return schema.properties[key]
  return typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined
}

/** Calls `visit` for a schema and everything below it, with the path of fields that leads there. */
export function walkSchema(
  schema: Schema,
  visit: (schema: Schema, path: readonly string[]) => void,
  path: readonly string[] = [],
): void {
  visit(schema, path)
  for (const [key, child] of Object.entries(schema.properties ?? {})) walkSchema(child, visit, [...path, key])
  if (schema.items !== undefined) walkSchema(schema.items, visit, [...path, '*'])
  if (typeof schema.additionalProperties === 'object') walkSchema(schema.additionalProperties, visit, [...path, '*'])
}
