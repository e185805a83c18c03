import type { Timer } from '../../api/clock.ts'
import { isBad } from '../../api/twin/quality.ts'
import { decideReport } from '../../api/twin/report.ts'
import { mergeReported, type Order, type Reported } from '../../api/twin/twin.ts'
import type { Reading } from '../../mappers/sdk/mapper.ts'
import { bounded } from './bounded-reading.ts'
import type { DeviceState, PropertyState } from './device-state.ts'
import type { EngineCounters, EngineOptions } from './engine.ts'
import { reportedEvent } from './events.ts'

export type ReporterOptions = Pick<EngineOptions, 'clock' | 'batcher' | 'listening' | 'onEvent'>

/**
 * From a reading to a report: merges it into the property's twin, decides whether it is worth telling, and holds back
 * what came too soon after the last one until its time has come.
 */
export class Reporter {
  readonly #options: ReporterOptions
  readonly #counters: EngineCounters
  readonly #held = new Map<PropertyState, DeviceState>()
  #order: Order = { epoch: 1, seq: 0 }
  #heldTimer: Timer | undefined

  constructor(options: ReporterOptions, counters: EngineCounters) {
    this.#options = options
    this.#counters = counters
  }

  /** What is merged from now on is newer than everything before. */
  nextOrder(): Order {
    this.#order = { epoch: 1, seq: this.#order.seq + 1 }
    return this.#order
  }

  take(device: DeviceState, property: PropertyState, given: Reading): void {
    device.readings++
    const reading = bounded(given)
    const nowMs = this.#options.clock.monotonic()
    property.lastReadingMs = nowMs
    property.rhythm?.heard(nowMs)
    property.fresh = true
    device.lastSeenMs = isBad(reading.quality) ? device.lastSeenMs : reading.atMs
    this.#merge(property, reading)
    const decision = decideReport(property.policy, property.lastReport, reading.value, reading.quality, nowMs)
    if (decision === 'report') this.#report(device, property, reading)
    else if (decision === 'hold') this.#hold(device, property, reading)
    else if (property.held !== undefined) this.forget(property)
  }

  /** Tells what no mapper has read and everybody has to know: that a value is stale. */
  tell(device: DeviceState, property: PropertyState, reading: Reading): void {
    this.nextOrder()
    this.#merge(property, reading)
    this.#report(device, property, reading)
  }

  /** Tells what was held back of a device. */
  flush(device: DeviceState): void {
    for (const property of device.properties.values()) {
      if (property.held !== undefined) this.#report(device, property, property.held)
    }
  }

  /** Drops what is held back of a property. */
  forget(property: PropertyState): void {
    property.held = undefined
    this.#held.delete(property)
  }

  /** Tells what is held back of all devices, and holds nothing any more. */
  stop(): void {
    this.#heldTimer?.cancel()
    for (const [property, device] of this.#held) this.#report(device, property, property.held!)
    this.#held.clear()
  }

  #merge(property: PropertyState, reading: Reading): void {
    if (property.twin.reported?.order === this.#order) this.nextOrder()
    const reported: { -readonly [K in keyof Reported]: Reported[K] } = {
      atMs: reading.atMs,
      quality: reading.quality,
      order: this.#order,
    }
    if (reading.value !== undefined) reported.value = reading.value
    if (reading.reason !== undefined) reported.reason = reading.reason
    property.twin = mergeReported(property.twin, reported)
    if (reading.value !== undefined) property.knownDirty = true
  }

  #report(device: DeviceState, property: PropertyState, reading: Reading): void {
    if (property.held !== undefined) this.forget(property)
    const { quality, value, atMs, reason } = reading
    property.lastReport = {
      value: value ?? property.lastReport?.value,
      quality,
      atMonotonicMs: this.#options.clock.monotonic(),
    }
    this.#counters.reports++
    this.#options.batcher.report(device, property, value, atMs, quality, reason)
    if (this.#options.listening()) this.#options.onEvent(reportedEvent(device.key, property.name, reading))
  }

  #hold(device: DeviceState, property: PropertyState, reading: Reading): void {
    property.held = reading
    this.#held.set(property, device)
    if (this.#heldTimer === undefined) this.#armHeld()
  }

  #armHeld(): void {
    let dueMs = Number.POSITIVE_INFINITY
    for (const property of this.#held.keys()) dueMs = Math.min(dueMs, dueOf(property))
    if (dueMs === Number.POSITIVE_INFINITY) return
    const { clock } = this.#options
    this.#heldTimer = clock.after(Math.max(1, Math.ceil(dueMs - clock.monotonic())), () => {
      this.#heldTimer = undefined
      const nowMs = clock.monotonic()
      for (const [property, device] of this.#held) {
        if (dueOf(property) <= nowMs) this.#report(device, property, property.held!)
      }
      this.#armHeld()
    })
  }
}

function dueOf(property: PropertyState): number {
  return (property.lastReport?.atMonotonicMs ?? 0) + property.policy.minIntervalMs
}
