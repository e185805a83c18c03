import type { KubeObject } from '../../objects.ts'
import { at, deepEqual, isObject, stringAt, withField } from '../../objects.ts'
import { ageColumn, nameColumn, textColumn } from '../columns.ts'
import { builtin } from '../kind.ts'
import { entryCount, immutableProblems, keyProblems } from './config-map.ts'
import { bytes, flag, mapOf, objectSchema, text, withDefault } from './schema-words.ts'

export const secretKind = builtin({
  group: '',
  version: 'v1',
  kind: 'Secret',
  plural: 'secrets',
  namespaced: true,
  schema: objectSchema('Secret holds secret data of a certain type.', {
    data: mapOf(bytes),
    stringData: mapOf(text),
    type: withDefault(text, 'Opaque'),
    immutable: flag,
  }),
  columns: [
    nameColumn,
    textColumn('Type', 'What the secret is for, which says which keys it has to have; set at creation.', ['type']),
    {
      name: 'Data',
      type: 'string',
      description: 'How many keys the object has, whatever the size of the values behind them.',
      cell: (object) => entryCount(object),
    },
    ageColumn,
  ],
  selectable: { type: (object) => stringAt(object, 'type') },
  prepare: (object) => encodeStringData(object),
  validate: (object, old) => [
    ...keyProblems(object, ['data']),
    ...immutableProblems(object, old, ['data', 'type']),
    ...(old !== undefined && !deepEqual(at(old, 'type'), at(object, 'type')) && at(old, 'immutable') !== true
      ? [
          {
            reason: 'FieldValueInvalid',
            message: `Invalid value: ${JSON.stringify(at(object, 'type'))}: field is immutable`,
            field: 'type',
          },
        ]
      : []),
  ],
})

/** stringData is a way to write only: it ends up in data, in base64. */
function encodeStringData(object: KubeObject): KubeObject {
  const plain = at(object, 'stringData')
  if (plain === undefined) return object
  const encoded: Record<string, string> = {}
  if (isObject(plain)) {
    for (const [key, value] of Object.entries(plain)) encoded[key] = Buffer.from(String(value)).toString('base64')
  }
  const data = at(object, 'data')
  return withField(withField(object, ['stringData'], undefined), ['data'], {
    ...(isObject(data) ? data : {}),
    ...encoded,
  })
}
