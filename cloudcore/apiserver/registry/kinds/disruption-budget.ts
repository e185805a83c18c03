import { at } from '../../objects.ts'
import { ageColumn, nameColumn } from '../columns.ts'
import { builtin } from '../kind.ts'
import { labelSelector, workloadConditions } from './pod-template.ts'
import { anything, fields, integer, intOrString, objectSchema, text, withDefault } from './schema-words.ts'

export const disruptionBudgetKind = builtin({
  group: 'policy',
  version: 'v1',
  kind: 'PodDisruptionBudget',
  plural: 'poddisruptionbudgets',
  shortNames: ['pdb'],
  namespaced: true,
  hasStatus: true,
  counts: true,
  schema: objectSchema('PodDisruptionBudget says how many of a set of pods may be taken away at a time.', {
    spec: fields({
      minAvailable: intOrString,
      maxUnavailable: intOrString,
      selector: labelSelector,
      unhealthyPodEvictionPolicy: text,
    }),
    status: withDefault(
      fields({
        observedGeneration: integer,
        disruptedPods: anything,
        disruptionsAllowed: withDefault(integer, 0),
        currentHealthy: withDefault(integer, 0),
        desiredHealthy: withDefault(integer, 0),
        expectedPods: withDefault(integer, 0),
        conditions: workloadConditions,
      }),
      {},
    ),
  }),
  columns: [
    nameColumn,
    {
      ...{ name: 'Min Available', type: 'string', description: 'Pods that have to be available.' },
      cell: (object) => String(at(object, 'spec', 'minAvailable') ?? 'N/A'),
    },
    {
      ...{ name: 'Max Unavailable', type: 'string', description: 'Pods that may be away.' },
      cell: (object) => String(at(object, 'spec', 'maxUnavailable') ?? 'N/A'),
    },
    {
      ...{ name: 'Allowed Disruptions', type: 'integer', description: 'Pods that may be taken away now.' },
      cell: (object) => at(object, 'status', 'disruptionsAllowed') ?? 0,
    },
    ageColumn,
  ],
})
