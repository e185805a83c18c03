import { deviceBattery, deviceLink } from '../../api/twin/signal.ts'
import { emptyTwin } from '../../api/twin/twin.ts'
import { twinView } from '../../api/twin/view.ts'
import type { DeviceView } from '../../api/views.ts'
import type { DeviceRecord } from '../twins/device-record.ts'
import { iso, type RenderContext, stateOf } from '../twins/render.ts'

/** A device as people and programs read it, from memory: newer than its status in the API by up to a second. */
/** @param most properties at most, the first of the model: a table shows no more. */
export function deviceView(record: DeviceRecord, context: RenderContext, most = Number.POSITIVE_INFINITY): DeviceView {
  const state = stateOf(record, context)
  const silence = { device: state === 'offline', gateway: context.awaySinceMs !== undefined }
  const reason = reasonOf(record, context)
  const properties = context.model?.spec.properties ?? []
  const twinOf = (name: string) => record.properties.get(name)?.twin
  const link = deviceLink(record.reach, properties, twinOf)
  const battery = deviceBattery(record.reach, properties, twinOf)
  const known = new Set(properties.map((property) => property.name))
  const twins = (properties.length > most ? properties.slice(0, most) : properties).map((property) =>
    twinView(property.name, record.properties.get(property.name)?.twin ?? emptyTwin, property, silence),
  )
  for (const [name, { twin }] of record.properties) {
    if (twins.length >= most) break
    if (known.has(name) || (twin.reported === undefined && twin.desired === undefined)) continue
    twins.push(twinView(name, twin, undefined, silence))
  }
  return {
    namespace: record.namespace,
    name: record.name,
    model: record.spec.model,
    ...(record.gateway === undefined ? {} : { gateway: record.gateway }),
    state,
    ...(reason === undefined ? {} : { reason }),
    ...(record.lastSeenMs === undefined ? {} : { lastSeen: iso(record.lastSeenMs) }),
    ...(context.awaySinceMs === undefined ? {} : { staleSince: iso(context.awaySinceMs) }),
    ...(link === undefined ? {} : { link }),
    ...(battery === undefined ? {} : { battery }),
    twins,
  }
}

function reasonOf(record: DeviceRecord, context: RenderContext): string | undefined {
  if (context.model === undefined) return `there is no DeviceModel '${record.spec.model}'`
  if (record.refusal !== undefined) return record.refusal.message
  if (record.gateway === undefined) return 'no gateway serves this device'
  if (context.awaySinceMs !== undefined) return `gateway '${record.gateway}' is silent`
  if (record.reach?.online === false) return record.reach.reason ?? 'the device does not answer'
  return undefined
}
