import type { ObjectKey, StoredObject } from './revision.ts'

/**
 * Parsed objects cost about four times their text: 2 MiB of text is about 10 MB of heap. More buys little, since a miss
 * costs 30 µs, a tenth of a request; and what dies old makes V8 keep several times its size.
 */
const MAX_BODY_CHARS = 2 * 1024 * 1024

/** The most recently used objects, bounded by the size of their texts. */
export class ObjectCache {
  readonly #entries = new Map<string, StoredObject>()
  #chars = 0

  get(key: ObjectKey): StoredObject | undefined {
    const id = cacheId(key)
    const found = this.#entries.get(id)
    if (found === undefined) return undefined
    this.#entries.delete(id)
    this.#entries.set(id, found)
    return found
  }

  set(key: ObjectKey, stored: StoredObject): void {
    const id = cacheId(key)
    this.#drop(id)
    this.#entries.set(id, stored)
    this.#chars += stored.body.length
    for (const oldest of this.#entries.keys()) {
      if (this.#chars <= MAX_BODY_CHARS || oldest === id) break
      this.#drop(oldest)
    }
  }

  delete(key: ObjectKey): void {
    this.#drop(cacheId(key))
  }

  #drop(id: string): void {
    const found = this.#entries.get(id)
    if (found === undefined) return
    this.#entries.delete(id)
    this.#chars -= found.body.length
  }
}

/** Names never hold a slash (RFC 1123), so the parts cannot run together. */
function cacheId(key: ObjectKey): string {
  return `${key.resource}/${key.namespace}/${key.name}`
}
