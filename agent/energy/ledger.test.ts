import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { WholePower } from './choose.ts'
import { Days } from './days.ts'
import { MemoryStorage } from './fake-machine.test-helper.ts'
import { Ledger } from './ledger.ts'

const watts = (value: number): WholePower => ({ meter: 'm', by: 'm', source: 'measured', watts: value })

/** Books `seconds` of 10 W from `wallMs` on. */
function book(ledger: Ledger, wallMs: number, seconds: number, carbon?: number): void {
  for (let s = 0; s <= seconds; s++) {
    const time = { monotonicMs: s * 1000, wallMs: wallMs + s * 1000, elapsedS: s === 0 ? 0 : 1, suspendedS: 0 }
    ledger.add(time, watts(10), carbon)
  }
}

describe('energy by day', () => {
  test('begins anew at midnight of the gateway’s own time zone', () => {
    const ledger = new Ledger(new MemoryStorage(), new Days('Asia/Kathmandu'), 'boot')
    // 00:00 in Kathmandu is 18:15 UTC.
    book(ledger, Date.UTC(2026, 5, 15, 18, 14, 0), 120)
    expect(ledger.today.measuredJ).toBeCloseTo(610, 6)
    expect(ledger.sinceBoot.measuredJ).toBeCloseTo(1200, 6)
  })

  test('has 23 and 25 hours when the clocks change', () => {
    const days = new Days('Europe/Berlin')
    const hours = (day: string, fromMs: number) =>
      Array.from({ length: 72 * 4 }, (_, i) => days.of(fromMs + i * 900_000)).filter((name) => name === day).length / 4
    expect(hours('2026-03-29', Date.UTC(2026, 2, 28))).toBe(23)
    expect(hours('2026-10-25', Date.UTC(2026, 9, 24))).toBe(25)
  })

  test('is the calendar day of Intl at any moment, in any order', () => {
    const zones = [undefined, 'UTC', 'America/St_Johns', 'Pacific/Chatham', 'Australia/Lord_Howe', 'Asia/Kathmandu']
    const day = { year: 'numeric', month: '2-digit', day: '2-digit' } as const
    for (const timeZone of zones) {
      const days = new Days(timeZone)
      const plain = new Intl.DateTimeFormat('en-CA', { timeZone, ...day })
      fc.assert(
        fc.property(fc.integer({ min: Date.UTC(2024, 0), max: Date.UTC(2030, 0) }), (ms) => {
          expect(days.of(ms)).toBe(plain.format(ms))
        }),
      )
    }
  })

  test('goes on after a restart of the agent; since boot only while the machine is the same boot', () => {
    const storage = new MemoryStorage()
    const noon = Date.UTC(2026, 5, 15, 12)
    const first = new Ledger(storage, new Days('UTC'), 'boot-1')
    book(first, noon, 100)
    first.save('now', 100_000)
    const second = new Ledger(storage, new Days('UTC'), 'boot-1')
    book(second, noon + 200_000, 100)
    expect(second.today.measuredJ).toBeCloseTo(2000, 6)
    expect(second.sinceBoot.measuredJ).toBeCloseTo(2000, 6)
    expect(second.totals.measuredJ).toBeCloseTo(1000, 6)
    second.save('now', 100_000)
    const rebooted = new Ledger(storage, new Days('UTC'), 'boot-2')
    book(rebooted, noon + 400_000, 100)
    expect(rebooted.today.measuredJ).toBeCloseTo(3000, 6)
    expect(rebooted.sinceBoot.measuredJ).toBeCloseTo(1000, 6)
  })

  test('loses at most a minute when the agent is killed', () => {
    const storage = new MemoryStorage()
    book(new Ledger(storage, new Days('UTC'), 'b'), Date.UTC(2026, 5, 15, 12), 179)
    const next = new Ledger(storage, new Days('UTC'), 'b')
    book(next, Date.UTC(2026, 5, 15, 12, 5), 0)
    expect(next.today.measuredJ).toBeGreaterThanOrEqual(1200)
  })

  test('outlives a full disk, and says that nothing is kept meanwhile', () => {
    const storage = new MemoryStorage()
    storage.full = true
    const ledger = new Ledger(storage, new Days('UTC'), 'b')
    book(ledger, Date.UTC(2026, 5, 15, 12), 90)
    expect(ledger.failure).toMatch(/disk full/)
    expect(ledger.today.measuredJ).toBeCloseTo(900, 6)
  })

  test('starts from nothing when what was kept makes no sense', () => {
    const good = new MemoryStorage()
    const source = new Ledger(good, new Days('UTC'), 'b')
    book(source, Date.UTC(2026, 5, 15, 12), 70)
    source.save('now', 0)
    const text = good.get('ledger')!
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.nat(text.length).map((n) => text.slice(0, n)),
        ),
        (kept) => {
          const storage = new MemoryStorage()
          storage.put({ ledger: kept })
          const ledger = new Ledger(storage, new Days('UTC'), 'b')
          book(ledger, Date.UTC(2026, 5, 15, 12), 1)
          expect(Number.isFinite(ledger.today.measuredJ)).toBe(true)
        },
      ),
    )
  })

  test('keeps a bounded number of days whatever the clock does', () => {
    const storage = new MemoryStorage()
    const ledger = new Ledger(storage, new Days('UTC'), 'b')
    for (let day = 0; day < 400; day++) book(ledger, Date.UTC(2026, 0, 1 + ((day * 37) % 365)), 1)
    ledger.save('now', 0)
    expect(storage.get('ledger')!.length).toBeLessThan(3000)
  })

  test('carries the carbon of the hour along', () => {
    const ledger = new Ledger(new MemoryStorage(), new Days('UTC'), 'b')
    book(ledger, Date.UTC(2026, 5, 15, 12), 360, 400)
    expect(ledger.today.carbonG).toBeCloseTo((3600 / 3.6e6) * 400, 6)
  })
})
