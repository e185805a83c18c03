import type { Schema } from '../crd/schema.ts'
import { fieldSchema } from '../crd/schema.ts'
import { badRequest } from '../http/status.ts'
import type { JsonObject } from '../objects.ts'
import { deepEqual, isObject } from '../objects.ts'

const ORDER = '$setElementOrder/'
const DELETE_ITEMS = '$deleteFromPrimitiveList/'
const RETAIN_KEYS = '$retainKeys'

/**
 * Strategic merge patch: lists with a merge key are merged item by item, sets value by value, other lists replaced.
 * Understands `$patch: delete|replace`, `$deleteFromPrimitiveList/`, `$setElementOrder/` and `$retainKeys`.
 */
export function strategicMerge(target: unknown, patch: unknown, schema: Schema | undefined): unknown {
  if (!isObject(patch)) return patch
  const directive = patch['$patch']
  if (directive === 'replace') return withoutDirectives(patch)
  if (directive === 'delete') return {}
  if (directive !== undefined) throw badRequest(`unknown patch directive ${JSON.stringify(directive)}`)
  const base = isObject(target) ? target : {}
  let result: JsonObject = retain(base, patch)
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(DELETE_ITEMS)) {
      const field = key.slice(DELETE_ITEMS.length)
      const gone = Array.isArray(value) ? value : []
      const list = result[field]
      if (Array.isArray(list))
        result = { ...result, [field]: list.filter((item) => !gone.some((other) => deepEqual(item, other))) }
    } else if (!key.startsWith('$')) {
      result = mergeField(result, key, value, fieldSchema(schema, key), patch[ORDER + key])
    }
  }
  return result
}

function mergeField(
  target: JsonObject,
  key: string,
  value: unknown,
  schema: Schema | undefined,
  order: unknown,
): JsonObject {
  if (value === null) {
    const { [key]: _removed, ...rest } = target
    return rest
  }
  const before = Object.hasOwn(target, key) ? target[key] : undefined
  const next = Array.isArray(value) ? mergeList(before, value, schema, order) : strategicMerge(before, value, schema)
  return next === before ? target : { ...target, [key]: next }
}

function mergeList(target: unknown, patch: readonly unknown[], schema: Schema | undefined, order: unknown): unknown {
  const live: readonly unknown[] = Array.isArray(target) ? target : []
  const listType = schema?.['x-kubernetes-list-type']
  const [key] = schema?.['x-kubernetes-list-map-keys'] ?? []
  if (patch.some((item) => isObject(item) && item['$patch'] === 'replace')) {
    return patch.filter((item) => !isObject(item) || item['$patch'] === undefined).map(withoutDirectives)
  }
  if (listType === 'set') return [...live, ...patch.filter((item) => !live.some((other) => deepEqual(item, other)))]
  if (listType !== 'map' || key === undefined)
    return deepEqual(live, patch) && target !== undefined ? target : patch.map(withoutDirectives)
  const idOf = (item: unknown) => JSON.stringify(isObject(item) ? item[key] : item)
  const merged = new Map(live.map((item) => [idOf(item), item]))
  const touched: string[] = []
  for (const item of patch) {
    if (!isObject(item)) throw badRequest('a list of maps was patched with a plain value')
    const id = idOf(item)
    if (item['$patch'] === 'delete') {
      merged.delete(id)
      continue
    }
    const before = merged.get(id)
    merged.set(id, strategicMerge(before, item, schema?.items))
    touched.push(id)
  }
  return arrange(merged, live.map(idOf), touched, Array.isArray(order) ? order.map(idOf) : touched)
}

/** The patch says the order of what it names; what only the server has keeps its place behind its old neighbour. */
function arrange(
  merged: ReadonlyMap<string, unknown>,
  live: readonly string[],
  touched: readonly string[],
  order: readonly string[],
): unknown[] {
  const named = new Set([...order, ...touched])
  const ids = [...new Set([...order, ...touched])].filter((id) => merged.has(id))
  for (const [index, id] of live.entries()) {
    if (named.has(id) || !merged.has(id)) continue
    const neighbour = live.slice(0, index).findLast((other) => ids.includes(other))
    const first = index === 0 && live.slice(1).some((other) => ids.includes(other))
    const place =
      neighbour === undefined
        ? first
          ? ids.length === 0
            ? 0
            : Math.max(0, ids.indexOf(live.slice(1).find((other) => ids.includes(other)) ?? ''))
          : ids.length
        : ids.indexOf(neighbour) + 1
    ids.splice(place, 0, id)
  }
  return ids.map((id) => merged.get(id))
}

function retain(base: JsonObject, patch: JsonObject): JsonObject {
  const keys = patch[RETAIN_KEYS]
  if (!Array.isArray(keys)) return base
  return Object.fromEntries(Object.entries(base).filter(([key]) => keys.includes(key)))
}

function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDirectives)
  if (!isObject(value)) return value
  if (
    !Object.keys(value).some((key) => key.startsWith('$')) &&
    !Object.values(value).some((child) => typeof child === 'object')
  )
    return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, child]) => (key.startsWith('$') ? [] : [[key, withoutDirectives(child)]])),
  )
}
