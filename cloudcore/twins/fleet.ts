import type { LinkObject, LinkObjectKind, RoamingRole } from '../../api/link/messages.ts'
import { type Device, type DeviceModel, type ObjectKey, objectKey } from '../../api/resources.ts'
import type { ObjectSource } from '../hub/inventory.ts'
import { deviceRev, linkDevice, raiseAbove, takeDesired } from './desired.ts'
import type { DeviceRecord, ModelRecord, Tenure } from './device-record.ts'
import { BEFORE_ALL, restoreStatus } from './restore.ts'

/** Who wants to know about changes of the fleet; called synchronously, in order. */
export interface FleetListener {
  /** A device is new or changed; `previousGateway` is set when it moved away from one. */
  deviceChanged?(record: DeviceRecord, previousGateway: string | undefined): void
  deviceRemoved?(record: DeviceRecord): void
  modelChanged?(key: ObjectKey): void
  /** These gateways are nothing to the device any more. */
  heldNoMore?(record: DeviceRecord, gateways: readonly string[]): void
}

/** Decides who serves a device; without one it is whom `spec.nodeName` names. */
export interface Placement {
  initial(record: DeviceRecord): { gateway: string | undefined; tenure: Tenure | undefined }
  /** The device is new or its spec changed. */
  changed(record: DeviceRecord): void
  removed(record: DeviceRecord): void
}

const NONE: ReadonlySet<DeviceRecord> = new Set()

/** Every Device and DeviceModel, as the Kubernetes API has them, indexed by gateway and by model. */
export class Fleet implements ObjectSource {
  readonly kinds = ['DeviceModel', 'Device'] as const
  readonly devices = new Map<ObjectKey, DeviceRecord>()
  readonly models = new Map<ObjectKey, ModelRecord>()
  /** By gateway: devices it stands by for. */
  readonly #byStandby = new Map<string, Set<DeviceRecord>>()
  placement: Placement | undefined
  readonly #byGateway = new Map<string, Set<DeviceRecord>>()
  readonly #byModel = new Map<ObjectKey, Set<DeviceRecord>>()
  readonly #listeners: FleetListener[] = []

  listen(listener: FleetListener): void {
    this.#listeners.push(listener)
  }

  ofGateway(gateway: string): ReadonlySet<DeviceRecord> {
    return this.#byGateway.get(gateway) ?? NONE
  }

  ofModel(key: ObjectKey): ReadonlySet<DeviceRecord> {
    return this.#byModel.get(key) ?? NONE
  }

  gateways(): IterableIterator<string> {
    return this.#byGateway.keys()
  }

