import type { Clock } from '../../api/clock.ts'
import type { GatewaySpec } from '../../api/resources.ts'
import type { NodeCondition } from '../../api/schema/node-conditions.ts'
import type { PodStage, PolicyStatus } from '../../api/schema/policy.ts'
import type { HostEvent } from '../../mappers/sdk/mapper.ts'
import type { AgentCore } from '../core.ts'
import type { StretchOf } from '../twin/stretching.ts'
import { type Alert, Alerts } from './alerts.ts'
import type { PolicyFacts } from './conditions.ts'
import { pausesPod } from './pod-pause.ts'
import { NORMAL, type StageChange, StageMachine } from './stage-machine.ts'
import { stretchOf } from './stretch.ts'

export interface PolicyKeeperOptions {
  readonly core: Pick<
    AgentCore,
    | 'stretch'
    | 'engine'
    | 'notices'
    | 'onGatewaySpec'
    | 'gatewaySpec'
    | 'admitPods'
    | 'podStage'
    | 'pausePods'
    | 'podPause'
    | 'objects'
  >
  readonly clock: Clock
  /** Something that `Gateway.status` shows has changed. */
  readonly onChange: () => void
}

/**
 * Watches a gateway's facts, applies the stage of its policy that they call for, and says so. Without a policy only the
 * conditions are kept.
 */
export class PolicyKeeper implements Disposable {
  readonly #options: PolicyKeeperOptions
  readonly #alerts = new Alerts()
  readonly #unsubscribe: () => void
  #spec: GatewaySpec | undefined
  #machine: StageMachine
  #sinceMs: number

  constructor(options: PolicyKeeperOptions) {
    this.#options = options
    const { core, clock } = options
    this.#spec = core.gatewaySpec
    this.#machine = new StageMachine(this.#spec?.policy)
    this.#sinceMs = clock.now()
    this.#unsubscribe = core.onGatewaySpec((spec) => this.#configure(spec))
  }

  get alerts(): readonly Alert[] {
    return this.#alerts.list
  }

  /** Undefined for a gateway without a policy. */
  get status(): PolicyStatus | undefined {
    if (this.#spec?.policy === undefined) return undefined
    let stretched = 0
    let paused = 0
    for (const { stretch } of this.#options.core.engine.devices.values()) {
      if (stretch?.paused !== undefined) paused++
      else if (stretch !== undefined) stretched++
    }
    const { name, why } = this.#machine
    const pods = this.#options.core.podStage?.does
    return {
      stage: name,
      since: new Date(this.#sinceMs).toISOString(),
      ...(why === '' ? {} : { why }),
      stretched,
      paused,
      ...(pods === undefined ? {} : { pods }),
    }
  }

  /** Takes the facts of now. */
  take(facts: PolicyFacts, why: Partial<Record<NodeCondition, string>> = {}): void {
    const nowMs = this.#options.clock.monotonic()
    const turned = this.#alerts.take(facts, nowMs, why)
    for (const alert of turned) this.#notice(alertEvent(alert))
    const change = this.#machine.take(facts, nowMs)
    if (change !== undefined) this.#enter(change)
    if (turned.length > 0 || change !== undefined) this.#options.onChange()
  }

  [Symbol.dispose](): void {
    this.#unsubscribe()
  }

  #configure(spec: GatewaySpec | undefined): void {
    const before = this.#machine.name
    const edited = JSON.stringify(this.#spec?.policy) !== JSON.stringify(spec?.policy)
    this.#spec = spec
    if (edited) this.#machine = new StageMachine(spec?.policy, this.#machine)
    if (this.#machine.name !== before) {
      this.#enter({ from: before, to: this.#machine.name, why: 'the policy was changed' })
      this.#options.onChange()
    } else if (this.#machine.stage !== undefined) {
      this.#apply()
      if (edited) this.#options.onChange()
    }
  }

  #enter({ from, to, why }: StageChange): void {
    this.#sinceMs = this.#options.clock.now()
    this.#apply()
    const { stretched = 0, paused = 0 } = this.status ?? {}
    const does = this.#options.core.podStage?.does
    const still = this.#podsStandingStill()
    const pods = `${does === undefined ? '' : PODS_WORDS[does]}${still === 0 ? '' : `, ${still} pod(s) stand still`}`
    const effect =
      to === NORMAL ? 'every device as configured' : `${stretched} device(s) less often, ${paused} paused${pods}`
    this.#notice({
      about: 'gateway',
      type: to === NORMAL ? 'Normal' : 'Warning',
      reason: 'PolicyStage',
      message: `stage ${from} -> ${to} (${why}): ${effect}`,
    })
  }

  #apply(): void {
    const { stage } = this.#machine
    const spec = this.#spec
    const of: StretchOf = (key, device) => stretchOf(key, device, stage, spec)
    const { core } = this.#options
    core.stretch(stage === undefined ? undefined : of)
    const does = stage?.pods
    const { name, why } = this.#machine
    const inForce = `stage ${name}${why === '' ? '' : ` (${why})`}`
    core.admitPods(does === undefined ? undefined : { does, why: inForce })
    const pause = stage?.pause
    core.pausePods(pause === undefined || pause.length === 0 ? undefined : { importance: pause, why: inForce })
  }

  #podsStandingStill(): number {
    const { podPause, objects } = this.#options.core
    if (podPause === undefined) return 0
    const stage = { pause: [...podPause.importance] }
    return objects.podObjects().filter((one) => one.kind === 'Pod' && pausesPod(one.object, stage)).length
  }

  #notice(event: HostEvent): void {
    this.#options.core.notices.record(event)
  }
}

const PODS_WORDS: Readonly<Record<PodStage, string>> = {
  refuse: ', no pod begins',
  handBack: ', no pod begins and those that run are handed back',
}

const alertEvent = ({ type, status, reason, message }: Alert): HostEvent => ({
  about: 'gateway',
  type: status === 'True' ? 'Warning' : 'Normal',
  reason: status === 'True' ? type : reason,
  message: status === 'True' ? `${type}: ${message}` : `${type} is over`,
})
