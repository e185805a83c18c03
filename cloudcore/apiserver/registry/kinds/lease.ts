import { ageColumn, nameColumn, textColumn } from '../columns.ts'
import { builtin } from '../kind.ts'
import { fields, integer, objectSchema, text, time } from './schema-words.ts'

export const leaseKind = builtin({
  group: 'coordination.k8s.io',
  version: 'v1',
  kind: 'Lease',
  plural: 'leases',
  namespaced: true,
  needsVersion: true,
  schema: objectSchema('Lease defines a lease concept: who holds something, and since when.', {
    spec: fields({
      holderIdentity: text,
      leaseDurationSeconds: { ...integer, minimum: 1 },
      acquireTime: time,
      renewTime: time,
      leaseTransitions: { ...integer, minimum: 0 },
      strategy: text,
      preferredHolder: text,
    }),
  }),
  columns: [
    nameColumn,
    textColumn('Holder', 'Identity of the holder of the lease at the time it was looked at.', [
      'spec',
      'holderIdentity',
    ]),
    ageColumn,
  ],
})
