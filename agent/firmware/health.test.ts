import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Reading } from '../../mappers/sdk/mapper.ts'
import { HealthCheck } from './health.ts'

const reading = (property: string, quality: Reading['quality'] = 'good', device = 'ns/d'): Reading => ({
  device,
  property,
  value: 1,
  atMs: 0,
  quality,
})

describe('the health of a board after an update', () => {
  it('is there after so many polls in a row with good values alone', () => {
    const check = new HealthCheck('ns/d', 3, [])
    check.take([reading('a'), reading('b')])
    check.take([reading('a')])
    expect(check.healthy).toBe(false)
    expect(check.why).toBe('2 of 3 good polls; waiting')
    check.take([reading('a'), reading('b', 'bad(timeout)')])
    expect(check.healthy).toBe(false)
    expect(check.why).toBe('0 of 3 good polls; b is bad(timeout)')
    for (let poll = 0; poll < 3; poll++) check.take([reading('a')])
    expect(check.healthy).toBe(true)
    expect(check.why).toBe('healthy')
  })

  it('wants every property good again that was good before', () => {
    const check = new HealthCheck('ns/d', 1, ['a', 'slow'])
    for (let poll = 0; poll < 9; poll++) check.take([reading('a')])
    expect(check.healthy).toBe(false)
    expect(check.why).toContain('no good value yet of slow')
    check.take([reading('slow')])
    expect(check.healthy).toBe(true)
  })

  it('is not moved by other devices, nor by silence', () => {
    const check = new HealthCheck('ns/d', 1, [])
    check.take([])
    check.take([reading('a', 'good', 'ns/other')])
    expect(check.healthy).toBe(false)
    check.take([reading('a')])
    check.take([reading('a', 'bad(timeout)', 'ns/other')])
    expect(check.healthy).toBe(true)
  })

  it('never is there within fewer good polls in a row than were asked for, whatever came', () => {
    const quality = fc.constantFrom<Reading['quality']>('good', 'good', 'good', 'bad(timeout)', 'stale')
    const batches = fc.array(fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), quality), { maxLength: 3 }))
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), batches, (polls, all) => {
        const check = new HealthCheck('ns/d', polls, ['a'])
        let row = 0
        let sawA = false
        for (const batch of all) {
          check.take(batch.map(([property, of]) => reading(property, of)))
          if (batch.length > 0) row = batch.every(([, of]) => of === 'good') ? row + 1 : 0
          if (row > 0) sawA ||= batch.some(([property]) => property === 'a')
          expect(check.healthy).toBe(row >= polls && sawA)
        }
      }),
    )
  })
})
