import { isFields } from '../../api/yaml/fragments.ts'
import type { SourceDocument } from '../../api/yaml/read.ts'

export const GROUP = 'devices.kubeedge.io/'

export const isKubeEdge = ({ apiVersion }: SourceDocument): boolean => apiVersion?.startsWith(GROUP) === true

/** A `List`, as `kubectl get -o yaml` writes it, as its items. */
export function listed(document: SourceDocument): readonly SourceDocument[] {
  const { value } = document
  if (document.kind !== 'List' || !isFields(value) || !Array.isArray(value['items'])) return [document]
  return value['items'].map((item: unknown, index): SourceDocument => {
    const fields = isFields(item) ? item : {}
    const metadata = isFields(fields['metadata']) ? fields['metadata'] : {}
    return {
      file: document.file,
      value: item,
      apiVersion: text(fields['apiVersion']),
      kind: text(fields['kind']),
      name: text(metadata['name']),
      namespace: text(metadata['namespace']),
      line: document.positionOf(['items', index]).line,
      positionOf: (path, part) => document.positionOf(['items', index, ...path], part),
    }
  })
}

const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
