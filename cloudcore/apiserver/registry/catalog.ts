import { ApiStatusError } from '../http/status.ts'
import type { Kind } from './kind.ts'
import { groupVersion } from './kind.ts'

/** Every kind that is served right now. Custom kinds come and go; `generation` counts that for caches of discovery. */
export class Catalog {
  generation = 0
  /** Told after every change of what is served. */
  readonly listeners = new Set<() => void>()
  readonly #kinds = new Map<string, Kind>()

  constructor(builtins: readonly Kind[]) {
    for (const kind of builtins) this.#kinds.set(id(kind), kind)
  }

  find(group: string, version: string, plural: string): Kind | undefined {
    return this.#kinds.get(`${group}/${version}/${plural}`)
  }

  findKind(apiVersion: string, kind: string): Kind | undefined {
    for (const candidate of this.#kinds.values()) {
      if (candidate.kind === kind && groupVersion(candidate) === apiVersion) return candidate
    }
    return undefined
  }

  /** Any served version of a stored resource. */
  byResource(resource: string): Kind | undefined {
    for (const kind of this.#kinds.values()) if (kind.resource === resource) return kind
    return undefined
  }

  need(resource: string): Kind {
    const kind = this.byResource(resource)
    if (kind === undefined) throw new ApiStatusError(404, 'NotFound', `the server does not serve ${resource}`)
    return kind
  }

  all(): Kind[] {
    return [...this.#kinds.values()]
  }

  /** The served versions of each group, the core group ('') first. */
  groups(): Map<string, string[]> {
    const groups = new Map<string, string[]>()
    for (const kind of this.#kinds.values()) {
      const versions = groups.get(kind.group) ?? []
      if (!versions.includes(kind.version)) groups.set(kind.group, [...versions, kind.version].sort(byPriority))
    }
    return groups
  }

  in(group: string, version: string): Kind[] {
    return this.all().filter((kind) => kind.group === group && kind.version === version)
  }

  /** Replaces what is served of a custom resource. */
  setCustom(resource: string, kinds: readonly Kind[]): void {
    for (const [key, kind] of this.#kinds) if (kind.custom && kind.resource === resource) this.#kinds.delete(key)
    for (const kind of kinds) this.#kinds.set(id(kind), kind)
    this.generation++
    for (const listener of this.listeners) listener()
  }
}

function id(kind: Kind): string {
  return `${kind.group}/${kind.version}/${kind.plural}`
}

/** Stable versions before beta before alpha, the newer first (apimachinery's version priority). */
function byPriority(left: string, right: string): number {
  const rank = (version: string) => {
    const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version)
    if (match === null) return [-1, 0, 0]
    const stage = match[2] === undefined ? 2 : match[2] === 'beta' ? 1 : 0
    return [stage, Number(match[1]), Number(match[3] ?? 0)]
  }
  const [a, b] = [rank(left), rank(right)]
  for (let index = 0; index < 3; index++) {
    const order = (b[index] ?? 0) - (a[index] ?? 0)
    if (order !== 0) return order
  }
  return left.localeCompare(right)
}
