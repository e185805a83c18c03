import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { silentLog } from '../log.ts'
import { deviceObject, modelObject, Plant, temporaryDirectory } from '../test-helpers/plant.ts'
import { Store, type StoreOptions } from './store.ts'

let directory: ReturnType<typeof temporaryDirectory>
beforeEach(() => {
  directory = temporaryDirectory()
})
afterEach(() => directory[Symbol.dispose]())

const open = (options: Partial<StoreOptions> = {}) =>
  new Store({ directory: directory.path, clock: new VirtualClock(), log: silentLog, ...options })

const batch = (text = 'x', values = 1, atMs = 0) => ({ body: JSON.stringify({ d: [], text }), values, atMs })
const held = (store: Store) => store.batches(0, store.lastSeq, 1_000_000).map(({ seq }) => seq)
const database = () => join(directory.path, 'agent.db')

/** Takes the files as a killed process leaves them: without the clean end. */
function killed(store: Store): void {
  for (const suffix of ['', '-wal']) {
    if (existsSync(database() + suffix)) copyFileSync(database() + suffix, join(directory.path, `copy${suffix}`))
  }
  store[Symbol.dispose]()
  for (const suffix of ['', '-wal']) {
    const copy = join(directory.path, `copy${suffix}`)
    if (existsSync(copy)) copyFileSync(copy, database() + suffix)
  }
}

describe('the outbox', () => {
  it('numbers batches from 1 and goes on after a clean end', () => {
    const first = open()
    first.append([batch(), batch()])
    first[Symbol.dispose]()
    using second = open()
    second.append([batch()])
    expect(held(second)).toEqual([1, 2, 3])
    expect(second.epoch).toBe(first.epoch)
    expect(second.gaps()).toEqual([])
  })

  it('never uses a number again after an unclean end, and tells the jump as a gap without values', () => {
    const first = open()
    first.append([batch(), batch()])
    killed(first)
    using second = open()
    expect(held(second)).toEqual([1, 2])
    second.append([batch()])
    const [jump] = second.gaps()
    expect(jump).toMatchObject({ values: 0, range: [3, second.lastSeq - 1] })
  })

  it('never uses a number again that a power cut took after it was sent', () => {
    const first = open()
    first.sync()
    for (const suffix of ['', '-wal']) copyFileSync(database() + suffix, join(directory.path, `old${suffix}`))
    first.append([batch(), batch(), batch()])
    const sent = first.lastSeq
    first[Symbol.dispose]()
    for (const suffix of ['', '-wal']) copyFileSync(join(directory.path, `old${suffix}`), database() + suffix)
    using second = open()
    second.append([batch()])
    expect(second.lastSeq).toBeGreaterThan(sent)
  })

  it('keeps its totals right whatever is appended, acknowledged and dropped', () => {
    const step = fc.oneof(
      fc.record({
        append: fc.array(fc.record({ size: fc.integer({ min: 0, max: 400 }), values: fc.nat(9) }), { maxLength: 5 }),
      }),
      fc.record({ ack: fc.tuple(fc.nat(40), fc.nat(10)) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        using own = temporaryDirectory()
        using store = new Store({
          directory: own.path,
          clock: new VirtualClock(),
          log: silentLog,
          maxOutboxBytes: 1500,
        })
        let [appended, acknowledged] = [0, 0]
        for (const step of steps) {
          if ('append' in step) {
            store.append(step.append.map(({ size, values }) => batch('x'.repeat(size), values)))
            appended += step.append.reduce((sum, { values }) => sum + values, 0)
          } else {
            const before = store.totals.values
            store.acknowledge([[step.ack[0], step.ack[0] + step.ack[1]]])
            acknowledged += before - store.totals.values
          }
          const rows = store.batches(0, store.lastSeq, 1000)
          const { batches, bytes, values, droppedValues } = store.totals
          expect(batches).toBe(rows.length)
          expect(bytes).toBe(rows.reduce((sum, row) => sum + row.bytes, 0))
          expect(bytes).toBeLessThanOrEqual(1500)
          expect(values + droppedValues + acknowledged).toBe(appended)
        }
      }),
      { numRuns: 25 },
    )
  })

  it('drops what is older than the limit, oldest first, and counts the values', () => {
    const clock = new VirtualClock()
    using store = open({ clock, maxOutboxAgeMs: 60_000 })
    store.append([batch('a', 3, clock.now()), batch('b', 4, clock.now() + 50_000)])
    clock.jumpWall(90_000)
    store.sync()
    expect(held(store)).toEqual([2])
    expect(store.totals).toMatchObject({ values: 4, droppedValues: 3 })
    expect(store.gaps()).toEqual([{ range: [1, 1], values: 3 }])
  })

  it.runIf(existsSync('/proc/locks'))('keeps its lock, without which others take the log away from under it', () => {
    using store = open()
    store.append([batch()])
    const { ino } = statSync(database())
    const locks = readFileSync('/proc/locks', 'utf8').split('\n')
    expect(locks.filter((line) => line.includes(` ${process.pid} `) && line.includes(`:${ino} `))).toHaveLength(1)
  })

  it('loses nothing that was committed when the process is killed at any moment', async () => {
    const writer = fileURLToPath(new URL('../test-helpers/store-writer.ts', import.meta.url))
    for (const lines of [1, 30, 200]) {
      const child = spawn(process.execPath, [writer, directory.path], { stdio: ['ignore', 'pipe', 'ignore'] })
      let text = ''
      child.stdout.setEncoding('utf8')
      for await (const chunk of child.stdout) {
        text += chunk
        if (text.split('\n').length > lines) break
      }
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      const told = text.split('\n').slice(0, -1).map(Number)
      using store = open()
      const present = new Set(held(store))
      expect(told.filter((seq) => !present.has(seq))).toEqual([])
      expect(present.size).toBe(store.totals.batches)
    }
  })
})

