import type { JsonObject, KubeObject } from '../objects.ts'
import { isObject, withMetadata } from '../objects.ts'
import type { Kind } from '../registry/kind.ts'
import { groupVersion } from '../registry/kind.ts'
import type { Registry } from '../registry/registry.ts'
import type { FieldSelector, Matcher } from '../registry/selectors.ts'
import { fieldMatcher, labelMatcher } from '../registry/selectors.ts'
import type { StoredObject } from '../storage/revision.ts'
import type { ListPosition } from '../storage/store.ts'
import { negotiate } from './accept.ts'
import type { Exchange } from './exchange.ts'
import { drained, sendObject } from './exchange.ts'
import { badRequest, expired, futureVersion } from './status.ts'
import type { IncludeObject } from './table.ts'
import { columnDefinitions, table, tableRow } from './table.ts'

/** Objects are read and sent this many at a time, so that a long list costs no more memory than a short one. */
const PAGE = 200

export interface Selection {
  readonly labels: Matcher | undefined
  readonly fields: FieldSelector | undefined
}

export function readSelection(query: URLSearchParams, kind: Kind): Selection {
  return {
    labels: labelMatcher(query.get('labelSelector') ?? ''),
    fields: fieldMatcher(query.get('fieldSelector') ?? '', kind),
  }
}

export function selects(selection: Selection, object: KubeObject): boolean {
  return (selection.labels?.(object) ?? true) && (selection.fields?.matches(object) ?? true)
}

export function readInclude(query: URLSearchParams): IncludeObject {
  const include = query.get('includeObject') ?? ''
  if (include === '' || include === 'Metadata') return 'Metadata'
  if (include === 'None' || include === 'Object') return include
  throw badRequest(`includeObject must be one of None, Metadata, Object: ${include}`)
}

/** The text of an object as one version of its kind shows it; stored text is used as it is where it can be. */
export function bodyInVersion(registry: Registry, stored: StoredObject, kind: Kind): string {
  if (stored.body.startsWith(`{"apiVersion":${JSON.stringify(groupVersion(kind))},`)) return stored.body
  return JSON.stringify(registry.inVersion(stored.object, kind))
}

interface ListPlan {
  readonly atRv: number
  readonly after: ListPosition | undefined
  readonly limit: number | undefined
}

/** GET of a collection. */
export async function answerList(
  exchange: Exchange,
  registry: Registry,
  kind: Kind,
  namespace: string | undefined,
): Promise<void> {
  const { query, response } = exchange
  const wanted = negotiate(exchange.request.headers.accept, ['Table', 'PartialObjectMetadataList'])
  const selection = readSelection(query, kind)
  await registry.store.committed()
  const plan = readPlan(query, registry)
  const rows = new Rows(registry, kind, namespace, selection, plan)
  if (wanted.as === undefined && wanted.type === 'application/json') {
    response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache, private' })
    response.write(
      `{"apiVersion":${JSON.stringify(groupVersion(kind))},"kind":${JSON.stringify(kind.listKind)},"items":[`,
    )
    let separator = ''
    for (const page of rows.pages()) {
      const text = page.map((stored) => bodyInVersion(registry, stored, kind)).join(',')
      if (text === '') continue
      if (!response.write(separator + text)) await drained(response)
      separator = ','
      if (response.destroyed) return
    }
    response.end(`],"metadata":${JSON.stringify(rows.metadata())}}`)
    return
  }
  const objects = [...rows.pages()].flat().map((stored) => registry.inVersion(stored.object, kind))
  if (wanted.as === 'Table') {
    const include = readInclude(query)
    const nowMs = registry.clock.now()
    const lines = objects.map((object) => tableRow(object, kind, include, nowMs))
    sendObject(response, 200, table(lines, columnDefinitions(kind), tidy(rows.metadata())), wanted)
  } else if (wanted.as === 'PartialObjectMetadataList') {
    const items = objects.map((object) => ({
      kind: 'PartialObjectMetadata',
      apiVersion: 'meta.k8s.io/v1',
      metadata: object.metadata,
    }))
    sendObject(
      response,
      200,
      { kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata: tidy(rows.metadata()), items },
      wanted,
    )
  } else {
    sendObject(
      response,
      200,
      { apiVersion: groupVersion(kind), kind: kind.listKind, metadata: rows.metadata(), items: objects },
      wanted,
    )
  }
}

/** Tables leave an empty continue out. */
function tidy(metadata: JsonObject): JsonObject {
  const { continue: token, ...rest } = metadata
  return token === '' ? rest : metadata
}

/** The objects of one answer, page by page, and what is to be said about the list afterwards. */
class Rows {
  readonly #registry: Registry
  readonly #kind: Kind
  readonly #namespace: string | undefined
  readonly #selection: Selection
  readonly #plan: ListPlan
  #next: ListPosition | undefined

