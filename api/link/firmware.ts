import type { ObjectKey } from '../resources.ts'

/** Words about the firmware of boards: what the hub orders, and what a gateway makes of it. See docs/ota.md. */

/** One image of a release: linked for the slot at `slotAddress`. Hex in lower case. */
export interface OrderedImage {
  readonly slotAddress: number
  /** SHA-256 of the file: names the bytes. */
  readonly sha256: string
  /** The image's own digest, as boards name it. */
  readonly digest: string
  readonly sizeBytes: number
}

/** What one device is to run. The object's key is the device's. */
export interface LinkFirmwareUpdate {
  /** Of the Device. */
  readonly uid: string
  readonly spec: FirmwareOrder
}

export interface FirmwareOrder {
  /** Names this attempt: what ended under it is not tried again. */
  readonly attempt: string
  readonly board: string
  /** 8 bytes in hex. */
  readonly modelHash: string
  readonly version: string
  readonly securityCounter: number
  /** Raw Ed25519 public key in hex: what the images have to be signed with. */
  readonly publicKey: string
  readonly allowDevelopmentKey: boolean
  /** Back to what ran before these images, instead of to them. */
  readonly goBack?: boolean
  readonly images: readonly OrderedImage[]
  readonly health: {
    /** Polls in a row with nothing but good values. */
    readonly polls: number
    /** From the restart into the new image to healthy. */
    readonly timeoutMs: number
  }
}

/** `confirmed`, `failed`, `rolledBack`, `reverted` (runs what it ran before) and `kept` (could not go back) are ends. */
export const UPDATE_STATES = [
  'waiting',
  'asking',
  'fetching',
  'sending',
  'trying',
  'checking',
  'confirmed',
  'failed',
  'rolledBack',
  'reverting',
  'reverted',
  'kept',
] as const
export type UpdateState = (typeof UPDATE_STATES)[number]

const ENDS: readonly UpdateState[] = ['confirmed', 'failed', 'rolledBack', 'reverted', 'kept']
export const isUpdateEnd = (state: UpdateState): boolean => ENDS.includes(state)

/** What became of one order: all after each welcome, then those that changed. */
export interface FirmwareStatusItem {
  readonly key: ObjectKey
  readonly uid: string
  readonly attempt: string
  readonly state: UpdateState
  /** While `sending`, 0 to 100. */
  readonly percent?: number
  /** What runs now, as the board says. */
  readonly running?: string
  readonly code?: string
  readonly message?: string
  /** Bytes the gateway lacks, and how many of them it has: the hub answers with a stream of kind `firmware`. */
  readonly needs?: { readonly sha256: string; readonly fromByte: number }
}

export interface FirmwareFrame {
  readonly t: 'firmware'
  readonly items: readonly FirmwareStatusItem[]
}

export const MAX_FIRMWARE_ITEMS = 100
/** Kind of the stream that carries an image to a gateway, and what it asks for. */
export const FIRMWARE_STREAM = 'firmware'
export interface FirmwareStreamTarget {
  readonly sha256: string
  readonly sizeBytes: number
  readonly fromByte: number
}

/** The largest image a gateway takes: no board of ours has a larger slot. */
export const MAX_IMAGE_BYTES = 8 * 1024 * 1024

export const isSha256 = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isCount = (value: unknown, most: number): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= most
const isText = (value: unknown, most: number): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= most
const absentOr = (value: unknown, good: (value: unknown) => boolean): boolean => value === undefined || good(value)

export function isFirmwareOrder(value: unknown): value is FirmwareOrder {
  if (!isMap(value) || !isMap(value['health'])) return false
  const { images, health } = value
  return (
    isText(value['attempt'], 128) &&
    isText(value['board'], 24) &&
    /^[0-9a-f]{16}$/.test(String(value['modelHash'])) &&
    isText(value['version'], 40) &&
    isCount(value['securityCounter'], 0xffff_fffe) &&
    isSha256(value['publicKey']) &&
    typeof value['allowDevelopmentKey'] === 'boolean' &&
    absentOr(value['goBack'], (goBack) => typeof goBack === 'boolean') &&
    Array.isArray(images) &&
    images.length >= 1 &&
    images.length <= 4 &&
    images.every(isOrderedImage) &&
    isCount(health['polls'], 1000) &&
    isCount(health['timeoutMs'], 86_400_000)
  )
}

const isOrderedImage = (value: unknown): boolean =>
  isMap(value) &&
  isCount(value['slotAddress'], 0xffff_ffff) &&
  isSha256(value['sha256']) &&
  isSha256(value['digest']) &&
  isCount(value['sizeBytes'], MAX_IMAGE_BYTES)

export function isFirmwareStatusItem(value: unknown): value is FirmwareStatusItem {
  if (!isMap(value)) return false
  const { needs } = value
  return (
    isText(value['key'], 320) &&
    isText(value['uid'], 128) &&
    isText(value['attempt'], 128) &&
    UPDATE_STATES.some((state) => state === value['state']) &&
    absentOr(value['percent'], (percent) => typeof percent === 'number' && percent >= 0 && percent <= 100) &&
    absentOr(value['running'], (running) => isText(running, 40)) &&
    absentOr(value['code'], (code) => isText(code, 128)) &&
    absentOr(value['message'], (message) => isText(message, 1024)) &&
    absentOr(needs, (need) => isMap(need) && isSha256(need['sha256']) && isCount(need['fromByte'], MAX_IMAGE_BYTES))
  )
}

export function readStreamTarget(value: unknown): FirmwareStreamTarget | undefined {
  if (!isMap(value) || !isSha256(value['sha256'])) return undefined
  const { sha256, sizeBytes, fromByte } = value
  if (!isCount(sizeBytes, MAX_IMAGE_BYTES) || !isCount(fromByte, sizeBytes)) return undefined
  return { sha256, sizeBytes, fromByte }
}
