import type { Clock, Timer } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import { type FirmwareStatusItem, isUpdateEnd } from '../../api/link/firmware.ts'
import {
  API_VERSION,
  type FirmwareRelease,
  type FirmwareReleaseStatus,
  type FirmwareRollout,
  objectKey,
  type RolloutDevice,
} from '../../api/resources.ts'
import { MAX_ROLLOUT_DEVICES } from '../../api/schema/firmware-rollout.ts'
import { durationMs } from '../../api/twin/duration.ts'
import type { EventNote } from '../gateways/event-recorder.ts'
import { Coalescer } from '../twins/coalescer.ts'
import { checkRelease } from './check-release.ts'
import type { ImageFolder } from './image-folder.ts'
import type { FirmwareObjects } from './objects.ts'
import type { FindDevice, FirmwareOrders } from './orders.ts'
import { DEFAULT_WAVES, isDeviceEnd, isUnderWay, type PlanAnswer, planRollout, stagesOf } from './plan.ts'
import {
  calledOff,
  deviceAfter,
  deviceReason,
  goingBack,
  orderOf,
  overdue,
  retried,
  statusOf,
} from './rollout-status.ts'

export interface FirmwareOptions {
  readonly objects: FirmwareObjects
  readonly images: ImageFolder
  readonly orders: FirmwareOrders
  readonly find: FindDevice
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly record: (note: EventNote) => void
  readonly onTrouble: (what: string, error: SluiceError) => void
  /** A gateway lacks bytes of an image. */
  readonly onNeeds: (gateway: string, needs: { sha256: string; sizeBytes: number; fromByte: number }) => void
  readonly random?: () => number
}

interface Rollout {
  object: FirmwareRollout
  /** By name; undefined until the devices were looked up. */
  devices: Map<string, RolloutDevice> | undefined
  written: string
  phase: string | undefined
  resolving: boolean
  /** Why its devices cannot be told. */
  problem: string | undefined
}

interface Release {
  readonly object: FirmwareRelease
  status: FirmwareReleaseStatus | undefined
}
const WRITE_EVERY_MS = 1000
const SWEEP_MS = 5000
const DEFAULT_DEADLINE = '1h'

/**
 * Carries rollouts out. Everything it decides from stands in the status, which is written before a device is told to
 * begin, so that a restart goes on where it was.
 */
export class FirmwareController {
  readonly #options: FirmwareOptions
  readonly #releases = new Map<string, Release>()
  readonly #rollouts = new Map<string, Rollout>()
  readonly #writer: Coalescer
  #timer: Timer | undefined

