import type { StatusCause } from '../http/status.ts'
import { deepEqual, isObject } from '../objects.ts'
import { checkFormat } from './formats.ts'
import type { Schema } from './schema.ts'

/** Stops collecting here: an answer with hundreds of causes helps nobody. */
const MAX_CAUSES = 50

/**
 * Holds a value against a structural schema and returns every violation, worded as the real server words them.
 * Parts that are the same as in `old` are not checked again, so an object stays writable after its schema was
 * tightened (ratcheting, KEP-4008), and a small patch costs little.
 */
export function validateSchema(value: unknown, old: unknown, schema: Schema, path: string): StatusCause[] {
  const causes: StatusCause[] = []
  check(value, old, schema, path, causes)
  return causes
}

/** After one of these the CEL rules are not run: they could not rely on the shape they were written for. */
export function blocksRules(causes: readonly StatusCause[]): boolean {
  const blocking = [
    'FieldValueNotSupported',
    'FieldValueRequired',
    'FieldValueTooLong',
    'FieldValueTooMany',
    'FieldValueTypeInvalid',
  ]
  return causes.some((cause) => blocking.includes(cause.reason))
}

export const RULES_NOT_CHECKED: StatusCause = {
  reason: 'FieldValueInvalid',
  message:
    'Invalid value: "null": some validation rules were not checked because the object was invalid; correct the existing errors to complete validation',
  field: '<nil>',
}

function check(value: unknown, old: unknown, schema: Schema, path: string, causes: StatusCause[]): void {
  if (causes.length >= MAX_CAUSES) return
  if (value === old && typeof value === 'object' && value !== null) return
  if (value === null && schema.nullable === true) return
  const add = (reason: string, message: string, field = path) => void causes.push({ reason, message, field })
  const bad = (text: string) => add('FieldValueInvalid', `Invalid value: ${show(value)}: ${path} in body ${text}`)

  const type = typeOf(value)
  if (!typeFits(value, type, schema)) {
    const wanted = schema['x-kubernetes-int-or-string'] === true ? 'integer,string' : (schema.type ?? 'object')
    add('FieldValueTypeInvalid', `Invalid value: "${type}": ${path} in body must be of type ${wanted}: "${type}"`)
    return
  }
  if (schema.enum !== undefined && !schema.enum.some((allowed) => deepEqual(allowed, value))) {
    const supported = schema.enum.map((allowed) => JSON.stringify(allowed)).join(', ')
    add('FieldValueNotSupported', `Unsupported value: ${show(value)}: supported values: ${supported}`)
  }
  if (typeof value === 'string') checkString(value, schema, path, add, bad)
  else if (typeof value === 'number') checkNumber(value, schema, bad)
  else if (Array.isArray(value)) checkList(value, old, schema, path, causes, add)
  else if (isObject(value)) {
    const count = Object.keys(value).length
    if (schema.maxProperties !== undefined && count > schema.maxProperties) {
      add('FieldValueTooMany', `Too many: ${count}: must have at most ${schema.maxProperties} items`)
    }
    if (schema.minProperties !== undefined && count < schema.minProperties) {
      bad(`should have at least ${schema.minProperties} properties`)
    }
    for (const key of schema.required ?? []) {
      if (!Object.hasOwn(value, key)) add('FieldValueRequired', 'Required value', join(path, key))
    }
    const before = isObject(old) ? old : {}
    for (const key of Object.keys(value).sort()) {
      const declared = schema.properties !== undefined && Object.hasOwn(schema.properties, key)
      const extra = typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined
      const child = declared ? schema.properties?.[key] : extra
      if (child !== undefined) check(value[key], before[key], child, join(path, key), causes)
    }
  }
  checkCombinations(value, schema, path, causes, bad)
}

function checkString(value: string, schema: Schema, path: string, add: Add, bad: (text: string) => void): void {
  // Lengths count code points, as Go's utf8.RuneCountInString does.
  const length = schema.maxLength === undefined && schema.minLength === undefined ? 0 : [...value].length
  if (schema.maxLength !== undefined && length > schema.maxLength) {
    add('FieldValueTooLong', `Too long: may not be more than ${schema.maxLength} bytes`)
  }
  if (schema.minLength !== undefined && length < schema.minLength)
    bad(`should be at least ${schema.minLength} chars long`)
  if (schema.pattern !== undefined && pattern(schema.pattern)?.test(value) === false) {
    bad(`should match '${schema.pattern}'`)
  }
  if (schema.format !== undefined && !checkFormat(schema.format, value)) {
    add(
      'FieldValueInvalid',
      `Invalid value: ${show(value)}: ${path} in body must be of type ${schema.format}: ${show(value)}`,
    )
  }
}

