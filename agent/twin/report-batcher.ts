import type { Clock, Timer } from '../../api/clock.ts'
import {
  type BatchBody,
  type BatchDevice,
  MAX_CARRY,
  MAX_HEARD_BY,
  type NewsRow,
  type ReachFacts,
  type ReachRow,
  type ReportRow,
  type WriteRow,
} from '../../api/link/messages.ts'
import type { Json } from '../../api/resources.ts'
import type { Quality } from '../../api/twin/quality.ts'
import type { WriteEnd, WriteWait } from '../../api/twin/twin.ts'
import type { Store } from '../store/store.ts'
import type { NewBatch, Writer } from '../store/writer.ts'
import { type DeviceReach, type DeviceState, type PropertyState, storedState } from './device-state.ts'

/** A batch is closed when it has this many rows or about this many bytes: well below the link's frame limit. */
export const MAX_BATCH_ROWS = 2000
export const MAX_BATCH_BYTES = 256 * 1024
const ROW_BYTES = 48
/** A quiet device's report is stored at once; under load reports of this long share a transaction. */
const COALESCE_LIVE_MS = 10
/** Nobody waits while the hub is away: larger batches cost less disk and drain faster. */
const COALESCE_AWAY_MS = 200
/** Kept in memory while the disk is full. */
const MAX_UNSAVED_BYTES = 1024 * 1024
const RETRY_MS = 1000

export interface BatcherOptions {
  readonly store: Store
  readonly clock: Clock
  /** Whether a hub listens right now. */
  readonly live: () => boolean
  /** Called after a transaction, for the link to send what was stored. */
  readonly onStored: () => void
}

/**
 * Collects rows and writes them into the outbox, one transaction a flush. A property appears at most once in a batch,
 * because all rows of a batch share one place in the order of reports. While the disk is full it keeps the newest
 * rows in memory and counts every value it has to let go.
 */
export class ReportBatcher {
  readonly #options: BatcherOptions
  #number = 1
  #devices: BatchDevice[] = []
  #reports: ReportRow[] = []
  #writes: WriteRow[] = []
  #reaches: ReachRow[] = []
  /** The newest of each property: what was said before it is over. */
  #news = new Map<PropertyState, NewsRow>()
  #bytes = 0
  #closed: NewBatch[] = []
  #unsaved: NewBatch[] = []
  #unsavedBytes = 0
  #lost = 0
  readonly #dirty = new Map<PropertyState, DeviceState>()
  #scheduled = false
  #timer: Timer | undefined
  #lastFlushMs = Number.NEGATIVE_INFINITY

  constructor(options: BatcherOptions) {
    this.#options = options
  }

  /** Values lost to a full disk that no gap has told of yet. */
  get lostValues(): number {
    return this.#lost
  }

  report(
    device: DeviceState,
    property: PropertyState,
    value: Json | undefined,
    atMs: number,
    quality: Quality,
    reason: string | undefined,
  ): void {
    const index = this.#begin(device, property, ROW_BYTES + sizeOf(value))
    if (quality === 'good') this.#reports.push([index, property.name, value ?? null, atMs])
    else if (reason === undefined) this.#reports.push([index, property.name, value ?? null, atMs, quality])
    else this.#reports.push([index, property.name, value ?? null, atMs, quality, reason])
    this.#schedule()
  }

  writeEnd(device: DeviceState, property: PropertyState, end: WriteEnd): void {
    const index = this.#begin(device, undefined, ROW_BYTES + (end.reason?.length ?? 0))
    this.#writes.push(writeRow(index, property.name, end))
    this.#dirty.set(property, device)
    // Until an end is stored, a restart would write the value again.
    this.#flushSoon()
  }

  writeNews(device: DeviceState, property: PropertyState, wait: WriteWait): void {
    const index = this.#begin(device, undefined, ROW_BYTES + wait.reason.length)
    this.#news.set(property, newsRow(index, property.name, wait))
    this.#schedule()
  }

  /** Has the desired value and the last end stored durably with the next flush. */
  saveState(device: DeviceState, property: PropertyState): void {
    this.#dirty.set(property, device)
    this.#schedule()
  }

  reach(device: DeviceState, news: DeviceReach): void {
    const index = this.#begin(device, undefined, ROW_BYTES + (news.reason?.length ?? 0))
    this.#reaches.push(reachRow(index, news))
    this.#schedule()
  }

