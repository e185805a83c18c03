import type { ServerResponse } from 'node:http'
import type { Timer } from '../../../api/clock.ts'
import type { JsonObject, KubeObject } from '../objects.ts'
import type { Kind } from '../registry/kind.ts'
import { groupVersion } from '../registry/kind.ts'
import type { Registry } from '../registry/registry.ts'
import type { Revision, RevisionType } from '../storage/revision.ts'
import type { ListPosition } from '../storage/store.ts'
import type { Wanted } from './accept.ts'
import { negotiate } from './accept.ts'
import type { Exchange } from './exchange.ts'
import type { Selection } from './list.ts'
import { atRevision, bodyInVersion, readInclude, readSelection, readVersion, selects } from './list.ts'
import type { ApiStatusError } from './status.ts'
import { badRequest, expired } from './status.ts'
import type { IncludeObject } from './table.ts'
import { columnDefinitions, partialMetadata, table, tableRow } from './table.ts'

const CHUNK = 64
const BOOKMARK_EVERY_MS = 60_000
/** Without a wish of the client a watch ends after 30 to 60 minutes, so that clients spread over restarted servers. */
const DEFAULT_TIMEOUT_MS = 1_800_000

interface WatchPlan {
  readonly kind: Kind
  readonly namespace: string | undefined
  readonly selection: Selection
  readonly wanted: Wanted
  readonly include: IncludeObject
  /** Send the state first, as of now; undefined starts after `from`. */
  readonly initial: boolean
  readonly markInitialEnd: boolean
  readonly bookmarks: boolean
  readonly from: number
  readonly timeoutMs: number
}

/** GET of a collection with watch=1. Resolves when the stream has ended. */
export async function answerWatch(
  exchange: Exchange,
  registry: Registry,
  kind: Kind,
  namespace: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const plan = readWatchPlan(exchange, kind, namespace, registry)
  await registry.store.committed()
  await new Watch(exchange.response, registry, plan).run(signal)
}

function readWatchPlan(exchange: Exchange, kind: Kind, namespace: string | undefined, registry: Registry): WatchPlan {
  const { query } = exchange
  const flag = (name: string) => ['1', 'true'].includes(query.get(name) ?? '')
  const rv = readVersion(query.get('resourceVersion') ?? '')
  const sendInitial = query.get('sendInitialEvents')
  if (flag('sendInitialEvents') && query.get('resourceVersionMatch') !== 'NotOlderThan') {
    throw badRequest('sendInitialEvents requires resourceVersionMatch=NotOlderThan')
  }
  const seconds = Number(query.get('timeoutSeconds') ?? 0)
  if (!Number.isFinite(seconds) || seconds < 0) throw badRequest('timeoutSeconds must be a number of at least 0')
  const initial = sendInitial === null ? rv === undefined || rv === 0 : flag('sendInitialEvents')
  return {
    kind,
    namespace,
    selection: readSelection(query, kind),
    wanted: negotiate(exchange.request.headers.accept, ['Table', 'PartialObjectMetadata']),
    include: readInclude(query),
    initial,
    markInitialEnd: flag('sendInitialEvents') && flag('allowWatchBookmarks'),
    bookmarks: flag('allowWatchBookmarks'),
    from: rv ?? 0,
    timeoutMs: seconds > 0 ? seconds * 1000 : DEFAULT_TIMEOUT_MS + (registry.clock.now() % DEFAULT_TIMEOUT_MS),
  }
}

/**
 * One watch stream. It holds a revision and no queue: whenever the socket can take more it fetches what came next.
 * A client that reads slowly falls behind in revisions, not in memory; one that falls behind what history still has
 * is told 410 and lists again.
 */
class Watch {
  readonly #response: ServerResponse
  readonly #registry: Registry
  readonly #plan: WatchPlan
  readonly #cacheKey: string
  #cursor: number
  #blocked = false
  #live = false
  #ended = false
  #columnsSent = false
  #finish: () => void = () => {}
  #wake: () => void = () => {}

