import { API_VERSION } from '../../api/resources.ts'
import type { DeviceRecord } from '../twins/device-record.ts'
import type { DeviceNotice } from '../twins/twin-engine.ts'
import type { EventRecorder } from './event-recorder.ts'

/** Tells of a change of hands as an Event of the device. */
export function noteHandOver(events: EventRecorder, record: DeviceRecord, from: string | undefined, why: string): void {
  const { namespace, name, uid, gateway } = record
  const subject = { apiVersion: API_VERSION, kind: 'Device', namespace, name, uid }
  const before = from === undefined ? '' : ` instead of ${from}`
  const message = `gateway ${gateway} serves the device${before}: ${HAND_OVER_WORDS[why] ?? why}`
  events.record({ subject, type: 'Normal', reason: 'HandedOver', message })
}

const HAND_OVER_WORDS: Readonly<Record<string, string>> = {
  first: 'it is the first to hear it',
  gone: 'the one before is away',
  lost: 'the one before does not hear it any more',
  better: 'it hears it better',
  moved: 'spec.nodeName says so',
}

/** Tells something about a device that a person may have to act on. */
export function noteDevice(events: EventRecorder, { record, reason, message }: DeviceNotice): void {
  const { namespace, name, uid } = record
  const subject = { apiVersion: API_VERSION, kind: 'Device', namespace, name, uid }
  events.record({ subject, type: reason === 'DeviceOnline' ? 'Normal' : 'Warning', reason, message })
}

/** SLUICE_LINK_NOT_OWNED becomes LinkNotOwned. */
export const eventReason = (code: string) =>
  code
    .replace(/^SLUICE_/, '')
    .split('_')
    .map((word) => word.charAt(0) + word.slice(1).toLowerCase())
    .join('')
