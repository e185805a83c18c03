import type { Form } from './form.ts'

type NumberType = Exclude<Form['c'], 'text' | 'bytes' | 'bool'>

const WIDTHS: Readonly<Record<NumberType, number>> = {
  int8_t: 8,
  uint8_t: 8,
  int16_t: 16,
  uint16_t: 16,
  int32_t: 32,
  uint32_t: 32,
  int64_t: 64,
  uint64_t: 64,
  float: 32,
  double: 64,
}

/** The range of an integer type of C; undefined for floats. */
export function typeRange(c: Form['c']): { readonly min: bigint; readonly max: bigint } | undefined {
  if (c === 'bool') return { min: 0n, max: 1n }
  if (c === 'float' || c === 'double' || c === 'text' || c === 'bytes') return undefined
  const size = 2n ** BigInt(WIDTHS[c])
  return c.startsWith('u') ? { min: 0n, max: size - 1n } : { min: -size / 2n, max: size / 2n - 1n }
}

/** A number as a constant of C of exactly that type, whatever its sign and size. */
export function literal(c: Form['c'], value: number | bigint): string {
  if (c === 'bool') return Number(value) === 0 ? 'false' : 'true'
  if (c === 'float' || c === 'double') return floating(c, Number(value))
  const whole = BigInt(value)
  if (c === 'uint32_t') return `${whole}u`
  if (c === 'uint64_t') return `UINT64_C(${whole})`
  // The least value is no literal: C reads it as minus of one too large.
  if (c === 'int64_t') return whole === -(2n ** 63n) ? 'INT64_MIN' : `INT64_C(${whole})`
  return c === 'int32_t' && whole === -(2n ** 31n) ? 'INT32_MIN' : `${whole}`
}

function floating(c: 'float' | 'double', value: number): string {
  const text = String(c === 'float' ? Math.fround(value) : value)
  const sure = /[.e]/.test(text) ? text : `${text}.0`
  return c === 'float' ? `${sure}f` : sure
}
