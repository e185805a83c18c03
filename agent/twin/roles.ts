import type { RoamingRole } from '../../api/link/messages.ts'
import { mergeWrite, type Order, type Reported, type WriteEnd } from '../../api/twin/twin.ts'
import type { Reading } from '../../mappers/sdk/mapper.ts'
import { type HandedValue, Understudy } from '../roaming/understudy.ts'
import type { DeviceState, PropertyState } from './device-state.ts'

/** Older than anything that is read here. */
const BEFORE_ALL: Order = { epoch: 0, seq: 0 }

/**
 * This gateway becomes the understudy: from now on nothing of the device is told under its term. Whatever was held back
 * is to be told, and every write withdrawn, by the caller.
 */
export function beginStandby(device: DeviceState, role: RoamingRole): void {
  device.roaming = role
  device.understudy = new Understudy()
  device.reach = undefined
  device.toldReach = undefined
}

/**
 * This gateway serves the device from now on: it knows what the one before knew. Returns what was overheard since the
 * newest value the hub has, oldest first, to be told as if it were read now.
 *
 * @param hubOffsetMs the hub's clock minus ours
 * @param restarted the role is an old one: what is in the store is newer than what was handed over with it
 */
export function beginActive(
  device: DeviceState,
  role: RoamingRole,
  times: { readonly hubOffsetMs: number; readonly monotonicMs: number; readonly restarted: boolean },
): Reading[] {
  const { hubOffsetMs, monotonicMs, restarted } = times
  device.roaming = role
  // Rows under the new term need a name of their own within the batch that is being filled.
  device.batch = 0
  device.writeFromMs = monotonicMs + (role.writeAfterMs ?? 0)
  for (const [name, [version, state, atMs, reason]] of Object.entries(role.ended ?? {})) {
    const end: WriteEnd = { version, state, atMs, ...(reason === undefined ? {} : { reason }) }
    const property = device.property(name, monotonicMs)
    property.twin = mergeWrite(property.twin, end)
  }
  const handed = new Map<string, HandedValue>()
  for (const [name, [value, atHubMs]] of Object.entries(role.since ?? {})) {
    const last: HandedValue = { value, atMs: atHubMs - hubOffsetMs }
    handed.set(name, last)
    const property = device.property(name, monotonicMs)
    if (restarted && property.twin.known !== undefined) continue
    takeOver(property, last, monotonicMs)
  }
  const overheard = device.understudy?.release(handed) ?? []
  device.understudy = undefined
  return overheard
}

/** Shows what the gateway before knew until something is read here; that is with the hub already. */
function takeOver(property: PropertyState, { value, atMs }: HandedValue, monotonicMs: number): void {
  const known: Reported = { value, atMs, quality: 'good', order: BEFORE_ALL }
  property.twin = { ...property.twin, known, reported: known }
  property.lastReport = { value, quality: 'good', atMonotonicMs: monotonicMs }
  property.lastReadingMs = monotonicMs
  property.fresh = false
  property.knownDirty = true
}