  /** Forgets what is to be stored of a device that is gone; its rows stay: they are history. */
  forget(device: DeviceState): void {
    for (const [property, owner] of this.#dirty) if (owner === device) this.#dirty.delete(property)
  }

  /** Stores everything at once. With `durable` a failure is thrown, without it the rows wait for the next try. */
  flush(durable?: (writer: Writer) => void): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#close()
    const batches = [...this.#unsaved, ...this.#closed]
    this.#closed = []
    if (batches.length === 0 && this.#dirty.size === 0 && durable === undefined) return
    this.#lastFlushMs = this.#options.clock.monotonic()
    const { store } = this.#options
    try {
      if (this.#dirty.size === 0 && durable === undefined) store.append(batches)
      else {
        store.append(batches, (writer) => {
          for (const [property, device] of this.#dirty) {
            writer.putTwinState(device.uid, property.name, storedState(property))
          }
          durable?.(writer)
        })
      }
      this.#dirty.clear()
      this.#unsaved = []
      this.#unsavedBytes = 0
      if (this.#lost > 0) {
        store.appendLost(this.#lost)
        this.#lost = 0
      }
    } catch (error) {
      this.#keep(batches)
      this.#arm(RETRY_MS)
      if (durable !== undefined) throw error
      return
    }
    this.#options.onStored()
  }

  stop(): void {
    this.flush()
    this.#timer?.cancel()
  }

  #keep(batches: NewBatch[]): void {
    this.#unsaved = batches
    this.#unsavedBytes = batches.reduce((sum, batch) => sum + batch.body.length, 0)
    while (this.#unsavedBytes > MAX_UNSAVED_BYTES) {
      const oldest = this.#unsaved.shift()!
      this.#unsavedBytes -= oldest.body.length
      this.#lost += oldest.values
    }
  }

  #begin(device: DeviceState, property: PropertyState | undefined, bytes: number): number {
    const rows = this.#reports.length + this.#writes.length + this.#reaches.length + this.#news.size
    const full = rows >= MAX_BATCH_ROWS || (rows > 0 && this.#bytes + bytes > MAX_BATCH_BYTES)
    if (full || property?.batch === this.#number) this.#close()
    if (property !== undefined) property.batch = this.#number
    if (device.batch !== this.#number) {
      device.batch = this.#number
      device.batchIndex = this.#devices.length
      this.#devices.push(batchDevice(device))
    }
    this.#bytes += bytes
    return device.batchIndex
  }

  #close(): void {
    if (this.#devices.length === 0) return
    const body: BatchBody = {
      d: this.#devices,
      ...(this.#reports.length === 0 ? {} : { r: this.#reports }),
      ...(this.#writes.length === 0 ? {} : { w: this.#writes }),
      ...(this.#reaches.length === 0 ? {} : { s: this.#reaches }),
      ...(this.#news.size === 0 ? {} : { n: [...this.#news.values()] }),
    }
    this.#closed.push({
      body: JSON.stringify(body),
      values: this.#reports.length + this.#writes.length,
      atMs: this.#options.clock.now(),
    })
    this.#devices = []
    this.#reports = []
    this.#writes = []
    this.#reaches = []
    this.#news = new Map()
    this.#bytes = 0
    this.#number++
  }

  #schedule(): void {
    if (this.#scheduled || this.#timer !== undefined) return
    const { clock, live } = this.#options
    const sinceMs = clock.monotonic() - this.#lastFlushMs
    const waitMs = (live() ? COALESCE_LIVE_MS : COALESCE_AWAY_MS) - sinceMs
    if (waitMs > 0) {
      this.#arm(waitMs)
      return
    }
    this.#flushSoon()
  }

  #flushSoon(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.flush()
    })
  }

  #arm(waitMs: number): void {
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(waitMs, () => {
      this.#timer = undefined
      this.flush()
    })
  }
}

export const batchDevice = ({ key, uid, term }: DeviceState): BatchDevice =>
  term === 0 ? [key, uid] : [key, uid, term]

export function reachRow(index: number, news: DeviceReach): ReachRow {
  const { online, atMs, reason = null, errorRate, latencyMs } = news
  const state = online ? 1 : 0
  const facts = reachFacts(news)
  if (facts !== undefined) return [index, state, atMs, reason, rounded(errorRate), rounded(latencyMs), facts]
  if (errorRate === undefined) return [index, state, atMs, reason]
  if (latencyMs === undefined) return [index, state, atMs, reason, round(errorRate)]
  return [index, state, atMs, reason, round(errorRate), round(latencyMs)]
}

function reachFacts(news: DeviceReach): ReachFacts | undefined {
  const { rssiDbm, snrDb, spreadingFactor, marginDb, gateways, batteryPercent, unusable, carry } = news
  const facts: ReachFacts = {
    ...(rssiDbm === undefined ? {} : { rssiDbm: round(rssiDbm) }),
    ...(snrDb === undefined ? {} : { snrDb: round(snrDb) }),
    ...(spreadingFactor === undefined ? {} : { spreadingFactor }),
    ...(marginDb === undefined ? {} : { marginDb: round(marginDb) }),
    ...(gateways === undefined ? {} : { gateways: gateways.slice(0, MAX_HEARD_BY) }),
    ...(batteryPercent === undefined ? {} : { batteryPercent: round(batteryPercent) }),
    ...(unusable === undefined ? {} : { unusable }),
    ...(carry === undefined || carry.length > MAX_CARRY ? {} : { carry }),
  }
  return Object.keys(facts).length === 0 ? undefined : facts
}

export function newsRow(index: number, name: string, { version, atMs, reason, local }: WriteWait): NewsRow {
  return local === undefined ? [index, name, version, atMs, reason] : [index, name, version, atMs, reason, local]
}

export function writeRow(index: number, name: string, { version, state, atMs, reason, local }: WriteEnd): WriteRow {
  if (local !== undefined) return [index, name, version, state, atMs, reason ?? null, local]
  if (reason !== undefined) return [index, name, version, state, atMs, reason]
  return [index, name, version, state, atMs]
}

const rounded = (value: number | undefined): number | null => (value === undefined ? null : round(value))

const round = (value: number): number => Math.round(value * 1000) / 1000

/** Bytes of a value as JSON text, roughly. */
function sizeOf(value: Json | undefined): number {
  if (typeof value === 'string') return value.length * 2
  if (typeof value === 'object' && value !== null) return JSON.stringify(value).length
  return 12
}
