import { stringLiteral } from './c-names.ts'
import {
  givenType,
  hasReadHook,
  hooksOf,
  isBytes,
  isNumber,
  isText,
  memberOf,
  type SourceOptions,
  textBytes,
} from './emit-names.ts'
import { rangeOf, wordType } from './form.ts'
import { literal, typeRange } from './literal.ts'
import type { BoardProperty } from './plan.ts'
import type { TableEntry } from './words.ts'

interface Bounds {
  readonly min: number | bigint | undefined
  readonly max: number | bigint | undefined
}

/** Ends that are nearer than those of the C type. */
function boundsOf(each: BoardProperty): Bounds {
  const { form, format, field, allowed, table } = each
  const own = table === 'coil' || table === 'discrete' ? { min: 0n, max: 1n } : rangeOf(form.c, format, field)
  const type = typeRange(form.c)
  if (own === undefined) return { min: undefined, max: undefined }
  const least = allowed.min ?? own.min
  const most = allowed.max ?? own.max
  if (type !== undefined) return { min: least > type.min ? least : undefined, max: most < type.max ? most : undefined }
  // Of floats only what the model or a half float says: what is infinite may be written, as the gateway may read it.
  return {
    min: allowed.min ?? (format.as === 'float16' ? own.min : undefined),
    max: allowed.max ?? (format.as === 'float16' ? own.max : undefined),
  }
}

/** The limits the core checks by itself: of values that are in memory as they are in the registers. */
export function limitsOf(each: BoardProperty): Bounds | undefined {
  if (!isNumber(each) || each.field !== undefined || each.form.convert !== undefined || each.form.c === 'bool')
    return undefined
  const bounds = boundsOf(each)
  return bounds.min === undefined && bounds.max === undefined ? undefined : bounds
}

function limitsArray(each: BoardProperty): string[] {
  const bounds = limitsOf(each)
  if (bounds === undefined || !each.writable) return []
  const { c } = each.form
  const type = typeRange(c)
  const huge =
    c === 'float'
      ? { min: -3.4028234663852886e38, max: 3.4028234663852886e38 }
      : { min: -Number.MAX_VALUE, max: Number.MAX_VALUE }
  const ends = [bounds.min ?? type?.min ?? huge.min, bounds.max ?? type?.max ?? huge.max]
  return [`static const ${c} limits_${each.id}[2] = {${ends.map((end) => literal(c, end)).join(', ')}};`]
}

/** `allowed_x`: whether the model allows a value. */
function allowedFunction(each: BoardProperty): string {
  const { id, allowed, form } = each
  const head = `static bool allowed_${id}(${givenType(each)}value) {`
  if (!isNumber(each)) {
    const texts = allowed.texts
    if (texts === undefined) return `${head}\n  (void)value;\n  return true;\n}`
    const bytes = textBytes(each)
    const rows = texts.map((text) => {
      const raw = isText(each) ? text : Buffer.from(text, 'base64')
      if (typeof raw === 'string') return `  if (sl_same_text(value, ${stringLiteral(raw)})) return true;`
      const whole = [...raw, ...new Array<number>(Math.max(0, bytes - raw.length)).fill(0)]
      return `  {\n    static const uint8_t one[${bytes}] = {${whole.join(', ')}};\n    if (memcmp(value, one, sizeof one) == 0) return true;\n  }`
    })
    return `${head}\n${rows.join('\n')}\n  return false;\n}`
  }
  const { min, max } = boundsOf(each)
  const tests = [
    ...(min === undefined ? [] : [`value >= ${literal(form.c, min)}`]),
    ...(max === undefined ? [] : [`value <= ${literal(form.c, max)}`]),
  ]
  const { only } = allowed
  if (only !== undefined && form.c === 'bool') {
    if (only.length === 2) return `${head}\n  (void)value;\n  return true;\n}`
    return `${head}\n  return ${Number(only[0]) === 0 ? '!' : ''}value;\n}`
  }
  if (only !== undefined && typeof only[0] === 'bigint') {
    const cases = only.map((raw) => `    case ${literal(form.c, raw)}:`).join('\n')
    return `${head}\n  switch (value) {\n${cases}\n      return true;\n    default:\n      return false;\n  }\n}`
  }
  if (only !== undefined)
    return `${head}\n  static const ${form.c} ones[] = {${only.map((raw) => literal(form.c, raw)).join(', ')}};\n  for (uint16_t i = 0; i < ${only.length}; i++) {\n    if (memcmp(&ones[i], &value, sizeof value) == 0) return true;\n  }\n  return false;\n}`
  return tests.length === 0
    ? `${head}\n  (void)value;\n  return true;\n}`
    : `${head}\n  return ${tests.join(' && ')};\n}`
}

