import { createHash } from 'node:crypto'
import type { LinkDevice } from '../../api/link/messages.ts'
import type { Json, ObjectMeta } from '../../api/resources.ts'
import { mergeDesired, removeDesired, sameValue } from '../../api/twin/twin.ts'
import { type DeviceRecord, propertyOf } from './device-record.ts'

/**
 * Takes `spec.desired` of a Device into its twins. A value that changed gets the object's resourceVersion as its
 * version; a value that is the same keeps the version it has; a property that is gone is remembered as removed at
 * this resourceVersion. Returns whether anything changed. `null` desires nothing.
 */
export function takeDesired(
  record: DeviceRecord,
  desired: Readonly<Record<string, Json>> | undefined,
  meta: ObjectMeta,
  nowMs: number,
): boolean {
  let changed = false
  const seen = Number(meta.resourceVersion ?? 0)
  for (const [name, value] of Object.entries(desired ?? {})) {
    if (value === null) continue
    const state = propertyOf(record, name)
    const held = state.twin.desired
    if (held !== undefined && sameValue(held.value, value)) continue
    // An API restored from a backup may count from a lower number; versions never go back all the same.
    const version = Math.max(seen, (held?.version ?? 0) + 1, (state.twin.removedVersion ?? 0) + 1)
    const by = ownerOfDesired(meta, name)
    state.twin = mergeDesired(state.twin, { value, version, atMs: nowMs, ...(by === undefined ? {} : { by }) })
    changed = true
  }
  for (const [name, state] of record.properties) {
    const held = state.twin.desired
    if (held === undefined || (desired?.[name] ?? null) !== null) continue
    state.twin = removeDesired(state.twin, Math.max(seen, held.version + 1))
    changed = true
  }
  return changed
}

/**
 * Takes what a gateway says of a version for evidence that it was handed out. A cloud core that was killed between
 * handing a version out and writing it into the status may have fallen back to an older one, which the gateway then
 * ignores: what is desired now gets a version above both. Returns whether anything changed.
 */
export function raiseAbove(record: DeviceRecord, name: string, version: number): boolean {
  const state = record.properties.get(name)
  if (state === undefined) return false
  const { desired, removedVersion = 0 } = state.twin
  if (version <= Math.max(desired?.version ?? 0, removedVersion)) return false
  const above = Math.max(Number(record.resourceVersion), version + 1)
  state.twin =
    desired === undefined ? removeDesired(state.twin, above) : mergeDesired(state.twin, { ...desired, version: above })
  record.rev = undefined
  return true
}

/** The field manager that last set `spec.desired.<name>`, according to managedFields. */
export function ownerOfDesired(meta: ObjectMeta, name: string): string | undefined {
  let owner: string | undefined
  let ownerTime = ''
  for (const entry of meta.managedFields ?? []) {
    if (entry.subresource !== undefined && entry.subresource !== '') continue
    const fields = follow(follow(follow(entry.fieldsV1, 'f:spec'), 'f:desired'), `f:${name}`)
    if (fields === undefined || entry.manager === undefined) continue
    if (owner === undefined || (entry.time ?? '') >= ownerTime) {
      owner = entry.manager
      ownerTime = entry.time ?? ''
    }
  }
  return owner?.slice(0, 128)
}

function follow(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return (value as Record<string, unknown>)[key]
}

/** The Device as it goes to its gateway. */
export function linkDevice(record: DeviceRecord): LinkDevice {
  const desired: Record<string, LinkDevice['desired'][string]> = {}
  const removed: Record<string, number> = {}
  for (const [name, { twin }] of record.properties) {
    if (twin.desired !== undefined) {
      const { value, version, atMs, by } = twin.desired
      desired[name] = { value, version, atMs, ...(by === undefined ? {} : { by }) }
    }
    if (twin.removedVersion !== undefined) removed[name] = twin.removedVersion
  }
  return {
    uid: record.uid,
    generation: record.generation,
    spec: record.spec,
    desired,
    ...(Object.keys(removed).length === 0 ? {} : { removed }),
  }
}

/** Names the content of `linkDevice(record)`: identity, generation of the spec, and every desired version. */
export function deviceRev(record: DeviceRecord): string {
  if (record.rev !== undefined) return record.rev
  const versions: string[] = []
  for (const [name, { twin }] of record.properties) {
    if (twin.desired === undefined && twin.removedVersion === undefined) continue
    versions.push(`${name}:${twin.desired?.version ?? 0}:${twin.removedVersion ?? 0}`)
  }
  const digest = createHash('sha1').update(versions.sort().join()).digest('base64url').slice(0, 10)
  record.rev = `${record.uid.slice(0, 8)}.${record.generation}.${digest}`
  return record.rev
}
