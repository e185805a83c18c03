import type { DeviceModelSpec, DeviceSpec, GatewaySpec, ObjectKey } from '../../api/resources.ts'
import type { PolicyStage } from '../../api/schema/policy.ts'
import { durationMs } from '../../api/twin/duration.ts'
import type { CompiledReportPolicy } from '../../api/twin/report.ts'
import type { DeviceBinding } from '../../mappers/sdk/mapper.ts'
import { DEFAULT_POLL_MS } from '../../mappers/sdk/poll.ts'

/** What a stage means for one device. */
export interface Stretch {
  /** Factor of poll periods, at least 1. */
  readonly poll: number
  /** Factor of report periods, at least 1. */
  readonly report: number
  /** Why the device is left alone, when it is. */
  readonly paused: string | undefined
  /** No poll period becomes longer than this by stretching, milliseconds. */
  readonly maxPollMs: number
}

export const DEFAULT_MAX_POLL_MS = 3_600_000

/** What a stage does to a device. The devices that the gateway itself is measured by are never touched. */
export function stretchOf(
  key: ObjectKey,
  device: Pick<DeviceSpec, 'importance'>,
  stage: PolicyStage | undefined,
  spec: GatewaySpec | undefined,
): Stretch | undefined {
  const importance = device.importance ?? 'normal'
  if (stage === undefined || importance === 'critical') return undefined
  if (key === spec?.energy?.meter?.device || key === spec?.energy?.battery?.device) return undefined
  const paused = stage.pause?.includes(importance) === true
  const { poll = 1, report = 1 } = stage
  if (!paused && poll <= 1 && report <= 1) return undefined
  const maxPoll = spec?.policy?.maxPoll
  return {
    poll: Math.max(1, poll),
    report: Math.max(1, report),
    paused: paused ? `paused by stage ${stage.name} of the gateway's policy` : undefined,
    maxPollMs: maxPoll === undefined ? DEFAULT_MAX_POLL_MS : durationMs(maxPoll),
  }
}

/** A period under a stretch; one that is longer than the limit already stays as it is. */
export const stretchedMs = (everyMs: number, { poll, maxPollMs }: Pick<Stretch, 'poll' | 'maxPollMs'>): number =>
  Math.max(everyMs, Math.min(everyMs * poll, maxPollMs))

/** What says nothing of how often it reports is taken to report once a second. */
const DEFAULT_REPORT_MS = 1000

/** A report policy under a stretch: fewer reports, the same deadband. */
export function stretchedReports(policy: CompiledReportPolicy, stretch: Stretch | undefined): CompiledReportPolicy {
  if (stretch === undefined || stretch.report <= 1) return policy
  return {
    ...policy,
    heartbeatMs: policy.heartbeatMs * stretch.report,
    minIntervalMs: Math.max(policy.minIntervalMs, DEFAULT_REPORT_MS) * stretch.report,
  }
}

const models = new WeakMap<DeviceModelSpec, Map<string, DeviceModelSpec>>()

/** A model with every period of its own stretched; devices of one model go on sharing one object. */
function stretchedModel(model: DeviceModelSpec, stretch: Stretch): DeviceModelSpec {
  if (!model.properties.some(({ poll }) => poll?.every !== undefined)) return model
  const known = models.get(model) ?? new Map<string, DeviceModelSpec>()
  models.set(model, known)
  const id = `${stretch.poll}/${stretch.maxPollMs}`
  const before = known.get(id)
  if (before !== undefined) return before
  const properties = model.properties.map((property) => {
    const every = property.poll?.every
    if (every === undefined) return property
    return { ...property, poll: { ...property.poll, every: text(stretchedMs(durationMs(every), stretch)) } }
  })
  const made: DeviceModelSpec = { ...model, properties }
  known.set(id, made)
  return made
}

/**
 * A binding as a mapper gets it under a stretch: longer poll periods and another revision. Undefined for one that is
 * left alone; the binding itself where nothing changes, so that a mapper does not touch that device.
 */
export function stretchedBinding(binding: DeviceBinding, stretch: Stretch | undefined): DeviceBinding | undefined {
  if (stretch === undefined) return binding
  if (stretch.paused !== undefined) return undefined
  if (stretch.poll <= 1) return binding
  const { device, model } = binding
  const every = device.poll?.every
  const everyMs = stretchedMs(every === undefined ? DEFAULT_POLL_MS : durationMs(every), stretch)
  return {
    ...binding,
    device: { ...device, poll: { ...device.poll, every: text(everyMs) } },
    model: stretchedModel(model, stretch),
    revision: `${binding.revision}~${stretch.poll}/${stretch.maxPollMs}`,
  }
}

const text = (ms: number): string => `${Math.round(ms)}ms`
