import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import { readHistory } from './history.ts'

/** A log of reports of one property, each at its time and received a moment later. */
function logOf(reports: readonly (readonly [receivedMs: number, atMs: number, value: number, backfill?: 1])[]) {
  const db = new DatabaseSync(':memory:')
  db.exec(
    'CREATE TABLE stream (id INTEGER PRIMARY KEY, gateway TEXT, backfill INTEGER, received_ms INTEGER, frame TEXT)',
  )
  const insert = db.prepare('INSERT INTO stream (gateway, backfill, received_ms, frame) VALUES (?, ?, ?, ?)')
  for (const [receivedMs, atMs, value, backfill = 0] of reports) {
    const frame = JSON.stringify({ body: { d: [['n/d']], r: [[0, 'p', value, atMs, 'good']] } })
    insert.run('gw', backfill, receivedMs, frame)
  }
  const store = { db, oldestCursor: 0, newestCursor: reports.length }
  return {
    async pointsFrom(fromMs: number) {
      const query = { gateway: 'gw', device: 'n/d', property: 'p', fromMs }
      return (await readHistory(store, query, new AbortController().signal)).points
    },
  }
}

it('tells what stood when the time in question began, and nothing older', async () => {
  const log = logOf([
    [11, 10, 1],
    [21, 20, 2],
    [31, 30, 3],
  ])
  expect(await log.pointsFrom(25)).toEqual([
    [20, 2],
    [30, 3],
  ])
  expect(await log.pointsFrom(100)).toEqual([[30, 3]])
  expect(await log.pointsFrom(0)).toHaveLength(3)
})

it('does not stop at what arrived late: older rows of the log may be of the time in question', async () => {
  const log = logOf([
    [11, 10, 1],
    [31, 30, 3],
    [41, 5, 0, 1],
    [42, 26, 2, 1],
    [51, 50, 5],
  ])
  expect(await log.pointsFrom(25)).toEqual([
    [10, 1],
    [26, 2, 1],
    [30, 3],
    [50, 5],
  ])
})