  constructor(response: ServerResponse, registry: Registry, plan: WatchPlan) {
    this.#response = response
    this.#registry = registry
    this.#plan = plan
    this.#cursor = plan.from
    this.#cacheKey = `${groupVersion(plan.kind)} ${plan.wanted.as ?? ''} ${plan.include}`
  }

  async run(signal: AbortSignal): Promise<void> {
    const { catalog, clock, store } = this.#registry
    const plan = this.#plan
    const response = this.#response
    response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache, private' })
    response.flushHeaders()
    const done = new Promise<void>((resolve) => {
      this.#finish = resolve
    })
    const unsubscribe = store.history.subscribe(plan.kind.resource, () => this.#pump())
    const timers: Timer[] = [clock.after(plan.timeoutMs, () => this.#end(true), true)]
    if (plan.bookmarks) this.#scheduleBookmark(timers)
    const onDrain = () => {
      this.#blocked = false
      this.#wake()
      this.#pump()
    }
    const stop = () => this.#end(false)
    const withdrawn = () => {
      if (catalog.find(plan.kind.group, plan.kind.version, plan.kind.plural) !== undefined) return
      this.#pump()
      this.#end(false)
    }
    if (plan.kind.custom) catalog.listeners.add(withdrawn)
    response.on('drain', onDrain)
    response.on('close', stop)
    signal.addEventListener('abort', stop, { once: true })
    try {
      if (plan.initial) await this.#sendInitial(plan.markInitialEnd)
      this.#live = true
      if (signal.aborted) this.#end(false)
      this.#pump()
      await done
    } finally {
      this.#ended = true
      unsubscribe()
      catalog.listeners.delete(withdrawn)
      for (const timer of timers) timer.cancel()
      response.off('drain', onDrain)
      response.off('close', stop)
      signal.removeEventListener('abort', stop)
      response.end()
    }
  }

  /** The whole state as ADDED events, as of one revision, however long sending it takes. */
  async #sendInitial(mark: boolean): Promise<void> {
    const { store } = this.#registry
    const { kind, namespace, selection } = this.#plan
    const atRv = store.committedRevision
    if (this.#plan.from > atRv) return
    let after: ListPosition | undefined
    for (;;) {
      if (!store.history.reaches(atRv)) {
        this.#fail(expired('the initial state was compacted while it was sent'))
        return
      }
      const listed = store.page(kind.resource, namespace, after, CHUNK, atRv)
      for (const item of listed) {
        if (selects(selection, item.stored.object))
          this.#write(this.#encode('ADDED', item.stored.object, bodyInVersion(this.#registry, item.stored, kind)))
      }
      after = listed.at(-1)?.key
      if (listed.length < CHUNK || this.#ended) break
      while (this.#blocked && !this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve))
      if (this.#ended) return
    }
    this.#cursor = atRv
    if (mark) this.#write(this.#bookmark(atRv, { 'k8s.io/initial-events-end': 'true' }))
  }

  #pump(): void {
    const { store } = this.#registry
    const { resource } = this.#plan.kind
    while (this.#live && !this.#blocked && !this.#ended) {
      if (!store.history.reaches(this.#cursor) || this.#cursor > store.revision) {
        this.#fail(expired(`too old resource version: ${this.#cursor} (${store.compactedRevision})`))
        return
      }
      const revisions = store.history.after(resource, this.#cursor, CHUNK)
      if (revisions.length === 0) return
      const lines: Buffer[] = []
      for (const revision of revisions) {
        this.#cursor = revision.rv
        const line = this.#line(revision)
        if (line !== undefined) lines.push(line)
      }
      const [first] = lines
      if (first !== undefined) this.#write(lines.length === 1 ? first : Buffer.concat(lines))
    }
  }

  /** What this watcher is told of a revision: for its selection an object may appear or leave by a mere change. */
  #line(revision: Revision): Buffer | undefined {
    const { namespace, selection } = this.#plan
    if (namespace !== undefined && revision.key.namespace !== namespace) return undefined
    const pinned = selection.fields?.name
    if (pinned !== undefined && pinned !== revision.key.name) return undefined
    if (selection.labels === undefined && selection.fields === undefined) return this.#shared(revision, revision.type)
    const before = revision.previous !== undefined && selects(selection, revision.previous.object)
    const after = revision.type !== 'DELETED' && selects(selection, revision.stored.object)
    if (after) return this.#shared(revision, before ? 'MODIFIED' : 'ADDED')
    if (!before) return undefined
    if (revision.type === 'DELETED') return this.#shared(revision, 'DELETED')
    const last =
      revision.previous === undefined ? revision.stored.object : atRevision(revision.previous.object, revision.rv)
    return this.#encode('DELETED', last, undefined)
  }

  /** Encoded once for all watchers that want the same; a table says its columns once a stream, so the first is not shared. */
  #shared(revision: Revision, type: RevisionType): Buffer {
    const encode = () => this.#encode(type, revision.stored.object, undefined)
    if (this.#plan.wanted.as === 'Table' && !this.#columnsSent) return encode()
    const key = `${type} ${this.#cacheKey}`
    let line = revision.encoded.get(key)
    if (line === undefined) {
      const plain = this.#plan.wanted.as === undefined
      line = plain
        ? this.#encode(type, undefined, bodyInVersion(this.#registry, revision.stored, this.#plan.kind))
        : encode()
      revision.encoded.set(key, line)
    }
    return line
  }

  #encode(type: string, object: KubeObject | undefined, body: string | undefined): Buffer {
    const { kind, wanted, include } = this.#plan
    if (object === undefined || wanted.as === undefined) {
      return Buffer.from(
        `{"type":"${type}","object":${body ?? JSON.stringify(object === undefined ? {} : this.#registry.inVersion(object, kind))}}\n`,
      )
    }
    const shown = this.#registry.inVersion(object, kind)
    const nowMs = this.#registry.clock.now()
    const columns = this.#columnsSent ? undefined : columnDefinitions(kind)
    if (wanted.as === 'Table') this.#columnsSent = true
    const answer =
      wanted.as === 'Table'
        ? table([tableRow(shown, kind, include, nowMs)], columns, {
            resourceVersion: object.metadata.resourceVersion ?? '',
          })
        : partialMetadata(shown)
    return line(type, answer)
  }

  #bookmark(rv: number, annotations?: JsonObject): Buffer {
    const { kind, wanted } = this.#plan
    const metadata = { resourceVersion: String(rv), ...(annotations === undefined ? {} : { annotations }) }
    const header = { kind: kind.kind, apiVersion: groupVersion(kind), metadata }
    if (wanted.as !== 'Table') return line('BOOKMARK', header)
    return line(
      'BOOKMARK',
      table(
        [{ cells: [], object: { ...header, kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1' } }],
        undefined,
        { resourceVersion: String(rv) },
      ),
    )
  }

  /** Tells an idle client how far history has come, so that it can resume from there. */
  #scheduleBookmark(timers: Timer[]): void {
    const tick = () => {
      this.#sendBookmark()
      timers[1] = this.#registry.clock.after(BOOKMARK_EVERY_MS, tick, true)
    }
    timers[1] = this.#registry.clock.after(BOOKMARK_EVERY_MS, tick, true)
  }

  #sendBookmark(): void {
    if (!this.#live || this.#blocked || this.#ended) return
    this.#pump()
    if (this.#blocked || this.#ended) return
    this.#cursor = Math.max(this.#cursor, this.#registry.store.committedRevision)
    this.#write(this.#bookmark(this.#cursor))
  }

  #write(chunk: Buffer): void {
    if (!this.#ended && !this.#response.write(chunk)) this.#blocked = true
  }

  #fail(error: ApiStatusError): void {
    this.#write(line('ERROR', error.toStatus()))
    this.#end(false)
  }

  #end(bookmark: boolean): void {
    if (this.#ended) return
    if (bookmark && this.#plan.bookmarks) this.#sendBookmark()
    this.#ended = true
    this.#wake()
    this.#finish()
  }
}

function line(type: string, object: JsonObject): Buffer {
  return Buffer.from(`${JSON.stringify({ type, object })}\n`)
}
