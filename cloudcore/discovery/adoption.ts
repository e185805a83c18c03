import type { Clock } from '../../api/clock.ts'
import { API_VERSION, type DiscoveredDeviceSpec, type DiscoveryPolicy } from '../../api/resources.ts'
import type { EventNote } from '../gateways/event-recorder.ts'
import { iso } from '../twins/render.ts'
import { byPolicy, decide, policyKey } from './policy.ts'

/** Devices that all policies together may make in a burst, and a minute: a crowd of invented devices is noticed first. */
const BURST = 20
const PER_MINUTE = 10

export interface AdoptionOptions {
  readonly clock: Clock
  readonly record: (note: EventNote) => void
  readonly writeStatus: (policy: DiscoveryPolicy, status: NonNullable<DiscoveryPolicy['status']>) => void
  /** How many discoveries `by` has approved, as `spec.approve.by` says it. */
  readonly approvedBy: (by: string) => number
}

/** The policies in force: which of them approves a discovery in place of a person. */
export class Adoption {
  readonly #options: AdoptionOptions
  readonly #policies = new Map<string, DiscoveryPolicy>()
  #tokens = BURST
  #filledMs: number

  constructor(options: AdoptionOptions) {
    this.#options = options
    this.#filledMs = options.clock.monotonic()
  }

  get size(): number {
    return this.#policies.size
  }

  /** @returns whether something may be decided otherwise now. */
  upsert(policy: DiscoveryPolicy): boolean {
    const key = policyKey(policy)
    const before = this.#policies.get(key)
    this.#policies.set(key, policy)
    return JSON.stringify(before?.spec) !== JSON.stringify(policy.spec)
  }

  removed(key: string): void {
    this.#policies.delete(key)
  }

  /** What the first policy by name wants `spec.approve` to be; undefined where none does, or too many came at once. */
  approval(spec: DiscoveredDeviceSpec): DiscoveredDeviceSpec['approve'] {
    for (const key of [...this.#policies.keys()].sort()) {
      const policy = this.#policies.get(key)!
      if (policy.spec.suspend === true || policy.metadata.deletionTimestamp !== undefined) continue
      const wanted = decide(policy, spec, 0)
      if (!wanted.adopts) continue
      if (!this.#mayTake()) return undefined
      const by = byPolicy(policy)
      const verdict = decide(policy, spec, this.#options.approvedBy(by))
      if (verdict.adopts) {
        this.#tokens--
        const { name, model, namespace } = verdict
        return { name, model, namespace, by }
      }
      this.#note(policy, 'Warning', 'PolicyFull', `no more devices are made: ${verdict.why}`)
    }
    return undefined
  }

  /** A device was made of what a policy had approved. */
  made(spec: DiscoveredDeviceSpec, device: string): void {
    const policy = [...this.#policies.values()].find((one) => byPolicy(one) === spec.approve?.by)
    if (policy === undefined) return
    const { clock, approvedBy, writeStatus } = this.#options
    const verdict = decide(policy, spec, 0)
    const what = `${spec.protocol} ${spec.id}, seen by ${spec.gateway}, became device ${device}`
    this.#note(policy, 'Normal', 'Adopted', `${what}: ${verdict.why}`.slice(0, 1000))
    const lastAdopted = iso(clock.now())
    writeStatus(policy, { adopted: approvedBy(byPolicy(policy)), lastDevice: device, lastAdopted })
  }

  #note(policy: DiscoveryPolicy, type: EventNote['type'], reason: string, message: string): void {
    const { name, namespace = 'default', uid } = policy.metadata
    const subject = { apiVersion: API_VERSION, kind: 'DiscoveryPolicy', namespace, name }
    this.#options.record({ subject: { ...subject, ...(uid === undefined ? {} : { uid }) }, type, reason, message })
  }

  #mayTake(): boolean {
    const nowMs = this.#options.clock.monotonic()
    this.#tokens = Math.min(BURST, this.#tokens + ((nowMs - this.#filledMs) * PER_MINUTE) / 60_000)
    this.#filledMs = nowMs
    return this.#tokens >= 1
  }
}
