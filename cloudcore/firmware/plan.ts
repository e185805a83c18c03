import { isUpdateEnd, type UpdateState } from '../../api/link/firmware.ts'
import type { FirmwareRolloutStatus, RolloutDevice } from '../../api/resources.ts'

/** What a rollout does next: pure, so that a restart finds the same answer from what the status says. */

export interface PlanInput {
  readonly devices: readonly Pick<RolloutDevice, 'name' | 'state' | 'stage'>[]
  readonly paused: boolean
  /** The release is there and good. */
  readonly ready: boolean
  /** Failures beyond the canary that do not halt. */
  readonly maxFailures: number
  /** What a halt does where the image itself was not well. */
  readonly onFailure: 'rollBack' | 'halt'
  /** Somebody wants every device back. */
  readonly rollBack: boolean
}

export interface PlanAnswer {
  readonly phase: FirmwareRolloutStatus['phase'] & string
  /** The stage under way: 0 the canary, then the waves. */
  readonly stage: number
  /** Devices to begin with now. */
  readonly begin: readonly string[]
  /** Devices to take back now to what they ran before. */
  readonly goBack: readonly string[]
  /** Devices whose update is called off before it touched what they run: they are pending again. */
  readonly callOff: readonly string[]
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

type State = RolloutDevice['state']

export const isDeviceEnd = (state: State): boolean =>
  state === 'gone' || (state !== 'pending' && isUpdateEnd(state as UpdateState))
export const isUnderWay = (device: Pick<RolloutDevice, 'state'> | undefined): boolean =>
  device !== undefined && device.state !== 'pending' && !isDeviceEnd(device.state)
const failed = (state: State): boolean => state === 'failed' || state === 'rolledBack'
const back = (state: State): boolean => state === 'reverting' || state === 'reverted' || state === 'kept'
/** Begun, and nothing of what runs on the board is touched yet. */
const untouched = (state: State): boolean =>
  state === 'waiting' || state === 'asking' || state === 'fetching' || state === 'sending'
const onTrial = (state: State): boolean => state === 'trying' || state === 'checking'

export function planRollout(input: PlanInput): PlanAnswer {
  const { devices, paused, ready, maxFailures, onFailure, rollBack } = input
  const failures = devices.filter(({ state }) => failed(state))
  const open = devices.filter(({ state }) => !isDeviceEnd(state))
  const stage = Math.min(...(open.length === 0 ? devices : open).map((device) => device.stage))
  const at = Number.isFinite(stage) ? stage : 0
  const named = (of: typeof devices): string[] => of.map(({ name }) => name)
  const answer = (
    phase: PlanAnswer['phase'],
    message: string,
    act: Partial<Pick<PlanAnswer, 'begin' | 'goBack' | 'callOff'>> = {},
  ): PlanAnswer => ({ ...{ phase, stage: at, message, begin: [], goBack: [], callOff: [] }, ...act })
  const why = failures
    .slice(0, 3)
    .map(({ name, state }) => `${name} ${state === 'failed' ? 'failed' : 'rolled back'}`)
    .join(', ')
  const canaryFailed = failures.some((device) => device.stage === 0)
  const halted = canaryFailed || failures.length > maxFailures
  const notWell = failures.some(({ state }) => state === 'rolledBack')
  const goingBack =
    rollBack || devices.some(({ state }) => back(state)) || (halted && notWell && onFailure === 'rollBack')
  if (goingBack) {
    // What was begun may be further than its last word says: only its board knows, and is asked.
    const begun = devices.filter(({ state }) => state === 'confirmed' || untouched(state) || onTrial(state))
    const reverting = devices.filter(({ state }) => state === 'reverting')
    const kept = named(devices.filter(({ state }) => state === 'kept')).slice(0, 3)
    const reason = [why, kept.length === 0 ? '' : `not back: ${kept.join(', ')}`].filter(Boolean).join('; ')
    if (begun.length === 0 && reverting.length === 0) return answer('RolledBack', reason)
    if (paused && reverting.length === 0) return answer('Paused', 'spec.paused is set, nothing more goes back')
    return answer('RollingBack', reason, paused ? {} : { goBack: named(begun) })
  }
  if (halted) return answer('Halted', why, { callOff: named(devices.filter(({ state }) => untouched(state))) })
  if (open.length === 0) return answer('Done', devices.length === 0 ? 'no device is selected' : why)
  if (!ready) return answer('Waiting', 'the release is not ready')
  if (paused) return answer('Paused', 'spec.paused is set')
  const begin = named(open.filter((device) => device.stage === at && device.state === 'pending'))
  return answer(at === 0 ? 'Canary' : 'Waves', why, { begin })
}
