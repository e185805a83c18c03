import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { VirtualClock } from '../../../api/virtual-clock.ts'
import type { KubeObject } from '../objects.ts'
import { openDatabase } from './database.ts'
import type { CompactionOptions } from './store.ts'
import { ObjectStore } from './store.ts'

const key = (name: string, namespace = 'a') => ({ resource: 'things', namespace, name })
const thing = (name: string, size: number): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Thing',
  metadata: { name },
  size,
})

describe('the object store', () => {
  let dataDir: string
  let clock: VirtualClock
  let open: ObjectStore[]

  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'sluice-store-'))
    clock = new VirtualClock()
    open = []
  })

  afterEach(() => {
    for (const store of open) store.close()
    rmSync(dataDir, { recursive: true, force: true })
  })

  function start(compaction: CompactionOptions = {}): ObjectStore {
    const store = new ObjectStore(openDatabase(dataDir, clock.now()).database, clock, compaction)
    open.push(store)
    return store
  }

  function restart(store: ObjectStore): ObjectStore {
    store.close()
    return start()
  }

  it('counts revisions in one line over all objects, and goes on where it stopped after a restart', async () => {
    const first = start()
    expect(first.create(key('x'), thing('x', 1)).rv).toBe(1)
    const stored = first.create(key('y'), thing('y', 1))
    first.delete(key('y'), stored.object, stored)
    await first.committed()
    const second = restart(first)
    expect(second.revision).toBe(3)
    expect(second.create(key('z'), thing('z', 1)).rv).toBe(4)
    expect(second.get(key('x'))?.object.metadata.resourceVersion).toBe('1')
  })

  it('never gives a revision out twice, even if the newest was a delete that compaction forgot', async () => {
    const first = start()
    const stored = first.create(key('x'), thing('x', 1))
    first.delete(key('x'), stored.object, stored)
    await first.committed()
    first.compactTo(2)
    expect(restart(first).revision).toBe(2)
  })

  it('tells what happened after a revision from memory and, after a restart, from the file', async () => {
    const first = start()
    const created = first.create(key('x'), thing('x', 1))
    const updated = first.update(key('x'), thing('x', 2), created)
    await first.committed()
    first.delete(key('x'), thing('x', 2), updated)
    await first.committed()
    const told = (store: ObjectStore) =>
      store.history
        .after('things', 1, 10)
        .map((item) => [item.rv, item.type, item.stored.object['size'], item.previous?.object['size']])
    const expected = [
      [2, 'MODIFIED', 2, 1],
      [3, 'DELETED', 2, 2],
    ]
    expect(told(first)).toEqual(expected)
    expect(told(restart(first))).toEqual(expected)
  })

  it('shows nothing of a batch to watchers before it is committed', async () => {
    const store = start()
    store.create(key('x'), thing('x', 1))
    expect(store.history.after('things', 0, 10)).toEqual([])
    expect(store.committedRevision).toBe(0)
    await store.committed()
    expect(store.history.after('things', 0, 10)).toHaveLength(1)
  })

  it('lists page by page as of one revision while objects come and go', async () => {
    const store = start()
    for (const name of ['a', 'b', 'c', 'd']) store.create(key(name), thing(name, 1))
    await store.committed()
    const at = store.revision
    const names = (rows: readonly { readonly key: { readonly name: string } }[]) => rows.map((row) => row.key.name)
    expect(names(store.page('things', undefined, undefined, 2, at))).toEqual(['a', 'b'])
    const c = store.get(key('c'))
    if (c === undefined) throw new Error('c is gone')
    store.delete(key('c'), c.object, c)
    store.create(key('bb'), thing('bb', 1))
    await store.committed()
    expect(names(store.page('things', undefined, { namespace: 'a', name: 'b' }, 10, at))).toEqual(['c', 'd'])
    expect(names(store.page('things', 'a', { namespace: 'a', name: 'b' }, 10))).toEqual(['bb', 'd'])
    expect(names(store.page('things', 'other', undefined, 10))).toEqual([])
  })

  it('forgets by number and by age, and keeps every object', async () => {
    const store = start({ keepRevisions: 10, keepForMs: 60_000 })
    let stored = store.create(key('x'), thing('x', 0))
    for (let size = 1; size <= 20; size++) stored = store.update(key('x'), thing('x', size), stored)
    await store.committed()
    store.compact()
    expect(store.compactedRevision).toBe(11)
    expect(store.history.reaches(11)).toBe(true)
    expect(store.history.reaches(10)).toBe(false)
    await clock.advance(61_000)
    store.compact()
    await clock.advance(61_000)
    store.compact()
    expect(store.compactedRevision).toBe(21)
    expect(store.get(key('x'))?.object['size']).toBe(20)
    expect(restart(store).get(key('x'))?.object['size']).toBe(20)
  })

  it('undoes a whole batch when its commit fails, and goes on', async () => {
    const { database } = openDatabase(dataDir, clock.now())
    const store = new ObjectStore(database, clock)
    open.push(store)
    store.create(key('x'), thing('x', 1))
    await store.committed()
    store.create(key('y'), thing('y', 1))
    const failed = store.committed()
    // Stands for a full disk: the transaction is gone when COMMIT comes.
    database.exec('ROLLBACK')
    await expect(failed).rejects.toThrow()
    expect(store.revision).toBe(1)
    expect(store.get(key('y'))).toBeUndefined()
    expect(store.create(key('z'), thing('z', 1)).rv).toBe(2)
    await store.committed()
    expect(store.history.after('things', 0, 10).map((item) => item.key.name)).toEqual(['x', 'z'])
  })

  it('sets a damaged file aside, says so, and starts empty', () => {
    writeFileSync(join(dataDir, 'api.db'), Buffer.alloc(8192, 0x55))
    const told: unknown[] = []
    const { database, setAside } = openDatabase(dataDir, 7, (error) => told.push(error))
    open.push(new ObjectStore(database, clock))
    expect(told).toMatchObject([{ code: 'SLUICE_API_STORAGE_DAMAGED' }])
    expect(setAside).toBe(join(dataDir, 'api.db.damaged-7'))
    expect(readdirSync(dataDir)).toContain('api.db.damaged-7')
  })

  it('refuses a file that another process holds', () => {
    start()
    expect(() => openDatabase(dataDir, 0)).toThrow(expect.objectContaining({ code: 'SLUICE_API_STORAGE_OPEN' }))
  })

  it('behaves as a map of objects with a log, whatever is done in whatever batches (property)', async () => {
    const action = fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      what: fc.constantFrom('put', 'put', 'delete', 'commit', 'compact'),
      size: fc.nat(9),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
        const folder = mkdtempSync(join(dataDir, 'run-'))
        const store = new ObjectStore(openDatabase(folder, 0).database, clock)
        const model = new Map<string, number>()
        for (const { name, what, size } of actions) {
          const live = store.get(key(name))
          if (what === 'commit') await store.committed()
          else if (what === 'compact') {
            await store.committed()
            store.compactTo(Math.max(0, store.revision - size))
          } else if (what === 'put') {
            if (live === undefined) store.create(key(name), thing(name, size))
            else store.update(key(name), thing(name, size), live)
            model.set(name, size)
          } else if (live !== undefined) {
            store.delete(key(name), live.object, live)
            model.delete(name)
          }
        }
        await store.committed()
        const listed = new Map([...store.all('things')].map((row) => [row.key.name, row.stored.object['size']]))
        expect(listed).toEqual(new Map([...model].sort()))
        // Replaying what history still has over the state it reaches back to gives the state of now.
        const from = store.compactedRevision
        const replayed = new Map(
          store.page('things', undefined, undefined, 100, from).map((row) => [row.key.name, row.stored.object['size']]),
        )
        for (const item of store.history.after('things', from, 1000)) {
          if (item.type === 'DELETED') replayed.delete(item.key.name)
          else replayed.set(item.key.name, item.stored.object['size'])
        }
        expect(new Map([...replayed].sort())).toEqual(listed)
        store.close()
      }),
      { numRuns: 60 },
    )
  })
})
