import type { JsonObject, KubeObject } from '../objects.ts'
import type { Kind } from '../registry/kind.ts'

export type IncludeObject = 'None' | 'Metadata' | 'Object'

/** What `kubectl get` prints: meta.k8s.io/v1 Table. */
export function columnDefinitions(kind: Kind): JsonObject[] {
  return kind.columns.map(({ name, type, format, description, priority }) => ({
    name,
    type,
    format: format ?? '',
    description,
    priority: priority ?? 0,
  }))
}

export function tableRow(object: KubeObject, kind: Kind, include: IncludeObject, nowMs: number): JsonObject {
  const shown = include === 'Object' ? object : include === 'None' ? undefined : partialMetadata(object)
  return {
    cells: kind.columns.map((column) => column.cell(object, nowMs)),
    ...(shown === undefined ? {} : { object: shown }),
  }
}

export function partialMetadata(object: KubeObject): JsonObject {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata }
}

export function table(
  rows: readonly JsonObject[],
  columns: readonly JsonObject[] | undefined,
  metadata: JsonObject,
): JsonObject {
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    ...(columns === undefined ? { columnDefinitions: [] } : { columnDefinitions: columns }),
    rows,
  }
}
