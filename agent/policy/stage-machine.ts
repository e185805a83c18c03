import type { GatewayPolicy, PolicyStage } from '../../api/schema/policy.ts'
import { durationMs } from '../../api/twin/duration.ts'
import { type PolicyFacts, StageConditions, whenWords } from './conditions.ts'

export const DEFAULT_AFTER_MS = 30_000
export const DEFAULT_HOLD_MS = 300_000

/** Name of the stage in force when no stage is. */
export const NORMAL = 'normal'

interface Watched {
  readonly stage: PolicyStage
  readonly conditions: StageConditions
  readonly afterMs: number
  readonly holdMs: number
  /** Since when its conditions hold without a break. */
  sinceMs: number | undefined
  why: string
}

export interface StageChange {
  readonly from: string
  readonly to: string
  /** The condition that brought the stage, or what ended it. */
  readonly why: string
}

/**
 * Which stage of a policy is in force. The last stage whose conditions held for its `after` is; a more severe one
 * begins at once, a milder one only when the present one lasted for its `hold`. Times are monotonic milliseconds.
 */
export class StageMachine {
  readonly #watched: readonly Watched[]
  /** Index of the stage in force; -1 is normal. */
  #current = -1
  #enteredMs = Number.NEGATIVE_INFINITY
  #why = ''

  /** `before` goes on where a stage of the same name is still there, so that editing a policy does not restart it. */
  constructor(policy: GatewayPolicy | undefined, before?: StageMachine) {
    this.#watched = (policy?.stages ?? []).map((stage) => ({
      stage,
      conditions: new StageConditions(stage.when),
      afterMs: stage.after === undefined ? DEFAULT_AFTER_MS : durationMs(stage.after),
      holdMs: stage.hold === undefined ? DEFAULT_HOLD_MS : durationMs(stage.hold),
      sinceMs: undefined,
      why: '',
    }))
    if (before?.stage === undefined) return
    this.#current = this.#watched.findIndex(({ stage }) => stage.name === before.name)
    this.#enteredMs = this.#current < 0 ? Number.NEGATIVE_INFINITY : before.#enteredMs
    this.#why = before.why
  }

  get stage(): PolicyStage | undefined {
    return this.#watched[this.#current]?.stage
  }

  get name(): string {
    return this.stage?.name ?? NORMAL
  }

  get why(): string {
    return this.#current < 0 ? '' : this.#why
  }

  /** Takes the facts of now; tells when another stage is in force. */
  take(facts: PolicyFacts, nowMs: number): StageChange | undefined {
    let target = -1
    for (const [index, watched] of this.#watched.entries()) {
      const met = watched.conditions.take(facts, nowMs)
      if (met === undefined) {
        watched.sinceMs = undefined
        continue
      }
      watched.sinceMs ??= nowMs
      watched.why = whenWords(met)
      // The stage in force needs no proof again after its policy was edited.
      if (nowMs - watched.sinceMs >= watched.afterMs || index === this.#current) target = index
    }
    if (target === this.#current) return undefined
    const present = this.#watched[this.#current]
    if (present !== undefined && target < this.#current && nowMs - this.#enteredMs < present.holdMs) return undefined
    const from = this.name
    const ended = present === undefined ? '' : `no longer: ${this.#why}`
    this.#current = target
    this.#enteredMs = nowMs
    this.#why = this.#watched[target]?.why ?? ''
    return { from, to: this.name, why: this.#why === '' ? ended : this.#why }
  }
}
