import { describe, expect, it } from 'vitest'
import type { GatewayView } from '../../api/views.ts'
import { renderGatewayMetrics } from './gateway-metrics.ts'

const at = '2026-03-01T12:00:00Z'
const robot: GatewayView = {
  name: 'robot-1',
  state: 'online',
  status: {
    lastSeen: at,
    devices: { total: 3, online: 2, offline: 1 },
    power: { watts: 6.5, source: 'estimated', by: 'model', at },
    battery: {
      percent: 40,
      state: 'discharging',
      watts: -6.5,
      timeToEmpty: { seconds: 7200, lowSeconds: 6000, highSeconds: 8000 },
      source: 'measured',
      by: 'battery',
      at,
    },
    link: { roundTripMs: 12 },
    networks: [{ name: 'wlan0', kind: 'wifi', up: true, signalDbm: -61 }],
  },
}
const silent: GatewayView = { name: 'cabinet "2"', state: 'offline', status: {} }

describe('the metrics page of the gateways', () => {
  const page = renderGatewayMetrics([robot, silent])

  it('gives every gateway a series of its own, in base units', () => {
    expect(page).toContain('sluice_gateway_up{gateway="robot-1"} 1\n')
    expect(page).toContain('sluice_gateway_devices{gateway="robot-1",state="offline"} 1\n')
    expect(page).toContain('sluice_gateway_battery_ratio{gateway="robot-1"} 0.4\n')
    expect(page).toContain('sluice_gateway_battery_empty_seconds{gateway="robot-1"} 7200\n')
    expect(page).toContain('sluice_gateway_link_round_trip_seconds{gateway="robot-1"} 0.012\n')
    expect(page).toContain('sluice_gateway_network_signal_dbm{gateway="robot-1",interface="wlan0"} -61\n')
    expect(page).toContain(`sluice_gateway_last_seen_timestamp_seconds{gateway="robot-1"} ${Date.parse(at) / 1000}\n`)
  })

  it('says of a power whether it was measured or estimated', () => {
    expect(page).toContain('sluice_gateway_power_watts{gateway="robot-1",source="estimated"} 6.5\n')
  })

  it('leaves out what a gateway does not know, and writes any name', () => {
    expect(page.split('\n').filter((line) => line.includes('cabinet'))).toEqual([
      'sluice_gateway_up{gateway="cabinet \\"2\\""} 0',
    ])
  })

  it('has no family without a sample', () => {
    expect(renderGatewayMetrics([])).toBe('\n')
  })
})
