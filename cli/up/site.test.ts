import { EventEmitter } from 'node:events'
import { describe, expect, it } from 'vitest'
import type { Device } from '../../api/resources.ts'
import type { SluiceResource } from '../../api/validate.ts'
import { writableOf } from './house.ts'
import { listenForKeys } from './keys.ts'
import { adopt, atHome, atPlant, inApplyOrder, onLine } from './site.ts'
import { count, emptyTally } from './tally.ts'

const device = (spec: Record<string, unknown>): Device => ({
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'Device',
  metadata: { name: 'meter-1' },
  spec: { model: 'meter', ...spec } as Device['spec'],
})

describe('placing devices', () => {
  it('adopts devices that belong to nobody, and leaves the others', () => {
    expect(adopt(device({}), 'gw-1').spec.nodeName).toBe('gw-1')
    expect(adopt(device({ nodeName: 'gw-9' }), 'gw-1').spec.nodeName).toBe('gw-9')
    expect(adopt(device({ nodeSelector: { site: 'a' } }), 'gw-1').spec.nodeName).toBeUndefined()
  })

  it('puts serial devices on the line the user named, with its own speed unless told', () => {
    const serial = device({ modbus: { rtu: { port: '/dev/old', baud: 19200 }, unit: 3 } })
    expect(onLine(serial, { port: '/dev/new' }).spec['modbus']).toEqual({
      rtu: { port: '/dev/new', baud: 19200 },
      unit: 3,
    })
    expect(onLine(serial, { port: '/dev/new', baud: 9600 }).spec['modbus']).toMatchObject({ rtu: { baud: 9600 } })
    const tcp = device({ modbus: { tcp: { host: 'a' } } })
    expect(onLine(tcp, { port: '/dev/new' })).toBe(tcp)
  })

  it('gives the demo the endpoints the plant has this time', () => {
    const plant = { meter: { port: '/tmp/end0', baud: 9600 }, drive: { host: '127.0.0.1', port: 4242 } }
    const placed = atHome(
      atPlant(device({ modbus: { tcp: { host: 'x', port: 1 }, unit: 1 }, nodeName: 'y' }), plant),
      'gw-1',
    )
    expect(placed.spec).toMatchObject({ nodeName: 'gw-1', modbus: { tcp: { host: '127.0.0.1', port: 4242 }, unit: 1 } })
  })

  it('applies models before devices', () => {
    const model = {
      apiVersion: 'v',
      kind: 'DeviceModel',
      metadata: { name: 'm' },
      spec: { properties: [] },
    } as SluiceResource
    expect(inApplyOrder([device({}), model]).map(({ kind }) => kind)).toEqual(['DeviceModel', 'Device'])
  })

  it('finds something to write for the example on the screen', () => {
    const model = {
      apiVersion: 'v',
      kind: 'DeviceModel',
      metadata: { name: 'meter' },
      spec: {
        properties: [
          { name: 'power', type: 'float' },
          { name: 'speed', type: 'int', access: 'readwrite', min: 0, max: 3000 },
        ],
      },
    } as SluiceResource
    expect(writableOf([model, device({})])).toBe('default/meter-1 speed=1200')
    expect(writableOf([device({})])).toBeUndefined()
  })
})

describe('the tally', () => {
  it('counts reports and how writes ended', () => {
    const tally = emptyTally()
    const base = { device: 'default/d', property: 'p', at: '2026-01-01T00:00:00.000Z' }
    count(tally, [
      { kind: 'reported', ...base, value: 1, quality: 'good' },
      { kind: 'reported', ...base, value: 1, quality: 'stale' },
      { kind: 'write', ...base, version: 1, state: 'applied' },
      { kind: 'write', ...base, version: 2, state: 'timedOut' },
      { kind: 'reach', device: 'default/d', online: true, at: base.at },
    ])
    expect(tally).toEqual({ values: 2, good: 1, applied: 1, rejected: 0, timedOut: 1 })
  })
})

describe('keys', () => {
  it('take the terminal while they are wanted and give it back', () => {
    const modes: boolean[] = []
    const input = Object.assign(new EventEmitter(), {
      isTTY: true,
      setRawMode: (raw: boolean) => modes.push(raw),
      resume: () => {},
      pause: () => {},
    })
    const heard: string[] = []
    const keys = listenForKeys(input, () => heard.push('quit'), { u: () => heard.push('u') })
    input.emit('data', Buffer.from('ux'))
    input.emit('data', Buffer.from('\x03'))
    keys[Symbol.dispose]()
    expect(heard).toEqual(['u', 'quit'])
    expect(modes).toEqual([true, false])
    expect(input.listenerCount('data')).toBe(0)
  })
})
