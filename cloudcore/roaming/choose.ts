import type { DeviceSpec } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'

/** When a device changes from one gateway to another; times in milliseconds. */
export interface RoamingPolicy {
  readonly marginDb: number
  readonly holdMs: number
  readonly lostAfterMs: number
}

/** A radio's own noise is a few dB from one advertisement to the next, and a person in the way costs ten. */
const DEFAULTS: RoamingPolicy = { marginDb: 6, holdMs: 3000, lostAfterMs: 10_000 }

export const roamingPolicy = ({ roaming = {} }: DeviceSpec): RoamingPolicy => ({
  marginDb: roaming.marginDb ?? DEFAULTS.marginDb,
  holdMs: roaming.hold === undefined ? DEFAULTS.holdMs : durationMs(roaming.hold),
  lostAfterMs: roaming.lostAfter === undefined ? DEFAULTS.lostAfterMs : durationMs(roaming.lostAfter),
})

/** What is known of one gateway that may serve a device; times by one monotonic clock. */
export interface Candidate {
  readonly gateway: string
  /** Linked, and not shut out by its tether. */
  readonly present: boolean
  readonly rssiDbm?: number
  readonly heardMs?: number
}

/** A gateway that hears the device better than the active one, since when. */
export interface Challenger {
  readonly gateway: string
  readonly sinceMs: number
}

export interface Choice {
  /** Who is to serve the device; undefined when nobody can. */
  readonly gateway: string | undefined
  readonly challenger: Challenger | undefined
  /** When to choose again although nothing new was heard. */
  readonly againAtMs: number | undefined
  readonly why: 'stays' | 'first' | 'gone' | 'lost' | 'better'
}

/**
 * Chooses who serves a device. The active gateway loses at once when it is gone, or when it has not heard the device for
 * `lostAfterMs` while another one has; it loses to a better signal only after that was better by the margin for the hold
 * time. Whoever serves stays when nobody does better: also a gateway that is gone, while nobody else hears the device.
 */
export function choose(
  active: string | undefined,
  challenger: Challenger | undefined,
  candidates: readonly Candidate[],
  policy: RoamingPolicy,
  nowMs: number,
): Choice {
  const hears = (one: Candidate | undefined): one is Candidate & { rssiDbm: number; heardMs: number } =>
    one?.present === true &&
    one.rssiDbm !== undefined &&
    one.heardMs !== undefined &&
    nowMs - one.heardMs < policy.lostAfterMs
  const hearing = candidates.filter(hears).sort(byStrength)
  const best = hearing[0]
  const serving = candidates.find(({ gateway }) => gateway === active)
  if (serving === undefined) {
    // Never heard by anybody: somebody has to begin, and the same one however often this is asked.
    const first = best ?? candidates.filter(({ present }) => present).sort(byName)[0]
    return {
      gateway: first?.gateway,
      challenger: undefined,
      againAtMs: undefined,
      why: active === undefined ? 'first' : 'gone',
    }
  }
  const stays = (next?: Challenger): Choice => ({
    gateway: serving.gateway,
    challenger: next,
    againAtMs: next === undefined ? lossOf(serving, policy, nowMs) : next.sinceMs + policy.holdMs,
    why: 'stays',
  })
  if (best === undefined || best.gateway === serving.gateway) {
    const heardByAny = candidates.some(({ rssiDbm }) => rssiDbm !== undefined)
    if (serving.present || heardByAny) return stays()
    // A protocol that hears nothing by itself: whoever is there can serve the device.
    const other = candidates.filter(({ present }) => present).sort(byName)[0]
    return other === undefined
      ? stays()
      : { gateway: other.gateway, challenger: undefined, againAtMs: undefined, why: 'gone' }
  }
  if (!serving.present) return { gateway: best.gateway, challenger: undefined, againAtMs: undefined, why: 'gone' }
  if (!hears(serving)) return { gateway: best.gateway, challenger: undefined, againAtMs: undefined, why: 'lost' }
  // The one who challenges already goes on as long as it is better by the margin, though another may be better still.
  const better = hearing.filter(({ rssiDbm }) => rssiDbm - serving.rssiDbm >= policy.marginDb)
  const held = better.find(({ gateway }) => gateway === challenger?.gateway) ?? better[0]
  if (held === undefined) return stays()
  const sinceMs = challenger?.gateway === held.gateway ? challenger.sinceMs : nowMs
  if (nowMs - sinceMs < policy.holdMs) return stays({ gateway: held.gateway, sinceMs })
  return { gateway: held.gateway, challenger: undefined, againAtMs: undefined, why: 'better' }
}

const lossOf = ({ heardMs }: Candidate, { lostAfterMs }: RoamingPolicy, nowMs: number): number | undefined =>
  heardMs === undefined || nowMs - heardMs >= lostAfterMs ? undefined : heardMs + lostAfterMs

const byStrength = (a: { gateway: string; rssiDbm: number }, b: { gateway: string; rssiDbm: number }): number =>
  b.rssiDbm - a.rssiDbm || byName(a, b)

const byName = (a: { gateway: string }, b: { gateway: string }): number => (a.gateway < b.gateway ? -1 : 1)
