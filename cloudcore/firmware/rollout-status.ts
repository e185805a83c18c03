import type { FirmwareOrder, FirmwareStatusItem } from '../../api/link/firmware.ts'
import type {
  FirmwareReleaseSpec,
  FirmwareRollout,
  FirmwareRolloutSpec,
  FirmwareRolloutStatus,
  RolloutDevice,
} from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import { isUnderWay, type PlanAnswer } from './plan.ts'

const DEFAULT_POLLS = 5
const DEFAULT_TIMEOUT = '2m'
const MESSAGE_MOST = 1024

/** What `kubectl get` shows of a rollout. `devices` is undefined until they were looked up. */
export function statusOf(
  { metadata }: FirmwareRollout,
  devices: readonly RolloutDevice[] | undefined,
  { phase, message, stage }: Pick<PlanAnswer, 'phase' | 'message' | 'stage'>,
): FirmwareRolloutStatus {
  const all = devices ?? []
  const count = (...states: readonly RolloutDevice['state'][]) =>
    all.filter(({ state }) => states.includes(state)).length
  const stages = Math.max(0, ...all.map((device) => device.stage))
  const { generation } = metadata
  return {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    ...{ phase, message: message.slice(0, MESSAGE_MOST) },
    ...(devices === undefined ? {} : { devices: [...all], progress: `${count('confirmed')}/${all.length}` }),
    stage: stage === 0 ? 'canary' : `wave ${stage} of ${stages}`,
    updating: all.filter(isUnderWay).length,
    failed: count('failed', 'rolledBack'),
    reverted: count('reverted'),
  }
}

/** A device after a gateway's word about it. */
export function deviceAfter(device: RolloutDevice, item: FirmwareStatusItem, gateway: string): RolloutDevice {
  const { percent, running, message } = item
  const { name, stage, startedAt, retry } = device
  return {
    ...{ name, stage, gateway, state: stateAfter(device.state, item.state) },
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(retry === undefined ? {} : { retry }),
    ...(percent === undefined ? {} : { percent: Math.floor(percent) }),
    ...(running === undefined ? {} : { running }),
    ...(message === undefined ? {} : { message }),
  }
}

/** A device on its way back is that until it is there, or stays for good. */
function stateAfter(now: RolloutDevice['state'], said: FirmwareStatusItem['state']): RolloutDevice['state'] {
  if (now !== 'reverting' || said === 'reverted' || said === 'kept') return said
  return said === 'failed' ? 'kept' : 'reverting'
}

/** A device on its way back. */
export function goingBack({ name, stage, retry, gateway }: RolloutDevice, startedAt: string): RolloutDevice {
  return {
    ...{ name, stage, startedAt, state: 'reverting' },
    ...(retry === undefined ? {} : { retry }),
    ...(gateway === undefined ? {} : { gateway }),
  }
}

/** A device that was begun with and is to wait again. */
export function calledOff({ name, stage, retry }: RolloutDevice): RolloutDevice {
  return { name, stage, state: 'pending', ...(retry === undefined ? {} : { retry }) }
}

const AGAIN: ReadonlySet<RolloutDevice['state']> = new Set(['failed', 'rolledBack', 'reverted', 'kept'])

/** A device after spec.retry was raised to `retry`: what failed or went back before is pending again. */
export function retried(device: RolloutDevice, retry: number): RolloutDevice {
  const { name, stage, state } = device
  return AGAIN.has(state) && retry > (device.retry ?? 0) ? { name, stage, state: 'pending', retry } : device
}

/** A device that is not done in time. */
export function overdue(device: RolloutDevice, deadline: string): RolloutDevice {
  const message = `not done within ${deadline}; last: ${device.message ?? device.state}`
  return {
    ...device,
    state: device.state === 'reverting' ? 'kept' : 'failed',
    message: message.slice(0, MESSAGE_MOST),
  }
}

export const deviceReason = (state: RolloutDevice['state']): string => REASONS[state] ?? 'DeviceUpdateFailed'
const REASONS: Readonly<Partial<Record<RolloutDevice['state'], string>>> = {
  confirmed: 'DeviceUpdated',
  rolledBack: 'DeviceRolledBack',
  reverted: 'DeviceReverted',
  kept: 'DeviceNotReverted',
}

/** What a gateway is told to do with one device. */
export function orderOf(
  attempt: string,
  goBack: boolean,
  release: FirmwareReleaseSpec,
  { health, allowDevelopmentKey }: FirmwareRolloutSpec,
): FirmwareOrder {
  const { board, modelHash, version, securityCounter, publicKey, images } = release
  return {
    ...{ attempt, board, modelHash, version, securityCounter, publicKey },
    allowDevelopmentKey: allowDevelopmentKey === true,
    ...(goBack ? { goBack } : {}),
    images: images.map(({ slotAddress, sha256, digest, sizeBytes }) => ({ slotAddress, sha256, digest, sizeBytes })),
    health: { polls: health?.polls ?? DEFAULT_POLLS, timeoutMs: durationMs(health?.timeout ?? DEFAULT_TIMEOUT) },
  }
}