function checkNumber(value: number, schema: Schema, bad: (text: string) => void): void {
  const { minimum, maximum, multipleOf } = schema
  if (minimum !== undefined && (schema.exclusiveMinimum === true ? value <= minimum : value < minimum)) {
    bad(`should be greater than ${schema.exclusiveMinimum === true ? '' : 'or equal to '}${minimum}`)
  }
  if (maximum !== undefined && (schema.exclusiveMaximum === true ? value >= maximum : value > maximum)) {
    bad(`should be less than ${schema.exclusiveMaximum === true ? '' : 'or equal to '}${maximum}`)
  }
  if (multipleOf !== undefined && multipleOf > 0) {
    const quotient = value / multipleOf
    if (Math.abs(quotient - Math.round(quotient)) > 1e-9 * Math.max(1, Math.abs(quotient))) {
      bad(`should be a multiple of ${multipleOf}`)
    }
  }
  if (schema.format === 'int32' && (value < -(2 ** 31) || value >= 2 ** 31)) bad('must be of type int32')
}

function checkList(
  value: readonly unknown[],
  old: unknown,
  schema: Schema,
  path: string,
  causes: StatusCause[],
  add: Add,
): void {
  if (schema.maxItems !== undefined && value.length > schema.maxItems) {
    add('FieldValueTooMany', `Too many: ${value.length}: must have at most ${schema.maxItems} items`)
  }
  if (schema.minItems !== undefined && value.length < schema.minItems) {
    add(
      'FieldValueInvalid',
      `Invalid value: ${value.length}: ${path} in body should have at least ${schema.minItems} items`,
    )
  }
  const listType = schema['x-kubernetes-list-type']
  const keys = schema['x-kubernetes-list-map-keys'] ?? []
  const before = new Map<string, unknown>()
  const identity = (item: unknown, index: number) =>
    listType === 'map' && isObject(item) ? JSON.stringify(keys.map((key) => item[key] ?? null)) : String(index)
  if (Array.isArray(old)) old.forEach((item, index) => void before.set(identity(item, index), item))
  if (schema.items !== undefined) {
    for (const [index, item] of value.entries()) {
      check(item, before.get(identity(item, index)), schema.items, `${path}[${index}]`, causes)
    }
  }
  if (listType !== 'map' && listType !== 'set' && schema.uniqueItems !== true) return
  const seen = new Set<string>()
  for (const [index, item] of value.entries()) {
    if (listType === 'map' && !isObject(item)) continue
    const shown = listType === 'map' ? mapKey(item, keys) : show(item)
    const id = listType === 'map' ? identity(item, index) : canonical(item)
    if (seen.has(id)) add('FieldValueDuplicate', `Duplicate value: ${shown}`, `${path}[${index}]`)
    seen.add(id)
  }
}

function checkCombinations(
  value: unknown,
  schema: Schema,
  path: string,
  causes: StatusCause[],
  bad: (text: string) => void,
): void {
  const passes = (part: Schema) => validateSchema(value, undefined, part, path).length === 0
  for (const part of schema.allOf ?? []) causes.push(...validateSchema(value, undefined, part, path))
  if (schema.anyOf !== undefined && schema['x-kubernetes-int-or-string'] !== true && !schema.anyOf.some(passes)) {
    bad('must validate at least one schema (anyOf)')
  }
  if (schema.oneOf !== undefined) {
    const matching = schema.oneOf.filter(passes).length
    if (matching !== 1)
      bad(`must validate one and only one schema (oneOf). Found ${matching === 0 ? 'none' : `${matching}`} valid`)
  }
  if (schema.not !== undefined && passes(schema.not)) bad('must not validate the schema (not)')
}

type Add = (reason: string, message: string, field?: string) => void

function typeOf(value: unknown): string {
  if (value === null || value === undefined) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}

function typeFits(value: unknown, type: string, schema: Schema): boolean {
  if (schema['x-kubernetes-int-or-string'] === true) return type === 'integer' || type === 'string'
  if (schema.type === undefined || schema.type === '') return type !== 'null' || schema.properties === undefined
  if (schema.type === 'number') return typeof value === 'number'
  return schema.type === type
}

const patterns = new Map<string, RegExp | undefined>()

/** A pattern that JavaScript cannot read was refused when its definition was accepted; undefined never matches here. */
export function pattern(source: string): RegExp | undefined {
  if (!patterns.has(source)) {
    if (patterns.size > 1000) patterns.clear()
    patterns.set(source, compilePattern(source))
  }
  return patterns.get(source)
}

function compilePattern(source: string): RegExp | undefined {
  // Go knows \z and inline flags; the rest of what schemas use is common to both dialects.
  const caseless = source.startsWith('(?i)')
  const text = (caseless ? source.slice(4) : source).replaceAll('\\z', '$').replaceAll('\\A', '^')
  for (const flags of ['u', '']) {
    try {
      return new RegExp(text, caseless ? `${flags}i` : flags)
    } catch {
      // The unicode mode is stricter about needless escapes than Go is.
    }
  }
  return undefined
}

function show(value: unknown): string {
  if (isObject(value) || Array.isArray(value)) return JSON.stringify(value).slice(0, 200)
  return JSON.stringify(value) ?? 'null'
}

function mapKey(item: unknown, keys: readonly string[]): string {
  const parts = keys.map((key) => `${JSON.stringify(key)}:${show(isObject(item) ? item[key] : undefined)}`)
  return `map[string]interface {}{${parts.join(', ')}}`
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (!isObject(value)) return JSON.stringify(value) ?? 'null'
  const fields = Object.keys(value).sort()
  return `{${fields.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}
