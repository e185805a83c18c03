import type { DeviceEvent, NoteEvent } from '../../api/views.ts'
import type { StreamRow } from './store.ts'

/** Which changes a subscriber wants; an absent field wants all. */
export interface StreamFilter {
  /** `namespace/name`, or `namespace/` for all of a namespace. */
  readonly device?: string
  readonly property?: string
  readonly kind?: (DeviceEvent | NoteEvent)['kind']
  readonly gateway?: string
}

export interface StreamListener {
  row(row: StreamRow, shared: SharedRow): void
  /** Something that is not kept: only for who listens right now. `gateway` is who it is about or who serves the device. */
  note?(note: NoteEvent, gateway: string | undefined): void
}

/** What several subscribers of one row need, made at most once. */
export interface SharedRow {
  events(): readonly DeviceEvent[]
  text(): string
}

/** Hands every durable row to whoever listens, in order. */
export class StreamHub {
  readonly #listeners = new Set<StreamListener>()

  get subscribers(): number {
    return this.#listeners.size
  }

  listen(listener: StreamListener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  publish(row: StreamRow): void {
    if (this.#listeners.size === 0) return
    const shared = sharedRow(row)
    for (const listener of this.#listeners) listener.row(row, shared)
  }

  /** Tells whoever listens right now; nothing of it is kept. */
  note(note: NoteEvent, gateway: string | undefined): void {
    for (const listener of this.#listeners) listener.note?.(note, gateway)
  }
}

export function sharedRow(row: StreamRow): SharedRow {
  let events: readonly DeviceEvent[] | undefined
  let text: string | undefined
  const made = (): readonly DeviceEvent[] => (events ??= streamEvents(row))
  return { events: made, text: () => (text ??= JSON.stringify(made())) }
}

/** One batch as the changes subscribers see. A failed reading has the value null and its quality. */
export function streamEvents({ body, backfill }: Pick<StreamRow, 'body' | 'backfill'>): DeviceEvent[] {
  const out: DeviceEvent[] = []
  const keyOf = (index: number) => body.d[index]![0]
  for (const [index, property, value, atMs, quality, reason] of body.r ?? []) {
    out.push({
      kind: 'reported',
      device: keyOf(index),
      property,
      value,
      at: new Date(atMs).toISOString(),
      quality: quality ?? 'good',
      ...(reason == null ? {} : { reason }),
      ...(backfill ? { backfill } : {}),
    })
  }
  for (const [index, property, version, state, atMs, reason] of body.w ?? []) {
    const at = new Date(atMs).toISOString()
    const why = reason == null ? {} : { reason }
    out.push({ kind: 'write', device: keyOf(index), property, version, state, at, ...why })
  }
  for (const [index, online, atMs, reason] of body.s ?? []) {
    const at = new Date(atMs).toISOString()
    out.push({ kind: 'reach', device: keyOf(index), online: online === 1, at, ...(reason == null ? {} : { reason }) })
  }
  return out
}

/** The row as the filter leaves it, ready to send; undefined when nothing is left. */
export function filteredText(row: StreamRow, shared: SharedRow, filter: StreamFilter): string | undefined {
  if (filter.gateway !== undefined && filter.gateway !== row.gateway) return undefined
  const { device, property, kind } = filter
  if (device === undefined && property === undefined && kind === undefined) return shared.text()
  if (device !== undefined && !row.body.d.some(([key]) => matches(key, device))) return undefined
  const kept = shared.events().filter((event) => {
    if (kind !== undefined && event.kind !== kind) return false
    if (device !== undefined && !matches(event.device, device)) return false
    return property === undefined || (event.kind !== 'reach' && event.property === property)
  })
  return kept.length === 0 ? undefined : JSON.stringify(kept)
}

/** Whether a note passes the filter. */
export function passesFilter(note: NoteEvent, gateway: string | undefined, filter: StreamFilter): boolean {
  if (filter.gateway !== undefined && filter.gateway !== gateway) return false
  if (filter.kind !== undefined && filter.kind !== note.kind) return false
  if (note.kind === 'gateway') return filter.device === undefined && filter.property === undefined
  if (filter.device !== undefined && !matches(note.device, filter.device)) return false
  return filter.property === undefined || filter.property === note.property
}

const matches = (key: string, wanted: string) => (wanted.endsWith('/') ? key.startsWith(wanted) : key === wanted)