  upsertDevice(device: Device, nowMs: number): void {
    const { metadata: meta, spec } = device
    const key = objectKey(meta.namespace ?? 'default', meta.name)
    const held = this.devices.get(key)
    if (held !== undefined && held.uid === meta.uid) {
      this.#update(held, device, nowMs)
      return
    }
    if (held !== undefined) this.removeDevice(key)
    const record: DeviceRecord = {
      key,
      namespace: meta.namespace ?? 'default',
      name: meta.name,
      uid: meta.uid ?? key,
      generation: meta.generation ?? 0,
      resourceVersion: meta.resourceVersion ?? '0',
      spec,
      modelKey: objectKey(meta.namespace ?? 'default', spec.model),
      gateway: spec.nodeName,
      tenure: undefined,
      servedBefore: undefined,
      rev: undefined,
      properties: new Map(),
      reach: undefined,
      lastSeenMs: undefined,
      staleSinceMs: undefined,
      refusal: undefined,
      conditions: [],
      written: new Map(),
      restored: undefined,
    }
    restoreStatus(record, device.status)
    if (this.placement !== undefined) Object.assign(record, this.placement.initial(record))
    takeDesired(record, spec.desired, meta, nowMs)
    this.devices.set(key, record)
    this.#index(record)
    for (const listener of this.#listeners) listener.deviceChanged?.(record, undefined)
    this.placement?.changed(record)
  }

  #update(record: DeviceRecord, device: Device, nowMs: number): void {
    const { metadata: meta, spec } = device
    // The answer to our own patch may overtake the watch; what the watch brings then is older.
    if (Number(meta.resourceVersion) < Number(record.resourceVersion)) return
    record.resourceVersion = meta.resourceVersion ?? record.resourceVersion
    if (meta.generation === record.generation) return
    const previousGateway = record.gateway
    this.#unindex(record)
    record.generation = meta.generation ?? record.generation + 1
    record.spec = spec
    record.modelKey = objectKey(record.namespace, spec.model)
    if (this.placement === undefined) record.gateway = spec.nodeName
    record.rev = undefined
    record.refusal = undefined
    takeDesired(record, spec.desired, meta, nowMs)
    if (previousGateway !== record.gateway) forgetOrder(record)
    this.#index(record)
    const moved = previousGateway !== undefined && previousGateway !== record.gateway
    for (const listener of this.#listeners) listener.deviceChanged?.(record, moved ? previousGateway : undefined)
    this.placement?.changed(record)
  }

  /**
   * Says who serves a device and who stands by. What the one before told stays as it is; whatever another one tells is
   * newer. Nothing is read or written in between: from one statement to the next the twin is the other's.
   */
  assign(record: DeviceRecord, gateway: string | undefined, tenure: Tenure | undefined): void {
    const previous = record.gateway
    const holders = [previous, ...(record.tenure?.standbys ?? [])]
    this.#unindex(record)
    record.gateway = gateway
    record.tenure = tenure
    if (previous !== gateway) {
      forgetOrder(record)
      record.refusal = undefined
    }
    this.#index(record)
    const moved = previous !== undefined && previous !== gateway
    for (const listener of this.#listeners) listener.deviceChanged?.(record, moved ? previous : undefined)
    const gone = holders.filter((name) => name !== undefined && !this.#holds(name, record)) as string[]
    if (gone.length === 0) return
    for (const listener of this.#listeners) listener.heldNoMore?.(record, gone)
  }

  /** Devices that a gateway stands by for. */
  standbysOf(gateway: string): ReadonlySet<DeviceRecord> {
    return this.#byStandby.get(gateway) ?? NONE
  }

  #holds(gateway: string, record: DeviceRecord): boolean {
    return record.gateway === gateway || record.tenure?.standbys.includes(gateway) === true
  }

  /** A gateway spoke of this version of a desired value; see `raiseAbove`. */
  heardOfVersion(record: DeviceRecord, property: string, version: number): void {
    if (!raiseAbove(record, property, version)) return
    for (const listener of this.#listeners) listener.deviceChanged?.(record, undefined)
  }

  removeDevice(key: ObjectKey): void {
    const record = this.devices.get(key)
    if (record === undefined) return
    this.devices.delete(key)
    this.#unindex(record)
    this.placement?.removed(record)
    for (const listener of this.#listeners) listener.deviceRemoved?.(record)
  }

  upsertModel(model: DeviceModel): void {
    const { metadata: meta } = model
    const key = objectKey(meta.namespace ?? 'default', meta.name)
    const uid = meta.uid ?? key
    const generation = meta.generation ?? 0
    const held = this.models.get(key)
    if (held !== undefined && held.uid === uid && held.generation === generation) return
    this.models.set(key, { key, uid, generation, spec: model.spec, rev: `${uid.slice(0, 8)}.${generation}` })
    for (const record of this.ofModel(key)) record.refusal = undefined
    for (const listener of this.#listeners) listener.modelChanged?.(key)
  }

  removeModel(key: ObjectKey): void {
    if (!this.models.delete(key)) return
    for (const listener of this.#listeners) listener.modelChanged?.(key)
  }

  /** What a gateway has to hold: models first, so that a device never arrives before the model it needs. */
  *wantedBy(gateway: string): Generator<{ readonly kind: LinkObjectKind; readonly key: ObjectKey }> {
    const devices = new Set([...this.ofGateway(gateway), ...this.standbysOf(gateway)])
    const models = new Set<ObjectKey>()
    for (const record of devices) if (this.models.has(record.modelKey)) models.add(record.modelKey)
    for (const key of models) yield { kind: 'DeviceModel', key }
    for (const record of devices) yield { kind: 'Device', key: record.key }
  }

  isWanted(gateway: string, kind: LinkObjectKind, key: ObjectKey): boolean {
    if (kind === 'Device') {
      const record = this.devices.get(key)
      return record !== undefined && this.#holds(gateway, record)
    }
    if (!this.models.has(key)) return false
    for (const record of this.ofModel(key)) if (this.#holds(gateway, record)) return true
    return false
  }

  rev(gateway: string, kind: LinkObjectKind, key: ObjectKey): string | undefined {
    if (kind === 'DeviceModel') return this.models.get(key)?.rev
    const record = this.devices.get(key)
    return record === undefined ? undefined : deviceRev(record) + roleRev(record, gateway)
  }

  linkObject(gateway: string, kind: LinkObjectKind, key: ObjectKey): LinkObject | undefined {
    if (kind === 'DeviceModel') {
      const model = this.models.get(key)
      if (model === undefined) return undefined
      const { uid, generation, spec, rev } = model
      return { kind, key, rev, object: { uid, generation, spec } }
    }
    const record = this.devices.get(key)
    if (record === undefined || kind !== 'Device') return undefined
    const role = roleOf(record, gateway)
    const object = role === undefined ? linkDevice(record) : { ...linkDevice(record), roaming: role }
    return { kind, key, rev: deviceRev(record) + roleRev(record, gateway), object }
  }

  #index(record: DeviceRecord): void {
    if (record.gateway !== undefined) addTo(this.#byGateway, record.gateway, record)
    for (const gateway of record.tenure?.standbys ?? []) addTo(this.#byStandby, gateway, record)
    addTo(this.#byModel, record.modelKey, record)
  }

  #unindex(record: DeviceRecord): void {
    if (record.gateway !== undefined) removeFrom(this.#byGateway, record.gateway, record)
    for (const gateway of record.tenure?.standbys ?? []) removeFrom(this.#byStandby, gateway, record)
    removeFrom(this.#byModel, record.modelKey, record)
  }
}

/** What a gateway is to a device; undefined when it simply serves it. */
function roleOf(record: DeviceRecord, gateway: string): RoamingRole | undefined {
  const { tenure } = record
  if (tenure === undefined) return undefined
  const { term, phase, handed } = tenure
  if (record.gateway === gateway && phase === 'serving') return { role: 'active', term, ...handed }
  return { role: 'standby', term }
}

function roleRev(record: DeviceRecord, gateway: string): string {
  const role = roleOf(record, gateway)
  if (role === undefined) return ''
  if (role.role === 'active') return `.a${role.term}`
  // That it took a standby of before it served says nothing of whether it has let go since.
  return record.gateway === gateway ? `.r${role.term}` : '.s'
}

/** Orders of different gateways cannot be compared: after a move everything the new one sends is newer. */
function forgetOrder(record: DeviceRecord): void {
  for (const state of record.properties.values()) {
    const { reported, known } = state.twin
    state.twin = {
      ...state.twin,
      ...(reported === undefined ? {} : { reported: { ...reported, order: BEFORE_ALL } }),
      ...(known === undefined ? {} : { known: { ...known, order: BEFORE_ALL } }),
    }
  }
  if (record.reach !== undefined) record.reach = { ...record.reach, order: BEFORE_ALL }
}

function addTo(index: Map<string, Set<DeviceRecord>>, key: string, record: DeviceRecord): void {
  const set = index.get(key)
  if (set === undefined) index.set(key, new Set([record]))
  else set.add(record)
}

function removeFrom(index: Map<string, Set<DeviceRecord>>, key: string, record: DeviceRecord): void {
  const set = index.get(key)
  set?.delete(record)
  if (set?.size === 0) index.delete(key)
}
