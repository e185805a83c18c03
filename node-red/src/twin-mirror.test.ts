import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DeviceView, TwinView } from '../../api/views.ts'
import { type TwinEvent, TwinMirror } from './twin-mirror.ts'

const at = (second: number) => new Date(second * 1000).toISOString()

const device = (twins: readonly TwinView[], name = 'pump'): DeviceView => ({
  namespace: 'plant',
  name,
  model: 'pump',
  state: 'online',
  twins,
})

const level = (value: number, second: number): TwinView => ({
  name: 'level',
  access: 'readwrite',
  value,
  at: at(second),
  quality: 'good',
})

const reported = (value: number, second: number): TwinEvent => ({
  kind: 'reported',
  device: 'plant/pump',
  property: 'level',
  value,
  at: at(second),
  quality: 'good',
})

const common = { device: 'plant/pump', property: 'level' } as const

describe('the mirror of twins', () => {
  it('tells the first state as initial, and later only what differs', () => {
    const mirror = new TwinMirror()
    expect(mirror.replace([device([level(1, 1)])])).toMatchObject([
      { initial: true, event: { kind: 'reported', value: 1 } },
    ])
    expect(mirror.replace([device([level(1, 1)])])).toEqual([])
    expect(mirror.replace([device([level(2, 5)])])).toMatchObject([
      { initial: false, before: { value: 1 }, event: { kind: 'reported', value: 2, at: at(5) } },
    ])
  })

  it('follows a write from desired to applied to synced, and back to applied when the device drifts', () => {
    const mirror = new TwinMirror()
    mirror.replace([device([level(1, 1)])])
    const state = (event: TwinEvent) => mirror.apply(event)?.twin.state
    expect(state({ kind: 'desired', ...common, value: 7, version: 3, at: at(2) })).toBe('pending')
    expect(state(reported(1, 3))).toBe('pending')
    expect(state({ kind: 'write', ...common, version: 3, state: 'applied', at: at(4) })).toBe('applied')
    expect(state(reported(7, 5))).toBe('synced')
    expect(state(reported(6, 6))).toBe('applied')
    expect(state({ kind: 'desired', ...common, version: 4, at: at(7) })).toBeUndefined()
  })

  it('does not take the end of an older write for the end of the one in force', () => {
    const mirror = new TwinMirror()
    mirror.replace([device([level(1, 1)])])
    mirror.apply({ kind: 'desired', ...common, value: 7, version: 5, at: at(2) })
    const change = mirror.apply({ kind: 'write', ...common, version: 4, state: 'rejected', at: at(3), reason: 'old' })
    expect(change?.twin).toMatchObject({ state: 'pending' })
  })

  it('keeps the last known value of a reading that failed, with its time and the new quality', () => {
    const mirror = new TwinMirror()
    mirror.replace([device([level(1, 1)])])
    const failed = { ...reported(0, 9), value: null, quality: 'bad(timeout)', reason: 'no answer' } as const
    expect(mirror.apply(failed)?.twin).toMatchObject({
      value: 1,
      at: at(1),
      quality: 'bad(timeout)',
      reason: 'no answer',
    })
  })

  it('ends up the same whether it heard every event or read the state afterwards', () => {
    const event = fc.oneof(
      fc.integer({ min: 0, max: 3 }).map((value) => ({ kind: 'reported', value }) as const),
      fc.integer({ min: 0, max: 3 }).map((value) => ({ kind: 'desired', value }) as const),
      fc.constantFrom('applied', 'rejected', 'timedOut').map((state) => ({ kind: 'write', state }) as const),
    )
    fc.assert(
      fc.property(fc.array(event, { maxLength: 20 }), (events) => {
        const heard = new TwinMirror()
        heard.replace([device([level(0, 0)])])
        let version = 0
        for (const [index, each] of events.entries()) {
          const second = index + 1
          if (each.kind === 'reported') heard.apply(reported(each.value, second))
          else if (each.kind === 'desired') heard.apply({ ...each, ...common, version: ++version, at: at(second) })
          else if (version > 0) heard.apply({ ...each, ...common, version, at: at(second) })
        }
        const now = heard.devices.get('plant/pump')!
        const read = new TwinMirror()
        read.replace([device([level(0, 0)])])
        read.replace([now])
        expect(read.devices.get('plant/pump')!.twins).toEqual(now.twins)
        expect(read.replace([now])).toEqual([])
      }),
    )
  })
})
