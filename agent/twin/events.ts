import type { ObjectKey } from '../../api/resources.ts'
import type { Desired, WriteEnd } from '../../api/twin/twin.ts'
import type { StreamEvent } from '../../api/views.ts'
import type { DeviceReachability, Reading } from '../../mappers/sdk/mapper.ts'

/** What the local API's stream and the northbound topics are told, in their words. */

export function reportedEvent(device: ObjectKey, property: string, reading: Reading): StreamEvent {
  const { value, atMs, quality, reason } = reading
  return {
    kind: 'reported',
    device,
    property,
    value: value ?? null,
    at: new Date(atMs).toISOString(),
    quality,
    ...(reason === undefined ? {} : { reason }),
  }
}

export function desiredEvent(
  device: ObjectKey,
  property: string,
  version: number,
  atMs: number,
  desired: Desired | undefined,
): StreamEvent {
  return {
    kind: 'desired',
    device,
    property,
    version,
    at: new Date(atMs).toISOString(),
    ...(desired === undefined ? {} : { value: desired.value }),
    ...(desired?.by === undefined ? {} : { by: desired.by }),
  }
}

export function writeEvent(device: ObjectKey, property: string, end: WriteEnd): StreamEvent {
  const { version, state, atMs, reason } = end
  return {
    kind: 'write',
    device,
    property,
    version,
    state,
    at: new Date(atMs).toISOString(),
    ...(reason === undefined ? {} : { reason }),
  }
}

export function reachEvent({ device, online, atMs, reason }: DeviceReachability): StreamEvent {
  return {
    kind: 'reach',
    device,
    online,
    at: new Date(atMs).toISOString(),
    ...(reason === undefined ? {} : { reason }),
  }
}
