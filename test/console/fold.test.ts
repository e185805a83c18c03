import { describe, expect, it } from 'vitest'
import type { ModelProperty } from '../../api/resources.ts'
import type { DeviceView, StreamEvent, TwinView } from '../../api/views.ts'
import { foldEvent } from '../../console/src/fold.ts'
import { registerMap } from '../../console/src/register-map.ts'
import { routeOf } from '../../console/src/route.ts'

const at = (s: number) => new Date(s * 1000).toISOString()
const device = (twin: Partial<TwinView> = {}): DeviceView => ({
  ...{ namespace: 'n', name: 'd', model: 'm', state: 'online' },
  twins: [{ name: 'p', access: 'readwrite', value: 1, at: at(10), quality: 'good', ...twin }],
})
const reported = (value: number, s: number, more: object = {}): StreamEvent => ({
  ...{ kind: 'reported', device: 'n/d', property: 'p', value, at: at(s), quality: 'good' },
  ...more,
})
const desired = (value: number, version: number, s: number): StreamEvent => ({
  ...{ kind: 'desired', device: 'n/d', property: 'p', value, version, at: at(s) },
})
const write = (version: number, state: 'applied' | 'rejected', reason?: string): StreamEvent => ({
  ...{ kind: 'write', device: 'n/d', property: 'p', version, state, at: at(30) },
  ...(reason === undefined ? {} : { reason }),
})
const twinAfter = (from: DeviceView, ...events: StreamEvent[]) => events.reduce(foldEvent, from).twins[0]!

describe('what an event makes of a device', () => {
  it('takes the newest value, and leaves it when history arrives late', () => {
    expect(twinAfter(device(), reported(2, 20)).value).toBe(2)
    expect(twinAfter(device(), reported(2, 20), reported(3, 15, { backfill: true }))).toMatchObject({
      value: 2,
      at: at(20),
    })
  })

  it('keeps the last known value and its time when a reading fails', () => {
    const failed = reported(0, 20, { value: null, quality: 'bad(timeout)', reason: 'no answer' })
    expect(twinAfter(device(), failed)).toMatchObject({
      value: 1,
      at: at(10),
      quality: 'bad(timeout)',
      reason: 'no answer',
    })
    expect(twinAfter(device(), failed, reported(5, 21))).not.toHaveProperty('reason')
  })

  it('follows a write to its end, and to agreement with what is read', () => {
    const set = twinAfter(device(), desired(7, 3, 20))
    expect(set).toMatchObject({ desired: { value: 7, version: 3 }, state: 'pending' })
    expect(twinAfter(device(), desired(7, 3, 20), write(3, 'applied')).state).toBe('applied')
    expect(twinAfter(device(), desired(7, 3, 20), write(3, 'applied'), reported(7, 31)).state).toBe('synced')
    expect(twinAfter(device(), desired(7, 3, 20), write(3, 'rejected', 'too hot'))).toMatchObject({
      ...{ state: 'rejected', stateReason: 'too hot' },
    })
  })

  it('does not let an older version end a newer write, or replace it', () => {
    expect(twinAfter(device(), desired(7, 3, 20), write(2, 'applied')).state).toBe('pending')
    expect(twinAfter(device(), desired(7, 3, 20), desired(6, 2, 21)).desired?.value).toBe(7)
  })

  it('takes a second value set at the gateway, which has the version of the first', () => {
    expect(twinAfter(device(), desired(7, 3, 20), write(3, 'applied'), desired(8, 3, 40))).toMatchObject({
      ...{ desired: { value: 8 }, state: 'pending' },
    })
  })
})

describe('the register map', () => {
  it('lays properties and what is read along over rows of sixteen', () => {
    const [map] = registerMap(
      [{ request: '', everyMs: 1, properties: ['a', 'b'], busMs: 1, why: '', table: 'input', start: 14, length: 6 }],
      [
        { name: 'a', type: 'float', modbus: { input: 14, as: 'float32' } },
        { name: 'b', type: 'int', modbus: { input: 19 } },
      ],
    )
    expect(map!.rows.map(({ start }) => start)).toEqual([0, 16])
    const cells = map!.rows.flatMap((row) => row.cells).filter(({ request }) => request !== undefined)
    expect(cells.map(({ property }) => property)).toEqual(['a', 'a', undefined, undefined, undefined, 'b'])
  })

  it('names all who share a register', () => {
    const of = { everyMs: 1, busMs: 1, why: '', table: 'holding', start: 0, length: 1 }
    const bit = (name: string, at: number): ModelProperty => ({ name, type: 'bool', modbus: { holding: 0, bit: at } })
    const [map] = registerMap([{ ...of, request: '', properties: ['a', 'b'] }], [bit('a', 0), bit('b', 1)])
    expect(map!.rows[0]!.cells[0]!.property).toBe('a, b')
  })

  it('shows what the device refuses, also where nothing is read, and no more of it than one can look at', () => {
    const holes = [{ table: 'input', start: 40, length: 60_000 }]
    const request = { request: '', everyMs: 1, properties: [], busMs: 1, why: '', table: 'input', start: 0, length: 2 }
    const [map] = registerMap([request], [], 16, holes)
    const refused = map!.rows.flatMap(({ cells }) => cells).filter((cell) => cell.refused)
    expect(refused.map(({ address }) => address)).toEqual(Array.from({ length: 64 }, (_, at) => 40 + at))
    expect(map!.rows.map(({ start }) => start)).toEqual([0, 32, 48, 64, 80, 96])
  })
})

describe('addresses of views', () => {
  it('are read back, whatever stands in them', () => {
    expect(routeOf('#/device/n/d')).toEqual({ page: 'device', id: 'n/d' })
    expect(routeOf('#/nonsense/<img>')).toEqual({ page: 'home', id: '<img>' })
    expect(routeOf('#/gateway/%E0%A4%A')).toEqual({ page: 'gateway', id: '%E0%A4%A' })
  })
})
