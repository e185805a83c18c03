import { ROBOT_STATUS_PROPERTIES } from '../../api/intents/robot-status.ts'
import type { Families, Sample } from '../../api/metrics/families.ts'
import { isBad } from '../../api/twin/quality.ts'
import type { DeviceState } from '../twin/device-state.ts'

/** FLUIDOS' words for what a robot does, in the order of their indices: 0 to 3. */
const ROBOT_STATES = ['idle', 'moving', 'ready', 'charging'] as const

export interface Robot {
  /** `namespace/name`. */
  readonly device: string
  readonly status: (typeof ROBOT_STATES)[number]
}

/**
 * Robots behind this gateway: devices whose twin has a property `robot-status` with one of FLUIDOS' words or its index.
 * Who says nothing, something else or nothing fresh is not among them: nobody is taken to be ready.
 */
export function robotsOf(devices: Iterable<Pick<DeviceState, 'key' | 'properties'>>): Robot[] {
  const robots: Robot[] = []
  for (const { key, properties } of devices) {
    for (const name of ROBOT_STATUS_PROPERTIES) {
      const reported = properties.get(name)?.twin.reported
      if (reported === undefined || isBad(reported.quality) || reported.quality === 'stale') continue
      const { value } = reported
      const status = typeof value === 'number' ? ROBOT_STATES[value] : wordOf(value)
      if (status === undefined) continue
      robots.push({ device: key, status })
      break
    }
  }
  return robots
}

function wordOf(value: unknown): Robot['status'] | undefined {
  const said = typeof value === 'string' ? value.trim().toLowerCase() : undefined
  return ROBOT_STATES.find((state) => state === said)
}

export function addRobots(families: Families, robots: readonly Robot[], gateway: string): void {
  families.gauge(
    'robot_status',
    'What a robot says it does: 0 idle, 1 moving, 2 ready, 3 charging.',
    robots.map(({ device, status }): Sample => [{ cluster: gateway, device, status }, ROBOT_STATES.indexOf(status)]),
  )
}
