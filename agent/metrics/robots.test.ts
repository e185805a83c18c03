import { expect, it } from 'vitest'
import type { DeviceState } from '../twin/device-state.ts'
import { robotsOf } from './robots.ts'

type Given = Pick<DeviceState, 'key' | 'properties'>

const device = (name: string, property: string, value: unknown, quality = 'good') =>
  ({ key: `plant/${name}`, properties: new Map([[property, { twin: { reported: { value, quality } } }]]) }) as Given

it('says of robots what their twins say, by word or by index, and of nobody else anything', () => {
  const robots = robotsOf([
    device('a', 'robot-status', 'moving'),
    device('b', 'robot_status', ' Charging '),
    device('c', 'robotStatus', 0),
    device('d', 'robot-status', 'dancing'),
    device('e', 'robot-status', 7),
    device('f', 'robot-status', 'ready', 'stale'),
    device('g', 'temperature', 'ready'),
  ])
  expect(robots).toEqual([
    { device: 'plant/a', status: 'moving' },
    { device: 'plant/b', status: 'charging' },
    { device: 'plant/c', status: 'idle' },
  ])
})