/** Stores a value that is allowed, and remembers that it is to be kept. */
function storing(each: BoardProperty, keptIndex: number): string[] {
  const store = isText(each)
    ? `  sl_copy_text(${memberOf(each)}, value, sizeof ${memberOf(each)});`
    : isBytes(each)
      ? `  memcpy(${memberOf(each)}, value, sizeof ${memberOf(each)});`
      : `  ${memberOf(each)} = value;`
  return [store, ...(keptIndex < 0 ? [] : [`  changed[${keptIndex}] = true;`]), '  return SL_OK;', '}']
}

/** The functions of one property. `keptIndex`: its place among those that survive a power cut, or -1. */
export function hookFunctions(each: BoardProperty, keptIndex: number, options: SourceOptions): string[] {
  const { id } = each
  const fits = isText(each)
    ? `sl_text_fits(value, sizeof ${memberOf(each)}) && allowed_${id}(value)`
    : `allowed_${id}(value)`
  const out = [
    ...limitsArray(each),
    allowedFunction(each),
    `sl_result set_${id}(${givenType(each)}value) {`,
    `  if (!(${fits})) return SL_BAD_VALUE;`,
    ...storing(each, keptIndex),
  ]
  if (each.writable && (each.field !== undefined || hooksOf(each, options).write)) {
    out.push(
      `static sl_result accept_${id}(${givenType(each)}value) {`,
      `  if (!allowed_${id}(value)) return SL_BAD_VALUE;`,
      ...(options.hooks
        ? [`  const sl_result result = on_write_${id}(value);`, '  if (result != SL_OK) return result;']
        : []),
      ...storing(each, keptIndex),
    )
    if (each.field === undefined) out.push(...takeFunction(each))
  }
  if (each.field === undefined && hooksOf(each, options).read) out.push(...fetchFunction(each, options))
  return [...out, '']
}

const asks = (each: BoardProperty, options: SourceOptions): string[] =>
  options.hooks && hasReadHook(each)
    ? [
        `  const sl_result result = read_${each.id}(${isNumber(each) ? '&' : ''}${memberOf(each)});`,
        '  if (result != SL_OK) return result;',
      ]
    : []

const textForm = ({ format }: BoardProperty): string => {
  const half = { both: 'SL_TEXT_BOTH', high: 'SL_TEXT_HIGH', low: 'SL_TEXT_LOW' }[format.stringByte]
  return format.order === 'little' || format.order === 'little-swap' ? `${half} | SL_TEXT_SWAPPED` : half
}

const swapsBytes = ({ format }: BoardProperty): boolean => format.order === 'little' || format.order === 'little-swap'

function fetchFunction(each: BoardProperty, options: SourceOptions): string[] {
  const { id, form, registers } = each
  const member = memberOf(each)
  const wire = form.convert?.wire ?? form.c
  const put = isText(each)
    ? `  sl_text_to_wire(value, ${registers}, ${textForm(each)}, ${member});`
    : isBytes(each)
      ? swapsBytes(each)
        ? `  sl_swap_bytes(value, ${member}, ${registers});`
        : `  memcpy(value, ${member}, sizeof ${member});`
      : `  *(${wire} *)value = ${form.convert === undefined ? member : `${form.convert.toWire}(${member})`};`
  return [`static sl_result fetch_${id}(void *value) {`, ...asks(each, options), put, '  return SL_OK;', '}']
}

