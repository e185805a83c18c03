import type { Clock, Timer } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import { type FirmwareStatusItem, isUpdateEnd } from '../../api/link/firmware.ts'
import {
  API_VERSION,
  type FirmwareRelease,
  type FirmwareReleaseStatus,
  type FirmwareRollout,
  type FirmwareRolloutStatus,
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
import { DEFAULT_WAVES, planRollout, stagesOf } from './plan.ts'

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
}

interface Release {
  readonly object: FirmwareRelease
  status: FirmwareReleaseStatus | undefined
}
const WRITE_EVERY_MS = 1000
const SWEEP_MS = 5000
const DEFAULT_POLLS = 5
const DEFAULT_TIMEOUT = '2m'
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
    })
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
      const order = orders.get(key)
      if (order?.attempt !== attempt || served?.uid !== uid || served.gateway !== gateway) continue
      const image = order.images.find(({ sha256 }) => sha256 === needs?.sha256)
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
    const device = rollout.devices?.get(name)
    if (device === undefined || device.state === 'pending' || isEnd(device)) return
    const { state, percent, running, message } = item
    const { stage, startedAt, retry } = device
    rollout.devices?.set(name, {
      ...{ name, state, stage, gateway },
      ...(startedAt === undefined ? {} : { startedAt }),
      ...(retry === undefined ? {} : { retry }),
      ...(percent === undefined ? {} : { percent: Math.floor(percent) }),
      ...(running === undefined ? {} : { running }),
      ...(message === undefined ? {} : { message }),
    })
    if (isUpdateEnd(state)) {
      this.#note(
        rollout,
        state === 'confirmed' ? 'Normal' : 'Warning',
        deviceReason(state),
        `${name}: ${message ?? running ?? state}`,
      )
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
      const some = names.slice(0, MAX_ROLLOUT_DEVICES)
      const stages = stagesOf(some, spec.canary ?? 1, spec.waves ?? DEFAULT_WAVES)
      rollout.devices = new Map(some.map((name) => [name, { name, state: 'pending', stage: stages.get(name) ?? 0 }]))
      this.#writer.hurry(key)
    } catch (thrown) {
      this.#options.onTrouble(`firmware rollout ${key}`, toSluiceError(thrown))
    } finally {
      rollout.resolving = false
    }
  }

  /** spec.retry was raised: what failed before is pending again. */
  #retry(rollout: Rollout): void {
    const retry = rollout.object.spec.retry ?? 0
    for (const [name, device] of rollout.devices ?? []) {
      const again = device.state === 'failed' || device.state === 'rolledBack'
      if (!again || retry <= (device.retry ?? 0)) continue
      rollout.devices?.set(name, { name, state: 'pending', stage: device.stage, retry })
    }
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
    const plan = planRollout({
      devices,
      paused: spec.paused === true,
      ready: release?.status?.state === 'Ready' && rollout.devices !== undefined,
      maxFailures: spec.maxFailures ?? 0,
    })
    const waiting = rollout.devices === undefined || (plan.phase === 'Waiting' && release?.status?.state !== 'Ready')
    const phase = waiting ? 'Waiting' : plan.phase
    const why = waiting
      ? release === undefined
        ? `there is no release ${spec.release}`
        : releaseWhy(release)
      : plan.message
    if (!waiting && release !== undefined) for (const name of plan.begin) this.#begin(rollout, name)
    const status = statusOf(rollout, phase, why, plan.stage)
    const text = JSON.stringify(status)
    const news = text !== rollout.written
    if (news) {
      await this.#options.objects.rolloutStatus(rollout.object.metadata, status)
      rollout.written = text
    }
    if (this.#rollouts.get(key) !== rollout) return news
    if (phase !== rollout.phase) {
      rollout.phase = phase
      this.#note(rollout, phase === 'Halted' ? 'Warning' : 'Normal', `Rollout${phase}`, why === '' ? phase : why)
    }
    if (release !== undefined)
      for (const device of rollout.devices?.values() ?? []) this.#order(rollout, release, device)
    return news
  }

  #begin(rollout: Rollout, name: string): void {
    const device = rollout.devices?.get(name)
    const key = objectKey(namespaceOf(rollout), name)
    const other = this.#options.orders.get(key)
    if (device === undefined) return
    const { stage } = device
    const served = this.#options.find(key)
    if (served === undefined) {
      rollout.devices?.set(name, { name, state: 'gone', stage, message: 'there is no such device' })
      return
    }
    // One update of a device at a time, whoever ordered it.
    if (other !== undefined && other.attempt !== this.#attempt(rollout, name)) {
      rollout.devices?.set(name, { ...device, message: 'another rollout is updating the device' })
      return
    }
    const retry = rollout.object.spec.retry ?? 0
    const startedAt = new Date(this.#options.clock.now()).toISOString()
    rollout.devices?.set(name, {
      ...{ name, stage, startedAt, retry, state: 'waiting' },
      ...(served.gateway === undefined ? { message: 'no gateway serves the device' } : { gateway: served.gateway }),
    })
  }

  /** Puts up or takes back the order of a device, as its state says. */
  #order(rollout: Rollout, { object }: Release, device: RolloutDevice): void {
    if (device.state === 'pending' || isEnd(device)) {
      this.#withdraw(rollout, device.name)
      return
    }
    const { orders } = this.#options
    const { health, allowDevelopmentKey } = rollout.object.spec
    const { board, modelHash, version, securityCounter, publicKey, images } = object.spec
    orders.set(objectKey(namespaceOf(rollout), device.name), {
      attempt: this.#attempt(rollout, device.name),
      ...{ board, modelHash, version, securityCounter, publicKey },
      allowDevelopmentKey: allowDevelopmentKey === true,
      images: images.map(({ slotAddress, sha256, digest, sizeBytes }) => ({ slotAddress, sha256, digest, sizeBytes })),
      health: { polls: health?.polls ?? DEFAULT_POLLS, timeoutMs: durationMs(health?.timeout ?? DEFAULT_TIMEOUT) },
    })
  }

  #withdraw(rollout: Rollout, name: string): void {
    const { orders } = this.#options
    const key = objectKey(namespaceOf(rollout), name)
    if (orders.get(key)?.attempt === this.#attempt(rollout, name)) orders.delete(key)
  }

  #attempt({ object, devices }: Rollout, name: string): string {
    return `${object.metadata.uid ?? object.metadata.name}/${devices?.get(name)?.retry ?? 0}`
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
      const deadlineMs = durationMs(rollout.object.spec.deadline ?? DEFAULT_DEADLINE)
      for (const [name, device] of rollout.devices ?? []) {
        if (device.state === 'pending' || isEnd(device) || device.startedAt === undefined) continue
        if (nowMs - Date.parse(device.startedAt) <= deadlineMs) continue
        const message = `not done within ${rollout.object.spec.deadline ?? DEFAULT_DEADLINE}; last: ${device.message ?? device.state}`
        rollout.devices?.set(name, { ...device, state: 'failed', message: message.slice(0, 1024) })
        this.#note(rollout, 'Warning', 'DeviceUpdateFailed', `${name}: ${message}`)
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
const isEnd = ({ state }: RolloutDevice): boolean => state === 'gone' || (state !== 'pending' && isUpdateEnd(state))
const deviceReason = (state: string): string =>
  state === 'confirmed' ? 'DeviceUpdated' : state === 'rolledBack' ? 'DeviceRolledBack' : 'DeviceUpdateFailed'
const releaseWhy = ({ object, status }: Release): string =>
  `release ${object.metadata.name} is ${status?.state ?? 'being checked'}: ${status?.message ?? ''}`

function statusOf(
  rollout: Rollout,
  phase: FirmwareRolloutStatus['phase'] & string,
  message: string,
  stage: number,
): FirmwareRolloutStatus {
  const devices = [...(rollout.devices?.values() ?? [])]
  const count = (...states: readonly RolloutDevice['state'][]) =>
    devices.filter(({ state }) => states.includes(state)).length
  const stages = Math.max(0, ...devices.map((device) => device.stage))
  const failed = count('failed', 'rolledBack')
  const { generation } = rollout.object.metadata
  return {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    phase,
    message: message.slice(0, 1024),
    ...(rollout.devices === undefined ? {} : { devices, progress: `${count('confirmed')}/${devices.length}` }),
    stage: stage === 0 ? 'canary' : `wave ${stage} of ${stages}`,
    updating: devices.filter((device) => device.state !== 'pending' && !isEnd(device)).length,
    failed,
  }
}
