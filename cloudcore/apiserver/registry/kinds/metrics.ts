import type { Kind } from '../kind.ts'
import { builtin } from '../kind.ts'
import { anything, objectSchema } from './schema-words.ts'

export const METRICS_GROUP = 'metrics.k8s.io'

const metrics = (kind: string, plural: string, namespaced: boolean): Kind =>
  builtin({
    ...{ group: METRICS_GROUP, version: 'v1beta1', kind, plural, namespaced, columns: [], verbs: ['get', 'list'] },
    singular: '',
    listKind: `${kind}List`,
    schema: objectSchema(`${kind} says how much is used right now; it is measured when asked for and never stored.`, {
      timestamp: anything,
      window: anything,
      usage: anything,
      containers: anything,
    }),
  })

/** What `kubectl top` and autoscalers read; answered from the nodes (http/metrics.ts). */
export const metricsKinds: readonly Kind[] = [
  metrics('NodeMetrics', 'nodes', false),
  metrics('PodMetrics', 'pods', true),
]
