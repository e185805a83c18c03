import type { Schema } from '../crd/schema.ts'
import { fieldSchema } from '../crd/schema.ts'
import { deepEqual, isObject } from '../objects.ts'
import type { FieldSet } from './field-set.ts'
import { EMPTY } from './field-set.ts'
import { itemElement, shapeOf } from './structure.ts'

/** Lays an applied configuration over the live object; what the configuration does not mention stays. */
export function mergeApplied(live: unknown, applied: unknown, schema: Schema | undefined): unknown {
  if (applied === undefined) return live
  const shape = shapeOf(applied, schema)
  if (live === undefined || shape === 'leaf' || shapeOf(live, schema) !== shape) {
    return deepEqual(live, applied) ? live : applied
  }
  if (Array.isArray(live) && Array.isArray(applied)) return mergeItems(live, applied, schema)
  if (!isObject(live) || !isObject(applied)) return applied
  let result = live
  for (const [key, value] of Object.entries(applied)) {
    const next = mergeApplied(live[key], value, fieldSchema(schema, key))
    if (next !== live[key] || !Object.hasOwn(live, key)) result = { ...result, [key]: next }
  }
  return result
}

function mergeItems(
  live: readonly unknown[],
  applied: readonly unknown[],
  schema: Schema | undefined,
): readonly unknown[] {
  const wanted = new Map(applied.map((item) => [itemElement(item, schema), item]))
  let changed = false
  const result = live.map((item) => {
    const element = itemElement(item, schema)
    const over = wanted.get(element)
    wanted.delete(element)
    const next = over === undefined ? item : mergeApplied(item, over, schema?.items)
    if (next !== item) changed = true
    return next
  })
  return changed || wanted.size > 0 ? [...result, ...wanted.values()] : live
}

/**
 * Takes away fields that the applier gave up and nobody else owns. A map or list goes with its last field, unless
 * somebody owns it or anything in it.
 */
export function removeGivenUp(value: unknown, gone: FieldSet, owned: FieldSet, schema: Schema | undefined): unknown {
  if (Array.isArray(value)) {
    const kept = value.flatMap((item) => {
      const element = itemElement(item, schema)
      const next = step(item, gone.children.get(element), owned.children.get(element), schema?.items)
      return next === undefined ? [] : [next]
    })
    return kept.length === value.length && kept.every((item, index) => item === value[index]) ? value : kept
  }
  if (!isObject(value)) return value
  const result: Record<string, unknown> = {}
  let changed = false
  for (const [key, child] of Object.entries(value)) {
    const element = `f:${key}`
    const next = step(child, gone.children.get(element), owned.children.get(element), fieldSchema(schema, key))
    if (next !== undefined) result[key] = next
    if (next !== child) changed = true
  }
  return changed ? result : value
}

function step(
  value: unknown,
  gone: FieldSet | undefined,
  owned: FieldSet | undefined,
  schema: Schema | undefined,
): unknown {
  if (gone === undefined) return value
  const left = gone.children.size > 0 ? removeGivenUp(value, gone, owned ?? EMPTY, schema) : value
  if (owned !== undefined) return left
  if (gone.member) return undefined
  const emptied =
    left !== value && (Array.isArray(left) ? left.length === 0 : isObject(left) && Object.keys(left).length === 0)
  return emptied ? undefined : left
}
