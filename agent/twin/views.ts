import { splitKey } from '../../api/resources.ts'
import { deviceBattery, deviceLink } from '../../api/twin/signal.ts'
import { twinView } from '../../api/twin/view.ts'
import type { DeviceView } from '../../api/views.ts'
import type { DeviceState } from './device-state.ts'

const STANDBY = 'another gateway serves it; this one stands by'

export function deviceState(device: DeviceState): DeviceView['state'] {
  if (device.spec.paused === true || device.stretch?.paused !== undefined) return 'paused'
  if (device.problem !== undefined) return 'invalid'
  if (device.standby || device.reach === undefined) return 'unknown'
  return device.reach.online ? 'online' : 'offline'
}

/** How a device is reached and what its battery has left. */
export function deviceVitals(device: DeviceState): Pick<DeviceView, 'namespace' | 'name' | 'link' | 'battery'> {
  const twinOf = (name: string) => device.properties.get(name)?.twin
  const properties = device.model?.properties ?? []
  const link = deviceLink(device.reach, properties, twinOf)
  const battery = deviceBattery(device.reach, properties, twinOf)
  return {
    ...splitKey(device.key),
    ...(link === undefined ? {} : { link }),
    ...(battery === undefined ? {} : { battery }),
  }
}

export function deviceView(device: DeviceState, gateway: string): DeviceView {
  const state = deviceState(device)
  const reason = device.standby
    ? STANDBY
    : state === 'invalid'
      ? device.problem
      : state === 'offline'
        ? device.reach?.reason
        : device.stretch?.paused
  const names = device.model?.properties.map(({ name }) => name) ?? [...device.properties.keys()]
  return {
    ...deviceVitals(device),
    model: device.spec.model,
    gateway,
    state,
    ...(reason === undefined ? {} : { reason }),
    ...(device.lastSeenMs === undefined ? {} : { lastSeen: iso(device.lastSeenMs) }),
    ...(state === 'offline' ? { staleSince: iso(device.reach!.atMs) } : {}),
    twins: names.map((name) => {
      const { twin, definition } = device.properties.get(name)!
      return twinView(name, twin, definition, { device: state === 'offline', gateway: false })
    }),
  }
}

const iso = (atMs: number): string => new Date(atMs).toISOString()
