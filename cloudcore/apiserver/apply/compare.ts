import type { Schema } from '../crd/schema.ts'
import { fieldSchema } from '../crd/schema.ts'
import { deepEqual, isObject } from '../objects.ts'
import type { FieldSet } from './field-set.ts'
import { EMPTY, fieldSet, isEmpty, LEAF } from './field-set.ts'
import { children, shapeOf } from './structure.ts'

export interface Comparison {
  /** Fields that were added or now have another value. */
  readonly changed: FieldSet
  readonly removed: FieldSet
}

const SAME: Comparison = { changed: EMPTY, removed: EMPTY }
const CHANGED: Comparison = { changed: LEAF, removed: EMPTY }
const REMOVED: Comparison = { changed: EMPTY, removed: LEAF }

/** Which fields differ between two values. What is the same object on both sides is not looked into. */
export function compare(before: unknown, after: unknown, schema: Schema | undefined): Comparison {
  if (before === after) return SAME
  const leftShape = before === undefined ? undefined : shapeOf(before, schema)
  const rightShape = after === undefined ? undefined : shapeOf(after, schema)
  const shape = leftShape ?? rightShape
  const leaf = shape === 'leaf' || (leftShape !== undefined && rightShape !== undefined && leftShape !== rightShape)
  if (leaf || (isBare(before) && isBare(after))) {
    if (before === undefined) return CHANGED
    if (after === undefined) return REMOVED
    return deepEqual(before, after) ? SAME : CHANGED
  }
  return isObject(before) && isObject(after)
    ? compareFields(before, after, schema)
    : compareChildren(before, after, schema)
}

/** The common case, two maps, without building anything for what did not change. */
function compareFields(
  before: { readonly [key: string]: unknown },
  after: { readonly [key: string]: unknown },
  schema: Schema | undefined,
): Comparison {
  let changed: Map<string, FieldSet> | undefined
  let removed: Map<string, FieldSet> | undefined
  const note = (key: string, below: Comparison) => {
    if (!isEmpty(below.changed)) changed = (changed ?? new Map()).set(`f:${key}`, below.changed)
    if (!isEmpty(below.removed)) removed = (removed ?? new Map()).set(`f:${key}`, below.removed)
  }
  for (const key of Object.keys(after)) {
    const old = Object.hasOwn(before, key) ? before[key] : undefined
    if (old !== after[key]) note(key, compare(old, after[key], fieldSchema(schema, key)))
  }
  for (const key of Object.keys(before)) {
    if (!Object.hasOwn(after, key)) note(key, compare(before[key], undefined, fieldSchema(schema, key)))
  }
  if (changed === undefined && removed === undefined) return SAME
  return { changed: fieldSet(false, changed ?? new Map()), removed: fieldSet(false, removed ?? new Map()) }
}

function compareChildren(before: unknown, after: unknown, schema: Schema | undefined): Comparison {
  const left = children(before, schema)
  const right = children(after, schema)
  const changed = new Map<string, FieldSet>()
  const removed = new Map<string, FieldSet>()
  for (const [element, child] of right) {
    const below = compare(left.get(element)?.value, child.value, child.schema)
    changed.set(element, below.changed)
    removed.set(element, below.removed)
  }
  for (const [element, child] of left) {
    if (!right.has(element)) removed.set(element, compare(child.value, undefined, child.schema).removed)
  }
  return { changed: fieldSet(before === undefined, changed), removed: fieldSet(after === undefined, removed) }
}

function isBare(value: unknown): boolean {
  if (value === undefined || value === null) return true
  return Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0
}

/** Every field an applied configuration speaks about. */
export function toFieldSet(value: unknown, schema: Schema | undefined): FieldSet {
  if (shapeOf(value, schema) === 'leaf') return LEAF
  const found = new Map<string, FieldSet>()
  for (const [element, child] of children(value, schema)) {
    const below = toFieldSet(child.value, child.schema)
    const itself = !child.declared || isBare(child.value)
    found.set(element, itself ? fieldSet(true, below.children) : below)
  }
  return fieldSet(false, found)
}
