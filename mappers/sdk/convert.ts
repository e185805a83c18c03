import type { Json, ModelProperty } from '../../api/resources.ts'
import { checkValue } from '../../api/twin/limits.ts'

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

/** Whether a desired value may be written at all: access, type, enum, limits. A protocol asks this before the wire. */
export function checkDesired(property: ModelProperty, value: Json): WriteProblem | undefined {
  if ((property.access ?? 'read') === 'read') {
    return { code: 'SLUICE_WRITE_READ_ONLY', reason: `${property.name} is read-only in its model` }
  }
  const finding = checkValue(property, value)
  return finding === undefined ? undefined : { code: finding.code, reason: finding.message }
}