function takeFunction(each: BoardProperty): string[] {
  const { id, form, registers, format } = each
  const head = `static sl_result take_${id}(const void *value) {`
  if (isText(each))
    return [
      head,
      `  char text[${textBytes(each)}];`,
      `  sl_text_from_wire(text, value, ${registers}, ${textForm(each)});`,
      `  return accept_${id}(text);`,
      '}',
    ]
  if (isBytes(each)) {
    if (!swapsBytes(each)) return [head, `  return accept_${id}(value);`, '}']
    return [
      head,
      `  uint8_t bytes[${textBytes(each)}];`,
      `  sl_swap_bytes(bytes, value, ${registers});`,
      `  return accept_${id}(bytes);`,
      '}',
    ]
  }
  if (form.convert === undefined) return [head, `  return accept_${id}(*(const ${form.c} *)value);`, '}']
  const { wire, fromWire } = form.convert
  const valid = format.as.startsWith('bcd') ? ['  if (!sl_bcd_is_valid(given)) return SL_BAD_VALUE;'] : []
  return [
    head,
    `  const ${wire} given = *(const ${wire} *)value;`,
    ...valid,
    `  return accept_${id}(${fromWire}(given));`,
    '}',
  ]
}

/** Puts the fields of a word together and takes it apart. */
export function wordFunctions(entry: TableEntry, options: SourceOptions): string[] {
  if (entry.of.kind !== 'fields') return []
  const { name, properties } = entry.of
  const word = wordType(entry.count)
  const one = word === 'uint64_t' ? 'UINT64_C(1)' : '1u'
  const mask = (count: number): string =>
    count >= 64
      ? 'UINT64_MAX'
      : word === 'uint64_t'
        ? `UINT64_C(${2n ** BigInt(count) - 1n})`
        : `${2n ** BigInt(count) - 1n}u`
  // Where it is written may be another place than where it is read: that one has only the second half.
  const elsewhere = entry.table !== properties[0]!.table || entry.address !== properties[0]!.address
  const fetch = [
    `static sl_result fetch_${name}(void *value) {`,
    ...(options.hooks && properties.some(hasReadHook) ? ['  sl_result result;'] : []),
    `  ${word} word = 0;`,
    ...properties.flatMap((each) => {
      const { first, count } = each.field!
      const member = memberOf(each)
      const bits =
        each.form.c === 'bool'
          ? `${member} ? ${one} << ${first} : 0`
          : `((${word})${each.field!.signed ? '(uint8_t)' : ''}${member} & ${mask(count)}) << ${first}`
      return [
        ...(options.hooks && hasReadHook(each)
          ? [`  result = read_${each.id}(&${member});`, '  if (result != SL_OK) return result;']
          : []),
        `  word = (${word})(word | (${bits}));`,
      ]
    }),
    `  *(${word} *)value = word;`,
    '  return SL_OK;',
    '}',
  ]
  const writable = properties.filter((each) => each.writable)
  if (!entry.writable) return [...fetch, '']
  const take = [
    `static sl_result take_${name}(const void *value) {`,
    `  const ${word} word = *(const ${word} *)value;`,
    ...writable.map((each) => `  const ${each.form.c} new_${each.id} = ${fieldFrom(each, mask)};`),
    ...writable.map((each) => `  if (!allowed_${each.id}(new_${each.id})) return SL_BAD_VALUE;`),
    '  sl_result result = SL_OK;',
    // Whoever changes one field writes its neighbours back as they are.
    ...writable.map(
      (each) =>
        `  if (new_${each.id} != ${memberOf(each)}) result = accept_${each.id}(new_${each.id});\n  if (result != SL_OK) return result;`,
    ),
    '  return SL_OK;',
    '}',
  ]
  return [...(elsewhere ? [] : fetch), ...take, '']
}

function fieldFrom(each: BoardProperty, mask: (count: number) => string): string {
  const { first, count, signed } = each.field!
  const bits = `(word >> ${first} & ${mask(count)})`
  if (each.form.c === 'bool') return `${bits} != 0`
  return signed ? `(int8_t)(uint8_t)${bits}` : `(${each.form.c})${bits}`
}
