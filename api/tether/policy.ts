import type { GatewaySpec } from '../schema/gateway.ts'
import { durationMs } from '../twin/duration.ts'
import { AUTONOMOUS, type TetherPolicy } from './tether.ts'

const DEFAULT_LEASE_MS = 30_000
const DEFAULT_GRACE_MS = 60_000
/** A shorter lease would be over before its answer is there. */
const LEAST_LEASE_MS = 2_000

/** What `Gateway.spec` says of who decides. */
export function tetherPolicy(spec: GatewaySpec | undefined): TetherPolicy {
  if (spec?.mode !== 'tethered') return AUTONOMOUS
  const { grace, onLoss = 'keep' } = spec.tether ?? {}
  return { mode: 'tethered', onLoss, graceMs: grace === undefined ? DEFAULT_GRACE_MS : durationMs(grace) }
}

/** Span of one lease, ms. */
export function leaseMs(spec: GatewaySpec | undefined): number {
  const lease = spec?.tether?.lease
  return Math.max(LEAST_LEASE_MS, lease === undefined ? DEFAULT_LEASE_MS : durationMs(lease))
}
