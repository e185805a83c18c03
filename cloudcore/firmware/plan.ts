import { isUpdateEnd, type UpdateState } from '../../api/link/firmware.ts'
import type { RolloutDevice } from '../../api/resources.ts'

/** What a rollout does next: pure, so that a restart finds the same answer from what the status says. */

export interface PlanInput {
  readonly devices: readonly Pick<RolloutDevice, 'name' | 'state' | 'stage'>[]
  readonly paused: boolean
  /** The release is there and good. */
  readonly ready: boolean
  /** Failures beyond the canary that do not halt. */
  readonly maxFailures: number
}

export interface PlanAnswer {
  readonly phase: 'Waiting' | 'Canary' | 'Waves' | 'Paused' | 'Halted' | 'Done'
  /** The stage under way: 0 the canary, then the waves. */
  readonly stage: number
  /** Devices to begin with now. */
  readonly begin: readonly string[]
  readonly message: string
}

export const DEFAULT_WAVES: readonly number[] = [100]

/** Gives each device its stage: the canary first, then as many as bring the total to each percentage. */
export function stagesOf(
  names: readonly string[],
  canary: number,
  waves: readonly number[],
): ReadonlyMap<string, number> {
  const sizes = [Math.min(canary, names.length)]
  for (const percent of [...new Set(waves)].sort((a, b) => a - b)) sizes.push(Math.ceil((names.length * percent) / 100))
  const stages = new Map<string, number>()
  let stage = 0
  for (const [index, name] of names.entries()) {
    while (stage < sizes.length - 1 && index >= (sizes[stage] ?? 0)) stage++
    stages.set(name, stage)
  }
  return stages
}

const ended = (state: RolloutDevice['state']): boolean =>
  state === 'gone' || (state !== 'pending' && isUpdateEnd(state as UpdateState))
const bad = (state: RolloutDevice['state']): boolean => state === 'failed' || state === 'rolledBack'

export function planRollout({ devices, paused, ready, maxFailures }: PlanInput): PlanAnswer {
  const failures = devices.filter(({ state }) => bad(state))
  const open = devices.filter(({ state }) => !ended(state))
  const stage = Math.min(...(open.length === 0 ? devices : open).map((device) => device.stage))
  const at = Number.isFinite(stage) ? stage : 0
  const answer = (phase: PlanAnswer['phase'], message: string, begin: readonly string[] = []): PlanAnswer => ({
    ...{ phase, stage: at, begin, message },
  })
  const names = failures
    .slice(0, 3)
    .map(({ name, state }) => `${name} ${state === 'failed' ? 'failed' : 'rolled back'}`)
    .join(', ')
  const canaryFailed = failures.some((device) => device.stage === 0)
  if (open.length === 0 && !canaryFailed && failures.length <= maxFailures)
    return answer('Done', devices.length === 0 ? 'no device is selected' : names)
  if (canaryFailed || failures.length > maxFailures) return answer('Halted', names)
  if (!ready) return answer('Waiting', 'the release is not ready')
  if (paused) return answer('Paused', 'spec.paused is set')
  const begin = open.filter((device) => device.stage === at && device.state === 'pending').map(({ name }) => name)
  return answer(at === 0 ? 'Canary' : 'Waves', names, begin)
}
