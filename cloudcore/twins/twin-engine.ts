import type { Clock } from '../../api/clock.ts'
import type { SluiceError } from '../../api/errors.ts'
import type { BatchBody, LinkObjectKind, ReachFacts } from '../../api/link/messages.ts'
import type { ObjectKey } from '../../api/resources.ts'
import {
  compareOrder,
  mergeReported,
  mergeWait,
  mergeWrite,
  type Order,
  type Reported,
  sameValue,
  type Twin,
} from '../../api/twin/twin.ts'
import type { KubeClient } from '../kube/client.ts'
import { DEVICES, objectPath } from '../kube/paths.ts'
import { Coalescer } from './coalescer.ts'
import { type DeviceRecord, propertyOf, type Refusal } from './device-record.ts'
import type { Fleet } from './fleet.ts'
import type { PresenceBoard } from './presence.ts'
import { type RenderContext, renderStatus, stateOf, statusPatch } from './render.ts'

export interface BatchOrigin {
  readonly gateway: string
  readonly order: Order
  readonly receivedMs: number
  readonly backfill: boolean
}

export interface TwinEngineOptions {
  readonly fleet: Fleet
  readonly presence: PresenceBoard
  readonly client: Pick<KubeClient, 'patch'>
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly log: (message: string, error?: SluiceError) => void
  /** Something about a device that a person may have to act on. */
  readonly onNotice?: (notice: DeviceNotice) => void
  readonly parallelWrites?: number
  readonly statusIntervalMs?: number
}

export interface DeviceNotice {
  readonly record: DeviceRecord
  readonly reason: 'DeviceOffline' | 'DeviceOnline' | 'WriteRejected' | 'WriteTimedOut' | 'ObjectRefused'
  readonly message: string
}

type ChangeListener = (record: DeviceRecord) => void

/** Keeps the cloud's twins from what gateways report, and the devices' status in the Kubernetes API in step with them. */
export class TwinEngine {
  readonly #options: TwinEngineOptions
  readonly #writer: Coalescer
  readonly #watchers = new Map<ObjectKey, Set<ChangeListener>>()

