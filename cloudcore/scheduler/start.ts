import type { DatabaseSync } from 'node:sqlite'
import type { Clock } from '../../api/clock.ts'
import type { SluiceError } from '../../api/errors.ts'
import { ROBOT_STATUS_PROPERTIES } from '../../api/intents/robot-status.ts'
import type { EventRecorder } from '../gateways/event-recorder.ts'
import type { GatewayController } from '../gateways/gateway-controller.ts'
import type { GatewayObjects } from '../gateways/gateway-objects.ts'
import type { KubeClient } from '../kube/client.ts'
import type { DeviceRecord } from '../twins/device-record.ts'
import type { Fleet } from '../twins/fleet.ts'
import { type DeviceFacts, gatewayFacts } from './gateway-facts.ts'
import type { MayMoveFrom } from './lifecycle.ts'
import { MoveBook } from './move-book.ts'
import { Scheduler } from './scheduler.ts'

interface SchedulerParts {
  readonly client: KubeClient
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly db: DatabaseSync
  readonly embedded: boolean
  readonly gateways: GatewayController
  readonly objects: GatewayObjects
  readonly fleet: Fleet
  readonly events: EventRecorder
  readonly mayMoveFrom: MayMoveFrom
  readonly onTrouble: (what: string, error: SluiceError) => void
}

/** The scheduler of a cloud core, fed with what its gateways tell: newer than what the API has of them. */
export function startScheduler(parts: SchedulerParts): Scheduler {
  const { gateways, objects, fleet, events, db, ...rest } = parts
  return new Scheduler({
    ...rest,
    book: new MoveBook(db),
    gateway: (name) => {
      const spec = objects.spec(name)
      return spec === undefined ? undefined : gatewayFacts(gateways.view(name).status, spec)
    },
    devices: () => devicesOf(fleet),
    record: (note) => events.record(note),
  })
}

function* devicesOf(fleet: Fleet): Generator<DeviceFacts> {
  for (const record of fleet.devices.values()) {
    const { key, gateway, modelKey, reach } = record
    if (gateway === undefined) continue
    const robotStatus = robotStatusOf(record)
    const model = modelKey.slice(modelKey.indexOf('/') + 1)
    yield { key, gateway, model, online: reach?.online === true, ...(robotStatus === undefined ? {} : { robotStatus }) }
  }
}

function robotStatusOf({ properties }: DeviceRecord): string | undefined {
  for (const name of ROBOT_STATUS_PROPERTIES) {
    const value = properties.get(name)?.twin.known?.value
    if (typeof value === 'string') return value
  }
  return undefined
}
