import { type Clock, delay } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { ObjectMeta } from '../../api/resources.ts'
import type { KubeClient, KubeQuery } from './client.ts'
import { kubeAnswerError } from './errors.ts'
import { LineSplitter } from './line-splitter.ts'

export interface Watchable {
  readonly metadata: ObjectMeta
}

/** `held` is what `keep` made of the object's previous state. */
export interface WatchHandlers<T extends Watchable, K> {
  upsert(object: T, held: K | undefined): void
  /** Deleted, or gone when the list was read anew. */
  remove(key: string, held: K): void
  /** After each complete list; `first` for the very first. */
  synced?(first: boolean): void
  /** The API does not answer or answers badly; the watch goes on trying. */
  trouble?(error: SluiceError): void
}

export interface WatchOptions<T extends Watchable, K> {
  readonly clock: Clock
  readonly signal: AbortSignal
  /** What to remember of an object; keep it small, there may be 100 000. */
  readonly keep: (object: T) => K
  readonly query?: KubeQuery
  readonly random?: () => number
  readonly pageSize?: number
  /** Seconds after which the server ends a watch. */
  readonly watchSeconds?: number
  /** A watch without a single byte for this long is opened anew: the connection may be dead. */
  readonly idleMs?: number
  readonly maxEventBytes?: number
}

export interface Watch<K> {
  /** By `namespace/name`, or `name` for cluster-scoped objects. */
  readonly cache: ReadonlyMap<string, K>
  /** Resolves after the first complete list. */
  readonly synced: Promise<void>
  /** Resolves after the signal aborted and the connection is closed. */
  readonly done: Promise<void>
}

export function watchKey(meta: ObjectMeta): string {
  return meta.namespace === undefined ? meta.name : `${meta.namespace}/${meta.name}`
}

const FIRST_BACKOFF_MS = 200
const MAX_BACKOFF_MS = 10_000

/**
 * Follows a collection for as long as the signal allows: list, watch from there, and list anew when the history was
 * compacted (410). Handlers see every object exactly in its latest state; deletions that happened while nobody watched
 * are told as such after the next list. Handlers run synchronously in arrival order; one that throws is reported as trouble.
 */
export function watchResource<T extends Watchable, K>(
  client: KubeClient,
  path: string,
  handlers: WatchHandlers<T, K>,
  options: WatchOptions<T, K>,
): Watch<K> {
  const watcher = new Watcher(client, path, handlers, options)
  const synced = new Promise<void>((resolve) => {
    watcher.onFirstSync = resolve
  })
  return { cache: watcher.cache, synced, done: watcher.run() }
}

class Watcher<T extends Watchable, K> {
  readonly cache = new Map<string, K>()
  onFirstSync: () => void = () => {}
  readonly #client: KubeClient
  readonly #path: string
  readonly #handlers: WatchHandlers<T, K>
  readonly #options: WatchOptions<T, K>
  #version: string | undefined
  #everSynced = false
  #failures = 0

  constructor(client: KubeClient, path: string, handlers: WatchHandlers<T, K>, options: WatchOptions<T, K>) {
    this.#client = client
    this.#path = path
    this.#handlers = handlers
    this.#options = options
  }

