import { describe, expect, it } from 'vitest'
import type { ModelProperty } from '../resources.ts'
import { emptyTwin, mergeDesired, mergeReported, mergeWrite } from './twin.ts'
import { twinView, visibleWrite } from './view.ts'

const heard = { device: false, gateway: false }
const property: ModelProperty = { name: 'speed', type: 'int', unit: '1/min', access: 'readwrite' }
const order = (seq: number) => ({ epoch: 1, seq })
const reading = (value: number, atMs: number) => ({ value, atMs, quality: 'good' as const, order: order(atMs) })
const desired = mergeDesired(emptyTwin, { value: 900, version: 4, atMs: 1, by: 'ada' })
const applied = mergeReported(mergeWrite(desired, { version: 4, state: 'applied', atMs: 2 }), reading(900, 2))

describe('a property as both APIs show it', () => {
  it('has value, unit, time and quality of the reading, and the desired value with who set it', () => {
    expect(twinView('speed', applied, property, heard)).toEqual({
      name: 'speed',
      value: 900,
      unit: '1/min',
      at: '1970-01-01T00:00:00.002Z',
      quality: 'good',
      access: 'readwrite',
      desired: { value: 900, version: 4, at: '1970-01-01T00:00:00.001Z', by: 'ada' },
      state: 'synced',
    })
  })

  it('keeps the last value and its time beside the reason why newer readings fail', () => {
    const failed = mergeReported(applied, { atMs: 9, quality: 'bad(timeout)', reason: 'no answer', order: order(9) })
    const view = twinView('speed', failed, property, heard)
    expect(view).toMatchObject({
      value: 900,
      at: '1970-01-01T00:00:00.002Z',
      quality: 'bad(timeout)',
      reason: 'no answer',
    })
  })

  it('is stale while the gateway is away, unless it was bad already', () => {
    const away = { device: false, gateway: true }
    expect(twinView('speed', applied, property, away)).toMatchObject({ quality: 'stale', state: 'stale' })
    const failed = mergeReported(applied, { atMs: 9, quality: 'bad(timeout)', order: order(9) })
    expect(twinView('speed', failed, property, away).quality).toBe('bad(timeout)')
  })

  it('says that a pending write waits for its gateway', () => {
    expect(visibleWrite(desired, property, { device: false, gateway: true })).toEqual({
      state: 'pending',
      reason: 'the gateway is away; it is written when it is back',
    })
    expect(visibleWrite(desired, property, heard)).toEqual({ state: 'pending' })
  })

  it('says that a value changed at the device after it had been written', () => {
    const drifted = mergeReported(applied, reading(0, 50))
    expect(visibleWrite(drifted, property, heard)).toEqual({
      state: 'applied',
      reason: 'written, and changed at the device since; set it again to write it again',
    })
  })

  it('gives the reason of a rejected write as it was told', () => {
    const rejected = mergeWrite(desired, { version: 4, state: 'rejected', atMs: 2, reason: 'above the maximum' })
    expect(visibleWrite(rejected, property, heard)).toEqual({ state: 'rejected', reason: 'above the maximum' })
  })
})
