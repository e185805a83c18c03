import type { HandedEnd, RoamingRole } from '../../api/link/messages.ts'
import type { Json } from '../../api/resources.ts'
import type { DeviceRecord } from '../twins/device-record.ts'

/** The state of a device as the gateway that takes over gets it; `offsetMs` brings source times to the hub's clock. */
export function handedState(record: DeviceRecord, offsetMs: number): Pick<RoamingRole, 'since' | 'ended' | 'carry'> {
  const since: Record<string, readonly [Json, number]> = {}
  const ended: Record<string, HandedEnd> = {}
  for (const [name, { twin }] of record.properties) {
    const { known, write } = twin
    if (known?.value !== undefined) since[name] = [known.value, known.atMs + offsetMs]
    if (write === undefined || (write.local ?? 0) !== 0) continue
    const { version, state, atMs, reason } = write
    ended[name] = reason === undefined ? [version, state, atMs] : [version, state, atMs, reason]
  }
  return {
    ...(Object.keys(since).length === 0 ? {} : { since }),
    ...(Object.keys(ended).length === 0 ? {} : { ended }),
    ...(record.reach?.carry === undefined ? {} : { carry: record.reach.carry }),
  }
}
