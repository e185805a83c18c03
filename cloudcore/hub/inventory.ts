import type { LinkObject, LinkObjectKind } from '../../api/link/messages.ts'
import type { ObjectKey } from '../../api/resources.ts'

/** Where the objects of some kinds come from that gateways are to hold. What one gateway gets may differ from another. */
export interface ObjectSource {
  readonly kinds: readonly LinkObjectKind[]
  wantedBy(gateway: string): Iterable<{ readonly kind: LinkObjectKind; readonly key: ObjectKey }>
  isWanted(gateway: string, kind: LinkObjectKind, key: ObjectKey): boolean
  /** Names the content this gateway is to hold; undefined when there is no such object. */
  rev(gateway: string, kind: LinkObjectKind, key: ObjectKey): string | undefined
  linkObject(gateway: string, kind: LinkObjectKind, key: ObjectKey): LinkObject | undefined
}

/** Several sources as one, each for its own kinds; what comes first here is sent first. */
export function inventory(...sources: readonly ObjectSource[]): ObjectSource {
  const byKind = new Map(sources.flatMap((source) => source.kinds.map((kind) => [kind, source] as const)))
  return {
    kinds: [...byKind.keys()],
    *wantedBy(gateway) {
      for (const source of sources) yield* source.wantedBy(gateway)
    },
    isWanted: (gateway, kind, key) => byKind.get(kind)?.isWanted(gateway, kind, key) ?? false,
    rev: (gateway, kind, key) => byKind.get(kind)?.rev(gateway, kind, key),
    linkObject: (gateway, kind, key) => byKind.get(kind)?.linkObject(gateway, kind, key),
  }
}
