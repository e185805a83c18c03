import { isObject } from '../objects.ts'
import type { Schema } from './schema.ts'
import { fieldSchema } from './schema.ts'

export type CelValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Date
  | readonly CelValue[]
  | { readonly [key: string]: CelValue }

/** Words CEL keeps for itself; a field of that name is written `__name__` in a rule. */
const RESERVED = new Set(
  'true false null in as break const continue else for function if import let loop package namespace return var void while'.split(
    ' ',
  ),
)

/** How a field name is spelled in a rule (Kubernetes: CEL field escaping). */
export function celName(name: string): string {
  if (RESERVED.has(name)) return `__${name}__`
  return name
    .replaceAll('__', '__underscores__')
    .replaceAll('.', '__dot__')
    .replaceAll('-', '__dash__')
    .replaceAll('/', '__slash__')
}

/**
 * Turns JSON into CEL values by schema: integers become int, date-times timestamps. Remembers what it converted, since
 * rules at different depths look at the same parts, and the size of the largest collection it met.
 */
export class CelConverter {
  largest = 1
  readonly #done = new WeakMap<object, CelValue>()

  convert(value: unknown, schema: Schema | undefined): CelValue {
    if (value === undefined || value === null || typeof value === 'boolean') return value ?? null
    if (typeof value === 'string') {
      this.#saw(value.length / 100)
      return schema?.format === 'date-time' && !Number.isNaN(Date.parse(value)) ? new Date(value) : value
    }
    if (typeof value === 'number') return Number.isInteger(value) && schema?.type !== 'number' ? BigInt(value) : value
    if (typeof value !== 'object') return null
    const known = this.#done.get(value)
    if (known !== undefined) return known
    const converted = Array.isArray(value) ? this.#list(value, schema) : this.#map(value, schema)
    this.#done.set(value, converted)
    return converted
  }

  #list(value: readonly unknown[], schema: Schema | undefined): CelValue {
    this.#saw(value.length)
    return value.map((item) => this.convert(item, schema?.items))
  }

  #map(value: object, schema: Schema | undefined): CelValue {
    if (!isObject(value)) return null
    const keys = Object.keys(value)
    this.#saw(keys.length)
    const converted: Record<string, CelValue> = {}
    for (const key of keys) {
      const declared = schema?.properties !== undefined && Object.hasOwn(schema.properties, key)
      converted[declared ? celName(key) : key] = this.convert(value[key], fieldSchema(schema, key))
    }
    return converted
  }

  #saw(size: number): void {
    if (size > this.largest) this.largest = size
  }
}
