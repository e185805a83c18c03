import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DeviceModel } from '../api/resources.ts'
import { devicesFromCsv } from './device-rows.ts'

const drive: DeviceModel = {
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'DeviceModel',
  metadata: { name: 'drive' },
  spec: {
    properties: [{ name: 'speed', type: 'int', access: 'readwrite', min: 0, max: 3000, modbus: { holding: 0 } }],
  },
}
const models = new Map([['drive', drive]])

describe('devicesFromCsv', () => {
  it('names the column of a cell that is empty and must not be', () => {
    const { problems } = devicesFromCsv('name,modbus.unit,modbus.tcp.host\n,1,plc\n', { model: 'drive', models })
    expect(problems).toMatchObject([{ line: 2, column: 'name', message: 'is empty' }])
  })

  it('makes a device of every line, with defaults where a cell is empty', () => {
    const table = 'name,modbus.unit,modbus.tcp.host,poll,desired.speed\ndrive-1,1,10.0.0.1,500ms,900\ndrive-2,2,,,\n'
    const defaults = { 'modbus.tcp.host': 'plc' }
    const { devices, problems } = devicesFromCsv(table, { model: 'drive', nodeName: 'gw-1', defaults, models })
    expect(problems).toEqual([])
    expect(devices).toEqual([
      {
        apiVersion: 'sluice.dev/v1alpha1',
        kind: 'Device',
        metadata: { name: 'drive-1' },
        spec: {
          model: 'drive',
          nodeName: 'gw-1',
          modbus: { tcp: { host: '10.0.0.1' }, unit: 1 },
          poll: { every: '500ms' },
          desired: { speed: 900 },
        },
      },
      {
        apiVersion: 'sluice.dev/v1alpha1',
        kind: 'Device',
        metadata: { name: 'drive-2' },
        spec: { model: 'drive', nodeName: 'gw-1', modbus: { tcp: { host: 'plc' }, unit: 2 } },
      },
    ])
  })

  it('tells every mistake with its line and column', () => {
    const table = [
      'name,modbus.unit,modbus.tcp.host,desired.speed',
      'ok,1,plc,1',
      'Not_OK,1,plc,1',
      'no-unit,many,plc,1',
      'too-fast,1,plc,9000',
      'ok,2,plc,1',
      'wide,1,plc,1,surplus',
    ].join('\n')
    const { problems } = devicesFromCsv(table, { model: 'drive', models })
    expect(problems.map(({ line, column }) => [line, column])).toEqual([
      [3, 'name'],
      [4, 'modbus.unit'],
      [5, 'desired.speed'],
      [6, 'name'],
      [7, undefined],
    ])
  })

  it('keeps text as text where the schema wants it, although it looks like a number', () => {
    const table = 'name,modbus.tcp.host,modbus.unit\n12,1234,3\n'
    const { devices, problems } = devicesFromCsv(table, { model: 'drive', models })
    expect(problems).toEqual([])
    expect(devices[0]?.metadata.name).toBe('12')
    expect(devices[0]?.spec['modbus']).toEqual({ tcp: { host: '1234' }, unit: 3 })
  })

  it('says what is wrong with the header', () => {
    const { problems } = devicesFromCsv('Name,modbus unit,a,a\nx,1,2,3\n', { model: 'drive', models })
    expect(problems.map(({ line }) => line)).toEqual([1, 1, 1])
    expect(problems[0]?.hint).toContain("'Name'")
    expect(devicesFromCsv('', { models }).problems[0]?.message).toBe('the file is empty')
  })

  it('gives devices or problems for any table, and touches no prototype', () => {
    const column = fc.constantFrom('name', 'modbus.unit', 'constructor.prototype.x', '__proto__.x', 'toString', 'poll')
    const cell = fc.oneof(fc.constantFrom('a', '1', 'true', '-0', '1e9'), fc.string())
    const rows = fc.array(fc.array(cell, { maxLength: 5 }), { maxLength: 4 })
    fc.assert(
      fc.property(fc.array(column, { minLength: 1, maxLength: 5 }), rows, (header, body) => {
        const text = [header, ...body].map((row) => row.join(',')).join('\n')
        const { devices, problems } = devicesFromCsv(text, { model: 'drive', models })
        expect(devices.length + problems.length).toBeGreaterThan(0)
        expect(({} as Record<string, unknown>)['x']).toBeUndefined()
      }),
    )
  })
})
