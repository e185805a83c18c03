import type { ModelProperty } from '../../api/resources.ts'
import { isBad } from '../../api/twin/quality.ts'
import { writeState } from '../../api/twin/twin.ts'
import type { DeviceView, TwinView } from '../../api/views.ts'
import type { DeviceRecord } from '../twins/device-record.ts'
import { iso, type RenderContext, stateOf, visible } from '../twins/render.ts'

/** A device as people and programs read it, from memory: newer than its status in the API by up to a second. */
export function deviceView(record: DeviceRecord, context: RenderContext): DeviceView {
  const state = stateOf(record, context)
  const away = context.awaySinceMs !== undefined
  const reason = reasonOf(record, context)
  const properties = context.model?.spec.properties ?? []
  const known = new Set(properties.map((property) => property.name))
  const twins = properties.map((property) => twinView(record, property.name, property, away, state === 'offline'))
  for (const [name, { twin }] of record.properties) {
    if (known.has(name) || (twin.reported === undefined && twin.desired === undefined)) continue
    twins.push(twinView(record, name, undefined, away, state === 'offline'))
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
    twins,
  }
}

function twinView(
  record: DeviceRecord,
  name: string,
  property: ModelProperty | undefined,
  away: boolean,
  offline: boolean,
): TwinView {
  const base = {
    name,
    access: property?.access ?? 'read',
    ...(property?.unit === undefined ? {} : { unit: property.unit }),
  }
  const twin = record.properties.get(name)?.twin
  if (twin === undefined) return base
  const seen = visible(twin)
  const state = writeState(twin, away || offline, property?.write?.tolerance ?? 0)
  const stateReason = state === 'pending' ? undefined : twin.write?.reason
  const { desired } = twin
  return {
    ...base,
    ...(seen?.value === undefined ? {} : { value: seen.value }),
    ...(seen === undefined
      ? {}
      : { at: iso(seen.atMs), quality: away && !isBad(seen.quality) ? ('stale' as const) : seen.quality }),
    ...(seen?.reason === undefined ? {} : { reason: seen.reason }),
    ...(desired === undefined
      ? {}
      : {
          desired: {
            value: desired.value,
            version: desired.version,
            at: iso(desired.atMs),
            ...(desired.by === undefined ? {} : { by: desired.by }),
          },
        }),
    ...(state === undefined ? {} : { state }),
    ...(stateReason === undefined ? {} : { stateReason }),
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
