import type { HandedEnd, RoamingRole } from '../../api/link/messages.ts'
import type { Json } from '../../api/resources.ts'
import type { DeviceRecord } from '../twins/device-record.ts'

/**
 * The state of a device as the gateway that takes over gets it, in times of the hub's clock: `offsetMs` brings those of a gateway
 * to it. Who served last need not be who told last: it may have had no time to.
 */
export function handedState(
  record: DeviceRecord,
  offsetMs: (gateway: string | undefined) => number,
): Pick<RoamingRole, 'since' | 'ended' | 'carry'> {
  const since: Record<string, readonly [Json, number]> = {}
  const ended: Record<string, HandedEnd> = {}
  for (const [name, { twin, knownFrom = record.gateway }] of record.properties) {
    const { known, write } = twin
    if (known?.value !== undefined) since[name] = [known.value, known.atMs + offsetMs(knownFrom)]
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
