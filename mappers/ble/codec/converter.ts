import { Unusable } from '../../sdk/no-value.ts'

export const OPERATIONS = ['add', 'subtract', 'multiply', 'divide'] as const

/** KubeEdge's `dataConverter` of Bluetooth visitors. */
export interface Converter {
  /** First and last byte, both included. `start > end` reads backwards: lowest byte first becomes highest first. */
  readonly start: number
  readonly end: number
  readonly shiftLeft?: number
  readonly shiftRight?: number
  readonly operations?: readonly { readonly type: (typeof OPERATIONS)[number]; readonly value: number }[]
}

/**
 * Bytes `start` to `end` as one unsigned number, shifted left, then right, then through the operations in order.
 * (KubeEdge's own mapper joins the bytes as decimal text and reads that as hexadecimal, which is right only below 10.)
 */
export function applyConverter(converter: Converter, data: Uint8Array): number | Unusable {
  const { start, end, shiftLeft = 0, shiftRight = 0, operations = [] } = converter
  if (Math.max(start, end) >= data.length) {
    return new Unusable('too-short', `the converter needs byte ${Math.max(start, end)}, there are ${data.length}`)
  }
  const step = start <= end ? 1 : -1
  let whole = 0n
  for (let at = start; at !== end + step; at += step) whole = (whole << 8n) | BigInt(data[at]!)
  let value = Number((whole << BigInt(shiftLeft)) >> BigInt(shiftRight))
  for (const { type, value: operand } of operations) {
    if (type === 'add') value += operand
    else if (type === 'subtract') value -= operand
    else if (type === 'multiply') value *= operand
    else value /= operand
  }
  return Number.isFinite(value)
    ? Number(value.toPrecision(12))
    : new Unusable('not-a-number', 'the converter divides by zero')
}
