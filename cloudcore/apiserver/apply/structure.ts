import type { Schema } from '../crd/schema.ts'
import { fieldSchema } from '../crd/schema.ts'
import { isObject } from '../objects.ts'

/** How a value is merged: as one piece, field by field, or item by item. */
export type Shape = 'leaf' | 'fields' | 'items'

const METADATA: Schema = {
  type: 'object',
  properties: {
    labels: { type: 'object', additionalProperties: { type: 'string' } },
    annotations: { type: 'object', additionalProperties: { type: 'string' } },
    finalizers: { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set' },
    ownerReferences: {
      type: 'array',
      items: { type: 'object', 'x-kubernetes-map-type': 'atomic' },
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['uid'],
    },
  },
}

const merged = new WeakMap<Schema, Schema>()

/** A kind's schema with the metadata that every object has. */
export function withMetadataSchema(schema: Schema): Schema {
  let whole = merged.get(schema)
  if (whole === undefined) {
    whole = { ...schema, properties: { ...schema.properties, metadata: METADATA } }
    merged.set(schema, whole)
  }
  return whole
}

/** Without a schema maps are merged and lists are atomic, as structured-merge-diff deduces it. */
export function shapeOf(value: unknown, schema: Schema | undefined): Shape {
  if (Array.isArray(value)) {
    const listType = schema?.['x-kubernetes-list-type']
    return listType === 'map' || listType === 'set' ? 'items' : 'leaf'
  }
  if (isObject(value)) return schema?.['x-kubernetes-map-type'] === 'atomic' ? 'leaf' : 'fields'
  return 'leaf'
}

/** The path element of a list item: its keys for a list map, its value for a set. */
export function itemElement(item: unknown, schema: Schema | undefined): string {
  const keys = schema?.['x-kubernetes-list-map-keys']
  if (schema?.['x-kubernetes-list-type'] !== 'map' || keys === undefined || !isObject(item)) {
    return `v:${JSON.stringify(item)}`
  }
  const identity: Record<string, unknown> = {}
  for (const key of [...keys].sort()) {
    const value = item[key] ?? schema.items?.properties?.[key]?.default
    if (value !== undefined) identity[key] = value
  }
  return `k:${JSON.stringify(identity)}`
}

/** The children of a fields- or items-shaped value by path element, with their schemas. */
export function children(
  value: unknown,
  schema: Schema | undefined,
): Map<string, { value: unknown; schema: Schema | undefined; declared: boolean }> {
  const found = new Map<string, { value: unknown; schema: Schema | undefined; declared: boolean }>()
  if (Array.isArray(value)) {
    for (const item of value)
      found.set(itemElement(item, schema), { value: item, schema: schema?.items, declared: false })
  } else if (isObject(value)) {
    for (const [key, child] of Object.entries(value)) {
      const declared = schema?.properties !== undefined && Object.hasOwn(schema.properties, key)
      found.set(`f:${key}`, { value: child, schema: fieldSchema(schema, key), declared })
    }
  }
  return found
}