  async run(): Promise<void> {
    const { signal, clock } = this.#options
    while (!signal.aborted) {
      try {
        if (this.#version === undefined) await this.#listAll()
        await this.#watchOnce(this.#version ?? '0')
      } catch (thrown) {
        if (signal.aborted) return
        const error = toSluiceError(thrown)
        if (error.code === 'SLUICE_KUBE_EXPIRED') this.#version = undefined
        // One expired version is the ordinary course of things; only repeated ones must wait.
        if (error.code === 'SLUICE_KUBE_EXPIRED' && this.#failures === 0) {
          this.#failures = 1
          continue
        }
        this.#handlers.trouble?.(error)
        await delay(clock, this.#backoffMs(), signal).catch(() => {})
      }
    }
  }

  #backoffMs(): number {
    const ceiling = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#failures++)
    return ceiling * (0.5 + 0.5 * (this.#options.random ?? Math.random)())
  }

  async #listAll(): Promise<void> {
    const { query, pageSize = 500, signal } = this.#options
    const seen = new Set<string>()
    let token: string | undefined
    let version: string | undefined
    do {
      const page = await this.#client.list<T>(this.#path, {
        query: { ...query, limit: pageSize, continue: token },
        signal,
        timeoutMs: 60_000,
      })
      for (const object of page.items) {
        seen.add(watchKey(object.metadata))
        this.#upsert(object)
      }
      version = page.metadata.resourceVersion
      token = page.metadata.continue || undefined
    } while (token !== undefined)
    for (const [key, held] of this.cache) if (!seen.has(key)) this.#remove(key, held)
    this.#version = version ?? '0'
    const first = !this.#everSynced
    this.#everSynced = true
    this.#handlers.synced?.(first)
    if (first) this.onFirstSync()
  }

  async #watchOnce(version: string): Promise<void> {
    const { query, clock, watchSeconds = 290, idleMs = 120_000, maxEventBytes = 8 * 1024 * 1024 } = this.#options
    const closing = new AbortController()
    const signal = AbortSignal.any([this.#options.signal, closing.signal])
    const startedMs = clock.monotonic()
    const answer = await this.#client.stream(
      this.#path,
      { ...query, watch: true, allowWatchBookmarks: true, timeoutSeconds: watchSeconds, resourceVersion: version },
      signal,
    )
    let idle = clock.after(idleMs, () => answer.destroy())
    let events = 0
    const splitter = new LineSplitter(maxEventBytes)
    try {
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        idle.cancel()
        idle = clock.after(idleMs, () => answer.destroy())
        for (const line of splitter.push(chunk)) {
          this.#event(line)
          events++
        }
      }
    } catch (thrown) {
      if (thrown instanceof SluiceError) throw thrown
      // The connection broke: what was read counts, and the next watch goes on from there.
    } finally {
      idle.cancel()
      closing.abort()
      answer.destroy()
    }
    if (events > 0 || clock.monotonic() - startedMs > 5_000) this.#failures = 0
    else await delay(clock, this.#backoffMs(), this.#options.signal).catch(() => {})
  }

  #event(line: string): void {
    let event: { type?: string; object?: T & { code?: number; message?: string } }
    try {
      event = JSON.parse(line)
    } catch (cause) {
      throw new SluiceError('SLUICE_KUBE_BAD_ANSWER', `watch of ${this.#path}: an event is not JSON`, { cause })
    }
    const { type, object } = event
    if (type === 'ERROR') throw kubeAnswerError('WATCH', this.#path, object?.code ?? 500, JSON.stringify(object ?? {}))
    if (object?.metadata === undefined) {
      throw new SluiceError('SLUICE_KUBE_BAD_ANSWER', `watch of ${this.#path}: an event without an object`)
    }
    if (object.metadata.resourceVersion !== undefined) this.#version = object.metadata.resourceVersion
    if (type === 'ADDED' || type === 'MODIFIED') this.#upsert(object)
    else if (type === 'DELETED') {
      const key = watchKey(object.metadata)
      const held = this.cache.get(key)
      if (held !== undefined) this.#remove(key, held)
    }
  }

  #upsert(object: T): void {
    const key = watchKey(object.metadata)
    const held = this.cache.get(key)
    this.cache.set(key, this.#options.keep(object))
    this.#guarded(() => this.#handlers.upsert(object, held))
  }

  #remove(key: string, held: K): void {
    this.cache.delete(key)
    this.#guarded(() => this.#handlers.remove(key, held))
  }

  #guarded(fn: () => void): void {
    try {
      fn()
    } catch (thrown) {
      this.#handlers.trouble?.(toSluiceError(thrown))
    }
  }
}
