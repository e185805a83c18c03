import type { Schema } from '../crd/schema.ts'
import type { StatusCause } from '../http/status.ts'
import type { JsonObject, KubeObject } from '../objects.ts'

/** A column of `kubectl get`. */
export interface Column {
  readonly name: string
  readonly type: string
  readonly format?: string
  readonly description: string
  /** 0 shows always, 1 with `-o wide`. */
  readonly priority?: number
  cell(object: KubeObject, nowMs: number): unknown
}

export interface Caller {
  readonly user: string
  readonly groups: readonly string[]
}

/** Where a scale subresource finds its numbers (CustomResourceSubresourceScale). */
export interface ScalePaths {
  readonly spec: readonly string[]
  readonly status: readonly string[]
  readonly selector: readonly string[] | undefined
}

/**
 * Everything the generic machinery has to know about a kind. A built-in kind is one small file that exports one of
 * these; a custom kind is made from its definition.
 */
/** Objects without a namespace, for who has to know them. */
export interface LookUp {
  get(resource: string, name: string): KubeObject | undefined
  all(resource: string): Iterable<KubeObject>
}

export interface Kind {
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly listKind: string
  readonly plural: string
  readonly singular: string
  readonly shortNames: readonly string[]
  readonly categories: readonly string[]
  readonly namespaced: boolean
  readonly verbs: readonly string[]
  /** Name in storage, the same for all versions: `pods`, `devices.sluice.dev`. */
  readonly resource: string
  readonly custom: boolean
  readonly schema: Schema
  readonly columns: readonly Column[]
  readonly hasStatus: boolean
  /** Whether metadata.generation counts changes of the desired state. */
  readonly counts: boolean
  readonly scale?: ScalePaths | undefined
  readonly subresources?: readonly Subresource[]
  /** A PUT must name the version it replaces. */
  readonly needsVersion: boolean
  /** Field selectors besides metadata.name and metadata.namespace. */
  readonly selectable: Readonly<Record<string, (object: KubeObject) => string>>
  /** Names are checked as DNS subdomains unless this says otherwise; returns what is wrong. */
  nameProblem?(name: string): string | undefined
  /** Fills in and puts in order what a schema cannot say, before validation. */
  prepare?(object: KubeObject, old: KubeObject | undefined): KubeObject
  /** What other objects say about a new one, before `prepare`. Throws an API error when it may not be. */
  admit?(object: KubeObject, lookUp: LookUp): KubeObject
  validate?(object: KubeObject, old: KubeObject | undefined): readonly StatusCause[]
  /** Seconds an object is given to end by itself after a delete (0: gone at once). */
  graceSeconds?(object: KubeObject, asked: number | undefined): number
  /** For kinds that are questions, not objects: answers a create and stores nothing. */
  review?(question: JsonObject, caller: Caller): JsonObject
}

/** A subresource besides status and scale, as discovery names it. Which code answers it is the http folder's. */
export interface Subresource {
  readonly name: string
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly verbs: readonly string[]
}

const STORED_VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']

type Optional =
  | 'listKind'
  | 'shortNames'
  | 'categories'
  | 'verbs'
  | 'resource'
  | 'custom'
  | 'hasStatus'
  | 'counts'
  | 'needsVersion'
  | 'selectable'
  | 'singular'

/** A built-in kind, with what most of them share. */
export function builtin(kind: Omit<Kind, Optional> & Partial<Pick<Kind, Optional>>): Kind {
  return {
    listKind: `${kind.kind}List`,
    singular: kind.kind.toLowerCase(),
    shortNames: [],
    categories: [],
    verbs: kind.review === undefined ? STORED_VERBS : ['create'],
    resource: kind.group === '' ? kind.plural : `${kind.plural}.${kind.group}`,
    custom: false,
    hasStatus: false,
    counts: false,
    needsVersion: false,
    selectable: {},
    ...kind,
  }
}

export function groupVersion(kind: { readonly group: string; readonly version: string }): string {
  return kind.group === '' ? kind.version : `${kind.group}/${kind.version}`
}
