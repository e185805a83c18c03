/**
 * What the generated validators call. They import this and nothing else, so that a gateway never loads a schema
 * compiler.
 */

/** One thing a generated validator found; the shape of an ajv error without its words. */
export interface ValidatorError {
  readonly instancePath: string
  readonly schemaPath: string
  readonly keyword: string
  readonly params: Readonly<Record<string, unknown>>
}

export interface Validator {
  (data: unknown): boolean
  errors?: readonly ValidatorError[] | null
}

/** Length in code points: what Kubernetes and JSON Schema count, where JavaScript counts UTF-16 units. */
export function ucs2length(text: string): number {
  let length = text.length
  for (let i = 1; i < text.length; i++) {
    const pair = (text.charCodeAt(i - 1) & 0xfc00) === 0xd800 && (text.charCodeAt(i) & 0xfc00) === 0xdc00
    if (pair) {
      length--
      i++
    }
  }
  return length
}

/** Deep equality of two JSON values. */
export function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) || Array.isArray(b)) {
    return (
      Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, index) => equal(item, b[index]))
    )
  }
  const left = Object.entries(a)
  const right = new Map<string, unknown>(Object.entries(b))
  return left.length === right.size && left.every(([key, value]) => right.has(key) && equal(value, right.get(key)))
}

/** CEL's `in`: an element of a list or a key of a map. */
export function isIn(needle: unknown, hay: unknown): boolean {
  if (Array.isArray(hay)) return hay.some((item) => equal(item, needle))
  return typeof hay === 'object' && hay !== null && typeof needle === 'string' && Object.hasOwn(hay, needle)
}

/** CEL's `size()`; 0 for what has none. */
export function size(value: unknown): number {
  if (typeof value === 'string') return ucs2length(value)
  if (Array.isArray(value)) return value.length
  return typeof value === 'object' && value !== null ? Object.keys(value).length : 0
}

export interface DuplicateItem {
  readonly index: number
  readonly first: number
}

/** Items of a keyed list whose key was there before. */
export function duplicateItems(list: readonly unknown[], keys: readonly string[]): DuplicateItem[] {
  const seen = new Map<string, number>()
  const duplicates: DuplicateItem[] = []
  for (const [index, item] of list.entries()) {
    if (typeof item !== 'object' || item === null) continue
    const fields = new Map<string, unknown>(Object.entries(item))
    if (keys.some((key) => !fields.has(key))) continue
    const id = JSON.stringify(keys.map((key) => fields.get(key)))
    const first = seen.get(id)
    if (first === undefined) seen.set(id, index)
    else duplicates.push({ index, first })
  }
  return duplicates
}

const DATE_TIME = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|[+-](\d\d):(\d\d))$/

/** RFC 3339, section 5.6 `date-time`, with the days a month really has and leap seconds. */
export function isDateTime(text: string): boolean {
  const match = DATE_TIME.exec(text)
  if (match === null) return false
  const [year, month, day, hour, minute, second, zoneHour, zoneMinute] = match
    .slice(1)
    .map((part: string | undefined) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  if (month < 1 || month > 12 || day < 1) return false
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1] ?? 0
  return day <= days && hour < 24 && minute < 60 && second <= 60 && zoneHour < 24 && zoneMinute < 60
}

export const formats = { 'date-time': isDateTime }
