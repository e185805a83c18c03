import { stringAt } from '../objects.ts'
import { eventKind } from '../registry/kinds/event.ts'
import type { Registry } from '../registry/registry.ts'

/** Events are news, not state: the real server forgets them after an hour too. */
const KEEP_MS = 3_600_000
const CHUNK = 100

/** Removes events that were neither written nor seen for an hour; returns true while there are more to look at. */
export function expireEvents(registry: Registry): boolean {
  const { store, clock } = registry
  const oldest = clock.now() - KEEP_MS
  let removed = 0
  for (const { key, stored } of store.all(eventKind.resource)) {
    const { object } = stored
    const times = [
      object.metadata.creationTimestamp ?? '',
      stringAt(object, 'lastTimestamp'),
      stringAt(object, 'series', 'lastObservedTime'),
    ]
    const newest = Math.max(...times.map((time) => Date.parse(time) || 0))
    if (newest >= oldest) continue
    store.delete(key, object, stored)
    if (++removed >= CHUNK) return true
  }
  return false
}
