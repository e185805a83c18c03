import { describe, expect, it } from 'vitest'
import type { Json, ModelProperty } from '../resources.ts'
import { deviceBattery, deviceLink, figuresMoved } from './signal.ts'
import { emptyTwin, mergeReported } from './twin.ts'

const AT_MS = Date.UTC(2026, 0, 1)

const property = (name: string, role: NonNullable<ModelProperty['role']>): ModelProperty => ({
  name,
  type: 'float',
  role,
})

const PROPERTIES = [
  property('rssi', 'rssi'),
  property('snr', 'snr'),
  property('lq', 'linkQuality'),
  property('bat', 'battery'),
]

const twins = (values: Record<string, Json>) => (name: string) =>
  name in values
    ? mergeReported(emptyTwin, { value: values[name]!, atMs: AT_MS, quality: 'good', order: { epoch: 1, seq: 1 } })
    : undefined

describe('the link of a device', () => {
  it('is what its protocol says, and what properties say where that says nothing', () => {
    const twinOf = twins({ rssi: -80.04, snr: 3, lq: 120, bat: 55 })
    expect(deviceLink({ atMs: AT_MS, rssiDbm: -60, errorRate: 0.12345, marginDb: 9.99 }, PROPERTIES, twinOf)).toEqual({
      rssiDbm: -60,
      errorRate: 0.123,
      marginDb: 10,
      snrDb: 3,
      quality: 120,
    })
    expect(deviceLink(undefined, PROPERTIES, twins({ rssi: -80.04 }))).toEqual({ rssiDbm: -80 })
    expect(deviceLink(undefined, PROPERTIES, twins({ rssi: 'strong' }))).toBeUndefined()
    expect(deviceLink({ atMs: AT_MS }, [], twins({}))).toBeUndefined()
  })
})

describe('the battery of a device', () => {
  it('is told by the protocol or by a property, within 0 and 100', () => {
    const at = new Date(AT_MS).toISOString()
    expect(deviceBattery({ atMs: AT_MS, batteryPercent: 71 }, PROPERTIES, twins({ bat: 10 }))).toEqual({
      percent: 71,
      at,
    })
    expect(deviceBattery({ atMs: 0 }, PROPERTIES, twins({ bat: 101 }))).toEqual({ percent: 100, at })
    expect(deviceBattery(undefined, PROPERTIES, twins({}))).toBeUndefined()
  })
})

describe('figures of a link', () => {
  const gateways = [{ id: 'a', rssiDbm: -70 }, { id: 'b' }]
  const told = { atMs: AT_MS, rssiDbm: -70, errorRate: 0.1, latencyMs: 10, batteryPercent: 50, gateways }

  it('that only tremble have not moved', () => {
    const trembling = [{ id: 'b', snrDb: 3 }, { id: 'a' }]
    expect(figuresMoved(told, { ...told, gateways: trembling })).toBe(false)
    expect(figuresMoved(told, { ...told, rssiDbm: -73, errorRate: 0.12, latencyMs: 12, batteryPercent: 50.5 })).toBe(
      false,
    )
  })

  it.each([
    { rssiDbm: -74 },
    { errorRate: 0.2 },
    { latencyMs: 16 },
    { batteryPercent: 49 },
    { spreadingFactor: 9 },
    { snrDb: 1 },
    { gateways: [{ id: 'a' }, { id: 'c' }] },
  ])('have moved by %o', (change) => {
    expect(figuresMoved(told, { ...told, ...change })).toBe(true)
  })
})