describe('a damaged file', () => {
  const fill = () => {
    const store = open()
    for (let i = 0; i < 200; i++) store.append([batch('x'.repeat(500))])
    store[Symbol.dispose]()
    return store.epoch
  }
  const damages: readonly (readonly [string, () => void])[] = [
    ['cut short', () => truncateSync(database(), 9000)],
    ['cut inside its header', () => truncateSync(database(), 40)],
    [
      'overwritten in the middle',
      () => {
        const bytes = readFileSync(database())
        bytes.fill(0xa5, 8192, 40_000)
        writeFileSync(database(), bytes)
      },
    ],
    ['of another kind', () => writeFileSync(database(), 'this is no database\n'.repeat(1000))],
    ['of another kind and short', () => writeFileSync(database(), 'no')],
  ]

  it.each(damages)('%s is set aside and said so, and a new history begins', (_, damage) => {
    const epoch = fill()
    damage()
    const said: string[] = []
    using store = open({ log: (level, _message, fields) => void said.push(`${level} ${String(fields?.['code'])}`) })
    expect(said).toEqual(['warn SLUICE_STORE_CORRUPT'])
    expect(store.setAside).toMatch(/agent\.db\.corrupt-/)
    expect(readdirSync(directory.path).some((name) => name.startsWith('agent.db.corrupt-'))).toBe(true)
    expect(store.epoch).not.toBe(epoch)
    store.append([batch()])
    expect(held(store)).toEqual([1])
  })

  it('of a later release is left alone', () => {
    open()[Symbol.dispose]()
    const file = new DatabaseSync(database())
    file.exec('PRAGMA user_version=99')
    file.close()
    expect(() => open()).toThrow(expect.objectContaining({ code: 'SLUICE_STORE_NEWER' }))
  })
})

describe('a full disk', () => {
  it('is said by name, nothing half-done stays, and writing goes on when there is room', () => {
    using store = open()
    store.limitPages(30)
    const now = () => [store.lastSeq, store.totals]
    let state = now()
    let failure: { code?: string } = {}
    for (let i = 0; i < 200 && failure.code === undefined; i++) {
      state = now()
      try {
        store.append([batch('x'.repeat(4000))])
      } catch (error) {
        failure = error as { code?: string }
      }
    }
    expect(failure.code).toBe('SLUICE_STORE_FULL')
    expect(store.failure?.code).toBe('SLUICE_STORE_FULL')
    expect(now()).toEqual(state)
    store.limitPages(1000)
    store.append([batch()])
    expect(store.failure).toBeUndefined()
  })

  it('keeps the agent polling; what does not fit is counted and told when there is room again', async () => {
    const plant = new Plant(directory.path)
    await plant.put(modelObject(), deviceObject('p1'))
    plant.store.limitPages(1)
    const { reports } = plant.core.engine.counters
    const text = (value: number) => `${value}`.padStart(2000, 'x')
    for (let value = 1; value <= 1000; value++) {
      plant.read('p1', 'level', text(value))
      if (value % 100 === 0) await plant.clock.advance(250)
    }
    expect(plant.property('p1', 'level').twin.reported?.value).toBe(text(1000))
    expect(plant.core.batcher.lostValues).toBeGreaterThan(300)
    expect(plant.store.failure?.code).toBe('SLUICE_STORE_FULL')
    plant.store.limitPages(100_000)
    await plant.clock.advance(2000)
    const { values, droppedValues } = plant.store.totals
    expect(plant.store.failure).toBeUndefined()
    expect(droppedValues).toBeGreaterThan(300)
    expect(plant.store.gaps()).toMatchObject([{ values: droppedValues }])
    expect(values + droppedValues).toBe(plant.core.engine.counters.reports - reports)
    await plant.stop()
  })
})
