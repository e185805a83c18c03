import type { LinkPod } from '../../api/link/pods.ts'
import type { DeviceModelSpec, DeviceSpec, GatewaySpec, ObjectKey } from '../../api/resources.ts'
import type { PolicyStage } from '../../api/schema/policy.ts'
import { durationMs } from '../../api/twin/duration.ts'
import { compileReportPolicy } from '../../api/twin/report.ts'
import { pollEveryMs } from '../../mappers/sdk/poll.ts'
import { type PolicyFacts, StageConditions, whenWords } from './conditions.ts'
import { type PodImportance, pausesPod, podImportance } from './pod-pause.ts'
import { DEFAULT_AFTER_MS, DEFAULT_HOLD_MS, NORMAL } from './stage-machine.ts'
import { type Stretch, stretchedMs, stretchedReports, stretchOf } from './stretch.ts'

/** A device as a policy sees it. */
export interface ExplainedDevice {
  readonly key: ObjectKey
  readonly spec: DeviceSpec
  /** Absent while the model is not known; then nothing of it is read. */
  readonly model: DeviceModelSpec | undefined
  /** Whether a property's values come by themselves. Default: all are asked for. */
  readonly listens?: (property: DeviceModelSpec['properties'][number]) => boolean
}

/** What one device does in one stage. Periods in milliseconds, shortest and longest; absent where nothing is asked for. */
export interface StageEffect {
  readonly stage: string
  readonly paused: boolean
  readonly pollMs?: readonly [shortest: number, longest: number]
  /** A changing value is reported at most this often. */
  readonly reportMs: number
  /** Properties read a second. */
  readonly readsPerSecond: number
}

export interface DevicePlan {
  readonly device: ObjectKey
  readonly importance: 'critical' | 'normal' | 'deferrable'
  /** Why no stage touches it, where none does. */
  readonly untouched?: string
  /** `normal` first, then every stage. */
  readonly effects: readonly StageEffect[]
}

export interface StagePlan {
  readonly stage: string
  readonly when: readonly string[]
  readonly afterMs: number
  readonly holdMs: number
  /** Whether its conditions hold by the facts given, before any waiting. */
  readonly holds: boolean
  readonly stretched: number
  readonly paused: number
  readonly readsPerSecond: number
}

export interface PolicyExplanation {
  readonly facts: PolicyFacts
  /** The stage in force; from a file, the one the facts call for. */
  readonly stage: string
  readonly why?: string
  readonly since?: string
  readonly readsPerSecond: number
  readonly stages: readonly StagePlan[]
  readonly devices: readonly DevicePlan[]
  /** Devices beyond those listed. */
  readonly more: number
  /** Pods that say their importance; others are left alone by every stage. */
  readonly pods: readonly PodPlan[]
}

const MAX_LISTED = 1000

/** A pod as a policy sees it. */
export interface ExplainedPod {
  readonly key: ObjectKey
  readonly pod: Pick<LinkPod, 'metadata'>
}

/** A pod that says its importance, and the stages in which it stands still. */
export interface PodPlan {
  readonly pod: ObjectKey
  readonly importance: PodImportance
  readonly pausedIn: readonly string[]
}

/** What each stage of a policy would do to each device, and which of them the facts call for. Nothing is changed. */
export function explainPolicy(
  spec: GatewaySpec | undefined,
  devices: Iterable<ExplainedDevice>,
  facts: PolicyFacts,
  inForce?: { readonly stage: string; readonly why?: string; readonly since?: string },
  pods: Iterable<ExplainedPod> = [],
): PolicyExplanation {
  const stages = spec?.policy?.stages ?? []
  const sums = stages.map(() => ({ stretched: 0, paused: 0, readsPerSecond: 0 }))
  const plans: DevicePlan[] = []
  let readsPerSecond = 0
  let more = 0
  for (const device of devices) {
    const plan = planOf(device, stages, spec)
    readsPerSecond += plan.effects[0]!.readsPerSecond
    for (const [index, stage] of stages.entries()) {
      const effect = plan.effects[index + 1]!
      sums[index]!.readsPerSecond += effect.readsPerSecond
      if (effect.paused) sums[index]!.paused++
      else if (stretchOf(device.key, device.spec, stage, spec) !== undefined) sums[index]!.stretched++
    }
    if (plans.length < MAX_LISTED) plans.push(plan)
    else more++
  }
  const held = stages.map(({ when }) => new StageConditions(when).take(facts, 0))
  const called = held.findLastIndex((met) => met !== undefined)
  const calledWhy = called < 0 ? undefined : whenWords(held[called]!)
  return {
    facts,
    ...(inForce ?? { stage: stages[called]?.name ?? NORMAL, ...(calledWhy === undefined ? {} : { why: calledWhy }) }),
    readsPerSecond,
    stages: stages.map(({ name, when, after, hold }, index) => ({
      stage: name,
      when: when.map(whenWords),
      afterMs: after === undefined ? DEFAULT_AFTER_MS : durationMs(after),
      holdMs: hold === undefined ? DEFAULT_HOLD_MS : durationMs(hold),
      holds: held[index] !== undefined,
      ...sums[index]!,
    })),
    devices: plans,
    more,
    pods: podPlans(pods, stages),
  }
}

function podPlans(pods: Iterable<ExplainedPod>, stages: readonly PolicyStage[]): PodPlan[] {
  const plans: PodPlan[] = []
  for (const { key, pod } of pods) {
    const importance = podImportance(pod)
    if (importance === undefined || plans.length >= MAX_LISTED) continue
    plans.push({
      pod: key,
      importance,
      pausedIn: stages.filter((stage) => pausesPod(pod, stage)).map(({ name }) => name),
    })
  }
  return plans
}

function planOf(device: ExplainedDevice, stages: readonly PolicyStage[], spec: GatewaySpec | undefined): DevicePlan {
  const { key, spec: deviceSpec } = device
  const importance = deviceSpec.importance ?? 'normal'
  const measured = key === spec?.energy?.meter?.device || key === spec?.energy?.battery?.device
  const untouched =
    importance === 'critical' ? 'critical' : measured ? 'the gateway itself is measured by it' : undefined
  return {
    device: key,
    importance,
    ...(untouched === undefined ? {} : { untouched }),
    effects: [
      effectOf(device, NORMAL, undefined),
      ...stages.map((stage) => effectOf(device, stage.name, stretchOf(key, deviceSpec, stage, spec))),
    ],
  }
}

function effectOf({ spec, model, listens }: ExplainedDevice, stage: string, stretch: Stretch | undefined): StageEffect {
  const report = stretchedReports(compileReportPolicy(spec.report), stretch).minIntervalMs
  const paused = spec.paused === true || stretch?.paused !== undefined
  if (paused) return { stage, paused, reportMs: report, readsPerSecond: 0 }
  const asked = (model?.properties ?? []).filter(
    (property) => property.access !== 'write' && listens?.(property) !== true,
  )
  const periods = asked.map((property) => {
    const everyMs = pollEveryMs(property, spec)
    return stretch === undefined ? everyMs : stretchedMs(everyMs, stretch)
  })
  const readsPerSecond = periods.reduce((sum, everyMs) => sum + 1000 / everyMs, 0)
  if (periods.length === 0) return { stage, paused, reportMs: report, readsPerSecond }
  const bounds = periods.reduce<readonly [number, number]>(
    ([low, high], each) => [Math.min(low, each), Math.max(high, each)],
    [Number.POSITIVE_INFINITY, 0],
  )
  return { stage, paused, pollMs: bounds, reportMs: report, readsPerSecond }
}
