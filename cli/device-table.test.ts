import { describe, expect, it } from 'vitest'
import type { DeviceView } from '../api/views.ts'
import { deviceDetails, deviceTable } from './device-table.ts'
import { colorless } from './output.ts'
import { displayWidth } from './text.ts'
import { compose } from './up/live-screen.ts'
import { formatValue, parseValue } from './values.ts'

const now = Date.parse('2026-03-01T12:00:00.000Z')
const at = '2026-03-01T11:59:58.000Z'

const drive: DeviceView = {
  namespace: 'default',
  name: 'drive-1',
  model: 'speed-drive',
  gateway: 'gw-1',
  state: 'online',
  twins: [
    {
      name: 'speed',
      value: 1200,
      unit: '1/min',
      at,
      quality: 'good',
      access: 'readwrite',
      desired: { value: 1200, version: 7, at },
      state: 'synced',
    },
    {
      name: 'ramp',
      value: 2.5,
      unit: 's',
      at,
      quality: 'good',
      access: 'readwrite',
      desired: { value: 90, version: 8, at },
      state: 'rejected',
      stateReason: '90 is above the maximum of 60',
    },
    { name: 'fault', value: 'none', at, quality: 'stale', reason: 'no answer for 12 s', access: 'read' },
    { name: 'label', access: 'readwrite' },
  ],
}

describe('deviceDetails of a device with a radio and a battery', () => {
  it('shows how well the device is heard and what is left of its battery', () => {
    const link = { rssiDbm: -97, snrDb: 5.5, spreadingFactor: 9, marginDb: 18, errorRate: 0.004, latencyMs: 12 }
    const lines = deviceDetails({ ...drive, link, battery: { percent: 87, at } }, now, colorless, 120)
    expect(lines).toContain('  link        -97 dBm, SNR 5.5 dB, SF9, 18 dB to spare, answers in 12 ms, 0.4 % errors')
    expect(lines).toContain('  battery     87 %, 2s ago')
    expect(deviceDetails(drive, now, colorless, 120).join()).not.toContain('battery')
  })
})

describe('deviceTable', () => {
  it('shows value, unit, quality, desired state and age of every twin', () => {
    expect(deviceTable([drive], now, colorless, 120)).toEqual([
      'DEVICE     PROPERTY  VALUE       QUALITY                    DESIRED                           AGE',
      '● drive-1  speed     1200 1/min  good                       1200 synced                        2s',
      '           ramp       2.5 s      good                       90 rejected: 90 is above the ma…   2s',
      '           fault     none        stale: no answer for 12 s                                     2s',
      '           label     –           waiting                    writable                            –',
    ])
  })

  it('fits narrow terminals', () => {
    for (const width of [60, 80, 100]) {
      for (const line of deviceTable([drive], now, colorless, width))
        expect(displayWidth(line)).toBeLessThanOrEqual(width)
    }
  })

  it('says why a device has no values', () => {
    const invalid: DeviceView = { ...drive, namespace: 'plant', state: 'invalid', reason: 'no such model', twins: [] }
    expect(deviceTable([invalid], now, colorless, 120)[1]).toBe('✗ plant/drive-1  invalid   no such model')
  })

  it('shows nothing a terminal would obey, whatever the device sends', () => {
    const nasty: DeviceView = {
      ...drive,
      twins: [{ name: 'x', value: '\x1b]0;owned\x07', quality: 'good', at, access: 'read' }],
    }
    const shown = deviceTable([nasty], now, colorless, 120).join('')
    expect(shown).toContain('�]0;owned�')
    expect(shown).not.toContain('\x1b')
  })
})

describe('deviceDetails', () => {
  it('puts model, gateway and state above the twins', () => {
    expect(deviceDetails(drive, now, colorless, 120).slice(0, 4)).toEqual([
      'drive-1',
      '  model       speed-drive',
      '  gateway     gw-1',
      '  state       ● online',
    ])
  })
})

describe('compose', () => {
  it('never draws more lines than the terminal has', () => {
    const devices = Array.from({ length: 40 }, (_, index) => ({ ...drive, name: `drive-${index}` }))
    const out = { style: colorless, width: 80, height: 20 }
    const lines = compose({ head: ['head'], devices, foot: ['foot'] }, now, out)
    expect(lines.length).toBeLessThan(20)
    expect(lines.at(-1)).toBe('foot')
    expect(lines.join('\n')).toContain('more lines: sluice device ls')
  })
})

describe('values', () => {
  it('are shown without noise digits', () => {
    expect([230.10000610351562, 1e-9, 3, true, 'on', null, [1, 2], undefined].map(formatValue)).toEqual([
      '230.1',
      '1e-9',
      '3',
      'true',
      'on',
      'null',
      '[1,2]',
      '–',
    ])
  })

  it('are read as JSON where they are, as text elsewhere', () => {
    expect(['1200', 'true', 'eco', '"7"', '[1]', ''].map(parseValue)).toEqual([1200, true, 'eco', '7', [1], ''])
  })
})
