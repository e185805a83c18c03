import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { TermBook } from './terms.ts'

const told = (value: number, atMs: number) => ({ property: 'count', value, atMs })

describe('the fence', () => {
  it('takes all of the term in force, of one before what is older than the first value since, of others nothing', () => {
    const book = new TermBook(new DatabaseSync(':memory:'), 0)
    expect(book.admits('u', 'a', 0)).toBe('all')
    book.begin('u', 'a', 5, 0)
    book.begin('u', 'b', 6, 0)
    expect(book.admits('u', 'b', 6)).toBe('all')
    expect(book.admits('u', 'a', 6)).toBe('none')
    expect(book.admits('u', 'c', 5)).toBe('none')
    const late = book.admits('u', 'a', 5)
    if (typeof late === 'string') throw new Error(late)
    expect(late(told(9, 99_999))).toBe(true)
    book.covered('u', 6, [told(3, 1000), told(4, 2000)])
    expect([
      late(told(1, 400)),
      late(told(2, 999)),
      late(told(3, 999)),
      late(told(3, 100)),
      late(told(4, 1000)),
    ]).toEqual([true, true, false, true, false])
    expect(late({ ...told(4, 5000), property: 'other' })).toBe(true)
  })

  it('is the same after a restart, and a gateway that served without a term is fenced like any other', () => {
    const db = new DatabaseSync(':memory:')
    const first = new TermBook(db, 0)
    first.begin('u', 'b', 12, 0, 'a')
    first.covered('u', 12, [told(3, 1000)])
    const book = new TermBook(db, 0)
    expect(book.of('u')).toMatchObject({ term: 12, gateway: 'b', closed: [{ gateway: 'a', term: 0 }] })
    const late = book.admits('u', 'a', 0)
    expect(typeof late === 'function' && [late(told(1, 900)), late(told(1, 1100))]).toEqual([true, false])
    book.forget('u')
    expect(new TermBook(db, 0).of('u')).toBeUndefined()
  })

  it('takes what two gateways recorded while nobody could tell it once, also after a restart, and what only one has from that one', () => {
    const db = new DatabaseSync(':memory:')
    const first = new TermBook(db, 0)
    for (const [term, gateway] of ['a', 'b', 'c'].entries()) first.begin('u', gateway, term + 1, 0)
    const recorded = Array.from({ length: 20 }, (_, index) => told(index, 10_000 + 100 * index))
    first.covered('u', 1, recorded.slice(0, 12))
    const book = new TermBook(db, 0)
    const late = book.admits('u', 'b', 2)
    if (typeof late === 'string') throw new Error(late)
    // Clocks are known to within some of the time that passes between two transmissions.
    for (const offMs of [0, 180, -180]) {
      const taken = recorded.filter((one) => late({ ...one, atMs: one.atMs + offMs }))
      expect(taken).toEqual(recorded.slice(12))
    }
    expect(late({ ...told(5, 10_500), property: 'other' })).toBe(true)
  })

  it('remembers a bounded number of terms', () => {
    const db = new DatabaseSync(':memory:')
    const book = new TermBook(db, 0)
    for (let term = 1; term <= 1000; term++) {
      book.begin('u', term % 2 === 0 ? 'a' : 'b', term, 0)
      if (term > 1) book.covered('u', term - 1, [told(term, 0)])
    }
    expect(db.prepare('SELECT count(*) AS rows FROM told_late').get()).toEqual({ rows: 256 })
    expect(book.of('u')!.closed).toHaveLength(256)
    expect(new TermBook(db, 0).of('u')!.closed).toHaveLength(256)
    expect(book.admits('u', 'b', 3)).toBe('none')
    expect(book.admits('u', 'b', 999)).not.toBe('none')
  })
})
