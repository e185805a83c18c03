import type { BoardProperty } from './plan.ts'

/** Bytes a text needs in memory, its end included; bytes as many as its registers. */
export const textBytes = ({ form, format, registers }: BoardProperty): number =>
  form.c === 'bytes' ? 2 * registers : (format.stringByte === 'both' ? 2 * registers : registers) + 1

export const isText = ({ form }: BoardProperty): boolean => form.c === 'text'
export const isBytes = ({ form }: BoardProperty): boolean => form.c === 'bytes'
export const isNumber = (property: BoardProperty): boolean => !isText(property) && !isBytes(property)

export const memberOf = ({ id }: BoardProperty): string => `properties.${id}`

export const declare = (property: BoardProperty): string =>
  isText(property)
    ? `char ${property.id}[${textBytes(property)}]`
    : isBytes(property)
      ? `uint8_t ${property.id}[${textBytes(property)}]`
      : `${property.form.c} ${property.id}`

/** What a function takes that is given a value. */
export const givenType = (property: BoardProperty): string =>
  isText(property) ? 'const char *' : isBytes(property) ? 'const uint8_t *' : `${property.form.c} `

/** What a function takes that puts a value somewhere. */
export const placeType = (property: BoardProperty): string =>
  isText(property) ? 'char *' : isBytes(property) ? 'uint8_t *' : `${property.form.c} *`

/** Of a property that the board itself measures: the application fetches it when it is asked for. */
export const hasReadHook = (property: BoardProperty): boolean => property.readable && !property.writable

export interface SourceOptions {
  /** Whether the application is asked and told; without, values only stand in memory. */
  readonly hooks: boolean
}

/** Which functions stand between the register table and the value. */
export function hooksOf(
  each: BoardProperty,
  options: SourceOptions,
): { readonly read: boolean; readonly write: boolean } {
  const { form, format, allowed, persist } = each
  const swapped = isBytes(each) && (format.order === 'little' || format.order === 'little-swap')
  const converted = form.convert !== undefined || isText(each) || swapped
  return {
    read: converted || (options.hooks && hasReadHook(each)),
    write: converted || options.hooks || persist || allowed.only !== undefined || allowed.texts !== undefined,
  }
}
