import type { StatusCause } from '../http/status.ts'
import { isObject } from '../objects.ts'
import { ruleProblem } from './cel.ts'
import type { Schema } from './schema.ts'
import { pattern, validateSchema } from './validate.ts'

const TYPES = new Set(['object', 'array', 'string', 'integer', 'number', 'boolean'])
const MAX_DEPTH = 100

/** Holds a definition's schema against the rules of structural schemas; `path` leads to it in the definition. */
export function structuralProblems(schema: Schema, path: string): StatusCause[] {
  const causes: StatusCause[] = []
  if (schema.type === undefined || schema.type === '') required(causes, `${path}.type`, 'must not be empty at the root')
  else if (schema.type !== 'object') invalidAt(causes, `${path}.type`, schema.type, 'must be object at the root')
  visit(schema, path, causes, true, 0)
  return causes
}

function required(causes: StatusCause[], field: string, text: string): void {
  causes.push({ reason: 'FieldValueRequired', message: `Required value: ${text}`, field })
}

function invalidAt(causes: StatusCause[], field: string, value: unknown, text: string): void {
  causes.push({ reason: 'FieldValueInvalid', message: `Invalid value: ${JSON.stringify(value)}: ${text}`, field })
}

function visit(schema: Schema, path: string, causes: StatusCause[], root: boolean, depth: number): void {
  if (depth > MAX_DEPTH) {
    invalidAt(causes, path, 'schema', `must not be nested deeper than ${MAX_DEPTH}`)
    return
  }
  const typed = schema.type !== undefined && schema.type !== ''
  const free = schema['x-kubernetes-int-or-string'] === true || schema['x-kubernetes-preserve-unknown-fields'] === true
  if (!typed && !free && !root) required(causes, `${path}.type`, 'must not be empty for specified object fields')
  if (typed && !TYPES.has(schema.type ?? '')) invalidAt(causes, `${path}.type`, schema.type, 'is no known type')
  if (schema.properties !== undefined && schema.additionalProperties !== undefined) {
    causes.push({
      reason: 'FieldValueForbidden',
      message: 'Forbidden: properties and additionalProperties are mutual exclusive',
      field: path,
    })
  }
  if (schema.type === 'array' && schema.items === undefined) required(causes, `${path}.items`, 'must be specified')
  if (schema.pattern !== undefined && pattern(schema.pattern) === undefined) {
    invalidAt(causes, `${path}.pattern`, schema.pattern, 'must be a valid regular expression')
  }
  listRules(schema, path, causes)
  for (const [index, rule] of (schema['x-kubernetes-validations'] ?? []).entries()) {
    const problem = ruleProblem(rule)
    if (problem !== undefined) invalidAt(causes, `${path}.x-kubernetes-validations[${index}].rule`, rule.rule, problem)
  }
  if (schema.default !== undefined && !(schema.default === null && schema.nullable === true)) {
    for (const cause of validateSchema(schema.default, undefined, schema, `${path}.default`)) causes.push(cause)
  }
  for (const [key, child] of Object.entries(schema.properties ?? {})) {
    // The header of the object is typed by the API machinery, whatever the schema says about it.
    if (root && (key === 'metadata' || key === 'apiVersion' || key === 'kind')) continue
    if (isObject(child)) visit(child, `${path}.properties[${key}]`, causes, false, depth + 1)
  }
  if (schema.items !== undefined) visit(schema.items, `${path}.items`, causes, false, depth + 1)
  if (typeof schema.additionalProperties === 'object') {
    visit(schema.additionalProperties, `${path}.additionalProperties`, causes, false, depth + 1)
  }
}

function listRules(schema: Schema, path: string, causes: StatusCause[]): void {
  const listType = schema['x-kubernetes-list-type']
  const keys = schema['x-kubernetes-list-map-keys'] ?? []
  if (listType !== undefined && !['atomic', 'set', 'map'].includes(listType)) {
    invalidAt(causes, `${path}.x-kubernetes-list-type`, listType, 'must be one of atomic, set, map')
  }
  if (listType !== 'map') return
  if (keys.length === 0)
    required(causes, `${path}.x-kubernetes-list-map-keys`, 'must not be empty if x-kubernetes-list-type is map')
  for (const key of keys) {
    const field = schema.items?.properties?.[key]
    if (field === undefined) {
      invalidAt(causes, `${path}.x-kubernetes-list-map-keys`, key, 'entries must all be names of item properties')
    } else if (field.default === undefined && schema.items?.required?.includes(key) !== true) {
      required(
        causes,
        `${path}.items.properties[${key}].default`,
        `this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property`,
      )
    }
  }
}
