import { rawLimits, registersOf, type ValueFormat } from '../../mappers/modbus/values.ts'

/** The type a value has in the application, and what its registers are in the core's table. */
export interface Form {
  readonly c:
    | 'bool'
    | 'int8_t'
    | 'uint8_t'
    | 'int16_t'
    | 'uint16_t'
    | 'int32_t'
    | 'uint32_t'
    | 'int64_t'
    | 'uint64_t'
    | 'float'
    | 'double'
    | 'text'
    | 'bytes'
  /** `sl_type` of the registers. */
  readonly sl: string
  /** Functions of core/forms.h between the value and the registers; undefined where both are the same. */
  readonly convert?: { readonly toWire: string; readonly fromWire: string; readonly wire: 'uint16_t' | 'uint32_t' }
}

const INTEGERS: Readonly<Record<string, Form>> = {
  int16: { c: 'int16_t', sl: 'SL_I16' },
  uint16: { c: 'uint16_t', sl: 'SL_U16' },
  int32: { c: 'int32_t', sl: 'SL_I32' },
  uint32: { c: 'uint32_t', sl: 'SL_U32' },
  int64: { c: 'int64_t', sl: 'SL_I64' },
  uint64: { c: 'uint64_t', sl: 'SL_U64' },
}

/** The form of a whole value; not of `int8`, `bit` and `bits`, which are parts of a word. */
export function formOf({ as, order }: ValueFormat): Form {
  switch (as) {
    case 'bool':
      // One byte-swapped register is not the core's bool, which is 0 or 1 in the low byte.
      return order === 'little' || order === 'little-swap' || order === 'DCBA' || order === 'BADC'
        ? { c: 'bool', sl: 'SL_U16', convert: { toWire: '(uint16_t)', fromWire: 'sl_word_is_set', wire: 'uint16_t' } }
        : { c: 'bool', sl: 'SL_BOOL' }
    case 'float32':
      return { c: 'float', sl: 'SL_F32' }
    case 'float64':
      return { c: 'double', sl: 'SL_F64' }
    case 'float16':
      return {
        c: 'float',
        sl: 'SL_U16',
        convert: { toWire: 'sl_half_of', fromWire: 'sl_half_value', wire: 'uint16_t' },
      }
    case 'bcd16':
      return {
        c: 'uint16_t',
        sl: 'SL_U16',
        convert: { toWire: '(uint16_t)sl_bcd_of', fromWire: '(uint16_t)sl_bcd_value', wire: 'uint16_t' },
      }
    case 'bcd32':
      return {
        c: 'uint32_t',
        sl: 'SL_U32',
        convert: { toWire: 'sl_bcd_of', fromWire: 'sl_bcd_value', wire: 'uint32_t' },
      }
    case 'string':
      return { c: 'text', sl: 'SL_BYTES' }
    case 'bytes':
      return { c: 'bytes', sl: 'SL_BYTES' }
    default:
      return INTEGERS[as] ?? { c: 'uint16_t', sl: 'SL_U16' }
  }
}

/** Part of a word: bits `first` to `first + count - 1`, two's complement where signed. */
export interface Field {
  readonly first: number
  readonly count: number
  readonly signed: boolean
}

/** The bits of a word that `int8`, `bit` and `bits` mean; a text where a board cannot have them. */
export function fieldOf(
  format: ValueFormat,
  binding: { readonly bit?: number; readonly bits?: { readonly first: number; readonly count: number } },
): Field | string | undefined {
  const half = /^(u?)int8([lh])$/.exec(format.as)
  const bits = binding.bit === undefined ? binding.bits : { first: binding.bit, count: 1 }
  if (half === null && bits === undefined) return undefined
  if (half === null && !/^u?int/.test(format.as)) return `bits of ${format.as} are no bits of a register`
  const width = half === null ? registersOf(format) * 16 : 8
  const { first, count } = bits ?? { first: 0, count: 8 }
  if (first + count > width) return `bits ${first} to ${first + count - 1} are outside ${format.as}`
  const shift = half?.[2] === 'h' ? 8 : 0
  return { first: first + shift, count, signed: bits === undefined && half?.[1] === '' }
}

/** The smallest C type of a field. */
export function fieldType({ count, signed }: Field): Form['c'] {
  if (count === 1) return 'bool'
  if (count <= 8) return signed ? 'int8_t' : 'uint8_t'
  return count <= 16 ? 'uint16_t' : count <= 32 ? 'uint32_t' : 'uint64_t'
}

export const wordType = (registers: number): 'uint16_t' | 'uint32_t' | 'uint64_t' =>
  registers === 1 ? 'uint16_t' : registers === 2 ? 'uint32_t' : 'uint64_t'

/** Least and greatest raw number a C type holds; undefined for text and bytes. */
export function rangeOf(c: Form['c'], format: ValueFormat, field: Field | undefined) {
  if (c === 'text' || c === 'bytes') return undefined
  if (field !== undefined) {
    const size = 2n ** BigInt(field.count)
    return field.signed ? { min: -size / 2n, max: size / 2n - 1n } : { min: 0n, max: size - 1n }
  }
  const limits = rawLimits(format.as)
  if (limits === undefined || c === 'float' || c === 'double') return limits
  return { min: BigInt(limits.min), max: BigInt(limits.max) }
}
