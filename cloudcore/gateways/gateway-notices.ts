import type { NoticeItem } from '../../api/link/notices.ts'
import { API_VERSION, type ObjectKey } from '../../api/resources.ts'
import type { Fleet } from '../twins/fleet.ts'
import type { EventRecorder, EventSubject } from './event-recorder.ts'

export interface GatewayNoticesOptions {
  readonly events: EventRecorder
  readonly fleet: Fleet
  readonly subject: (gateway: string) => EventSubject
  /** A pod of the gateway; undefined for one that it does not run. */
  readonly podSubject: (gateway: string, key: ObjectKey) => EventSubject | undefined
}

/**
 * Makes Kubernetes Events of what gateways tell. A gateway may speak of itself, of pods it runs and of devices it serves or stands by
 * for; what it says of others is about itself, so that nobody can fill another device's events.
 */
export function recordNotices(options: GatewayNoticesOptions, gateway: string, items: readonly NoticeItem[]): void {
  const { events, fleet, subject, podSubject } = options
  for (const { id, about, pod, type, reason, message, count, firstMs, lastMs } of items) {
    const podOfIt = pod === true ? podSubject(gateway, about) : undefined
    const record = about === 'gateway' || pod === true ? undefined : fleet.devices.get(about)
    const mine = record !== undefined && fleet.isWanted(gateway, 'Device', record.key)
    events.record({
      subject: mine
        ? { apiVersion: API_VERSION, kind: 'Device', namespace: record.namespace, name: record.name, uid: record.uid }
        : (podOfIt ?? subject(gateway)),
      type,
      reason,
      message: mine || podOfIt !== undefined || about === 'gateway' ? message : `${about}: ${message}`,
      series: { id: `${gateway}/${id}`, count, firstMs, lastMs },
    })
  }
}
