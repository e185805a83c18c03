import { randomUUID } from 'node:crypto'
import type { Clock, Timer } from '../../api/clock.ts'
import type { DesireFrame, LinkDevice } from '../../api/link/messages.ts'
import type { DeviceModelSpec, Json, ObjectKey } from '../../api/resources.ts'
import { figuresMoved, SIGNAL_EVERY_MS } from '../../api/twin/signal.ts'
import {
  type Desired,
  mergeDesired,
  mergeWait,
  mergeWrite,
  removeDesired,
  sameValue,
  type WriteEnd,
  waitReason,
} from '../../api/twin/twin.ts'
import type { StreamEvent } from '../../api/views.ts'
import type { DeviceReachability, Reading, WriteNews } from '../../mappers/sdk/mapper.ts'
import type { StoredTwin } from '../store/store.ts'
import { DeviceState, type Listens, type PropertyState, type StoredTwinState } from './device-state.ts'
import { desiredEvent, reachEvent, writeEvent } from './events.ts'
import { knownTwin } from './kept-values.ts'
import type { ReportBatcher } from './report-batcher.ts'
import { Reporter } from './reporter.ts'
import { Roles } from './roles.ts'
import { isExpected, silence } from './staleness.ts'
import { type StretchOf, stretchDevices } from './stretching.ts'
import { writableProperty } from './writable-property.ts'
import { type CheckValue, deadlineOf, endOf, isPending, type Writes } from './writes.ts'

const SWEEP_MS = 1000
/** Letters of a reason that are carried; the status of a Device holds as many. */
const MAX_REASON = 1024

export interface EngineCounters {
  readings: number
  reports: number
  unknownReadings: number
  ends: Record<WriteEnd['state'], number>
}

export interface EngineOptions {
  readonly clock: Clock
  readonly batcher: ReportBatcher
  readonly writes: Writes
  readonly checkValue: CheckValue
  /** Default: every value is asked for. */
  readonly listens?: Listens
  /** Whether anybody wants events; without, none are built. */
  readonly listening: () => boolean
  readonly onEvent: (event: StreamEvent) => void
  /** A device that roams was heard. */
  readonly onHeard?: (key: ObjectKey, uid: string, rssiDbm: number) => void
  /** The hub's clock minus ours, milliseconds. */
  readonly hubOffsetMs?: () => number
}

export type NewDesire = Omit<DesireFrame, 't'>

/**
 * The twins of every device of this gateway. Readings come in from the mappers, what is worth reporting goes to the
 * batcher; desired values come from the hub and the local API and go to the writes.
 */
export class TwinEngine {
  readonly devices = new Map<ObjectKey, DeviceState>()
  readonly counters: EngineCounters = {
    readings: 0,
    reports: 0,
    unknownReadings: 0,
    ends: { applied: 0, rejected: 0, timedOut: 0 },
  }
  readonly roles: Roles
  readonly #options: EngineOptions
  readonly #reporter: Reporter
  readonly #waiters = new Map<PropertyState, Set<() => void>>()
  #stretchOf: StretchOf = () => undefined
  #sweepTimer: Timer | undefined

