import { createHash } from 'node:crypto'
import type { DeviceStatus, DeviceTwin, Json, ModelProperty } from '../../api/resources.ts'
import { deviceBattery, deviceLink } from '../../api/twin/signal.ts'
import { sameValue } from '../../api/twin/twin.ts'
import { type Silence, visibleReading, visibleWrite } from '../../api/twin/view.ts'
import type { DeviceRecord, ModelRecord, PropertyState } from './device-record.ts'

export interface RenderContext {
  readonly model: ModelRecord | undefined
  readonly nowMs: number
  /** Set when the gateway is away: since when. */
  readonly awaySinceMs: number | undefined
}

type Condition = NonNullable<DeviceStatus['conditions']>[number]

/** Every field of a Device's status that the cloud core writes; a field that is undefined is removed. */
export type RenderedStatus = { readonly [K in keyof DeviceStatus]-?: DeviceStatus[K] | undefined }

/** The status a person reads, from what is in memory. Pure but for `record.conditions`, which keeps transition times. */
export function renderStatus(record: DeviceRecord, context: RenderContext): RenderedStatus {
  const properties = new Map<string, ModelProperty>()
  for (const property of context.model?.spec.properties ?? []) properties.set(property.name, property)
  const state = stateOf(record, context)
  const twins = renderTwins(record, properties, {
    device: state === 'offline',
    gateway: context.awaySinceMs !== undefined,
  })
  record.conditions = renderConditions(record, context)
  const twinOf = (name: string) => record.properties.get(name)?.twin
  return {
    observedGeneration: record.generation,
    state,
    gateway: record.gateway,
    roaming: roamingOf(record),
    lastSeen: record.lastSeenMs === undefined ? undefined : iso(record.lastSeenMs),
    staleSince: context.awaySinceMs === undefined ? undefined : iso(context.awaySinceMs),
    summary: summaryOf(record, context.model),
    conditions: record.conditions,
    twins: twins.length === 0 ? undefined : twins,
    link: deviceLink(record.reach, properties.values(), twinOf),
    battery: deviceBattery(record.reach, properties.values(), twinOf),
  }
}

function roamingOf({ tenure, spec }: DeviceRecord): DeviceStatus['roaming'] {
  if (tenure === undefined) return undefined
  const { accepts: term, standbys } = tenure
  return spec.nodeSelector === undefined || standbys.length === 0
    ? { term }
    : { term, standby: standbys.toSorted().slice(0, 64) }
}

export function stateOf(record: DeviceRecord, context: RenderContext): NonNullable<DeviceStatus['state']> {
  if (record.spec.paused === true) return 'paused'
  if (context.model === undefined || record.refusal !== undefined) return 'invalid'
  if (record.gateway === undefined || context.awaySinceMs !== undefined) return 'unknown'
  if (record.reach !== undefined) return record.reach.online ? 'online' : 'offline'
  for (const { twin } of record.properties.values()) if (twin.known !== undefined) return 'online'
  return 'unknown'
}

