import type { JsonObject } from '../objects.ts'
import { isObject } from '../objects.ts'

/**
 * A set of field paths as a tree. Path elements are spelled as in FieldsV1 (structured-merge-diff): `f:name` a field,
 * `k:{"name":"x"}` an item of a list map, `v:"x"` an item of a set. `member` says whether the path that ends here is
 * in the set. Never changed after it was built.
 */
export interface FieldSet {
  readonly member: boolean
  readonly children: ReadonlyMap<string, FieldSet>
}

export const EMPTY: FieldSet = { member: false, children: new Map() }
export const LEAF: FieldSet = { member: true, children: new Map() }

export function isEmpty(set: FieldSet): boolean {
  return !set.member && set.children.size === 0
}

/** A set from its parts, without empty branches. */
export function fieldSet(member: boolean, children: ReadonlyMap<string, FieldSet>): FieldSet {
  for (const child of children.values()) {
    if (isEmpty(child)) {
      return { member, children: new Map([...children].filter(([, kept]) => !isEmpty(kept))) }
    }
  }
  return children.size === 0 ? (member ? LEAF : EMPTY) : { member, children }
}

export function union(left: FieldSet, right: FieldSet): FieldSet {
  if (left === right || isEmpty(right)) return left
  if (isEmpty(left)) return right
  const children = new Map(left.children)
  let same = left.member || !right.member
  for (const [key, child] of right.children) {
    const mine = children.get(key)
    const merged = mine === undefined ? child : union(mine, child)
    if (merged !== mine) same = false
    children.set(key, merged)
  }
  return same ? left : { member: left.member || right.member, children }
}

export function difference(left: FieldSet, right: FieldSet): FieldSet {
  if (isEmpty(left) || isEmpty(right)) return left
  let same = !(left.member && right.member)
  const children = new Map<string, FieldSet>()
  for (const [key, child] of left.children) {
    const theirs = right.children.get(key)
    const kept = theirs === undefined ? child : difference(child, theirs)
    if (kept !== child) same = false
    if (!isEmpty(kept)) children.set(key, kept)
  }
  return same ? left : fieldSet(left.member && !right.member, children)
}

export function intersection(left: FieldSet, right: FieldSet): FieldSet {
  const children = new Map<string, FieldSet>()
  for (const [key, child] of left.children) {
    const theirs = right.children.get(key)
    if (theirs !== undefined) children.set(key, intersection(child, theirs))
  }
  return fieldSet(left.member && right.member, children)
}

/** `right` without what lies under any member of `left`: an owned whole hides its parts. */
export function paths(set: FieldSet, prefix = ''): string[] {
  const own = set.member ? [prefix] : []
  return [...own, ...[...set.children].flatMap(([key, child]) => paths(child, prefix + shownElement(key)))]
}

function shownElement(key: string): string {
  const text = key.slice(2)
  if (key.startsWith('f:')) return `.${text}`
  if (key.startsWith('v:')) return `[=${text}]`
  if (key.startsWith('i:')) return `[${text}]`
  const keys: unknown = JSON.parse(text)
  const parts = isObject(keys) ? Object.entries(keys).map(([name, value]) => `${name}=${JSON.stringify(value)}`) : []
  return `[${parts.join(',')}]`
}

const decoded = new WeakMap<JsonObject, FieldSet>()

/** Reads FieldsV1. Remembers the answer by identity: the same entry is met on every write of an object. */
export function decodeFields(fields: JsonObject): FieldSet {
  const known = decoded.get(fields)
  if (known !== undefined) return known
  const set = decodeNode(fields, true)
  decoded.set(fields, set)
  return set
}

function decodeNode(node: JsonObject, root: boolean): FieldSet {
  const children = new Map<string, FieldSet>()
  let member = false
  for (const [key, child] of Object.entries(node)) {
    if (key === '.') member = true
    else if (isObject(child) && /^[fkvi]:/.test(key)) children.set(key, decodeNode(child, false))
  }
  if (children.size === 0 && !root) return LEAF
  return { member, children }
}

export function encodeFields(set: FieldSet): JsonObject {
  const fields = encodeNode(set)
  decoded.set(fields, set)
  return fields
}

function encodeNode(set: FieldSet): JsonObject {
  if (set.children.size === 0) return {}
  const fields: Record<string, unknown> = set.member ? { '.': {} } : {}
  for (const key of [...set.children.keys()].sort()) {
    const child = set.children.get(key)
    if (child !== undefined) fields[key] = encodeNode(child)
  }
  return fields
}
