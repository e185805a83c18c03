import type { Clock, Timer } from '../../api/clock.ts'
import type { Json, ModelProperty } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import { compareDesired, type Desired, isRemoved, type WriteEnd } from '../../api/twin/twin.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import type { WriteCommand, WriteOutcome } from '../../mappers/sdk/mapper.ts'
import type { DeviceState, PropertyState } from './device-state.ts'

export type CheckValue = (property: ModelProperty, value: Json) => Finding | undefined
export type WriteToDevice = (command: WriteCommand, signal: AbortSignal) => Promise<WriteOutcome>

/** One desired value on its way to the device. */
export interface WriteJob {
  readonly property: PropertyState
  readonly desired: Desired
  /** Later versions of the same value that this write also settles. */
  readonly also: Desired[]
  readonly controller: AbortController
  readonly deadlineMs: number
  readonly acceptedAtMs: number
  timer: Timer | undefined
  inFlight: boolean
  /** Of what is in flight. */
  outcome: Promise<WriteOutcome> | undefined
}

export interface WritesOptions {
  readonly clock: Clock
  readonly checkValue: CheckValue
  readonly write: WriteToDevice
  /** Called exactly once for every version. */
  /** Whether the hub's word that this gateway serves roaming devices still holds. Default: always. */
  readonly mayWriteRoaming?: () => boolean
  /** Whether what the cloud wants may begin: not at a tethered gateway without a lease. Default: always. */
  readonly mayBegin?: () => boolean
  readonly onEnd: (device: DeviceState, property: PropertyState, end: WriteEnd, acceptedAtMs: number) => void
}

const DEFAULT_DEADLINE_MS = 30_000
/** A mapper has to answer by itself soon after the deadline; this is for one that does not. */
const MAPPER_GRACE_MS = 2000
/** Of a write that nobody leads. */
const NO_LEASE = 'the gateway is tethered and had no lease before the deadline: nothing was written'
/** What is on the wire has so long to come to an end when it is taken back. */
const WITHDRAW_MS = 1000

/**
 * Brings desired values to devices: one write at a time a device, in the order the versions came. A newer version of a
 * property replaces one that has not ended. Every version that is accepted ends exactly once.
 */
export class Writes {
  readonly #options: WritesOptions

  constructor(options: WritesOptions) {
    this.#options = options
  }

