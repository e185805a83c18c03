import type { StatusCause } from '../../http/status.ts'
import type { KubeObject } from '../../objects.ts'
import { at, deepEqual, isObject } from '../../objects.ts'
import { ageColumn, nameColumn } from '../columns.ts'
import { builtin } from '../kind.ts'
import { bytes, flag, mapOf, objectSchema, text } from './schema-words.ts'

const KEY = /^[-._a-zA-Z0-9]+$/
const KEY_TEXT = `a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')`

export const configMapKind = builtin({
  group: '',
  version: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
  shortNames: ['cm'],
  namespaced: true,
  schema: objectSchema('ConfigMap holds configuration data for pods to consume.', {
    data: mapOf(text),
    binaryData: mapOf(bytes),
    immutable: flag,
  }),
  columns: [
    nameColumn,
    {
      name: 'Data',
      type: 'string',
      description: 'How many keys the object has, text and binary together, whatever their size.',
      cell: (object) => entryCount(object),
    },
    ageColumn,
  ],
  validate: (object, old) => [
    ...keyProblems(object, ['data', 'binaryData']),
    ...immutableProblems(object, old, ['data', 'binaryData']),
  ],
})

export function entryCount(object: KubeObject): number {
  return ['data', 'binaryData'].reduce((count, field) => count + Object.keys(entries(object, field)).length, 0)
}

/** Keys become file names in pods, so they are held to what a file name may be. */
export function keyProblems(object: KubeObject, names: readonly string[]): StatusCause[] {
  return names.flatMap((field) =>
    Object.keys(entries(object, field))
      .filter((key) => !KEY.test(key) || key.length > 253 || key === '.' || key.startsWith('..'))
      .map((key) => ({
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${JSON.stringify(key)}: ${KEY_TEXT}`,
        field: `${field}[${key}]`,
      })),
  )
}

export function immutableProblems(
  object: KubeObject,
  old: KubeObject | undefined,
  names: readonly string[],
): StatusCause[] {
  if (at(old, 'immutable') !== true) return []
  const changed = names.filter((field) => !deepEqual(at(object, field), at(old, field)))
  const frozen = at(object, 'immutable') === true ? changed : ['immutable', ...changed]
  return frozen.map((field) => ({
    reason: 'FieldValueForbidden',
    message: 'Forbidden: field is immutable when `immutable` is set',
    field,
  }))
}

function entries(object: KubeObject, field: string): Readonly<Record<string, unknown>> {
  const found = at(object, field)
  return isObject(found) ? found : {}
}
