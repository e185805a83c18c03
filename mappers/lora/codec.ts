import { createDecipheriv } from 'node:crypto'
import type { LoraKey } from './keys.ts'

/**
 * Frames of LoRaWAN 1.0.x (L2 1.0.4, sections 4 and 6): bytes to values and back, pure. Nothing here throws on input
 * from the air; what is no frame comes back as `malformed` with the reason.
 */

export const MAX_PHY_BYTES = 255
/** Bytes of a data frame around FOpts and FRMPayload, FPort not counted: MHDR, FHDR, MIC. */
export const DATA_OVERHEAD = 12
export const MAX_FOPTS_BYTES = 15

export interface JoinRequest {
  readonly kind: 'joinRequest'
  /** 16 hexadecimal digits, upper case, most significant byte first, as printed on the device. */
  readonly joinEui: string
  readonly devEui: string
  readonly devNonce: number
  readonly mic: number
}

/** Still encrypted; `openJoinAccept` reads it. */
export interface SealedJoinAccept {
  readonly kind: 'joinAccept'
  readonly sealed: Uint8Array
}

/** LoRaWAN 1.1; recognised so that it is counted as what it is, and never answered. */
export interface RejoinRequest {
  readonly kind: 'rejoinRequest'
  readonly type: number
  readonly devEui: string
  /** Types 0 and 2. */
  readonly netId?: number
  /** Type 1. */
  readonly joinEui?: string
  readonly rejoinCount: number
  readonly mic: number
}

export interface DataFrame {
  readonly kind: 'data'
  readonly up: boolean
  readonly confirmed: boolean
  /** Unsigned, 32 bits. */
  readonly devAddr: number
  readonly adr: boolean
  /** Up only. */
  readonly adrAckReq: boolean
  readonly ack: boolean
  /** Down: more is waiting. Up: the device listens in class B. */
  readonly pending: boolean
  /** The 16 bits on the air. */
  readonly fCnt16: number
  readonly fOpts: Uint8Array
  /** Absent in a frame without FPort. */
  readonly port?: number
  /** Still encrypted. */
  readonly payload: Uint8Array
  readonly mic: number
}

export interface Proprietary {
  readonly kind: 'proprietary'
  readonly payload: Uint8Array
}

export interface Malformed {
  readonly kind: 'malformed'
  readonly reason: string
}

export type Frame = JoinRequest | SealedJoinAccept | RejoinRequest | DataFrame | Proprietary | Malformed

const MTYPE = {
  joinRequest: 0,
  joinAccept: 1,
  unconfirmedUp: 2,
  unconfirmedDown: 3,
  confirmedUp: 4,
  confirmedDown: 5,
  rejoinRequest: 6,
  proprietary: 7,
} as const

const malformed = (reason: string): Malformed => ({ kind: 'malformed', reason })

export function parseFrame(phy: Uint8Array): Frame {
  const bytes = Buffer.from(phy.buffer, phy.byteOffset, phy.byteLength)
  if (bytes.length === 0) return malformed('empty')
  if (bytes.length > MAX_PHY_BYTES) return malformed(`${bytes.length} bytes, more than LoRa carries`)
  const mtype = bytes[0]! >> 5
  if (mtype === MTYPE.proprietary) return { kind: 'proprietary', payload: bytes.subarray(1) }
  if ((bytes[0]! & 0x03) !== 0) return malformed(`major version ${bytes[0]! & 0x03} is unknown`)
  switch (mtype) {
    case MTYPE.joinRequest:
      return parseJoinRequest(bytes)
    case MTYPE.joinAccept:
      return bytes.length === 17 || bytes.length === 33
        ? { kind: 'joinAccept', sealed: bytes }
        : malformed(`a join accept has 17 or 33 bytes, not ${bytes.length}`)
    case MTYPE.rejoinRequest:
      return parseRejoin(bytes)
    default:
      return parseData(bytes, mtype)
  }
}

export const euiText = (bytes: Uint8Array): string => Buffer.from(bytes).reverse().toString('hex').toUpperCase()

/** Bytes as on the air, least significant first. */
export const euiBytes = (eui: string): Buffer => Buffer.from(eui, 'hex').reverse()

export const devAddrText = (devAddr: number): string => devAddr.toString(16).toUpperCase().padStart(8, '0')

function parseJoinRequest(bytes: Buffer): Frame {
  if (bytes.length !== 23) return malformed(`a join request has 23 bytes, not ${bytes.length}`)
  return {
    kind: 'joinRequest',
    joinEui: euiText(bytes.subarray(1, 9)),
    devEui: euiText(bytes.subarray(9, 17)),
    devNonce: bytes.readUInt16LE(17),
    mic: bytes.readUInt32LE(19),
  }
}

