import type { DeviceSpec, ObjectKey } from '../../api/resources.ts'
import type { Stretch } from '../policy/stretch.ts'
import type { DeviceState, Listens } from './device-state.ts'

/** What the stage of the gateway's policy in force means for a device; undefined: nothing. */
export type StretchOf = (key: ObjectKey, spec: DeviceSpec) => Stretch | undefined

/** Gives every device its stretch; answers those that are newly left alone. Devices for which nothing changes stay as they are. */
export function stretchDevices(
  devices: Iterable<DeviceState>,
  of: StretchOf,
  nowMonotonicMs: number,
  listens: Listens,
): DeviceState[] {
  const paused: DeviceState[] = []
  for (const device of devices) {
    const before = device.stretch
    const stretch = of(device.key, device.spec)
    if (sameStretch(before, stretch)) continue
    device.stretch = stretch
    device.configure(device.spec, device.model, nowMonotonicMs, listens)
    // What was silent under the old periods may be silent for as long as the new ones allow, from now on.
    for (const property of device.properties.values()) property.lastReadingMs = nowMonotonicMs
    if (stretch?.paused !== undefined && stretch.paused !== before?.paused) paused.push(device)
  }
  return paused
}

function sameStretch(a: Stretch | undefined, b: Stretch | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return a.poll === b.poll && a.report === b.report && a.paused === b.paused && a.maxPollMs === b.maxPollMs
}
