import type { ModelProperty } from '../resources.ts'
import { listed, shown, suggest } from '../suggest.ts'
import { equal } from '../validate-runtime.ts'
import type { Finding } from '../yaml/findings.ts'

/** What a property says about its values. */
export type ValueLimits = Pick<ModelProperty, 'type' | 'min' | 'max' | 'enum' | 'precision' | 'unit'>

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** Integers that a JSON number cannot hold exactly travel as decimal strings. */
const isLongInteger = (value: unknown): boolean =>
  typeof value === 'string' && /^-?[1-9][0-9]{15,19}$/.test(value) && !Number.isSafeInteger(Number(value))

const isMap = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value)

const refuse = (code: string, message: string, hint: string): Finding => ({
  severity: 'error',
  code,
  message,
  hint,
  path: [],
})

function typeHint(type: ModelProperty['type'], value: unknown): string {
  if (type === 'int' && typeof value === 'number' && Number.isFinite(value)) {
    return Number.isInteger(value)
      ? 'Whole numbers are exact up to 9007199254740991; put longer ones in quotes.'
      : `Write ${Math.round(value)}, for example.`
  }
  if ((type === 'int' || type === 'float') && typeof value === 'string' && Number.isFinite(Number(value))) {
    return `Remove the quotes: ${value}`
  }
  if (type === 'bool') return 'Write true or false.'
  if (type === 'string') return `Put it in quotes: '${isMap(value) || Array.isArray(value) ? '...' : value}'`
  if (type === 'bytes') return 'Write the bytes in base64, for example AQID.'
  return type === 'array'
    ? 'Write a list: [1, 2, 3].'
    : type === 'object'
      ? 'Write a map: {key: value}.'
      : 'Write a number.'
}

const TYPES: Readonly<Record<ModelProperty['type'], { readonly what: string; fits(value: unknown): boolean }>> = {
  int: { what: 'a whole number', fits: (value) => Number.isSafeInteger(value) || isLongInteger(value) },
  float: { what: 'a number', fits: Number.isFinite },
  bool: { what: 'true or false', fits: (value) => typeof value === 'boolean' },
  string: { what: 'text', fits: (value) => typeof value === 'string' },
  bytes: { what: 'bytes in base64', fits: (value) => typeof value === 'string' && BASE64.test(value) },
  object: { what: 'a map', fits: isMap },
  array: { what: 'a list', fits: Array.isArray },
}

function checkRange({ min, max, unit }: ValueLimits, value: number): Finding | undefined {
  const tail = unit === undefined ? '' : ` ${unit}`
  const range =
    min === undefined
      ? `${max}${tail} or less`
      : max === undefined
        ? `${min}${tail} or more`
        : `${min} to ${max}${tail}`
  if (min !== undefined && value < min) {
    return refuse('SLUICE_VALUE_RANGE', `${value}${tail} is below the minimum of ${min}${tail}`, `Use ${range}.`)
  }
  if (max !== undefined && value > max) {
    return refuse('SLUICE_VALUE_RANGE', `${value}${tail} is above the maximum of ${max}${tail}`, `Use ${range}.`)
  }
  return undefined
}

/** Rounds to the digits a multiple of the step can have, so that 0.1 * 3 reads as 0.3. */
const tidy = (value: number): number => Number(value.toPrecision(12))

function checkStep({ precision }: ValueLimits, value: number): Finding | undefined {
  if (precision === undefined || precision <= 0) return undefined
  const steps = Math.round(value / precision)
  // Steps such as 0.1 have no exact binary form: equal within a billionth of a step counts as equal.
  if (Math.abs(value / precision - steps) <= 1e-9 * Math.max(1, Math.abs(steps))) return undefined
  const message = `${value} is not a multiple of the property's precision ${precision}`
  return refuse('SLUICE_VALUE_STEP', message, `The nearest that fits is ${tidy(steps * precision)}.`)
}

/**
 * Whether a value may be desired of a property: its type, then its enum, range and precision. Returns what is wrong
 * (`path` is empty: the caller knows where the value stood) or undefined. Pure; used wherever a value is accepted.
 */
export function checkValue(property: ValueLimits, value: unknown): Finding | undefined {
  const type = TYPES[property.type]
  if (!type.fits(value)) {
    return refuse('SLUICE_VALUE_TYPE', `must be ${type.what}, not ${shown(value)}`, typeHint(property.type, value))
  }
  if (property.enum !== undefined && !property.enum.some((allowed) => equal(allowed, value))) {
    const allowed = property.enum.map((each) => (typeof each === 'string' ? each : JSON.stringify(each)))
    const meant = typeof value === 'string' ? suggest(value, allowed) : undefined
    const hint = meant === undefined ? `Choose one of ${listed(allowed)}.` : `Did you mean '${meant}'?`
    return refuse('SLUICE_VALUE_ENUM', `${shown(value)} is not one of ${listed(allowed)}`, hint)
  }
  if (property.type === 'int' && typeof value === 'string') return checkRange(property, Number(value))
  if (typeof value !== 'number') return undefined
  return checkRange(property, value) ?? checkStep(property, value)
}