function parseRejoin(bytes: Buffer): Frame {
  const type = bytes[1]
  if ((type === 0 || type === 2) && bytes.length === 19) {
    return {
      kind: 'rejoinRequest',
      type,
      netId: bytes.readUIntLE(2, 3),
      devEui: euiText(bytes.subarray(5, 13)),
      rejoinCount: bytes.readUInt16LE(13),
      mic: bytes.readUInt32LE(15),
    }
  }
  if (type === 1 && bytes.length === 24) {
    return {
      kind: 'rejoinRequest',
      type,
      joinEui: euiText(bytes.subarray(2, 10)),
      devEui: euiText(bytes.subarray(10, 18)),
      rejoinCount: bytes.readUInt16LE(18),
      mic: bytes.readUInt32LE(20),
    }
  }
  return malformed(`rejoin request of type ${type ?? 'none'} with ${bytes.length} bytes`)
}

function parseData(bytes: Buffer, mtype: number): Frame {
  if (bytes.length < DATA_OVERHEAD) return malformed(`a data frame has at least 12 bytes, not ${bytes.length}`)
  const up = mtype === MTYPE.unconfirmedUp || mtype === MTYPE.confirmedUp
  const control = bytes[5]!
  const optionsEnd = 8 + (control & 0x0f)
  const end = bytes.length - 4
  if (optionsEnd > end) return malformed(`FOpts of ${control & 0x0f} bytes reach past the end of the frame`)
  const hasPort = optionsEnd < end
  const port = hasPort ? bytes[optionsEnd]! : 0
  if (hasPort && port === 0 && optionsEnd > 8) return malformed('MAC commands both in FOpts and at port 0')
  const frame = {
    kind: 'data' as const,
    up,
    confirmed: mtype >= MTYPE.confirmedUp,
    devAddr: bytes.readUInt32LE(1),
    adr: (control & 0x80) !== 0,
    adrAckReq: up && (control & 0x40) !== 0,
    ack: (control & 0x20) !== 0,
    pending: (control & 0x10) !== 0,
    fCnt16: bytes.readUInt16LE(6),
    fOpts: bytes.subarray(8, optionsEnd),
    payload: hasPort ? bytes.subarray(optionsEnd + 1, end) : bytes.subarray(end, end),
    mic: bytes.readUInt32LE(end),
  }
  return hasPort ? { ...frame, port } : frame
}

/** One scratch block for every MIC: B0, the longest message and room for padding. All of it is synchronous. */
const scratch = Buffer.alloc(16 + MAX_PHY_BYTES + 32)

/**
 * MIC of a data frame, LoRaWAN 1.0.4 section 4.4: AES-CMAC over B0 and everything before the MIC.
 * @param phy the whole frame; its last four bytes are not looked at.
 */
export function dataMic(key: LoraKey, phy: Uint8Array, up: boolean, devAddr: number, fCnt: number): number {
  const length = phy.length - 4
  scratch.fill(0, 0, 16)
  scratch[0] = 0x49
  scratch[5] = up ? 0 : 1
  scratch.writeUInt32LE(devAddr, 6)
  scratch.writeUInt32LE(fCnt, 10)
  scratch[15] = length
  scratch.set(phy.subarray(0, length), 16)
  return key.micInPlace(scratch, 16 + length)
}

const firstBlock = Buffer.alloc(16)

/** Encrypts and decrypts FRMPayload, LoRaWAN 1.0.4 section 4.3.3. */
export function cryptPayload(key: LoraKey, payload: Uint8Array, up: boolean, devAddr: number, fCnt: number): Buffer {
  if (payload.length === 0) return Buffer.alloc(0)
  firstBlock.fill(0)
  firstBlock[0] = 1
  firstBlock[5] = up ? 0 : 1
  firstBlock.writeUInt32LE(devAddr, 6)
  firstBlock.writeUInt32LE(fCnt, 10)
  firstBlock[15] = 1
  return key.xorStream(firstBlock, payload)
}

/** Everything of a data frame before encryption. */
export interface DataContent {
  readonly up: boolean
  readonly confirmed: boolean
  readonly devAddr: number
  readonly adr?: boolean
  readonly adrAckReq?: boolean
  readonly ack?: boolean
  readonly pending?: boolean
  /** All 32 bits. */
  readonly fCnt: number
  readonly fOpts?: Uint8Array
  readonly port?: number
  /** In clear; port 0 carries MAC commands. */
  readonly payload?: Uint8Array
}

