import { stringLiteral } from './c-names.ts'
import { hookFunctions, limitsOf, wordFunctions } from './emit-hooks.ts'
import {
  givenType,
  hasReadHook,
  hooksOf,
  isBytes,
  isNumber,
  isText,
  memberOf,
  placeType,
  type SourceOptions,
  textBytes,
} from './emit-names.ts'
import { literal } from './literal.ts'
import type { BoardProperty } from './plan.ts'
import type { TableEntry } from './words.ts'

/** Keys of properties in the settings log begin here (core/settings.h); below are those of the board itself. */
export const SETTINGS_KEY = 0x1000

const TABLE_NAMES = [
  ['coil', 'coils'],
  ['discrete', 'discretes'],
  ['holding', 'holdings'],
  ['input', 'inputs'],
] as const

/** properties.c: memory, limits, conversions and the register table. */
export function propertiesSource(
  model: string,
  properties: readonly BoardProperty[],
  entries: readonly TableEntry[],
  options: SourceOptions,
): string {
  const kept = properties.filter(({ persist }) => persist)
  const parts = [
    `/* Generated from the model ${model}; the next "sluice fw gen" writes it anew. */`,
    '#include "properties.h"\n\n#include "board.h"\n#include "forms.h"\n#include "memory.h"\n#include "model.h"\n#include "runtime.h"',
    ...(kept.length > 0 ? ['#include "layout.h"\n#include "settings.h"'] : []),
    initial(properties),
    ...(kept.length > 0 ? [`static bool changed[${kept.length}];\n`] : []),
    ...(options.hooks ? properties.flatMap(weakHooks) : []),
    ...properties.flatMap((each) => hookFunctions(each, kept.indexOf(each), options)),
    ...entries.flatMap((entry) => (entry.of.kind === 'fields' ? wordFunctions(entry, options) : [])),
    wireBuffer(properties, options),
    ...TABLE_NAMES.map(([table, name]) =>
      tableOf(
        name,
        entries.filter((entry) => entry.table === table),
        options,
      ),
    ),
    mapOf(entries),
    persistence(kept),
  ]
  return `${parts.filter((part) => part !== '').join('\n')}\n`
}

function initial(properties: readonly BoardProperty[]): string {
  const members = properties.flatMap((each) => {
    const { first, id, form } = each
    if (first instanceof Uint8Array) {
      if (first.length === 0) return []
      return isText(each)
        ? [`  .${id} = ${stringLiteral(new TextDecoder().decode(first))},`]
        : [`  .${id} = {${[...first].join(', ')}},`]
    }
    return Number(first) === 0 ? [] : [`  .${id} = ${literal(form.c, first)},`]
  })
  return members.length === 0
    ? 'sl_properties properties;\n'
    : `sl_properties properties = {\n${members.join('\n')}\n};\n`
}

const WEAK = '__attribute__((weak))'

function weakHooks(each: BoardProperty): string[] {
  const nothing = '{\n  (void)value;\n  return SL_OK;\n}'
  return [
    ...(hasReadHook(each) ? [`${WEAK} sl_result read_${each.id}(${placeType(each)}value) ${nothing}`] : []),
    ...(each.writable ? [`${WEAK} sl_result on_write_${each.id}(${givenType(each)}value) ${nothing}`] : []),
  ]
}

/** Text is put together here when it is asked for: it leaves before the next one is. */
function wireBuffer(properties: readonly BoardProperty[], options: SourceOptions): string {
  const fetched = properties.filter((each) => !isNumber(each) && hooksOf(each, options).read)
  const sizes = fetched.map(({ registers }) => 2 * registers)
  return sizes.length === 0 ? '' : `static uint8_t wire[${Math.max(...sizes)}];\n`
}

function tableOf(name: string, entries: readonly TableEntry[], options: SourceOptions): string {
  if (entries.length === 0) return ''
  const constants = entries.flatMap(({ of, sl }, at) =>
    of.kind === 'constant'
      ? [`static ${sl === 'SL_I16' ? 'int16_t' : 'uint16_t'} ${name}_constant_${at} = ${of.value};`]
      : [],
  )
  const rows = entries.map((entry, at) => rowOf(entry, `${name}_constant_${at}`, options))
  return [...constants, `static const sl_register ${name}[] = {`, ...rows, '};\n'].join('\n')
}

