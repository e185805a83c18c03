import type { Clock } from '../../api/clock.ts'
import type { RoamingRole } from '../../api/link/messages.ts'
import type { ObjectKey } from '../../api/resources.ts'
import { mergeWrite, type Order, type Reported, type WriteEnd } from '../../api/twin/twin.ts'
import type { DeviceReachability, Reading } from '../../mappers/sdk/mapper.ts'
import { CatchUp } from '../roaming/catch-up.ts'
import { CATCH_UP_MS, type HandedValue, Understudy } from '../roaming/understudy.ts'
import { bounded } from './bounded-reading.ts'
import type { DeviceState, PropertyState } from './device-state.ts'
import type { Reporter } from './reporter.ts'
import type { Writes } from './writes.ts'

/** Older than anything that is read here. */
const BEFORE_ALL: Order = { epoch: 0, seq: 0 }

export interface RolesOptions {
  readonly clock: Clock
  readonly devices: ReadonlyMap<ObjectKey, DeviceState>
  readonly reporter: Reporter
  readonly writes: Writes
  readonly reachability: (news: readonly DeviceReachability[]) => void
  /** The hub's clock minus ours, milliseconds. */
  readonly hubOffsetMs: () => number
}

/** What this gateway is to devices that several can serve, and how that changes. See docs/roaming.md. */
export class Roles {
  readonly #options: RolesOptions

  constructor(options: RolesOptions) {
    this.#options = options
  }

  /**
   * Ends this gateway's service of a device that another one takes over. Resolves when nothing that was begun here can
   * reach the device any more; everything that is to be told of it is with the batcher then.
   */
  async release(key: ObjectKey, uid: string, role: RoamingRole | undefined): Promise<void> {
    const { devices, writes, reporter } = this.#options
    const device = devices.get(key)
    if (device === undefined || device.uid !== uid || device.standby || role?.role !== 'standby') return
    device.releasing = true
    // What is on the wire may still end as applied: that counts under the term that ends here.
    await writes.withdraw(device)
    device.releasing = false
    if (devices.get(key) !== device) return
    reporter.flush(device)
    beginStandby(device, role)
  }

  /** Takes what this gateway is to a device, before its desired values; `release` comes first where it served it. */
  take(device: DeviceState, role: RoamingRole | undefined, restarted = false): void {
    const before = device.roaming
    if (role === undefined || (before?.role === role.role && before.term === role.term)) return
    if (role.role === 'standby') {
      if (before?.role === 'standby') device.roaming = role
      else beginStandby(device, role)
      return
    }
    const { clock, writes, reporter, reachability } = this.#options
    reporter.nextOrder()
    this.#beginActive(device, role, restarted)
    const { overheard } = device
    device.overheard = undefined
    if (overheard !== undefined) reachability([overheard])
    if (restarted) return
    writes.readmit(device)
    if (role.writeAfterMs !== undefined) clock.after(role.writeAfterMs, () => writes.pump(device))
  }

  /** A device was read by an understudy: kept, until this gateway serves the device and knows what is new. */
  overhear(device: DeviceState, understudy: Understudy, reading: Reading): void {
    const nowMs = this.#options.clock.now()
    understudy.take(bounded(reading), nowMs)
    if (device.catchUp !== undefined && !understudy.isBehind(device.catchUp.handed, nowMs)) this.#caughtUp(device)
  }

  /** Resolves when what was overheard of a device is with the batcher; undefined when there is nothing to wait for. */
  catchingUp(key: ObjectKey): Promise<void> | undefined {
    return this.#options.devices.get(key)?.catchUp?.over
  }

  /** What has yet to be caught up with is left to whoever serves next. */
  stop(): void {
    for (const device of this.#options.devices.values()) device.catchUp = undefined
  }

  /** The hub's word that this gateway serves roaming devices is too old: another one may write to them by now. */
  withdraw(): void {
    for (const device of this.#options.devices.values()) if (device.roams) void this.#options.writes.withdraw(device)
  }

  /** The hub has given its word again. */
  readmit(): void {
    for (const device of this.#options.devices.values()) {
      if (!device.roams || device.standby) continue
      this.#options.writes.readmit(device)
      this.#options.writes.pump(device)
    }
  }

  /**
   * This gateway serves the device from now on: it knows what the one before knew, and tells what was overheard since the
   * newest value the hub has as if it were read now.
   *
   * @param restarted the role is an old one: what is in the store is newer than what was handed over with it
   */
  #beginActive(device: DeviceState, role: RoamingRole, restarted: boolean): void {
    const { clock, hubOffsetMs } = this.#options
    const monotonicMs = clock.monotonic()
    device.roaming = role
    // Rows under the new term need a name of their own within the batch that is being filled.
    device.batch = 0
    device.writeFromMs = monotonicMs + (role.writeAfterMs ?? 0)
    for (const [name, [version, state, atMs, reason]] of Object.entries(role.ended ?? {})) {
      const end: WriteEnd = { version, state, atMs, ...(reason === undefined ? {} : { reason }) }
      const property = device.property(name, monotonicMs)
      property.twin = mergeWrite(property.twin, end)
    }
    const offsetMs = hubOffsetMs()
    const handed = new Map<string, HandedValue>()
    for (const [name, [value, atHubMs]] of Object.entries(role.since ?? {})) {
      const last: HandedValue = { value, atMs: atHubMs - offsetMs }
      handed.set(name, last)
      const property = device.property(name, monotonicMs)
      if (restarted && property.twin.known !== undefined) continue
      takeOver(property, last, monotonicMs)
    }
    device.catchUp?.end()
    device.catchUp = new CatchUp(handed)
    if (device.understudy?.isBehind(handed, clock.now()) !== true) {
      this.#caughtUp(device)
      return
    }
    const { catchUp } = device
    clock.after(CATCH_UP_MS, () => device.catchUp === catchUp && this.#caughtUp(device), true)
  }

  #caughtUp(device: DeviceState): void {
    const { catchUp, understudy } = device
    if (catchUp === undefined) return
    device.catchUp = undefined
    device.understudy = undefined
    const kept = this.#options.devices.get(device.key) === device ? understudy?.release(catchUp.handed) : undefined
    for (const reading of kept ?? []) {
      const property = device.properties.get(reading.property)
      if (property?.definition !== undefined) this.#options.reporter.take(device, property, reading)
    }
    catchUp.end()
  }
}

/**
 * This gateway becomes the understudy: from now on nothing of the device is told under its term. Whatever was held back
 * is to be told, and every write withdrawn, by the caller.
 */
function beginStandby(device: DeviceState, role: RoamingRole): void {
  device.roaming = role
  // One that had not caught up keeps what it overheard.
  device.understudy ??= new Understudy()
  device.catchUp?.end()
  device.catchUp = undefined
  device.reach = undefined
  device.toldReach = undefined
}

/** Shows what the gateway before knew until something is read here; that is with the hub already. */
function takeOver(property: PropertyState, { value, atMs }: HandedValue, monotonicMs: number): void {
  const known: Reported = { value, atMs, quality: 'good', order: BEFORE_ALL }
  property.twin = { ...property.twin, known, reported: known }
  property.lastReport = { value, quality: 'good', atMonotonicMs: monotonicMs }
  property.lastReadingMs = monotonicMs
  property.fresh = false
  property.knownDirty = true
}
