import type { HistoryPoint, HistoryView, StreamEvent } from '../../api/views.ts'

/** Per property the newest 480 reports, for at most 2 000 properties: 16 bytes a report, so 16 MiB when all are full. */
const MAX_POINTS = 480
const MAX_PROPERTIES = 2_000
const FIRST_POINTS = 30

interface Ring {
  at: Float64Array
  value: Float64Array
  next: number
  count: number
}

/** What numeric and boolean properties reported lately, for charts. In memory, and only since somebody first looked. */
export class History {
  readonly #rings = new Map<string, Ring>()
  readonly #sinceMs: number

  constructor(nowMs: number) {
    this.#sinceMs = nowMs
  }

  push(event: StreamEvent): void {
    if (event.kind !== 'reported') return
    const value = numberOf(event.value)
    if (value === undefined) return
    const key = `${event.device} ${event.property}`
    let ring = this.#rings.get(key)
    if (ring === undefined) {
      // What is over the limit has no chart; nothing else suffers.
      if (this.#rings.size >= MAX_PROPERTIES) return
      ring = { at: new Float64Array(FIRST_POINTS), value: new Float64Array(FIRST_POINTS), next: 0, count: 0 }
      this.#rings.set(key, ring)
    }
    if (ring.count === ring.at.length && ring.count < MAX_POINTS) grow(ring)
    ring.at[ring.next] = Date.parse(event.at)
    // NaN is a gap: nothing good was read then.
    ring.value[ring.next] = event.quality === 'good' || event.quality === 'uncertain' ? value : Number.NaN
    ring.next = (ring.next + 1) % ring.at.length
    ring.count = Math.min(ring.count + 1, ring.at.length)
  }

  view(device: string, property: string, fromMs: number): HistoryView {
    const ring = this.#rings.get(`${device} ${property}`)
    const points: HistoryPoint[] = []
    // A value is reported when it changes: the newest before the time in question stood when it began.
    let before: HistoryPoint | undefined
    for (let index = 0; ring !== undefined && index < ring.count; index++) {
      const at = (ring.next - ring.count + index + ring.at.length) % ring.at.length
      const atMs = ring.at[at]!
      const value = ring.value[at]!
      const point: HistoryPoint = [atMs, Number.isNaN(value) ? null : value]
      if (atMs >= fromMs) points.push(point)
      else before = point
    }
    if (before !== undefined) points.unshift(before)
    const full = ring !== undefined && ring.count === MAX_POINTS
    const oldest = full ? ring.at[ring.next % ring.at.length]! : this.#sinceMs
    return { device, property, points, since: new Date(Math.max(oldest, fromMs)).toISOString() }
  }
}

function grow(ring: Ring): void {
  const length = Math.min(MAX_POINTS, ring.at.length * 4)
  const wider = (from: Float64Array) => {
    const to = new Float64Array(length)
    to.set(from.subarray(ring.next))
    to.set(from.subarray(0, ring.next), from.length - ring.next)
    return to
  }
  const { at, value, count } = ring
  ring.at = wider(at)
  ring.value = wider(value)
  ring.next = count
}

function numberOf(value: unknown): number | undefined {
  if (typeof value === 'boolean') return value ? 1 : 0
  if (value === null) return 0
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}
