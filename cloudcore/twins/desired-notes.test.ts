import { describe, expect, it } from 'vitest'
import type { Device, Json } from '../../api/resources.ts'
import { tellDesired } from './desired-notes.ts'
import { Fleet } from './fleet.ts'

const device = (version: number, desired: Record<string, Json>): Device => ({
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'Device',
  metadata: { name: 'a', namespace: 'n', uid: 'u', resourceVersion: String(version), generation: version },
  spec: { model: 'm', nodeName: 'gw', desired },
})

describe('notes of desired values', () => {
  it('tell each change once, and nothing of what a device came with', () => {
    const fleet = new Fleet()
    const told: unknown[] = []
    tellDesired(
      fleet,
      () => 0,
      (note, gateway) => told.push([gateway, note]),
    )
    fleet.upsertDevice(device(1, { a: 1 }), 1000)
    expect(told).toEqual([])
    fleet.upsertDevice(device(2, { a: 1, b: true }), 2000)
    fleet.upsertDevice(device(3, { a: 5 }), 3000)
    const common = { kind: 'desired', device: 'n/a' }
    expect(told).toEqual([
      ['gw', { ...common, property: 'b', version: 2, at: '1970-01-01T00:00:02.000Z', value: true }],
      ['gw', { ...common, property: 'a', version: 3, at: '1970-01-01T00:00:03.000Z', value: 5 }],
      ['gw', { ...common, property: 'b', version: 3, at: '1970-01-01T00:00:00.000Z' }],
    ])
  })
})
