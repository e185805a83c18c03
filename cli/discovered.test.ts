import { describe, expect, it } from 'vitest'
import type { DiscoveredDevice } from '../api/resources.ts'
import { discoveredTable, findDiscovered, rowOfItem, rowOfObject } from './discovered.ts'
import { colorless } from './output.ts'
import { displayWidth } from './text.ts'

const object = (name: string, gateway: string, id: string): DiscoveredDevice => ({
  ...{ apiVersion: 'sluice.dev/v1alpha1', kind: 'DiscoveredDevice', metadata: { name, namespace: 'default' } },
  spec: { protocol: 'ble', id, gateway, address: { mac: id }, name: 'Tag' },
  status: { state: 'new', lastSeen: '2026-01-01T00:00:00.000Z', rssiDbm: -71.6 },
})
const rows = [
  object('ble-a-1', 'gw-1', 'AA:01'),
  object('ble-a-2', 'gw-2', 'AA:01'),
  object('ble-b-1', 'gw-1', 'BB:02'),
]

describe('what was discovered', () => {
  it('is found by its object or by its own id, and never by a guess', () => {
    const known = rows.map(rowOfObject)
    expect(findDiscovered(known, 'bb:02').object).toBe('ble-b-1')
    expect(findDiscovered(known, 'ble-a-2').gateway).toBe('gw-2')
    expect(() => findDiscovered(known, 'aa:01')).toThrow(
      expect.objectContaining({
        code: 'SLUICE_CLI_DISCOVERED_TWICE',
        hint: expect.stringContaining('ble-a-1, ble-a-2'),
      }),
    )
    expect(() => findDiscovered(known, 'cc')).toThrow(expect.objectContaining({ code: 'SLUICE_CLI_NOT_DISCOVERED' }))
  })

  it('fits the terminal and obeys nothing that a device calls itself', () => {
    const evil = rowOfItem({
      ...{ protocol: 'ble', id: 'cc', address: {}, name: '\x1b[2Jboo', facts: {}, atMs: 0, count: 1 },
      candidates: [{ model: 'm\nm', score: 0.5, why: '' }],
    })
    const lines = discoveredTable([...rows.map(rowOfObject), evil], Date.parse('2026-01-01T00:01:00Z'), colorless, 100)
    for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(100)
    expect(lines.join('')).not.toContain('\x1b')
    expect(lines[1]).toContain('-72 dBm')
  })
})
