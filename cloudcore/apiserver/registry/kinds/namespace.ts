import { kubeTime, stringAt, withField, withMetadata } from '../../objects.ts'
import { ageColumn, nameColumn, textColumn } from '../columns.ts'
import { builtin } from '../kind.ts'
import { dnsLabelProblem } from '../names.ts'
import { conditions, fields, list, objectSchema, oneOf, text } from './schema-words.ts'

/** Removed by the namespace controller once the namespace is empty; it lives in spec, not in metadata. */
const FINALIZER = 'kubernetes'

export const namespaceKind = builtin({
  group: '',
  version: 'v1',
  kind: 'Namespace',
  plural: 'namespaces',
  shortNames: ['ns'],
  namespaced: false,
  hasStatus: true,
  schema: objectSchema('Namespace provides a scope for names.', {
    spec: fields({ finalizers: list(text) }),
    status: fields({ phase: oneOf('Active', 'Terminating'), conditions: conditions('lastTransitionTime') }),
  }),
  columns: [nameColumn, textColumn('Status', 'The status of the namespace', ['status', 'phase']), ageColumn],
  selectable: { 'status.phase': (object) => stringAt(object, 'status', 'phase') },
  nameProblem: dnsLabelProblem,
  prepare(object, old) {
    const name = object.metadata.name
    const labels = { ...object.metadata.labels, ...(name === '' ? {} : { 'kubernetes.io/metadata.name': name }) }
    const labelled = withMetadata(object, { labels })
    if (old !== undefined) return labelled
    return withField(withField(labelled, ['spec', 'finalizers'], [FINALIZER]), ['status', 'phase'], 'Active')
  },
})

/** What a deleted namespace looks like until it is empty. */
export function terminatingNamespace(object: Parameters<typeof withMetadata>[0], nowMs: number) {
  const marked = withMetadata(object, { deletionTimestamp: object.metadata.deletionTimestamp ?? kubeTime(nowMs) })
  return withField(marked, ['status', 'phase'], 'Terminating')
}
