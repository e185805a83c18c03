import type { Json, ModelProperty } from '../../api/resources.ts'

/** Raw numbers of a device and values in the property's unit: `value = raw * scale + offset`. */
export interface Linear {
  toValue(raw: number): number
  toRaw(value: number): number
}

const MAX_DECIMALS = 9

/** The smallest power of ten that makes both numbers whole, or undefined when there is none up to 10^9. */
function commonPower(a: number, b: number): number | undefined {
  for (let power = 1; power <= 10 ** MAX_DECIMALS; power *= 10) {
    if (isWhole(a * power) && isWhole(b * power)) return power
  }
  return undefined
}

const isWhole = (x: number) => Math.abs(x) < 2 ** 53 && Math.abs(x - Math.round(x)) <= 4 * Number.EPSILON * Math.abs(x)

/**
 * A decimal scale is applied as one multiplication and one division by whole numbers: 2301 at scale 0.1 is then 230.1
 * and not 230.10000000000002.
 */
export function compileLinear(scale = 1, offset = 0): Linear | undefined {
  if (scale === 1 && offset === 0) return undefined
  const power = commonPower(scale, offset)
  if (power === undefined) {
    return { toValue: (raw) => raw * scale + offset, toRaw: (value) => (value - offset) / scale }
  }
  const numerator = Math.round(scale * power)
  const addend = Math.round(offset * power)
  return {
    toValue: (raw) => (raw * numerator + addend) / power,
    toRaw: (value) => (value * power - addend) / numerator,
  }
}

/** Rounds to the nearest multiple of `step`; the identity without one. */
export function compileRounding(step: number | undefined): ((value: number) => number) | undefined {
  if (step === undefined || step <= 0) return undefined
  const power = commonPower(step, 0)
  if (power === undefined) return (value) => Math.round(value / step) * step
  const numerator = Math.round(step * power)
  return (value) => (Math.round((value * power) / numerator) * numerator) / power
}

/** The shortest decimal that is still this float32, so that 230.1 on the wire is 230.1 and not 230.10000610351562. */
export function shortestFloat32(value: number): number {
  const size = Math.abs(value)
  if (!(size >= 1e-6 && size < 1e9) || Number.isInteger(value)) return value
  const digits = 6 - Math.floor(Math.log10(size))
  const power = 10 ** digits
  const short = digits >= 0 ? Math.round(value * power) / power : value
  return Math.fround(short) === value ? short : value
}

export interface WriteProblem {
  readonly code: string
  readonly reason: string
}

/** Whether a desired value is of the property's type and within its limits; a protocol asks this before the wire. */
export function checkDesired(property: ModelProperty, value: Json): WriteProblem | undefined {
  if ((property.access ?? 'read') === 'read') {
    return { code: 'SLUICE_WRITE_READ_ONLY', reason: `${property.name} is read-only in its model` }
  }
  const wanted = wantedShape(property, value)
  if (wanted !== undefined) {
    const reason = `${property.name} is ${wanted}, not ${JSON.stringify(value)?.slice(0, 80)}`
    return { code: 'SLUICE_WRITE_TYPE', reason }
  }
  if (property.enum !== undefined && !property.enum.some((allowed) => sameJson(allowed, value))) {
    const allowed = property.enum.map((one) => JSON.stringify(one)).join(', ')
    return { code: 'SLUICE_WRITE_NOT_IN_ENUM', reason: `${property.name} must be one of ${allowed}` }
  }
  if (typeof value !== 'number') return undefined
  const { min, max } = property
  if ((min !== undefined && value < min) || (max !== undefined && value > max)) {
    const unit = property.unit === undefined ? '' : ` ${property.unit}`
    const reason = `${property.name} must be ${min ?? '-inf'} to ${max ?? 'inf'}${unit}, not ${value}`
    return { code: 'SLUICE_WRITE_OUT_OF_RANGE', reason }
  }
  return undefined
}

function wantedShape(property: ModelProperty, value: Json): string | undefined {
  switch (property.type) {
    case 'int':
      // Integers beyond 2^53 travel as decimal strings.
      return Number.isSafeInteger(value) || (typeof value === 'string' && /^-?[0-9]{1,20}$/.test(value))
        ? undefined
        : 'a whole number'
    case 'float':
      return typeof value === 'number' && Number.isFinite(value) ? undefined : 'a number'
    case 'bool':
      return typeof value === 'boolean' ? undefined : 'true or false'
    case 'string':
      return typeof value === 'string' ? undefined : 'a string'
    case 'bytes':
      return typeof value === 'string' && isBase64(value) ? undefined : 'bytes in base64'
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value) ? undefined : 'an object'
    case 'array':
      return Array.isArray(value) ? undefined : 'a list'
  }
}

export const isBase64 = (text: string): boolean =>
  text.length % 4 === 0 &&
  /^[A-Za-z0-9+/]*={0,2}$/.test(text) &&
  Buffer.from(text, 'base64').toString('base64') === text

/** Whether a read-back confirms what was written: numbers within `tolerance`, everything else exactly. */
export function agrees(wanted: Json, got: Json, tolerance: number): boolean {
  if (typeof wanted === 'number' && typeof got === 'number') {
    return wanted === got || Math.abs(wanted - got) <= tolerance * (1 + Number.EPSILON * 4)
  }
  return sameJson(wanted, got)
}

function sameJson(a: Json, b: Json): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (isList(a) || isList(b)) {
    return isList(a) && isList(b) && a.length === b.length && a.every((item, index) => sameJson(item, b[index]!))
  }
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  return keys.every((key) => Object.hasOwn(b, key) && sameJson(a[key]!, b[key]!))
}

const isList = (value: Json): value is readonly Json[] => Array.isArray(value)
