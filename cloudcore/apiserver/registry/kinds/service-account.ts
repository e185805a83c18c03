import { listAt } from '../../objects.ts'
import { ageColumn, nameColumn } from '../columns.ts'
import { builtin } from '../kind.ts'
import { flag, list, listBy, localObjectReference, objectReference, objectSchema } from './schema-words.ts'

export const serviceAccountKind = builtin({
  group: '',
  version: 'v1',
  kind: 'ServiceAccount',
  plural: 'serviceaccounts',
  shortNames: ['sa'],
  namespaced: true,
  schema: objectSchema('ServiceAccount is the identity that processes in pods use.', {
    secrets: listBy(['name'], objectReference),
    imagePullSecrets: list(localObjectReference),
    automountServiceAccountToken: flag,
  }),
  columns: [
    nameColumn,
    {
      name: 'Secrets',
      type: 'string',
      description: 'How many secrets pods that run with this account may use, if the list is enforced.',
      cell: (object) => listAt(object, 'secrets').length,
    },
    ageColumn,
  ],
})
