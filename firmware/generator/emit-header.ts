import { compileLinear } from '../../mappers/sdk/convert.ts'
import { commentText } from './c-names.ts'
import { declare, givenType, hasReadHook, isBytes, isNumber, isText, placeType, textBytes } from './emit-names.ts'
import { literal } from './literal.ts'
import type { BoardProperty } from './plan.ts'

/** properties.h: what the application works with. */
export function propertiesHeader(model: string, properties: readonly BoardProperty[]): string {
  const parts = [
    `/* Generated from the model ${commentText(model)}; the next "sluice fw gen" writes it anew. */`,
    '#ifndef SL_PROPERTIES_H\n#define SL_PROPERTIES_H\n',
    '#include <stdbool.h>\n#include <stdint.h>\n\n#include "registers.h"\n',
    `/** The newest value of every property, as raw numbers of its registers. */\ntypedef struct {`,
    ...(properties.length === 0
      ? ['  char none;']
      : properties.map((each) => `  ${declare(each)}; /* ${describe(each)} */`)),
    '} sl_properties;\n\nextern sl_properties properties;\n',
    '/** Key of each property where its name would be too long (CBOR); stays the same while the property is there. */',
    `enum {\n${properties.map(({ id, number }) => `  KEY_${id.toUpperCase()} = ${number},`).join('\n') || '  KEY_NONE_ = 0,'}\n};\n`,
    ...properties.flatMap(wordsOf),
    ...properties.flatMap(scaleOf),
    '/* Sets a value from the application, within the limits of the model: SL_BAD_VALUE and nothing changed beyond them. */',
    ...properties.map((each) => `sl_result set_${each.id}(${givenType(each)}value);`),
    '\n/*',
    ' * To be filled in by the application; what is not there does nothing. read_x puts a new value into what it is given,',
    ' * which holds the last one; on_write_x is told what was written and is within its limits, and may refuse it.',
    ' */',
    ...properties.flatMap((each) => [
      ...(hasReadHook(each) ? [`sl_result read_${each.id}(${placeType(each)}value);`] : []),
      ...(each.writable ? [`sl_result on_write_${each.id}(${givenType(each)}value);`] : []),
    ]),
    '/** Once, when stored values are back and before anybody is answered. */\nvoid app_setup(void);',
    '/** Every 20 ms or sooner. */\nvoid app_loop(void);\n',
    '/* A function of the application that nothing calls is most often a name that was changed in the model. */',
    '#pragma GCC diagnostic error "-Wmissing-prototypes"\n\n#endif',
  ]
  return `${parts.join('\n')}\n`
}

function describe(each: BoardProperty): string {
  const { property, binding } = each
  const unit = property.unit === undefined ? '' : ` ${property.unit}`
  const linear = compileLinear(binding.scale, binding.offset)
  const range =
    property.min === undefined && property.max === undefined
      ? ''
      : `, ${property.min ?? ''} to ${property.max ?? ''}${unit}`
  const form = isText(each)
    ? `text of at most ${textBytes(each) - 1} bytes`
    : isBytes(each)
      ? `${textBytes(each)} bytes`
      : binding.map !== undefined
        ? 'one of its constants'
        : linear !== undefined || each.exponent !== undefined
          ? `RAW_${each.id.toUpperCase()}(...)`
          : 'as it is'
  const words = property.description === undefined ? '' : `: ${property.description}`
  return commentText(`${property.name}${unit}, ${form}${range}${words}`)
}

const wordsOf = ({ property, constants, form }: BoardProperty): string[] =>
  constants.map(
    ({ name, raw, says }) =>
      `#define ${name} (${literal(form.c, raw)}) /* ${commentText(`${property.name}: ${says}`)} */`,
  )

/** Constants of the compiler: with a constant in the brackets no floating point is left in the program. */
function scaleOf(each: BoardProperty): string[] {
  const { binding, form, id, property, exponent = 0 } = each
  if (!isNumber(each) || binding.map !== undefined || form.c === 'bool') return []
  const { scale = 1, offset = 0 } = binding
  if (scale === 1 && offset === 0 && exponent === 0) return []
  const power = 10 ** Math.abs(exponent)
  const one = exponent < 0 ? `* ${literal('double', power)}` : `/ ${literal('double', power)}`
  const toRaw = `(((double)(value) - ${literal('double', offset)}) / ${literal('double', scale)} ${exponent === 0 ? '' : one})`
  const whole = form.c !== 'float' && form.c !== 'double'
  const rounded = whole ? `(${form.c})(${toRaw} + (${toRaw} < 0.0 ? -0.5 : 0.5))` : `(${form.c})${toRaw}`
  return [
    `/** ${commentText(`${property.name}${property.unit === undefined ? '' : ` in ${property.unit}`}`)}, as the number its registers hold. */`,
    `#define RAW_${id.toUpperCase()}(value) (${rounded})`,
  ]
}
