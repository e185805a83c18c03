import { NODE_CONDITIONS, type NodeCondition } from '../../api/schema/node-conditions.ts'
import type { PolicyStage } from '../../api/schema/policy.ts'
import type { PolicyFacts } from './conditions.ts'
import { StageMachine } from './stage-machine.ts'

export interface Alert {
  readonly type: NodeCondition
  readonly status: 'True' | 'False'
  readonly reason: string
  readonly message: string
}

interface Rule {
  readonly stage: Omit<PolicyStage, 'name'>
  /** Whether anything is known that the condition speaks of: a gateway without a battery has no BatteryLow. */
  readonly known: (facts: PolicyFacts) => boolean
  readonly reasons: readonly [ifTrue: string, ifFalse: string]
}

/** Conditions begin and end as stages do: after a while, with a margin, and for at least a while. */
const RULES: Readonly<Record<NodeCondition, Rule>> = {
  BatteryLow: {
    stage: { when: [{ batteryBelow: 20 }], after: '10s', hold: '1m' },
    known: ({ batteryPercent }) => batteryPercent !== undefined,
    reasons: ['ChargeLow', 'ChargeSufficient'],
  },
  OnBattery: {
    stage: { when: [{ onBattery: true }], after: '3s', hold: '10s' },
    known: ({ onBattery }) => onBattery !== undefined,
    reasons: ['Discharging', 'MainsPower'],
  },
  LinkDegraded: {
    stage: { when: [{ linkBelow: 0.35 }, { lossAbove: 0.2 }, { roundTripAboveMs: 2000 }], after: '30s', hold: '2m' },
    known: ({ linkQuality }) => linkQuality !== undefined,
    reasons: ['LinkPoor', 'LinkGood'],
  },
  Throttled: {
    stage: { when: [{ throttled: true }], after: '2s', hold: '1m' },
    known: ({ throttled }) => throttled !== undefined,
    reasons: ['SlowedDown', 'FullSpeed'],
  },
}

/** What a scheduler and a person have to know of power, heat and link, as conditions that do not flap. */
export class Alerts {
  readonly #machines = new Map<NodeCondition, StageMachine>()
  #alerts: readonly Alert[] = []

  constructor() {
    for (const type of NODE_CONDITIONS)
      this.#machines.set(type, new StageMachine({ stages: [{ name: 'alert', ...RULES[type].stage }] }))
  }

  /** Those that were ever known, in a fixed order. */
  get list(): readonly Alert[] {
    return this.#alerts
  }

  /** Takes the facts of now; answers the conditions that turned. `why` adds what the facts do not carry. */
  take(facts: PolicyFacts, nowMs: number, why: Partial<Record<NodeCondition, string>> = {}): Alert[] {
    const before = new Map(this.#alerts.map((alert) => [alert.type, alert]))
    const turned: Alert[] = []
    const alerts: Alert[] = []
    for (const type of NODE_CONDITIONS) {
      const { known, reasons } = RULES[type]
      const machine = this.#machines.get(type)!
      machine.take(facts, nowMs)
      const old = before.get(type)
      if (old === undefined && !known(facts)) continue
      const on = machine.stage !== undefined
      const status = on ? 'True' : 'False'
      // The words of the moment it turned: figures in a condition that change each second are a patch each second.
      const message = on ? [machine.why, why[type]].filter((each) => each !== undefined && each !== '').join(': ') : ''
      const alert: Alert = old?.status === status ? old : { type, status, reason: reasons[on ? 0 : 1], message }
      alerts.push(alert)
      if (old?.status !== status && (on || old !== undefined)) turned.push(alert)
    }
    this.#alerts = alerts
    return turned
  }
}
