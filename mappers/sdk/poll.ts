import type { DeviceSpec, ModelProperty } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'

export const DEFAULT_POLL_MS = 1000
/** Nothing is polled faster than this, whatever is asked. */
export const MIN_POLL_MS = 10

/**
 * Poll period of a property in milliseconds. The property's own wish wins: it says "energy changes slowly", while the
 * device's is what holds for everything that says nothing.
 */
export function pollEveryMs(property: Pick<ModelProperty, 'poll'>, device: Pick<DeviceSpec, 'poll'>): number {
  const every = property.poll?.every ?? device.poll?.every
  return every === undefined ? DEFAULT_POLL_MS : Math.max(MIN_POLL_MS, durationMs(every))
}
