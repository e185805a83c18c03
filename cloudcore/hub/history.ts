import type { ObjectKey } from '../../api/resources.ts'
import type { HistoryPoint, HistoryView } from '../../api/views.ts'
import type { HubStore } from './store.ts'

export interface HistoryQuery {
  readonly gateway: string
  readonly device: ObjectKey
  readonly property: string
  readonly fromMs: number
  readonly maxPoints?: number
}

/** Rows of the log looked at in one turn, and in all: the hub must not wait for somebody's chart. */
const STRIDE = 2_000
const MAX_STRIDES = 200
/** Those looked at only for what stood when the time in question began. */
const MORE_STRIDES = 10

/**
 * What a property reported, from the stream log, the newest first until there is enough. Back-filled reports stand at their
 * own times and are marked. The newest report before the time in question comes along: a value is reported when it changes,
 * so that one stood when it began.
 */
export async function readHistory(
  store: Pick<HubStore, 'db' | 'oldestCursor' | 'newestCursor'>,
  query: HistoryQuery,
  signal: AbortSignal,
): Promise<HistoryView> {
  const { gateway, device, property, fromMs, maxPoints = 2_000 } = query
  const rows = store.db.prepare(
    `SELECT backfill, received_ms, frame FROM stream
     WHERE id > ? AND id <= ? AND gateway = ? AND instr(frame, ?) > 0 ORDER BY id DESC`,
  )
  const points: HistoryPoint[] = []
  let newest = store.newestCursor
  let sinceMs = fromMs
  let before: HistoryPoint | undefined
  let beyond = 0
  for (let stride = 0; newest > store.oldestCursor; stride++) {
    if (beyond > MORE_STRIDES || (beyond > 0 && before !== undefined)) break
    if (stride === MAX_STRIDES || points.length >= maxPoints || signal.aborted) {
      sinceMs = beyond > 0 ? fromMs : Math.max(fromMs, oldestOf(points))
      break
    }
    const after = Math.max(store.oldestCursor, newest - STRIDE)
    for (const row of rows.iterate(after, newest, gateway, JSON.stringify(property))) {
      const { backfill, received_ms, frame } = row as { backfill: number; received_ms: number; frame: string }
      for (const point of pointsOf(frame, backfill === 1, device, property)) {
        if (point[0] >= fromMs) points.push(point)
        else if (before === undefined || point[0] > before[0]) before = point
      }
      // Reports arrive after they happened, so what came before the time in question is older still.
      if (received_ms >= fromMs) continue
      beyond ||= 1
      if (before !== undefined) break
    }
    if (beyond > 0) beyond++
    newest = after
    await new Promise((resolve) => setImmediate(resolve))
  }
  if (before !== undefined) points.push(before)
  points.sort((a, b) => a[0] - b[0])
  return { device, property, points, since: new Date(sinceMs).toISOString() }
}

const oldestOf = (points: readonly HistoryPoint[]) =>
  points.reduce((least, [atMs]) => Math.min(least, atMs), Date.now())

function pointsOf(frame: string, backfill: boolean, device: string, property: string): HistoryPoint[] {
  const { body } = JSON.parse(frame) as {
    body: { d: [string, ...unknown[]][]; r?: [number, string, unknown, number, string?][] }
  }
  const index = body.d.findIndex(([key]) => key === device)
  if (index < 0) return []
  const found: HistoryPoint[] = []
  for (const [at, name, value, atMs, quality] of body.r ?? []) {
    if (at !== index || name !== property) continue
    const bad = quality !== undefined && quality !== null && quality !== 'good' && quality !== 'uncertain'
    const number = bad ? null : typeof value === 'boolean' ? Number(value) : typeof value === 'number' ? value : null
    found.push(backfill ? [atMs, number, 1] : [atMs, number])
  }
  return found
}
