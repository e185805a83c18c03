import type { Clock } from '../api/clock.ts'
import type { GatewayStatus } from '../api/resources.ts'
import type { NodePressure } from '../api/schema/node-conditions.ts'
import type { AgentCore } from './core.ts'
import type { LinkStatus } from './link/status.ts'
import { deviceState } from './twin/views.ts'
import type { Vitals } from './vitals.ts'

/** Remembers since when each condition is as it is. */
export class Transitions {
  readonly #since = new Map<string, { readonly status: string; readonly at: string }>()

  since(type: string, status: string, nowMs: number): string {
    const before = this.#since.get(type)
    if (before?.status === status) return before.at
    const at = new Date(nowMs).toISOString()
    this.#since.set(type, { status, at })
    return at
  }
}

export interface HealthSources {
  readonly core: AgentCore
  readonly transitions: Transitions
  readonly clock: Clock
  readonly startedMonotonicMs: number
  readonly link: () => LinkStatus | undefined
  readonly vitals: Vitals | undefined
  /** What pods share and how much of it is left; absent where none run. */
  readonly pressures?: () => readonly { readonly type: NodePressure; readonly short: boolean; readonly words: string }[]
}

type Condition = NonNullable<GatewayStatus['conditions']>[number]

const MAX_CLOCK_OFFSET_MS = 60_000
/** Names of refused objects that fit a message a person reads. */
const MAX_NAMED = 5

/** What a person has to know about this gateway, as Kubernetes conditions. */
export function gatewayConditions({ core, clock, transitions, link, vitals, pressures }: HealthSources): Condition[] {
  const condition = (type: string, ok: boolean, reason: string, message: string): Condition => ({
    type,
    status: ok ? 'True' : 'False',
    reason,
    message,
    lastTransitionTime: transitions.since(type, ok ? 'True' : 'False', clock.now()),
  })
  const { failure, setAside } = core.store
  const refused = [...core.objects.refused.values()]
  const conditions = [
    failure !== undefined
      ? condition('StoreHealthy', false, failure.code, failure.message)
      : setAside !== undefined
        ? condition('StoreHealthy', true, 'SetAside', `A damaged file was set aside as ${setAside}`)
        : condition('StoreHealthy', true, 'Ready', ''),
    condition(
      'ObjectsValid',
      refused.length === 0,
      refused.length === 0 ? 'Valid' : 'Invalid',
      refused
        .slice(0, MAX_NAMED)
        .map(({ kind, key, message }) => `${kind} ${key}: ${message}`)
        .join('; '),
    ),
  ]
  const offsetMs = link()?.clockOffsetMs
  if (offsetMs !== undefined && Math.abs(offsetMs) > MAX_CLOCK_OFFSET_MS) {
    const message = `The gateway's clock differs from the hub's by ${Math.round(offsetMs / 1000)} s`
    conditions.push(condition('ClockCorrect', false, 'Differs', message))
  }
  for (const { type, short, words } of pressures?.() ?? []) {
    conditions.push(condition(type, short, short ? `GatewayHas${type}` : `GatewayHasNo${type}`, words))
  }
  for (const { type, status, reason, message } of vitals?.policy.alerts ?? [])
    conditions.push(condition(type, status === 'True', reason, message))
  return conditions
}

/**
 * What the agent itself knows of `Gateway.status`: `told` for the hub, where figures that hardly moved stay as they were
 * told, `current` for whoever asks here.
 */
export function gatewayStatus(sources: HealthSources, as: 'told' | 'current' = 'current'): GatewayStatus {
  const { core, clock, startedMonotonicMs, vitals } = sources
  const devices = { total: 0, online: 0, offline: 0 }
  for (const device of core.engine.devices.values()) {
    devices.total++
    const state = deviceState(device)
    if (state === 'online') devices.online++
    else if (state === 'offline' || state === 'invalid') devices.offline++
  }
  const { totals, oldestAtMs } = core.store
  const link = sources.link()
  const status: GatewayStatus = {
    conditions: gatewayConditions(sources),
    devices,
    outbox: {
      batches: totals.batches,
      bytes: totals.bytes,
      droppedValues: totals.droppedValues + core.batcher.lostValues,
      ...(oldestAtMs === undefined ? {} : { oldestAt: new Date(oldestAtMs).toISOString() }),
    },
    link: linkStatus(link, vitals),
    tether: core.tether.status,
    ...vitals?.current(),
    agent: {
      rssBytes: process.memoryUsage.rss(),
      uptimeS: Math.round((clock.monotonic() - startedMonotonicMs) / 1000),
    },
  }
  return as === 'told' && vitals !== undefined ? vitals.settle(status) : status
}

function linkStatus(link: LinkStatus | undefined, vitals: Vitals | undefined): NonNullable<GatewayStatus['link']> {
  const { quality, trend } = vitals?.way ?? {}
  const round = (value: number, digits: number) => Number(value.toFixed(digits))
  return {
    ...(link?.roundTripMs === undefined
      ? {}
      : { roundTripMs: round(link.roundTripMs, 2), jitterMs: round(link.jitterMs, 2) }),
    reconnects: Math.max(0, link?.reconnects ?? 0),
    ...(link?.lossRatio === undefined ? {} : { lossRatio: round(link.lossRatio, 3) }),
    ...(quality === undefined || trend === undefined ? {} : { quality: round(quality, 2), trend }),
  }
}
