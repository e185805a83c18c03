import { mkdtempSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { SluiceError } from '../../api/errors.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { HubStore, type HubStoreOptions, type StreamRow } from './store.ts'

const START_MS = Date.UTC(2026, 0, 1)
const body = (value: number) => ({ d: [['ns/a', 'u']] as const, r: [[0, 'p', value, 0]] as const })
const frame = (seq: number) => JSON.stringify({ t: 'batch', seq, lane: 'live', body: body(seq) })

function open(over: Partial<HubStoreOptions> = {}, clock = new VirtualClock()) {
  return { clock, store: new HubStore({ path: ':memory:', clock, ...over }) }
}

function add(store: HubStore, seq: number, log: unknown[], epoch = store.openEpoch('gw', 'e')) {
  store.add({
    epoch,
    range: [seq, seq],
    backfill: false,
    receivedMs: START_MS,
    frame: frame(seq),
    body: body(seq),
    done: (id, error) => log.push(error?.code ?? [seq, id]),
  })
}

describe("the hub's store", () => {
  it('reports nothing as durable before the transaction is through', async () => {
    const { store, clock } = open()
    const log: unknown[] = []
    add(store, 1, log)
    expect(log).toEqual([])
    expect(store.has(store.openEpoch('gw', 'e'), 1)).toBe('pending')
    await clock.advance(10)
    expect(log).toHaveLength(1)
    expect(store.has(store.openEpoch('gw', 'e'), 1)).toBe('durable')
  })

  it('knows every acknowledged batch after it was opened again', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'sluice-hub-')), 'hub.db')
    const { store, clock } = open({ path })
    const log: unknown[] = []
    for (const seq of [1, 2, 5]) add(store, seq, log)
    await clock.advance(10)
    store.db.close()
    const again = open({ path }, clock).store
    expect(again.openEpoch('gw', 'e').received).toEqual([
      [1, 2],
      [5, 5],
    ])
    expect(again.openEpoch('gw', 'e2').ordinal).toBe(2)
    expect(again.read(0, 10).map((row) => row.seq)).toEqual([1, 2, 5])
    const last = again.newestCursor
    add(again, 6, log)
    again.commit()
    expect(again.newestCursor).toBe(last + 1)
  })

  it('hands rows to subscribers in order, each once', async () => {
    const rows: StreamRow[] = []
    const { store, clock } = open({ onStreamRow: (row) => rows.push(row) })
    for (const seq of [3, 1, 2]) add(store, seq, [])
    await clock.advance(10)
    expect(rows.map((row) => row.seq)).toEqual([3, 1, 2])
    expect(store.read(rows[0]!.id, 10).map((row) => row.seq)).toEqual([1, 2])
  })

  it('trims by bytes and by age, counts it, and never gives a number twice', async () => {
    const { store, clock } = open({ maxStreamBytes: 300, maxStreamAgeMs: 60_000 })
    for (let seq = 1; seq <= 20; seq++) {
      add(store, seq, [])
      store.commit()
    }
    expect(store.streamBytes).toBeLessThanOrEqual(300)
    expect(store.trimmedRows).toBe(20 - store.read(0, 100).length)
    const newest = store.newestCursor
    await clock.advance(61_000)
    add(store, 21, [])
    store.commit()
    expect(store.read(0, 100).every((row) => row.id > store.oldestCursor)).toBe(true)
    expect(store.newestCursor).toBe(newest + 1)
  })

  it('acknowledges nothing when the disk is full, and takes the same batches later', () => {
    const troubles: SluiceError[] = []
    const { store } = open({ onTrouble: (error) => troubles.push(error) })
    const pages = store.db.prepare('PRAGMA page_count').get() as { page_count: number }
    store.db.exec(`PRAGMA max_page_count=${pages.page_count}`)
    const log: unknown[] = []
    const epoch = store.openEpoch('gw', 'e')
    const big = JSON.stringify({ body: body(1), pad: 'x'.repeat(100_000) })
    store.add({
      epoch,
      range: [1, 1],
      backfill: false,
      receivedMs: START_MS,
      frame: big,
      body: body(1),
      done: (_, error) => log.push(error?.code),
    })
    store.commit()
    expect(log).toEqual(['SLUICE_HUB_STORE_FAILED'])
    expect(troubles).toHaveLength(1)
    expect(store.has(epoch, 1)).toBeUndefined()
    store.db.exec('PRAGMA max_page_count=100000')
    add(store, 1, log)
    store.commit()
    expect(store.has(epoch, 1)).toBe('durable')
  })

  it('sets a damaged file aside and goes on with numbers above the old ones', () => {
    const path = join(mkdtempSync(join(tmpdir(), 'sluice-hub-')), 'hub.db')
    const { store, clock } = open({ path })
    add(store, 1, [])
    store.commit()
    const before = store.newestCursor
    store[Symbol.dispose]()
    truncateSync(path, 5000)
    clock.jumpWall(1000)
    const again = open({ path }, clock).store
    expect(again.setAside).toContain('damaged')
    add(again, 1, [])
    again.commit()
    expect(again.newestCursor).toBeGreaterThan(before)
    writeFileSync(`${path}2`, 'this is no database at all, whatever its name says')
    expect(open({ path: `${path}2` }, clock).store.setAside).toBeDefined()
  })

  it('holds exactly the numbers it acknowledged, whatever order they come in', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 60 }), (seqs) => {
        const { store } = open()
        const epoch = store.openEpoch('gw', 'e')
        const acked = new Set<number>()
        for (const seq of seqs) {
          if (store.has(epoch, seq) !== undefined) continue
          add(store, seq, [], epoch)
          if (seq % 3 === 0) store.commit()
          acked.add(seq)
        }
        store.commit()
        const rows = store.read(0, 1000).map((row) => row.seq)
        expect(new Set(rows)).toEqual(acked)
        expect(rows).toHaveLength(acked.size)
        for (let seq = 1; seq <= 30; seq++) expect(store.has(epoch, seq) === 'durable').toBe(acked.has(seq))
      }),
      { numRuns: 50 },
    )
  })
})
