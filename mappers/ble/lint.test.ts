import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DeviceModelSpec } from '../../api/resources.ts'
import { compileDevice } from './device-config.ts'
import { explainBinding } from './explain.ts'
import { lintBle } from './lint.ts'
import { device } from './test-host.test-helper.ts'

type Property = DeviceModelSpec['properties'][number]

const codes = (properties: Property[], model?: object, devices = 0) =>
  lintBle(
    { properties, ...(model === undefined ? {} : { ble: model }) },
    Array.from({ length: devices }, (_, i) => ({ model: 'm', ble: { mac: `C0:00:00:00:00:0${i}` } })),
  ).map(({ code, severity }) => `${severity} ${code}`)

const property = (ble: object, rest: Partial<Property> = {}): Property => ({ name: 'x', type: 'float', ble, ...rest })

describe('lint', () => {
  it('has nothing against what can be served', () => {
    expect(codes([property({ advert: 'bthome', field: 'temperature2' })])).toEqual([])
    expect(codes([property({ manufacturer: 0x0499, at: 3, as: 'int16' })])).toEqual([])
    expect(codes([property({ characteristic: 'batteryLevel' })])).toEqual([])
  })

  it.each([
    ['a field the format lacks', property({ advert: 'ruuvi', field: 'co2' }), 'error SLUICE_LINT_BLE_FIELD'],
    ['a name nobody knows', property({ characteristic: 'batery' }), 'error SLUICE_LINT_BLE_CHARACTERISTIC'],
    [
      'a place past the end',
      property({ serviceData: 'fcd2', at: 28, as: 'int32' }),
      'warning SLUICE_LINT_BLE_TOO_LONG',
    ],
    ['the company as value', property({ manufacturer: 1, at: 0 }), 'warning SLUICE_LINT_BLE_COMPANY'],
    ['text as number', property({ characteristic: 'fff1', as: 'string' }), 'error SLUICE_LINT_BLE_TYPE'],
    [
      'writing an advertisement',
      property({ advert: 'bthome', field: 'light' }, { access: 'readwrite' }),
      'error SLUICE_LINT_BLE_READ_ONLY',
    ],
    [
      'writing a part',
      property({ characteristic: 'fff1', bit: 3 }, { access: 'readwrite' }),
      'error SLUICE_LINT_BLE_PART',
    ],
  ])('says %s', (_, bad, code) => {
    expect(codes([bad])).toEqual([code])
  })

  it('knows what connect and the number of devices mean', () => {
    const read = property({ characteristic: 'fff1' }, { poll: { every: '1s' } })
    expect(codes([read], { connect: 'never' })).toEqual(['error SLUICE_LINT_BLE_NEVER'])
    expect(codes([read], { connect: 'onDemand' })).toEqual(['warning SLUICE_LINT_BLE_POLL'])
    expect(codes([property({ characteristic: 'fff1', notify: true })], undefined, 9)).toEqual([
      'warning SLUICE_LINT_BLE_LINKS',
    ])
  })

  it('never throws on what the schema may let through', () => {
    const ble = fc.record(
      {
        advert: fc.constantFrom('bthome', 'ruuvi', 'miBeacon'),
        field: fc.string(),
        manufacturer: fc.nat(65535),
        serviceData: fc.constantFrom('fcd2', '0xFCD2'),
        characteristic: fc.string(),
        at: fc.nat(511),
        as: fc.constantFrom('int16', 'string', 'uint64'),
        notify: fc.boolean(),
      },
      { requiredKeys: [] },
    )
    fc.assert(fc.property(fc.array(ble, { maxLength: 5 }), (all) => void codes(all.map((one) => property(one)))))
  })
})

describe('the plan', () => {
  const explain = (properties: Property[], model?: object) =>
    explainBinding(device('ns/a', 'C0:00:00:00:00:01', properties, model === undefined ? {} : { model }))

  it('says what is listened for, told and read, and what it costs', () => {
    const heard = explain([property({ advert: 'ruuvi', field: 'temperature' })])
    expect(heard.requests.map(({ request }) => request)).toEqual(['listen for ruuvi advertisements'])
    expect(heard.notes).toContain('no connection is ever made')
    const told = explain([property({ characteristic: 'temperature', notify: true })])
    expect(told.requests.map(({ request }) => request)).toEqual(['subscribe to characteristic 2a6e'])
    const visited = explain([property({ characteristic: 'temperature' }, { poll: { every: '10m' } })])
    expect(visited.requests[0]).toMatchObject({ request: 'read characteristic 2a6e', everyMs: 600_000 })
    expect(visited.notes.join()).toContain('sleeps in between')
  })

  it('reads properties of one characteristic together', () => {
    const plan = explain([
      property({ characteristic: 'fff1', as: 'int16' }),
      property({ characteristic: '0xFFF1', at: 2, as: 'int16' }, { name: 'y' }),
    ])
    expect(plan.requests).toHaveLength(1)
    expect(plan.requests[0]?.properties).toEqual(['x', 'y'])
  })

  it('refuses an adapter that is none, with a hint', () => {
    const binding = device('ns/a', 'C0:00:00:00:00:01', [], { address: { adapter: 'usb' } })
    expect(() => compileDevice(binding)).toThrow(/adapter usb/)
  })
})