function rowOf(entry: TableEntry, constant: string, options: SourceOptions): string {
  const { address, sl, count, of, writable } = entry
  const flags = [...(writable ? ['SL_WRITABLE'] : []), ...(entry.order === '' ? [] : [entry.order])].join(' | ') || '0'
  const row = (number: number, value: string, limits: string, read: string, write: string): string =>
    `  {${address}, ${sl}, ${flags}, ${count}, ${number}, ${value}, ${limits}, ${read}, ${write}},`
  if (of.kind === 'constant') return row(0xffff, `&${constant}`, 'NULL', 'NULL', 'NULL')
  if (of.kind === 'fields')
    return row(of.properties[0]!.number, 'NULL', 'NULL', `fetch_${of.name}`, writable ? `take_${of.name}` : 'NULL')
  const { property } = of
  const hooks = hooksOf(property, options)
  const value = isNumber(property)
    ? property.form.convert === undefined
      ? `&${memberOf(property)}`
      : 'NULL'
    : isBytes(property) && !hooks.read
      ? memberOf(property)
      : 'wire'
  const limits = writable && limitsOf(property) !== undefined ? `limits_${property.id}` : 'NULL'
  const fetch = hooks.read ? `fetch_${property.id}` : 'NULL'
  return row(property.number, value, limits, fetch, writable && hooks.write ? `take_${property.id}` : 'NULL')
}

function mapOf(entries: readonly TableEntry[]): string {
  const tables = TABLE_NAMES.map(([table, name]) => {
    const count = entries.filter((entry) => entry.table === table).length
    return count === 0 ? '{NULL, 0}' : `{${name}, ${count}}`
  })
  return `const sl_register_map sl_model_map = {\n  {${tables.join(', ')}},\n  sl_system_word, SL_SYSTEM_ADDRESS, SL_SYSTEM_WORDS,\n};\n`
}

/** Changed values go to the flash in the main loop, after the write was answered. */
function persistence(kept: readonly BoardProperty[]): string {
  if (kept.length === 0) return 'void sl_model_restore(void) {}\nvoid sl_model_keep(void) {}'
  const restore = kept.flatMap((each) => {
    const bytes = isNumber(each) ? undefined : textBytes(each)
    const key = SETTINGS_KEY + each.number
    if (bytes === undefined) {
      const type = each.form.c === 'bool' ? 'uint8_t' : each.form.c
      const value = each.form.c === 'bool' ? 'kept != 0' : 'kept'
      return [
        '  {',
        `    ${type} kept;`,
        `    if (sl_settings_get(&settings, ${key}u, &kept, sizeof kept) == (int32_t)sizeof kept && allowed_${each.id}(${value})) ${memberOf(each)} = ${value};`,
        '  }',
      ]
    }
    const end = isText(each) ? ` && kept[${bytes - 1}] == '\\0'` : ''
    return [
      '  {',
      `    ${isText(each) ? 'char' : 'uint8_t'} kept[${bytes}];`,
      `    if (sl_settings_get(&settings, ${key}u, kept, sizeof kept) == (int32_t)sizeof kept${end} && allowed_${each.id}(kept)) memcpy(${memberOf(each)}, kept, sizeof kept);`,
      '  }',
    ]
  })
  const rows = kept.map(
    (each) =>
      `    {${SETTINGS_KEY + each.number}u, sizeof ${memberOf(each)}, ${isNumber(each) ? '&' : ''}${memberOf(each)}},`,
  )
  return [
    'static sl_settings settings = {.address = SL_SETTINGS_LOG_ADDRESS, .bank_size = SL_FLASH_PAGE, .banks = SL_SETTINGS_LOG_BANKS};\n',
    'void sl_model_restore(void) {',
    '  sl_settings_open(&settings);',
    ...restore,
    '}\n',
    'void sl_model_keep(void) {',
    '  static const struct {',
    '    uint16_t key;',
    '    uint8_t size;',
    '    const void *value;',
    '  } rows[] = {',
    ...rows,
    '  };',
    '  for (uint16_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {',
    '    if (!changed[i]) continue;',
    '    changed[i] = false;',
    '    (void)sl_settings_set(&settings, rows[i].key, rows[i].value, rows[i].size);',
    '  }',
    '}',
  ].join('\n')
}