  constructor(options: EngineOptions) {
    this.#options = options
    this.#reporter = new Reporter(options, this.counters)
    this.roles = new Roles({
      ...{ clock: options.clock, devices: this.devices, reporter: this.#reporter, writes: options.writes },
      reachability: (news) => this.reachability(news),
      hubOffsetMs: options.hubOffsetMs ?? (() => 0),
    })
    this.#armSweep()
  }

  /** Adds or changes a device. Another uid under the same key is another device: its twin starts empty. */
  putDevice(key: ObjectKey, link: LinkDevice, model: DeviceModelSpec | undefined): DeviceState {
    let device = this.devices.get(key)
    if (device !== undefined && device.uid !== link.uid) {
      this.removeDevice(key)
      device = undefined
    }
    if (device === undefined) {
      device = new DeviceState(key, link)
      this.devices.set(key, device)
    }
    const paused = device.stretch?.paused
    device.stretch = this.#stretchOf(key, link.spec)
    device.configure(link.spec, model, this.#options.clock.monotonic(), this.#options.listens)
    if (device.stretch?.paused !== paused) this.#tellPaused(device)
    return device
  }

  /** Applies a stage of the gateway's policy, to the devices there are and to those that come. */
  stretch(of: StretchOf): void {
    this.#stretchOf = of
    const { clock, listens = () => false } = this.#options
    for (const device of stretchDevices(this.devices.values(), of, clock.monotonic(), listens)) this.#tellPaused(device)
  }

  removeDevice(key: ObjectKey): DeviceState | undefined {
    const device = this.devices.get(key)
    if (device === undefined) return undefined
    this.devices.delete(key)
    this.#options.writes.discard(device)
    this.#options.batcher.forget(device)
    for (const property of device.properties.values()) {
      this.#reporter.forget(property)
      this.#wake(property)
    }
    return device
  }

  /** Takes the desired values of a replicated device; whatever is not newer changes nothing. */
  takeDesired(device: DeviceState, link: LinkDevice): void {
    const nowMs = this.#options.clock.monotonic()
    for (const [name, version] of Object.entries(link.removed ?? {})) {
      const property = device.property(name, nowMs)
      const before = property.twin
      property.twin = removeDesired(before, version)
      if (property.twin === before) continue
      this.#options.writes.removed(device, property, version)
      this.#options.batcher.saveState(device, property)
      this.#tellDesired(device, property, version, this.#options.clock.now())
    }
    for (const [name, desired] of Object.entries(link.desired)) {
      this.#takeVersion(device, device.property(name, nowMs), desired)
    }
  }

  /** Starts what waits, after it was stored. */
  pump(device: DeviceState): void {
    this.#options.writes.pump(device)
  }

  /** Sets a desired value at the gateway; throws what the local API answers. */
  desireLocally(key: ObjectKey, name: string, value: Json, by: string | undefined): NewDesire {
    const { device, property } = writableProperty(this.devices, this.#options.checkValue, key, name, value)
    const base = property.twin.desired
    const desired: Desired = {
      value,
      version: base?.version ?? property.twin.removedVersion ?? 0,
      local: (base?.local ?? 0) + 1,
      atMs: this.#options.clock.now(),
      ...(by === undefined ? {} : { by }),
    }
    this.#accept(device, property, desired, false)
    return {
      id: randomUUID(),
      device: key,
      property: name,
      value,
      version: desired.version,
      local: desired.local!,
      atMs: desired.atMs,
      ...(by === undefined ? {} : { by }),
    }
  }

  readings(batch: readonly Reading[]): void {
    this.#reporter.nextOrder()
    let key: ObjectKey | undefined
    let device: DeviceState | undefined
    for (const reading of batch) {
      if (reading.device !== key) {
        key = reading.device
        device = this.devices.get(key)
      }
      const property = device?.properties.get(reading.property)
      if (device === undefined || property?.definition === undefined) {
        this.counters.unknownReadings++
        continue
      }
      if (device.understudy === undefined) this.#reporter.take(device, property, reading)
      else this.roles.overhear(device, device.understudy, reading)
    }
    this.counters.readings += batch.length
  }

  reachability(news: readonly DeviceReachability[]): void {
    for (const item of news) {
      const device = this.devices.get(item.device)
      if (device === undefined) continue
      if (device.roaming !== undefined && item.online && item.rssiDbm !== undefined) {
        this.#options.onHeard?.(device.key, device.uid, item.rssiDbm)
      }
      if (device.standby) {
        device.overheard = item
        continue
      }
      const changed = device.reach?.online !== item.online || device.reach.reason !== item.reason
      device.reach = device.unusable === 0 ? item : { ...item, unusable: device.unusable }
      if (changed || this.#figuresDue(device)) this.#tellReach(device)
      if (item.online) this.pump(device)
      if (changed && this.#options.listening()) this.#options.onEvent(reachEvent(item))
    }
  }

  /** Something came from a device and could not be used. The count is told with the next figures. */
  unusable(key: ObjectKey): void {
    const device = this.devices.get(key)
    if (device?.standby === false) device.countUnusable(this.#options.clock.now())
  }

  /** Puts a stored twin back after a restart. Values are shown as they were last known, as stale. */
  restore(device: DeviceState, stored: StoredTwin): void {
    const property = device.property(stored.property, this.#options.clock.monotonic())
    const { acceptedAtMs, ...state } = JSON.parse(stored.state ?? '{}') as StoredTwinState
    property.twin = { ...state, ...(stored.known === null ? {} : knownTwin(stored.known)) }
    if (acceptedAtMs === undefined || !isPending(property)) return
    property.acceptedAtMs = acceptedAtMs
    const desired = property.twin.desired!
    // Had the wall clock been set back meanwhile, the time that passed is unknown: the whole deadline is granted again.
    const passedMs = Math.max(0, this.#options.clock.now() - acceptedAtMs)
    const leftMs = deadlineOf(property) - passedMs
    if (leftMs > 0) this.#options.writes.accept(device, property, desired, false, leftMs)
    else {
      const reason = 'the deadline passed while the agent was not running'
      this.ended(device, property, endOf(desired, 'timedOut', this.#options.clock.now(), reason))
    }
  }

  /** Records how a version ended: the one place where that happens. */
  ended(device: DeviceState, property: PropertyState, end: WriteEnd): void {
    this.counters.ends[end.state]++
    property.twin = mergeWrite(property.twin, end)
    this.#options.batcher.writeEnd(device, property, end)
    this.#wake(property)
    if (this.#options.listening()) this.#options.onEvent(writeEvent(device.key, property.name, end))
  }

  /** Why a write that is under way waits; about anything else it is not heard. */
  writeNews({ device: key, property: name, version, reason }: WriteNews): void {
    const device = this.devices.get(key)
    const property = device?.properties.get(name)
    const desired = property?.twin.desired
    if (device === undefined || property === undefined || desired === undefined) return
    if (desired.version !== version || !isPending(property) || waitReason(property.twin) === reason) return
    const { local } = desired
    const words = reason.slice(0, MAX_REASON)
    const wait = { version, reason: words, atMs: this.#options.clock.now(), order: this.#reporter.nextOrder() }
    property.twin = mergeWait(property.twin, local === undefined ? wait : { ...wait, local })
    this.#options.batcher.writeNews(device, property, property.twin.wait!)
  }

  /** Calls `wake` at every end of this property's writes until the returned function is called. */
  onEnded(key: ObjectKey, name: string, wake: () => void): () => void {
    const property = this.devices.get(key)?.properties.get(name)
    if (property === undefined) return () => {}
    const waiters = this.#waiters.get(property) ?? new Set()
    this.#waiters.set(property, waiters.add(wake))
    return () => {
      waiters.delete(wake)
      if (waiters.size === 0) this.#waiters.delete(property)
    }
  }

  stop(): void {
    this.#sweepTimer?.cancel()
    this.roles.stop()
    this.#reporter.stop()
    for (const device of this.devices.values()) this.#options.writes.discard(device)
  }

  #takeVersion(device: DeviceState, property: PropertyState, desired: Desired): void {
    const before = property.twin.desired
    const { value, version, atMs, by } = desired
    const clean: Desired = { value, version, atMs, ...(by === undefined ? {} : { by }) }
    if (mergeDesired(property.twin, clean) === property.twin) return
    // The cloud took over a value that was set here: the write that was made for it settles this version too.
    const sameAsLocal = before?.local !== undefined && sameValue(before.value, value)
    const settled = sameAsLocal && !isPending(property) ? property.twin.write : undefined
    if (settled === undefined) {
      this.#accept(device, property, clean, sameAsLocal)
      return
    }
    property.twin = mergeDesired(property.twin, clean)
    property.acceptedAtMs = this.#options.clock.now()
    this.ended(device, property, endOf(clean, settled.state, settled.atMs, settled.reason))
  }

  #accept(device: DeviceState, property: PropertyState, desired: Desired, sameAsLocal: boolean): void {
    const { writes, batcher, clock } = this.#options
    property.twin = mergeDesired(property.twin, desired)
    property.acceptedAtMs = clock.now()
    // An understudy remembers what is desired; it is written by whoever serves the device.
    if (!device.standby && isPending(property)) writes.accept(device, property, desired, sameAsLocal)
    batcher.saveState(device, property)
    this.#tellDesired(device, property, desired.version, desired.atMs)
  }

  #tellDesired(device: DeviceState, property: PropertyState, version: number, atMs: number): void {
    if (!this.#options.listening()) return
    this.#options.onEvent(desiredEvent(device.key, property.name, version, atMs, property.twin.desired))
  }

  #armSweep(): void {
    this.#sweepTimer = this.#options.clock.after(SWEEP_MS, () => {
      this.#sweep()
      this.#armSweep()
    })
  }

  /** A device that is left alone is said to be; that it is back is said by its mapper. */
  #tellPaused({ key, stretch }: DeviceState): void {
    const reason = stretch?.paused
    if (reason !== undefined)
      this.reachability([{ device: key, online: false, atMs: this.#options.clock.now(), reason }])
  }

  #figuresDue({ reach, toldReach, toldReachMs }: DeviceState): boolean {
    if (reach === undefined || reach === toldReach) return false
    return figuresMoved(toldReach, reach) && this.#options.clock.monotonic() - toldReachMs >= SIGNAL_EVERY_MS
  }

  #tellReach(device: DeviceState): void {
    device.toldReach = device.reach
    device.toldReachMs = this.#options.clock.monotonic()
    this.#options.batcher.reach(device, device.reach!)
  }

  /** Marks what has been silent for too long. */
  #sweep(): void {
    const { clock } = this.#options
    const time = { monotonicMs: clock.monotonic(), wallMs: clock.now() }
    for (const device of this.devices.values()) {
      if (!device.standby && this.#figuresDue(device)) this.#tellReach(device)
      if (!isExpected(device)) continue
      for (const property of device.properties.values()) {
        const reading = silence(device, property, time)
        if (reading !== undefined) this.#reporter.tell(device, property, reading)
      }
    }
  }

  #wake(property: PropertyState): void {
    for (const wake of this.#waiters.get(property) ?? []) wake()
  }
}