  /** Queues a version; `remainingMs` is what is left of its deadline after a restart. Call `pump` when it is stored. */
  accept(
    device: DeviceState,
    property: PropertyState,
    desired: Desired,
    sameAsLocal: boolean,
    remainingMs?: number,
  ): void {
    const before = device.jobs.find((job) => job.property === property && !job.controller.signal.aborted)
    if (before !== undefined && sameAsLocal) {
      before.also.push(desired)
      return
    }
    if (before !== undefined) {
      this.#cancel(device, before, `version ${desired.version} replaced it before it was written`)
    }
    const { clock } = this.#options
    const leftMs = remainingMs ?? deadlineOf(property)
    const job: WriteJob = {
      property,
      desired,
      also: [],
      controller: new AbortController(),
      deadlineMs: clock.monotonic() + leftMs,
      acceptedAtMs: clock.monotonic(),
      timer: undefined,
      inFlight: false,
      outcome: undefined,
    }
    job.timer = clock.after(leftMs, () => this.#expire(device, job))
    device.jobs.push(job)
  }

  /** Ends what is on its way for a property whose desired value was removed up to `version`. */
  removed(device: DeviceState, property: PropertyState, version: number): void {
    for (const job of device.jobs.filter((job) => job.property === property && isRemoved(job.desired, version))) {
      this.#cancel(device, job, 'the desired value was removed')
    }
  }

  /** Starts the next write of a device unless one is running or the device cannot be served. */
  pump(device: DeviceState): void {
    for (;;) {
      const job = device.jobs[0]
      if (job === undefined || job.inFlight) return
      const refusal = this.#refusal(device, job)
      if (refusal === 'wait') return
      if (refusal === undefined) {
        this.#start(device, job)
        return
      }
      this.#end(device, job, 'rejected', refusal)
    }
  }

  /** Gives up everything of a device that is gone; nothing ends, because its twin is gone too. */
  discard(device: DeviceState): void {
    for (const job of device.jobs.splice(0)) {
      job.timer?.cancel()
      job.controller.abort(new Error('the device was deleted'))
    }
  }

  /**
   * Takes everything back that has not ended, because another gateway may write now. Nothing ends by that, unless what
   * was on the wire turns out to be written. Resolves when the wire is quiet.
   */
  async withdraw(device: DeviceState): Promise<void> {
    const running: Promise<unknown>[] = []
    for (const job of device.jobs.splice(0)) {
      job.timer?.cancel()
      job.controller.abort(new Error('another gateway takes over the device'))
      if (job.outcome === undefined) continue
      running.push(
        job.outcome.then(({ state, atMs }) => {
          if (state !== 'applied') return
          for (const desired of [job.desired, ...job.also]) {
            const end = endOf(desired, state, atMs)
            this.#options.onEnd(device, job.property, end, job.acceptedAtMs)
          }
        }),
      )
    }
    if (running.length === 0) return
    await Promise.race([
      Promise.allSettled(running),
      new Promise<void>((resolve) => void this.#options.clock.after(WITHDRAW_MS, resolve)),
    ])
  }

  /** Queues what is desired and has no end, as after a start. */
  readmit(device: DeviceState): void {
    for (const property of device.properties.values()) {
      const { desired } = property.twin
      if (desired === undefined || !isPending(property)) continue
      if (device.jobs.some((job) => job.property === property)) continue
      const passedMs = Math.max(0, this.#options.clock.now() - property.acceptedAtMs)
      this.accept(device, property, desired, false, Math.max(1, deadlineOf(property) - passedMs))
    }
  }

  /** What somebody at the gateway set, who may, is not the supernode's order. */
  #isHeld({ desired }: WriteJob): boolean {
    return desired.local === undefined && this.#options.mayBegin?.() === false
  }

  #mayWrite(device: DeviceState): boolean {
    if (device.standby || device.releasing || this.#options.clock.monotonic() < device.writeFromMs) return false
    return !device.roams || (this.#options.mayWriteRoaming?.() ?? true)
  }

  #refusal(device: DeviceState, job: WriteJob): string | 'wait' | undefined {
    const { property, desired } = job
    if (device.model === undefined || device.problem !== undefined || !this.#mayWrite(device)) return 'wait'
    if (this.#isHeld(job)) return 'wait'
    if (device.spec.paused === true) return 'the device is paused'
    if (device.stretch?.paused !== undefined) return `the device is ${device.stretch.paused}`
    const { definition } = property
    if (definition === undefined) return `the model has no property '${property.name}'`
    if ((definition.access ?? 'read') === 'read') return 'the property cannot be written'
    return this.#options.checkValue(definition, desired.value)?.message
  }

  #start(device: DeviceState, job: WriteJob): void {
    job.inFlight = true
    const { clock, write } = this.#options
    const command: WriteCommand = {
      device: device.key,
      property: job.property.name,
      value: job.desired.value,
      version: job.desired.version,
      deadlineMs: job.deadlineMs,
    }
    const guardMs = Math.max(0, job.deadlineMs - clock.monotonic()) + MAPPER_GRACE_MS
    job.timer?.cancel()
    job.timer = clock.after(guardMs, () => {
      job.controller.abort(new Error('the deadline passed'))
      this.#end(device, job, 'timedOut', 'the device did not answer before the deadline')
      this.pump(device)
    })
    const settle = (outcome: WriteOutcome) => {
      if (!device.jobs.includes(job)) return
      this.#end(device, job, outcome.state, outcome.state === 'applied' ? undefined : outcome.reason, outcome.atMs)
      this.pump(device)
    }
    job.outcome = write(command, job.controller.signal).catch(
      (error: unknown): WriteOutcome => ({
        ...{ state: 'rejected', code: 'SLUICE_INTERNAL', reason: messageOf(error), atMs: clock.now() },
      }),
    )
    void job.outcome.then(settle)
  }

  /** What is on the wire ends as the mapper says; what still waits ends here. */
  #cancel(device: DeviceState, job: WriteJob, reason: string): void {
    job.controller.abort(new Error(reason))
    if (!job.inFlight) this.#end(device, job, 'rejected', reason)
  }

  #expire(device: DeviceState, job: WriteJob): void {
    if (job.inFlight || !device.jobs.includes(job)) return
    const held = this.#isHeld(job) ? NO_LEASE : undefined
    const reason =
      held ?? device.problem ?? (device.model === undefined ? 'the device has no model' : device.reach?.reason)
    this.#end(device, job, 'timedOut', reason ?? 'the deadline passed before the device could be reached')
  }

  #end(device: DeviceState, job: WriteJob, state: WriteEnd['state'], reason: string | undefined, atMs?: number): void {
    job.timer?.cancel()
    const index = device.jobs.indexOf(job)
    if (index < 0) return
    device.jobs.splice(index, 1)
    for (const desired of [job.desired, ...job.also]) {
      const end = endOf(desired, state, atMs ?? this.#options.clock.now(), reason)
      this.#options.onEnd(device, job.property, end, job.acceptedAtMs)
    }
  }
}

export function endOf(desired: Desired, state: WriteEnd['state'], atMs: number, reason?: string): WriteEnd {
  return {
    version: desired.version,
    ...(desired.local === undefined ? {} : { local: desired.local }),
    state,
    atMs,
    ...(reason === undefined ? {} : { reason }),
  }
}

/** Whether the twin's desired value has no end yet. */
export function isPending({ twin }: PropertyState): boolean {
  return twin.desired !== undefined && (twin.write === undefined || compareDesired(twin.write, twin.desired) !== 0)
}

export function deadlineOf(property: PropertyState): number {
  const text = property.definition?.write?.deadline
  return text === undefined ? DEFAULT_DEADLINE_MS : durationMs(text)
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
