import type { LoraDevice } from '../device-config.ts'
import { seal, unseal } from '../sealed.ts'
import type { DevNonces, RadioState, Session } from './session.ts'

/**
 * What the network server of another gateway needs to serve a device where this one stopped: session keys sealed by the
 * device's own AppKey, which both gateways have and the cloud does not need; counters, nonces and what the device was
 * told of its radio. A device that is activated by personalization has its keys everywhere: only the counters go along.
 */
export interface Carried {
  /** `[DevAddr, NwkSKey, AppSKey]`, sealed; absent for ABP. */
  readonly sealed?: string
  readonly fUp: number
  readonly fDown: number
  readonly joinNonce: number
  /** The newest used DevNonces. */
  readonly devNonces: readonly number[]
  readonly radio: Partial<RadioState>
}

/** DevNonces that go along; older ones are forgotten, as a device that joins so often changes its counter itself. */
const MAX_NONCES = 128
/**
 * The gateway before may have sent this many frames since it said how far its counter was. A device takes any counter
 * that is higher by less than 16 384 (LoRaWAN 1.0.3, section 4.3.1.5), so that skipping some costs nothing.
 */
export const DOWNLINK_MARGIN = 32

const MAX_CHARACTERS = 2048

/** Undefined where it would be too long to be told. */
export function writeCarried(
  device: LoraDevice,
  session: Session,
  sealed: string | undefined,
  joinNonce: number,
  nonces: DevNonces,
): string | undefined {
  if (device.activation.kind === 'elsewhere') return undefined
  const carried: Carried = {
    ...(sealed === undefined ? {} : { sealed }),
    fUp: session.fUp,
    fDown: session.fDown,
    joinNonce,
    devNonces: nonces.newest(MAX_NONCES),
    radio: session.radio,
  }
  const text = JSON.stringify(carried)
  return text.length <= MAX_CHARACTERS ? text : undefined
}

export const sealSession = ({ devEui, activation }: LoraDevice, { devAddr, keys }: Session): string | undefined =>
  activation.kind === 'otaa'
    ? seal(
        activation.appKey,
        devEui,
        JSON.stringify([devAddr, keys.nwkSKey.export().toString('hex'), keys.appSKey.export().toString('hex')]),
      )
    : undefined

/** Undefined for anything that another gateway of this version did not write. */
export function readCarried(text: string | undefined): Carried | undefined {
  if (text === undefined || text.length > MAX_CHARACTERS) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return isCarried(value) ? value : undefined
}

function isCarried(value: unknown): value is Carried {
  if (typeof value !== 'object' || value === null) return false
  const { sealed, fUp, fDown, joinNonce, devNonces, radio } = value as Record<string, unknown>
  const isCount = (count: unknown, least: number, below: number) =>
    Number.isInteger(count) && Number(count) >= least && Number(count) < below
  return (
    (sealed === undefined || typeof sealed === 'string') &&
    isCount(fUp, -1, 2 ** 32) &&
    isCount(fDown, 0, 2 ** 32 - DOWNLINK_MARGIN) &&
    isCount(joinNonce, 0, 2 ** 24) &&
    Array.isArray(devNonces) &&
    devNonces.length <= MAX_NONCES &&
    devNonces.every((nonce) => isCount(nonce, 0, 65_536)) &&
    typeof radio === 'object' &&
    radio !== null &&
    !Array.isArray(radio)
  )
}

/** Whether the sealed session opens with the key that this gateway has for the device. */
export const opens = (device: LoraDevice, { sealed }: Carried): boolean =>
  device.activation.kind === 'abp' ||
  (device.activation.kind === 'otaa' &&
    sealed !== undefined &&
    unseal(device.activation.appKey, device.devEui, sealed) !== undefined)