  constructor(registry: Registry, kind: Kind, namespace: string | undefined, selection: Selection, plan: ListPlan) {
    this.#registry = registry
    this.#kind = kind
    this.#namespace = namespace
    this.#selection = selection
    this.#plan = plan
  }

  *pages(): Generator<StoredObject[]> {
    const { store } = this.#registry
    const { atRv, limit } = this.#plan
    const all = this.#selection.labels === undefined && this.#selection.fields === undefined
    const pinned = this.#selection.fields?.name
    if (
      pinned !== undefined &&
      (this.#namespace !== undefined || !this.#kind.namespaced) &&
      atRv === store.committedRevision
    ) {
      const found = store.get({ resource: this.#kind.resource, namespace: this.#namespace ?? '', name: pinned })
      if (found !== undefined && selects(this.#selection, found.object)) yield [found]
      return
    }
    let after = this.#plan.after
    let left = limit ?? Number.POSITIVE_INFINITY
    while (left > 0) {
      const size = all ? Math.min(PAGE, left + 1) : PAGE
      const listed = store.page(this.#kind.resource, this.#namespace, after, size, atRv)
      const chosen: StoredObject[] = []
      let full = false
      for (const item of listed) {
        const fits = all || selects(this.#selection, item.stored.object)
        if (fits && left === 0) {
          full = true
          break
        }
        after = item.key
        if (!fits) continue
        chosen.push(item.stored)
        left--
      }
      const more = full || listed.length === size
      if (left === 0 && more) this.#next = after
      yield chosen
      if (listed.length < size) return
    }
  }

  metadata(): JsonObject {
    const next = this.#next
    const { atRv } = this.#plan
    const counted = this.#selection.labels === undefined && this.#selection.fields === undefined
    const remaining =
      next !== undefined && counted ? this.#registry.store.countAfter(this.#kind.resource, this.#namespace, next) : 0
    return {
      resourceVersion: String(atRv),
      continue: next === undefined ? '' : encodeContinue(atRv, next),
      ...(remaining > 0 ? { remainingItemCount: remaining } : {}),
    }
  }
}

function readPlan(query: URLSearchParams, registry: Registry): ListPlan {
  const { store } = registry
  const limitText = query.get('limit') ?? ''
  const limitNumber = limitText === '' ? 0 : Number(limitText)
  if (!Number.isInteger(limitNumber) || limitNumber < 0)
    throw badRequest(`invalid limit ${JSON.stringify(limitText)}: must be an integer of at least 0`)
  const limit = limitNumber === 0 ? undefined : limitNumber
  const token = query.get('continue') ?? ''
  if (token !== '') {
    const { rv, start } = decodeContinue(token)
    if (rv < store.compactedRevision || rv > store.committedRevision) {
      throw expired(
        'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.',
      )
    }
    return { atRv: rv, after: start, limit }
  }
  const current = store.committedRevision
  const asked = readVersion(query.get('resourceVersion') ?? '')
  if (asked !== undefined && asked > current) throw futureVersion(asked, current)
  const match = query.get('resourceVersionMatch') ?? ''
  if (match !== '' && match !== 'Exact' && match !== 'NotOlderThan')
    throw badRequest(`resourceVersionMatch must be Exact or NotOlderThan: ${match}`)
  if (match === 'Exact' && asked !== undefined && asked > 0) {
    if (asked < store.compactedRevision) throw expired(`The resourceVersion for the provided list is too old: ${asked}`)
    return { atRv: asked, after: undefined, limit }
  }
  return { atRv: current, after: undefined, limit }
}

/** A resourceVersion parameter; undefined when empty. Throws 400 when it is no number. */
export function readVersion(text: string): number | undefined {
  if (text === '') return undefined
  if (!/^\d{1,15}$/.test(text))
    throw badRequest(`Invalid value: ${JSON.stringify(text.slice(0, 50))}: resourceVersion must be a number`)
  return Number(text)
}

function encodeContinue(rv: number, start: ListPosition): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv, start: [start.namespace, start.name] })).toString(
    'base64url',
  )
}

function decodeContinue(token: string): { rv: number; start: ListPosition } {
  try {
    const value: unknown = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'))
    if (isObject(value) && Number.isInteger(value['rv']) && Array.isArray(value['start'])) {
      const [namespace, name] = value['start']
      if (typeof namespace === 'string' && typeof name === 'string')
        return { rv: Number(value['rv']), start: { namespace, name } }
    }
  } catch {
    // Answered below like every other token that is not ours.
  }
  throw badRequest('invalid continue token: continue key is not valid')
}

/** For watchers that see an object leave their selection: its last matching state, at the revision that took it away. */
export function atRevision(object: KubeObject, rv: number): KubeObject {
  return withMetadata(object, { resourceVersion: String(rv) })
}
