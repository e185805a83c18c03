import type { JsonObject } from '../objects.ts'
import { isObject } from '../objects.ts'
import type { Schema } from './schema.ts'
import { preservesUnknown } from './schema.ts'

const OBJECT_HEADER = new Set(['apiVersion', 'kind', 'metadata'])

/**
 * Drops fields the schema does not know; their paths are added to `unknown` ("spec.parts[0].colour").
 * The header of an object (apiVersion, kind, metadata) is left alone where `root` is true and in embedded resources.
 */
export function prune<T>(value: T, schema: Schema, unknown: string[], path?: string, root?: boolean): T
export function prune(value: unknown, schema: Schema, unknown: string[], path = '', root = path === ''): unknown {
  if (Array.isArray(value)) {
    const items = schema.items
    return items === undefined ? value : pruneItems(value, items, unknown, path)
  }
  if (!isObject(value)) return value
  if (schema.type === 'array' || schema.type === 'string') return value
  const header = root || schema['x-kubernetes-embedded-resource'] === true
  let changed = false
  const kept: Record<string, unknown> = {}
  for (const [key, child] of Object.entries(value)) {
    const childPath = path === '' ? key : `${path}.${key}`
    const declared = schema.properties !== undefined && Object.hasOwn(schema.properties, key)
    const known = declared ? schema.properties?.[key] : undefined
    if (header && OBJECT_HEADER.has(key) && known === undefined) {
      kept[key] = child
    } else if (known !== undefined) {
      kept[key] = header && OBJECT_HEADER.has(key) ? child : prune(child, known, unknown, childPath, false)
    } else if (typeof schema.additionalProperties === 'object') {
      kept[key] = prune(child, schema.additionalProperties, unknown, childPath, false)
    } else if (schema.additionalProperties === true || preservesUnknown(schema)) {
      kept[key] = child
    } else {
      unknown.push(childPath)
      changed = true
      continue
    }
    if (kept[key] !== child) changed = true
  }
  return changed ? kept : value
}

function pruneItems(list: readonly unknown[], items: Schema, unknown: string[], path: string): readonly unknown[] {
  const kept = list.map((item, index) => prune(item, items, unknown, `${path}[${index}]`, false))
  return kept.some((item, index) => item !== list[index]) ? kept : list
}

/** Fills in defaults for what is missing, and drops nulls where a default stands and null is not allowed. */
export function applyDefaults<T>(value: T, schema: Schema): T
export function applyDefaults(value: unknown, schema: Schema): unknown {
  if (Array.isArray(value)) {
    const items = schema.items
    if (items === undefined) return value
    const filled = value.map((item) => applyDefaults(item, items))
    return filled.some((item, index) => item !== value[index]) ? filled : value
  }
  if (!isObject(value)) return value
  let result: JsonObject = value
  for (const [key, child] of Object.entries(schema.properties ?? {})) {
    const present = Object.hasOwn(value, key)
    const current = value[key]
    let next = current
    const replaceNull = current === null && child.nullable !== true && child.default !== null
    if (child.default !== undefined && (!present || replaceNull)) next = child.default
    if (next !== null && typeof next === 'object') next = applyDefaults(next, child)
    if (next === '' && child['x-sluice-omit-empty'] === true) {
      const { [key]: _empty, ...rest } = result
      result = rest
    } else if (next !== current || (!present && next !== undefined)) {
      result = { ...result, [key]: next }
    }
  }
  const extra = schema.additionalProperties
  if (typeof extra === 'object') {
    for (const [key, child] of Object.entries(value)) {
      if (schema.properties !== undefined && Object.hasOwn(schema.properties, key)) continue
      const next = applyDefaults(child, extra)
      if (next !== child) result = { ...result, [key]: next }
    }
  }
  return result
}