function renderTwins(
  record: DeviceRecord,
  properties: ReadonlyMap<string, ModelProperty>,
  silence: Silence,
): DeviceTwin[] {
  const twins: DeviceTwin[] = []
  const add = (name: string, state: PropertyState | undefined) => {
    if (state !== undefined) twins.push(renderTwin(name, state, properties.get(name), silence))
  }
  for (const name of properties.keys()) add(name, record.properties.get(name))
  for (const [name, state] of record.properties) if (!properties.has(name)) add(name, state)
  return twins
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

function renderTwin(
  name: string,
  { twin, receivedMs, backfill }: PropertyState,
  property: ModelProperty | undefined,
  silence: Silence,
): DeviceTwin {
  const out: Mutable<DeviceTwin> = { name }
  if (twin.desired !== undefined) {
    const { value, version, atMs, by } = twin.desired
    out.desired = { value, version, at: iso(atMs), ...(by === undefined ? {} : { by }) }
  } else if (twin.removedVersion !== undefined) {
    out.desired = { version: twin.removedVersion, at: iso(0) }
  }
  const seen = visibleReading(twin, silence)
  if (seen !== undefined) {
    out.reported = {
      ...(seen.value === undefined ? {} : { value: seen.value }),
      ...(property?.unit === undefined ? {} : { unit: property.unit }),
      at: iso(seen.atMs),
      receivedAt: iso(receivedMs),
      quality: seen.quality,
      ...(seen.reason === undefined ? {} : { reason: seen.reason.slice(0, 1024) }),
      ...(backfill ? { backfill } : {}),
    }
  }
  const write = visibleWrite(twin, property, silence)
  if (write !== undefined) {
    out.state = write.state
    if (write.state !== 'pending' && twin.write !== undefined) {
      out.stateVersion = twin.write.version
      out.stateAt = iso(twin.write.atMs)
    }
    if (write.reason !== undefined) out.reason = write.reason.slice(0, 1024)
  }
  return out
}

function summaryOf(record: DeviceRecord, model: ModelRecord | undefined): string | undefined {
  const parts: string[] = []
  for (const property of model?.spec.properties ?? []) {
    const value = record.properties.get(property.name)?.twin.known?.value
    if (value === undefined) continue
    parts.push(`${property.name} ${shown(value)}${property.unit === undefined ? '' : ` ${property.unit}`}`)
    if (parts.length === 3) break
  }
  return parts.length === 0 ? undefined : parts.join(', ').slice(0, 256)
}

function shown(value: Json): string {
  if (typeof value === 'number') return Number.isInteger(value) ? `${value}` : `${Number(value.toPrecision(5))}`
  if (typeof value === 'string') return value.slice(0, 40)
  return JSON.stringify(value).slice(0, 40)
}

function renderConditions(record: DeviceRecord, context: RenderContext): Condition[] {
  const { refusal, reach } = record
  const modelValid: Pick<Condition, 'status' | 'reason' | 'message'> =
    context.model === undefined
      ? {
          status: 'False',
          reason: 'ModelNotFound',
          message: `there is no DeviceModel '${record.spec.model}' in namespace '${record.namespace}'; create it or correct spec.model`,
        }
      : refusal !== undefined
        ? { status: 'False', reason: conditionReason(refusal.code), message: refusal.message.slice(0, 4096) }
        : { status: 'True', reason: 'Accepted', message: `model '${record.spec.model}'` }
  const reachable: Pick<Condition, 'status' | 'reason' | 'message'> =
    record.gateway === undefined
      ? { status: 'Unknown', reason: 'NoGateway', message: noGateway(record) }
      : context.awaySinceMs !== undefined
        ? {
            status: 'Unknown',
            reason: 'GatewayAway',
            message: `gateway '${record.gateway}' is silent since ${iso(context.awaySinceMs)}`,
          }
        : reach === undefined
          ? { status: 'Unknown', reason: 'NotYetReported', message: `waiting for gateway '${record.gateway}'` }
          : reach.online
            ? { status: 'True', reason: 'Answering', message: 'the device answers' }
            : { status: 'False', reason: 'NotAnswering', message: reach.reason ?? 'the device does not answer' }
  return [
    condition(record, 'ModelValid', modelValid, context.nowMs),
    condition(record, 'Reachable', reachable, context.nowMs),
  ]
}

const noGateway = ({ spec: { nodeSelector } }: DeviceRecord): string =>
  nodeSelector === undefined
    ? 'set spec.nodeName to the gateway that serves this device'
    : `no gateway with the labels ${Object.entries(nodeSelector)
        .map(([name, value]) => `${name}=${value}`)
        .join(', ')} is linked; label one with kubectl label gateway`

function condition(
  record: DeviceRecord,
  type: string,
  now: Pick<Condition, 'status' | 'reason' | 'message'>,
  nowMs: number,
): Condition {
  const held = record.conditions.find((item) => item.type === type)
  const lastTransitionTime = held !== undefined && held.status === now.status ? held.lastTransitionTime : iso(nowMs)
  return { type, ...now, lastTransitionTime }
}

/** Kubernetes wants reasons in CamelCase: SLUICE_MODEL_INVALID becomes ModelInvalid. */
export function conditionReason(code: string): string {
  const words = code.replace(/^SLUICE_/, '').split(/[^A-Za-z0-9]+/)
  const joined = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1).toLowerCase()).join('')
  return /^[A-Za-z]/.test(joined) ? joined.slice(0, 128) : 'Refused'
}

/** The merge patch that brings the API from what was last written to `status`; undefined when nothing differs. */
export function statusPatch(
  record: DeviceRecord,
  status: RenderedStatus,
): { readonly patch: Record<string, unknown>; readonly digests: ReadonlyMap<string, string> } | undefined {
  compareRestored(record, status)
  const patch: Record<string, unknown> = {}
  const digests = new Map<string, string>()
  for (const [field, value] of Object.entries(status)) {
    const digest = digestOf(value)
    if ((record.written.get(field) ?? '') === digest) continue
    patch[field] = value ?? null
    digests.set(field, digest)
  }
  return digests.size === 0 ? undefined : { patch, digests }
}

/**
 * After a restart the API's status is compared by content, as an API may have put its keys in another order: a fleet
 * of ten thousand is not written again only because the cloud core started.
 */
function compareRestored(record: DeviceRecord, status: RenderedStatus): void {
  const { restored } = record
  if (restored === undefined) return
  record.restored = undefined
  for (const [field, held] of Object.entries(restored) as [keyof RenderedStatus, Json][]) {
    const value = status[field]
    const plain = value === undefined ? undefined : (JSON.parse(JSON.stringify(value)) as Json)
    record.written.set(field, sameValue(plain, held) ? digestOf(value) : OTHER)
  }
}

/** No value has this digest. */
const OTHER = '?'

function digestOf(value: unknown): string {
  if (value === undefined) return ''
  const text = JSON.stringify(value)
  return text.length <= 40 ? text : createHash('sha1').update(text).digest('base64url')
}

export const iso = (ms: number): string => new Date(Math.min(Math.max(ms, 0), 253_402_300_799_000)).toISOString()