  constructor(options: TwinEngineOptions) {
    this.#options = options
    this.#writer = new Coalescer({
      clock: options.clock,
      signal: options.signal,
      intervalMs: options.statusIntervalMs ?? 1000,
      parallel: options.parallelWrites ?? 4,
      write: (key) => this.#write(key),
      onRefused: (key, error) => {
        if (error.code !== 'SLUICE_KUBE_NOT_FOUND') options.log(`status of ${key} was refused`, error)
      },
    })
    options.fleet.listen({
      deviceChanged: (record) => this.#changed(record),
      deviceRemoved: (record) => this.#writer.forget(record.key),
      modelChanged: (key) => {
        for (const record of options.fleet.ofModel(key)) this.#changed(record)
      },
    })
    options.presence.listen({
      online: (gateway) => this.#allOf(gateway),
      away: (gateway) => this.#allOf(gateway),
    })
  }

  /** Devices whose status in the API is behind. */
  get behind(): number {
    return this.#writer.behind
  }

  drained(signal: AbortSignal): Promise<void> {
    return this.#writer.drained(signal)
  }

  /** Calls `listener` after every change of one device's twin; returns how to stop. */
  watchDevice(key: ObjectKey, listener: ChangeListener): () => void {
    const set = this.#watchers.get(key) ?? new Set()
    this.#watchers.set(key, set.add(listener))
    return () => {
      set.delete(listener)
      if (set.size === 0) this.#watchers.delete(key)
    }
  }

  context(record: DeviceRecord): RenderContext {
    const { fleet, presence, clock } = this.#options
    return {
      model: fleet.models.get(record.modelKey),
      nowMs: clock.now(),
      awaySinceMs: presence.awaySinceMs(record.gateway),
    }
  }

  /** Merges a batch or a part of a snapshot; rows of devices that are not this gateway's now are left alone. */
  ingest(body: BatchBody, origin: BatchOrigin): void {
    const records: (DeviceRecord | undefined)[] = body.d.map(([key, uid, term = 0]) => {
      const record = this.#options.fleet.devices.get(key)
      if (record?.uid !== uid || record.gateway !== origin.gateway) return undefined
      return (record.tenure?.accepts ?? 0) === term ? record : undefined
    })
    const touched = new Set<DeviceRecord>()
    for (const [index, property, value, atMs, quality, reason] of body.r ?? []) {
      const record = records[index]
      if (record === undefined) continue
      const state = propertyOf(record, property)
      const report: Reported = {
        atMs,
        quality: quality ?? 'good',
        order: origin.order,
        ...(value === null && quality !== undefined ? {} : { value }),
        ...(reason == null ? {} : { reason }),
      }
      const merged = mergeInBatch(state.twin, report)
      if (merged === state.twin) continue
      if (merged.known !== state.twin.known) state.knownFrom = origin.gateway
      state.twin = merged
      state.receivedMs = origin.receivedMs
      state.backfill = origin.backfill
      touched.add(record)
    }
    for (const [index, property, version, end, atMs, reason, local] of body.w ?? []) {
      const record = records[index]
      if (record === undefined) continue
      const state = propertyOf(record, property)
      // Local changes are counted on top of a version; whether they are taken over is settled by their offer.
      if (local == null || local === 0) this.#options.fleet.heardOfVersion(record, property, version)
      const merged = mergeWrite(state.twin, {
        version,
        state: end,
        atMs,
        ...(local == null || local === 0 ? {} : { local }),
        ...(reason == null ? {} : { reason }),
      })
      if (merged === state.twin) continue
      state.twin = merged
      touched.add(record)
      if (end !== 'applied') this.#noticeWrite(record, property, end, reason ?? undefined)
    }
    for (const [index, property, version, atMs, reason, local] of body.n ?? []) {
      const record = records[index]
      if (record === undefined) continue
      const state = propertyOf(record, property)
      const wait = { version, atMs, reason, order: origin.order }
      const merged = mergeWait(state.twin, local == null || local === 0 ? wait : { ...wait, local })
      if (merged === state.twin) continue
      state.twin = merged
      touched.add(record)
    }
    for (const row of body.s ?? []) {
      const record = records[row[0]]
      if (record !== undefined && this.#takeReach(record, row, origin)) touched.add(record)
    }
    for (const record of touched) {
      record.lastSeenMs = Math.max(record.lastSeenMs ?? 0, origin.receivedMs)
      this.#changed(record)
    }
  }

  /** What a gateway said about an object it was given. */
  acknowledged(gateway: string, kind: LinkObjectKind, key: ObjectKey, refusal: Refusal | undefined): void {
    const { fleet } = this.#options
    const affected = kind === 'Device' ? [fleet.devices.get(key)] : [...fleet.ofModel(key)]
    for (const record of affected) {
      if (record === undefined || record.gateway !== gateway) continue
      if (record.refusal?.code === refusal?.code && record.refusal?.message === refusal?.message) continue
      // An accepted model says nothing about a device that was refused for its own sake.
      if (refusal === undefined && kind === 'DeviceModel') continue
      record.refusal = refusal
      this.#changed(record)
      if (refusal !== undefined) this.#notice(record, 'ObjectRefused', refusal.message)
    }
  }

  #takeReach(record: DeviceRecord, row: NonNullable<BatchBody['s']>[number], origin: BatchOrigin): boolean {
    const [, online, atMs, reason, errorRate, latencyMs, facts] = row
    const held = record.reach
    if (held !== undefined && compareOrder(origin.order, held.order) < 0) return false
    record.reach = {
      online: online === 1,
      atMs,
      order: origin.order,
      ...(reason == null ? {} : { reason }),
      ...(errorRate == null ? {} : { errorRate }),
      ...(latencyMs == null ? {} : { latencyMs }),
      ...pickFacts(facts),
    }
    if (held !== undefined && held.online !== record.reach.online && !origin.backfill) {
      if (online === 1) this.#notice(record, 'DeviceOnline', 'the device answers again')
      else this.#notice(record, 'DeviceOffline', reason ?? 'the device does not answer')
    }
    return true
  }

  #noticeWrite(record: DeviceRecord, property: string, end: string, reason: string | undefined): void {
    const why = reason === undefined ? '' : `: ${reason}`
    if (end === 'rejected') this.#notice(record, 'WriteRejected', `${property} was not written${why}`)
    else this.#notice(record, 'WriteTimedOut', `${property} could not be written in time${why}`)
  }

  #notice(record: DeviceRecord, reason: DeviceNotice['reason'], message: string): void {
    this.#options.onNotice?.({ record, reason, message })
  }

  #allOf(gateway: string): void {
    for (const record of this.#options.fleet.ofGateway(gateway)) this.#changed(record)
  }

  #changed(record: DeviceRecord): void {
    this.#writer.markDirty(record.key)
    const watchers = this.#watchers.get(record.key)
    if (watchers !== undefined) for (const listener of watchers) listener(record)
  }

  async #write(key: ObjectKey): Promise<boolean> {
    const record = this.#options.fleet.devices.get(key)
    if (record === undefined) return false
    const context = this.context(record)
    const change = statusPatch(record, renderStatus(record, context))
    if (change === undefined) return false
    const { namespace, name, uid } = record
    // The uid guards against writing an old device's state into a new one of the same name (409 then).
    const body = { metadata: { uid }, status: change.patch }
    await this.#options.client.patch(objectPath(DEVICES, name, namespace, 'status'), 'merge', body, {
      query: { fieldManager: 'sluice-cloudcore' },
      metadataOnly: true,
    })
    for (const [field, digest] of change.digests) record.written.set(field, digest)
    return true
  }

  stateOf(record: DeviceRecord) {
    return stateOf(record, this.context(record))
  }
}

/** Only what the link knows: whatever else a gateway sent along must not reach the record. */
function pickFacts(facts: ReachFacts = {}): ReachFacts {
  const { rssiDbm, snrDb, spreadingFactor, marginDb, gateways, batteryPercent, unusable, carry } = facts
  return {
    ...(rssiDbm === undefined ? {} : { rssiDbm }),
    ...(snrDb === undefined ? {} : { snrDb }),
    ...(spreadingFactor === undefined ? {} : { spreadingFactor }),
    ...(marginDb === undefined ? {} : { marginDb }),
    ...(gateways === undefined ? {} : { gateways }),
    ...(batteryPercent === undefined ? {} : { batteryPercent }),
    ...(unusable === undefined ? {} : { unusable }),
    ...(carry === undefined ? {} : { carry }),
  }
}

/** Within one batch later rows of a property are newer although they share the batch's number. */
function mergeInBatch(twin: Twin, report: Reported): Twin {
  const held = twin.reported
  if (held === undefined || compareOrder(report.order, held.order) !== 0) return mergeReported(twin, report)
  const same = held.atMs === report.atMs && held.quality === report.quality && sameValue(held.value, report.value)
  if (same) return twin
  return { ...twin, reported: report, ...(report.value === undefined ? {} : { known: report }) }
}
