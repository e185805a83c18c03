import type { DeviceStatus, DeviceTwin } from '../../api/resources.ts'
import type { Quality } from '../../api/twin/quality.ts'
import { isBad } from '../../api/twin/quality.ts'
import type { ReachFigures } from '../../api/twin/signal.ts'
import type { Desired, Order, Reported, Twin, WriteEnd } from '../../api/twin/twin.ts'
import { type DeviceRecord, propertyOf } from './device-record.ts'

/** Older than anything a gateway can send. */
export const BEFORE_ALL: Order = { epoch: 0, seq: 0 }

/** Fills a fresh record from the status the API holds, after a restart of the cloud core. */
export function restoreStatus(record: DeviceRecord, status: DeviceStatus | undefined): void {
  if (status === undefined) return
  for (const twin of status.twins ?? []) {
    const state = propertyOf(record, twin.name)
    state.twin = restoreTwin(twin)
    state.receivedMs = timeOf(twin.reported?.receivedAt) ?? 0
    state.backfill = twin.reported?.backfill === true
  }
  record.conditions = status.conditions ?? []
  record.servedBefore = status.gateway
  record.lastSeenMs = timeOf(status.lastSeen)
  record.staleSinceMs = timeOf(status.staleSince)
  if (status.state === 'online' || status.state === 'offline') {
    const reachable = record.conditions.find(({ type }) => type === 'Reachable')
    record.reach = {
      online: status.state === 'online',
      atMs: record.lastSeenMs ?? 0,
      order: BEFORE_ALL,
      ...figuresOf(status),
      ...(reachable?.reason === 'NotAnswering' && reachable.message !== undefined ? { reason: reachable.message } : {}),
    }
  }
  record.restored = status
}

/** What the gateway's own figures were; those that came from properties are made of the twins again. */
function figuresOf({ link, battery }: DeviceStatus): Omit<ReachFigures, 'atMs'> {
  const { quality, ...figures } = link ?? {}
  const { percent } = battery ?? {}
  return { ...figures, ...(percent === undefined ? {} : { batteryPercent: percent }) }
}

function restoreTwin(twin: DeviceTwin): Twin {
  const restored: { -readonly [K in keyof Twin]: Twin[K] } = {}
  const { desired, reported } = twin
  if (desired?.value !== undefined) {
    const kept: Desired = { value: desired.value, version: desired.version, atMs: timeOf(desired.at) ?? 0 }
    restored.desired = desired.by === undefined ? kept : { ...kept, by: desired.by }
  } else if (desired !== undefined) restored.removedVersion = desired.version
  if (reported !== undefined) {
    const quality = reported.quality as Quality
    const base: Reported = {
      atMs: timeOf(reported.at) ?? 0,
      quality: quality === 'stale' ? 'uncertain' : quality,
      order: BEFORE_ALL,
      ...(reported.reason === undefined ? {} : { reason: reported.reason }),
    }
    const withValue: Reported | undefined =
      reported.value === undefined ? undefined : { ...base, value: reported.value }
    restored.reported = withValue === undefined || isBad(quality) ? base : withValue
    if (withValue !== undefined) restored.known = isBad(quality) ? { ...withValue, quality: 'uncertain' } : withValue
  }
  const end = restoreEnd(twin)
  if (end !== undefined) restored.write = end
  return restored
}

function restoreEnd(twin: DeviceTwin): WriteEnd | undefined {
  if (twin.state === undefined || twin.state === 'pending' || twin.stateVersion === undefined) return undefined
  const state = twin.state === 'rejected' || twin.state === 'timedOut' ? twin.state : 'applied'
  return {
    version: twin.stateVersion,
    state,
    atMs: timeOf(twin.stateAt) ?? 0,
    ...(twin.reason === undefined ? {} : { reason: twin.reason }),
  }
}

function timeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = Date.parse(text)
  return Number.isFinite(ms) ? ms : undefined
}