export function buildData(content: DataContent, nwkSKey: LoraKey, appSKey: LoraKey): Buffer {
  const { up, confirmed, devAddr, fCnt, port } = content
  const fOpts = content.fOpts ?? new Uint8Array(0)
  const clear = content.payload ?? new Uint8Array(0)
  const bodyStart = 8 + fOpts.length + (port === undefined ? 0 : 1)
  const phy = Buffer.alloc(bodyStart + (port === undefined ? 0 : clear.length) + 4)
  const mtype = confirmed
    ? up
      ? MTYPE.confirmedUp
      : MTYPE.confirmedDown
    : up
      ? MTYPE.unconfirmedUp
      : MTYPE.unconfirmedDown
  phy[0] = mtype << 5
  phy.writeUInt32LE(devAddr, 1)
  phy[5] =
    (content.adr === true ? 0x80 : 0) |
    (up && content.adrAckReq === true ? 0x40 : 0) |
    (content.ack === true ? 0x20 : 0) |
    (content.pending === true ? 0x10 : 0) |
    fOpts.length
  phy.writeUInt16LE(fCnt & 0xffff, 6)
  phy.set(fOpts, 8)
  if (port !== undefined) {
    phy[8 + fOpts.length] = port
    phy.set(cryptPayload(port === 0 ? nwkSKey : appSKey, clear, up, devAddr, fCnt), bodyStart)
  }
  phy.writeUInt32LE(dataMic(nwkSKey, phy, up, devAddr, fCnt), phy.length - 4)
  return phy
}

export function buildJoinRequest(request: Omit<JoinRequest, 'kind' | 'mic'>, appKey: LoraKey): Buffer {
  const phy = Buffer.alloc(23)
  phy.set(euiBytes(request.joinEui), 1)
  phy.set(euiBytes(request.devEui), 9)
  phy.writeUInt16LE(request.devNonce, 17)
  phy.writeUInt32LE(appKey.mic(phy.subarray(0, 19)), 19)
  return phy
}

/** Whether the MIC of a join request is that of this key. */
export const joinRequestFits = (phy: Uint8Array, request: JoinRequest, appKey: LoraKey): boolean =>
  appKey.mic(phy.subarray(0, 19)) === request.mic

export interface JoinAccept {
  /** 24 bits. */
  readonly joinNonce: number
  readonly netId: number
  readonly devAddr: number
  readonly rx1DrOffset: number
  readonly rx2DataRate: number
  /** Seconds, 1 to 15. */
  readonly rxDelay: number
  /** 16 bytes. */
  readonly cfList?: Uint8Array
}

/** A join accept is encrypted with the *decryption* of AES, so that a device needs only the encryption. */
export function buildJoinAccept(accept: JoinAccept, appKey: LoraKey): Buffer {
  const clear = Buffer.alloc(accept.cfList === undefined ? 17 : 33)
  clear[0] = MTYPE.joinAccept << 5
  clear.writeUIntLE(accept.joinNonce, 1, 3)
  clear.writeUIntLE(accept.netId, 4, 3)
  clear.writeUInt32LE(accept.devAddr, 7)
  clear[11] = (accept.rx1DrOffset << 4) | accept.rx2DataRate
  clear[12] = accept.rxDelay
  if (accept.cfList !== undefined) clear.set(accept.cfList, 13)
  clear.writeUInt32LE(appKey.mic(clear.subarray(0, -4)), clear.length - 4)
  const sealed = createDecipheriv('aes-128-ecb', appKey.export(), null).setAutoPadding(false).update(clear.subarray(1))
  return Buffer.concat([clear.subarray(0, 1), sealed])
}

/** What a device does with a join accept; undefined when the key does not fit. */
export function openJoinAccept(sealed: Uint8Array, appKey: LoraKey): JoinAccept | undefined {
  if (sealed.length !== 17 && sealed.length !== 33) return undefined
  const clear = Buffer.concat([sealed.subarray(0, 1), appKey.encryptBlocks(sealed.subarray(1))])
  if (appKey.mic(clear.subarray(0, -4)) !== clear.readUInt32LE(clear.length - 4)) return undefined
  return {
    joinNonce: clear.readUIntLE(1, 3),
    netId: clear.readUIntLE(4, 3),
    devAddr: clear.readUInt32LE(7),
    rx1DrOffset: (clear[11]! >> 4) & 0x07,
    rx2DataRate: clear[11]! & 0x0f,
    rxDelay: clear[12]! & 0x0f,
    ...(clear.length === 33 ? { cfList: clear.subarray(13, 29) } : {}),
  }
}