  constructor(options: FirmwareOptions) {
    this.#options = options
    const { clock, signal, random, onTrouble } = options
    this.#writer = new Coalescer({
      ...{ clock, signal, intervalMs: WRITE_EVERY_MS, parallel: 2 },
      write: (key) => this.#write(key),
      onRefused: (key, error) => onTrouble(`firmware rollout ${key}`, error),
      ...(random === undefined ? {} : { random }),
    })
    options.images.onArrival = (sha256) => {
      for (const [key, { object }] of this.#releases)
        if (object.spec.images.some((image) => image.sha256 === sha256)) void this.#check(key)
    }
    signal.addEventListener('abort', () => this.#timer?.cancel(), { once: true })
    this.#armSweep()
  }

  release(object: FirmwareRelease): void {
    const key = keyOf(object)
    const before = this.#releases.get(key)
    if (before !== undefined && before.object.metadata.uid === object.metadata.uid) return
    this.#releases.set(key, { object, status: undefined })
    void this.#check(key)
  }

  /** Puts up again what was under way when the process before this one ended. */
  settled(): void {
    for (const rollout of this.#rollouts.values()) {
      const release = this.#releaseOf(rollout)
      if (release === undefined) continue
      for (const device of rollout.devices?.values() ?? []) this.#order(rollout, release, device)
    }
  }

  releaseRemoved(key: string): void {
    this.#releases.delete(key)
    this.#lookAll()
  }

  rollout(object: FirmwareRollout): void {
    const key = keyOf(object)
    const held = this.#rollouts.get(key)
    if (held !== undefined && held.object.metadata.uid === object.metadata.uid) {
      held.object = object
      this.#retry(held)
      this.#look(key)
      return
    }
    if (held !== undefined) this.rolloutRemoved(key)
    const { devices, phase } = object.status ?? {}
    this.#rollouts.set(key, {
      object,
      devices: devices === undefined ? undefined : new Map(devices.map((device) => [device.name, device])),
      written: '',
      phase,
      resolving: false,
      problem: undefined,
    })
    this.#retry(this.#rollouts.get(key)!)
    this.#look(key)
  }

  rolloutRemoved(key: string): void {
    const rollout = this.#rollouts.get(key)
    this.#rollouts.delete(key)
    this.#writer.forget(key)
    for (const name of rollout?.devices?.keys() ?? []) this.#withdraw(rollout!, name)
    this.#lookAll()
  }

  /** What a gateway says of its updates. */
  told(gateway: string, items: readonly FirmwareStatusItem[]): void {
    const { find, onNeeds, orders } = this.#options
    for (const item of items) {
      const { key, uid, attempt, needs } = item
      const served = find(key)
      if (served?.uid !== uid || served.gateway !== gateway) continue
      const order = orders.get(key)
      const image = order?.attempt === attempt ? order.images.find(({ sha256 }) => sha256 === needs?.sha256) : undefined
      if (needs !== undefined && image !== undefined && needs.fromByte <= image.sizeBytes)
        onNeeds(gateway, { ...needs, sizeBytes: image.sizeBytes })
      for (const [rolloutKey, rollout] of this.#rollouts) {
        const name = key.slice(key.indexOf('/') + 1)
        if (attempt !== this.#attempt(rollout, name) || namespaceOf(rollout) !== key.slice(0, key.indexOf('/')))
          continue
        this.#take(rolloutKey, rollout, name, gateway, item)
      }
    }
  }

  #take(key: string, rollout: Rollout, name: string, gateway: string, item: FirmwareStatusItem): void {
    const before = rollout.devices?.get(name)
    if (before === undefined || isDeviceEnd(before.state)) return
    // Called off, but its gateway could not be reached and went through with it: what is, counts.
    if (before.state === 'pending' && !isUpdateEnd(item.state)) return
    const device = deviceAfter(before, item, gateway)
    rollout.devices?.set(name, device)
    if (isDeviceEnd(device.state)) {
      const { state, message, running } = device
      const type = state === 'confirmed' || state === 'reverted' ? 'Normal' : 'Warning'
      this.#note(rollout, type, deviceReason(state), `${name}: ${message ?? running ?? state}`)
      this.#writer.hurry(key)
    }
    this.#look(key)
  }

  #lookAll(): void {
    for (const key of this.#rollouts.keys()) this.#look(key)
  }

  /** Decides anew; what is to begin begins when the status says so in the API. */
  #look(key: string): void {
    const rollout = this.#rollouts.get(key)
    if (rollout === undefined) return
    if (rollout.devices === undefined) void this.#resolve(key, rollout)
    else this.#writer.markDirty(key)
  }

  /** Devices by their labels, once. */
  async #resolve(key: string, rollout: Rollout): Promise<void> {
    const release = this.#releaseOf(rollout)
    const { spec } = rollout.object
    if (rollout.resolving) return
    if (release === undefined) {
      this.#writer.markDirty(key)
      return
    }
    rollout.resolving = true
    try {
      const labels = spec.selector?.matchLabels ?? {}
      const names =
        spec.devices ?? (await this.#options.objects.devices(namespaceOf(rollout), release.object.spec.model, labels))
      if (this.#rollouts.get(key) !== rollout) return
      if (names.length > MAX_ROLLOUT_DEVICES) {
        rollout.problem = `the selector finds ${names.length} devices, a rollout has at most ${MAX_ROLLOUT_DEVICES}: make several`
        this.#writer.markDirty(key)
        return
      }
      rollout.problem = undefined
      const stages = stagesOf(names, spec.canary ?? 1, spec.waves ?? DEFAULT_WAVES)
      rollout.devices = new Map(names.map((name) => [name, { name, state: 'pending', stage: stages.get(name) ?? 0 }]))
      this.#writer.hurry(key)
    } catch (thrown) {
      this.#options.onTrouble(`firmware rollout ${key}`, toSluiceError(thrown))
    } finally {
      rollout.resolving = false
    }
  }

  #retry(rollout: Rollout): void {
    for (const device of rollout.devices?.values() ?? [])
      rollout.devices?.set(device.name, retried(device, rollout.object.spec.retry ?? 0))
  }

  #releaseOf({ object }: Rollout): Release | undefined {
    return this.#releases.get(objectKey(object.metadata.namespace ?? 'default', object.spec.release))
  }

  async #check(key: string): Promise<void> {
    const release = this.#releases.get(key)
    const { objects, images, onTrouble } = this.#options
    if (release === undefined) return
    try {
      release.status = await checkRelease(release.object.spec, images)
      await objects.releaseStatus(release.object, release.status)
    } catch (thrown) {
      onTrouble(`firmware release ${key}`, toSluiceError(thrown))
    }
    this.#lookAll()
  }

  /** Writes what is, then begins what is to begin: the status in the API is never behind what a board is told. */
  async #write(key: string): Promise<boolean> {
    const rollout = this.#rollouts.get(key)
    if (rollout === undefined) return false
    const release = this.#releaseOf(rollout)
    const { spec } = rollout.object
    const devices = [...(rollout.devices?.values() ?? [])]
    const ready = release?.status?.state === 'Ready' && rollout.devices !== undefined
    const plan = planRollout({
      ...{ devices, ready, paused: spec.paused === true, rollBack: spec.rollBack === true },
      ...{ maxFailures: spec.maxFailures ?? 0, onFailure: spec.onFailure ?? 'rollBack' },
    })
    const lacks = release === undefined ? `there is no release ${spec.release}` : releaseWhy(release)
    const stuck = release === undefined && plan.phase === 'RollingBack'
    const waiting = stuck || rollout.devices === undefined || plan.phase === 'Waiting'
    const { phase, message, stage }: PlanAnswer = waiting
      ? { ...plan, phase: 'Waiting', message: rollout.problem ?? lacks }
      : plan
    const before = new Map(rollout.devices)
    if (!waiting) {
      for (const name of plan.begin) this.#begin(rollout, name)
      for (const name of plan.goBack) this.#goBack(rollout, name)
      for (const name of plan.callOff) this.#callOff(rollout, name)
    }
    const status = statusOf(rollout.object, rollout.devices && [...rollout.devices.values()], { phase, message, stage })
    const text = JSON.stringify(status)
    const news = text !== rollout.written
    if (news) {
      try {
        await this.#options.objects.rolloutStatus(rollout.object.metadata, status)
      } catch (error) {
        // Nobody was told of it: it is decided anew, from what is wanted then.
        for (const name of [...plan.begin, ...plan.goBack, ...plan.callOff])
          if (before.has(name)) rollout.devices?.set(name, before.get(name)!)
        throw error
      }
      rollout.written = text
    }
    if (this.#rollouts.get(key) !== rollout) return news
    if (phase !== rollout.phase) {
      rollout.phase = phase
      const type = phase === 'Halted' || phase === 'RollingBack' ? 'Warning' : 'Normal'
      this.#note(rollout, type, `Rollout${phase}`, message === '' ? phase : message)
    }
    if (release !== undefined)
      for (const device of rollout.devices?.values() ?? []) this.#order(rollout, release, device)
    return news
  }

  #begin(rollout: Rollout, name: string): void {
    const device = rollout.devices?.get(name)
    if (device === undefined) return
    const { stage } = device
    const served = this.#options.find(objectKey(namespaceOf(rollout), name))
    if (served === undefined) {
      rollout.devices?.set(name, { name, state: 'gone', stage, message: 'there is no such device' })
      return
    }
    if (this.#busyElsewhere(rollout, name)) return
    const retry = rollout.object.spec.retry ?? 0
    const startedAt = new Date(this.#options.clock.now()).toISOString()
    rollout.devices?.set(name, {
      ...{ name, stage, startedAt, retry, state: 'waiting' },
      ...(served.gateway === undefined ? { message: 'no gateway serves the device' } : { gateway: served.gateway }),
    })
  }

  /** Whatever it is at: the gateway asks the board what it runs. */
  #goBack(rollout: Rollout, name: string): void {
    const device = rollout.devices?.get(name)
    if (device === undefined || this.#busyElsewhere(rollout, name)) return
    rollout.devices?.set(name, goingBack(device, new Date(this.#options.clock.now()).toISOString()))
  }

  /** One update of a device at a time, whoever ordered it; not only by orders, which come after the status is written. */
  #busyElsewhere(rollout: Rollout, name: string): boolean {
    const busy = [...this.#rollouts.values()].some(
      (other) =>
        other !== rollout && namespaceOf(other) === namespaceOf(rollout) && isUnderWay(other.devices?.get(name)),
    )
    const device = rollout.devices?.get(name)
    if (busy && device !== undefined)
      rollout.devices?.set(name, { ...device, message: 'another rollout is updating the device' })
    return busy
  }

  #callOff(rollout: Rollout, name: string): void {
    const device = rollout.devices?.get(name)
    if (device !== undefined) rollout.devices?.set(name, calledOff(device))
  }

  /** Puts up or takes back the order of a device, as its state says. */
  #order(rollout: Rollout, { object }: Release, device: RolloutDevice): void {
    const { state, name } = device
    const order = orderOf(this.#attempt(rollout, name), state === 'reverting', object.spec, rollout.object.spec)
    if (isUnderWay(device)) this.#options.orders.set(objectKey(namespaceOf(rollout), name), order)
    else this.#withdraw(rollout, name)
  }

  #withdraw(rollout: Rollout, name: string): void {
    const { orders } = this.#options
    const key = objectKey(namespaceOf(rollout), name)
    if (orders.get(key)?.attempt === this.#attempt(rollout, name)) orders.delete(key)
  }

  #attempt({ object, devices }: Rollout, name: string): string {
    const { retry = 0, state } = devices?.get(name) ?? {}
    const back = state === 'reverting' || state === 'reverted' || state === 'kept' ? '/back' : ''
    return `${object.metadata.uid ?? object.metadata.name}/${retry}${back}`
  }

  #armSweep(): void {
    const { clock, signal } = this.#options
    if (signal.aborted) return
    this.#timer = clock.after(
      SWEEP_MS,
      () => {
        this.#sweep(clock.now())
        this.#armSweep()
      },
      true,
    )
  }

  /** Ends updates that take too long. */
  #sweep(nowMs: number): void {
    for (const [key, rollout] of this.#rollouts) {
      const deadline = rollout.object.spec.deadline ?? DEFAULT_DEADLINE
      for (const [name, device] of rollout.devices ?? []) {
        if (!isUnderWay(device) || device.startedAt === undefined) continue
        if (this.#options.find(objectKey(namespaceOf(rollout), name)) === undefined) {
          rollout.devices?.set(name, { ...device, state: 'gone', message: 'the device was deleted meanwhile' })
          continue
        }
        if (nowMs - Date.parse(device.startedAt) <= durationMs(deadline)) continue
        const late = overdue(device, deadline)
        rollout.devices?.set(name, late)
        this.#note(rollout, 'Warning', deviceReason(late.state), `${name}: ${late.message}`)
      }
      this.#look(key)
    }
  }

  #note({ object }: Rollout, type: 'Normal' | 'Warning', reason: string, message: string): void {
    const { name, namespace = 'default', uid } = object.metadata
    const subject = { apiVersion: API_VERSION, kind: 'FirmwareRollout', namespace, name }
    this.#options.record({ subject: { ...subject, ...(uid === undefined ? {} : { uid }) }, type, reason, message })
  }
}

const keyOf = ({ metadata: { name, namespace = 'default' } }: FirmwareRelease | FirmwareRollout): string =>
  objectKey(namespace, name)
const namespaceOf = ({ object }: Rollout): string => object.metadata.namespace ?? 'default'
const releaseWhy = ({ object, status }: Release): string =>
  `release ${object.metadata.name} is ${status?.state ?? 'being checked'}: ${status?.message ?? ''}`
