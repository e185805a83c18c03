import { Unusable } from '../sdk/no-value.ts'
import type { ModbusProperty } from './schema.ts'
import type { Table } from './tables.ts'
import { compileReader, type Raw, type RawReader, type ValueFormat } from './values.ts'

/**
 * A value whose power of ten stands in another register, and values that a device marks as "not implemented": both as
 * SunSpec defines them (Device Information Model Specification V1.1, section 4, "Data types").
 */

/** Registers from the first to the last that a value and its scale need; both come with one read, or not at all. */
export interface Span {
  readonly table: Table
  readonly start: number
  readonly size: number
  /** First register of the value inside the span. */
  readonly valueAt: number
  /** The scale's register inside the span. */
  readonly scaleAt: number | undefined
}

/** @param base what addresses in the model are too large by. */
export function spanOf(
  binding: Pick<ModbusProperty, 'scaleRegister'>,
  place: { readonly table: Table; readonly start: number },
  size: number,
  base: number,
): Span {
  if (binding.scaleRegister === undefined) return { ...place, size, valueAt: 0, scaleAt: undefined }
  const scale = binding.scaleRegister - base
  const start = Math.min(place.start, scale)
  const end = Math.max(place.start + size, scale + 1)
  return { table: place.table, start, size: end - start, valueAt: place.start - start, scaleAt: scale - start }
}

/** SunSpec's `sunssf`: -10 to 10. */
export const MAX_EXPONENT = 10
const NOT_IMPLEMENTED_SCALE = -0x8000

/** The power of ten in a register, read from an answer whose span starts at byte `at`. */
export type ExponentReader = (view: DataView, at: number) => number | Unusable

export function compileExponent({ scaleAt }: Span, order: ValueFormat['order']): ExponentReader | undefined {
  if (scaleAt === undefined) return undefined
  const read = compileReader({ as: 'int16', order, length: 1, stringByte: 'both' })
  return (view, at) => {
    const exponent = Number(read(view, at + 2 * scaleAt))
    if (exponent === NOT_IMPLEMENTED_SCALE) return NOT_IMPLEMENTED
    if (Math.abs(exponent) <= MAX_EXPONENT) return exponent
    return new Unusable('bad-scale', `its scale register says 10^${exponent}, which no device means`)
  }
}

/** `raw` * 10^exponent. Dividing by a power of ten gives the nearest number to the decimal; multiplying by 0.1 does not. */
export const scaleUp = (raw: number, exponent: number): number =>
  exponent < 0 ? raw / 10 ** -exponent : raw * 10 ** exponent

export const NOT_IMPLEMENTED = new Unusable('not-implemented', 'the device says that it does not have this')

/** What stands for "not implemented" in registers of this type; undefined for types that have no such mark. */
const MARKS: Partial<Readonly<Record<ValueFormat['as'], number | bigint>>> = {
  int16: -0x8000,
  uint16: 0xffff,
  int32: -0x8000_0000,
  uint32: 0xffff_ffff,
  int64: -0x8000_0000_0000_0000n,
  uint64: 0xffff_ffff_ffff_ffffn,
}

/** A reader that also knows SunSpec's marks: 0x8000, 0xFFFF, NaN, a text of zeros. */
export function withMarks(read: RawReader, as: ValueFormat['as']): RawReader {
  const mark = MARKS[as]
  const isMark = (raw: Raw): boolean => {
    if (typeof raw === 'string') return raw === ''
    if (as.startsWith('float')) return Number.isNaN(raw)
    return mark !== undefined && raw === mark
  }
  return (view, at) => {
    const raw = read(view, at)
    return !(raw instanceof Unusable) && isMark(raw) ? NOT_IMPLEMENTED : raw
  }
}
