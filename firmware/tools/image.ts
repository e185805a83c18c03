import { createHash } from 'node:crypto'
import { SluiceError } from '../../api/errors.ts'

/**
 * Firmware images in MCUboot's format, as `firmware/core/image.c` reads them: header, payload, protected TLVs under the
 * digest, then SHA-256, hash of the key, Ed25519 signature of the digest. All numbers are little-endian.
 */

const MAGIC = 0x96f3b83d
const MAGIC_OPEN = 0x6907
const MAGIC_PROTECTED = 0x6908
const HEADER_BYTES = 32
const FLAG_POSITION_INDEPENDENT = 0x001
const FLAG_FIXED_ADDRESS = 0x100

/** Flags of MCUboot that a bootloader which runs images where they are cannot serve, in words. */
const OTHER_FLAGS: readonly (readonly [bits: number, words: string])[] = [
  [0x00c, 'encrypted'],
  [0x010, 'marked as not bootable'],
  [0x020, 'made to run from RAM'],
  [0xe00, 'compressed'],
]

/** TLVs of other ways to sign, which MCUboot knows and our bootloader does not carry. */
const OTHER_SIGNATURES: readonly (readonly [type: number, message: string, hint: string])[] = [
  [0x02, 'the image holds its whole public key, not the hash of it', 'Sign it without --public-key-format full.'],
  [0x25, 'the signature is one of the content, not of its SHA-256', 'Sign it without --pure.'],
  [0x11, 'the image has a SHA-384, boards check a SHA-256', 'Sign it with an Ed25519 key and --sha 256.'],
  [0x12, 'the image has a SHA-512, boards check a SHA-256', 'Sign it with --sha 256.'],
]

export const TLV = {
  keyHash: 0x01,
  sha256: 0x10,
  ed25519: 0x24,
  securityCounter: 0x50,
  modelHash: 0xa0,
  board: 0xa1,
  slotAddress: 0xa2,
} as const

/** Why a board refuses an image: `sl_image_status` of firmware/core/image.h, by its number. */
export const REFUSALS = [
  'ok',
  'empty',
  'magic',
  'header',
  'size',
  'tlv',
  'board',
  'slot',
  'rollback',
  'downgrade',
  'digest',
  'key',
  'development-key',
  'signature',
  'flash',
  'exhausted',
] as const
export type Refusal = (typeof REFUSALS)[number]

export interface ImageVersion {
  /** 0 to 255. */
  readonly major: number
  /** 0 to 255. */
  readonly minor: number
  /** 0 to 65535. */
  readonly revision: number
  /** 0 to 2^32 - 1; 0 is not written out. */
  readonly build: number
}

/** Reads `major.minor[.revision][+build]`, and `.build` as SMP writes it. */
export function parseVersion(text: string): ImageVersion {
  const match = /^(\d{1,3})\.(\d{1,3})(?:\.(\d{1,5}))?(?:[+.](\d{1,10}))?$/.exec(text)
  const [major = -1, minor = -1, revision = 0, build = 0] = (match ?? []).slice(1).map((part) => Number(part ?? 0))
  if (match === null || major > 255 || minor > 255 || revision > 65_535 || build > 0xffff_ffff) {
    throw new SluiceError('SLUICE_FW_VERSION', `"${text}" is no firmware version`, {
      hint: 'Write it as major.minor.revision, for example 1.4.0, at most 255.255.65535, with +build where needed.',
    })
  }
  return { major, minor, revision, build }
}

export function formatVersion({ major, minor, revision, build }: ImageVersion): string {
  return `${major}.${minor}.${revision}${build === 0 ? '' : `+${build}`}`
}

/** Below, equal to or above zero as `a` is older, the same or newer than `b`. */
export function compareVersions(a: ImageVersion, b: ImageVersion): number {
  return a.major - b.major || a.minor - b.minor || a.revision - b.revision || a.build - b.build
}

export interface ImageOptions {
  /** What the processor runs, vector table first. */
  readonly payload: Uint8Array
  readonly version: ImageVersion
  /** Boards refuse images below the highest counter they have confirmed. 1 to 2^32 - 2. */
  readonly securityCounter: number
  /** Name of the board, at most 24 ASCII characters. */
  readonly board: string
  /** Address of the slot that the payload was linked for. */
  readonly slotAddress: number
  /** First 8 bytes of the model's hash. */
  readonly modelHash?: Uint8Array
  /** Size of the header with its padding, so that the vector table is aligned; default 512. */
  readonly headerBytes?: number
}

export interface Image {
  readonly version: ImageVersion
  readonly headerBytes: number
  readonly payload: Uint8Array
  /** Bytes of the whole image; what follows them is not part of it. */
  readonly size: number
  readonly securityCounter: number | undefined
  readonly board: string | undefined
  readonly slotAddress: number | undefined
  readonly modelHash: Uint8Array | undefined
  /** As the image says; verifyImage compares. */
  readonly digest: Uint8Array
  readonly keyHash: Uint8Array
  readonly signature: Uint8Array
  /** Number of bytes under the digest. */
  readonly signedBytes: number
}

/** How images are signed: implemented over a key file in sign.ts, over a token or a service by whoever has one. */
export interface ImageSigner {
  /** SHA-256 of the public key's SubjectPublicKeyInfo, as imgtool has it. */
  readonly keyHash: Uint8Array
  /** Signature of the 32 bytes of the digest, 64 bytes. */
  sign(digest: Uint8Array): Promise<Uint8Array>
}

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()

function tlv(type: number, value: Uint8Array): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt16LE(type, 0)
  head.writeUInt16LE(value.length, 2)
  return Buffer.concat([head, value])
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function area(magic: number, entries: readonly Buffer[]): Buffer {
  const content = Buffer.concat(entries)
  const head = Buffer.alloc(4)
  head.writeUInt16LE(magic, 0)
  head.writeUInt16LE(content.length + 4, 2)
  return Buffer.concat([head, content])
}

const refuse = (message: string, hint: string): SluiceError => new SluiceError('SLUICE_FW_IMAGE', message, { hint })

function checkOptions(options: ImageOptions): void {
  const { board, securityCounter, modelHash, headerBytes = 512 } = options
  if (!/^[\x21-\x7e]{1,24}$/.test(board))
    throw refuse(`"${board}" cannot be a board's name in an image`, 'Use 1 to 24 ASCII characters without spaces.')
  if (!Number.isInteger(securityCounter) || securityCounter < 1 || securityCounter > 0xffff_fffe)
    throw refuse(`the security counter ${securityCounter} is out of range`, 'Give a whole number from 1 to 4294967294.')
  if (modelHash !== undefined && modelHash.length !== 8)
    throw refuse(`a model hash has 8 bytes, not ${modelHash.length}`, 'Take the first 8 bytes of the SHA-256.')
  if (headerBytes < HEADER_BYTES || headerBytes > 4096 || headerBytes % 4 !== 0)
    throw refuse(
      `an image header cannot have ${headerBytes} bytes`,
      'Use 512, or another multiple of 4 from 32 to 4096.',
    )
  if (options.payload.length < 8) throw refuse('there is nothing to put into the image', 'Build the firmware first.')
}

/** Makes a signed image. */
export async function makeImage(options: ImageOptions, signer: ImageSigner): Promise<Uint8Array> {
  checkOptions(options)
  const { version, headerBytes = 512 } = options
  const protectedArea = area(MAGIC_PROTECTED, [
    tlv(TLV.securityCounter, word(options.securityCounter)),
    ...(options.modelHash === undefined ? [] : [tlv(TLV.modelHash, options.modelHash)]),
    tlv(TLV.board, Buffer.from(options.board, 'ascii')),
    tlv(TLV.slotAddress, word(options.slotAddress)),
  ])
  // Flash is written in words; an unaligned payload would only move the TLVs to odd addresses.
  const payload = Buffer.concat([options.payload, Buffer.alloc(-options.payload.length & 3, 0xff)])
  const header = Buffer.alloc(headerBytes)
  header.writeUInt32LE(MAGIC, 0)
  header.writeUInt16LE(headerBytes, 8)
  header.writeUInt16LE(protectedArea.length, 10)
  header.writeUInt32LE(payload.length, 12)
  header.writeUInt8(version.major, 20)
  header.writeUInt8(version.minor, 21)
  header.writeUInt16LE(version.revision, 22)
  header.writeUInt32LE(version.build, 24)
  const signed = Buffer.concat([header, payload, protectedArea])
  const digest = sha256(signed)
  const open = area(MAGIC_OPEN, [
    tlv(TLV.sha256, digest),
    tlv(TLV.keyHash, signer.keyHash),
    tlv(TLV.ed25519, await signer.sign(digest)),
  ])
  return Buffer.concat([signed, open])
}

/** An error of the reader carries the refusal a board would give. */
export class ImageError extends SluiceError {
  readonly refusal: Refusal

  constructor(refusal: Refusal, message: string, hint: string) {
    super('SLUICE_FW_IMAGE', message, { hint })
    this.refusal = refusal
  }
}

const broken = (refusal: Refusal, message: string): ImageError =>
  new ImageError(
    refusal,
    message,
    'Take the signed image as the build wrote it, and copy it again if it came over a network.',
  )

function walk(bytes: Buffer, start: number, magic: number): { entries: Map<number, Buffer>; end: number } {
  if (start + 4 > bytes.length || bytes.readUInt16LE(start) !== magic)
    throw broken('tlv', `no TLV area at byte ${start} of the image`)
  const end = start + bytes.readUInt16LE(start + 2)
  if (end < start + 4 || end > bytes.length) throw broken('tlv', `the TLV area at byte ${start} is cut off`)
  const entries = new Map<number, Buffer>()
  let at = start + 4
  while (at < end) {
    if (at + 4 > end) throw broken('tlv', `the TLV at byte ${at} is cut off`)
    const type = bytes.readUInt16LE(at)
    const next = at + 4 + bytes.readUInt16LE(at + 2)
    if (next > end) throw broken('tlv', `the TLV at byte ${at} reaches beyond its area`)
    if (entries.has(type)) throw broken('tlv', `TLV 0x${type.toString(16)} comes twice`)
    entries.set(type, bytes.subarray(at + 4, next))
    at = next
  }
  return { entries, end }
}

function sized(entries: Map<number, Buffer>, type: number, size: number): Buffer | undefined {
  const value = entries.get(type)
  if (value !== undefined && value.length !== size)
    throw broken('tlv', `TLV 0x${type.toString(16)} has ${value.length} bytes, not ${size}`)
  return value
}

/** Says why, when what a board needs is not there because the image was signed in another way. */
function explainOtherSignature(open: Map<number, Buffer>): void {
  const needed = [TLV.sha256, TLV.keyHash].every((type) => open.get(type)?.length === 32)
  if (needed && open.get(TLV.ed25519)?.length === 64) return
  for (const [type, message, hint] of OTHER_SIGNATURES) {
    if (open.has(type)) throw new ImageError('tlv', message, hint)
  }
}

/**
 * Version and board of an image of which only parts are at hand: its first 32 bytes, and whatever `behind` reads at an
 * offset. Undefined for anything that is no image, or does not name its board. Nothing is verified.
 */
export async function readImageName(
  head: Uint8Array,
  behind: (offset: number) => Promise<Uint8Array | undefined>,
): Promise<{ readonly version: ImageVersion; readonly board: string } | undefined> {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength)
  if (bytes.length < HEADER_BYTES || bytes.readUInt32LE(0) !== MAGIC) return undefined
  const size = bytes.readUInt16LE(10)
  const tail = size === 0 ? undefined : await behind(bytes.readUInt16LE(8) + bytes.readUInt32LE(12))
  if (tail === undefined || tail.length < size) return undefined
  try {
    const board = walk(Buffer.from(tail.subarray(0, size)), 0, MAGIC_PROTECTED)
      .entries.get(TLV.board)
      ?.toString('latin1')
    return board === undefined ? undefined : { version: versionOf(bytes), board }
  } catch (error) {
    if (error instanceof ImageError) return undefined
    throw error
  }
}

const versionOf = (header: Buffer): ImageVersion => ({
  major: header.readUInt8(20),
  minor: header.readUInt8(21),
  revision: header.readUInt16LE(22),
  build: header.readUInt32LE(24),
})

/** Takes an image apart. Throws an `ImageError` where a board would refuse its shape; checks no digest and no signature. */
export function parseImage(image: Uint8Array): Image {
  const bytes = Buffer.from(image.buffer, image.byteOffset, image.byteLength)
  if (bytes.length < HEADER_BYTES) throw broken('size', `${bytes.length} bytes are no firmware image`)
  if (/^:[0-9A-F]{10}/i.test(bytes.toString('latin1', 0, 11)))
    throw new ImageError(
      'magic',
      'this is a text in Intel HEX, not the image itself',
      'Give the binary: imgtool writes it when the name of the output does not end in .hex.',
    )
  if (bytes.readUInt32LE(0) !== MAGIC)
    throw broken('magic', 'this is no MCUboot image: it begins with another magic number')
  const headerBytes = bytes.readUInt16LE(8)
  const protectedBytes = bytes.readUInt16LE(10)
  const payloadBytes = bytes.readUInt32LE(12)
  const flags = bytes.readUInt32LE(16)
  if ((flags & ~(FLAG_POSITION_INDEPENDENT | FLAG_FIXED_ADDRESS)) !== 0) {
    const said = OTHER_FLAGS.filter(([bits]) => (flags & bits) !== 0).map(([, words]) => words)
    throw new ImageError(
      'header',
      `the image is ${said.join(' and ') || 'of an unknown kind'} (flags 0x${flags.toString(16)}): boards run images where they lie in flash`,
      'Sign the plain firmware again; with imgtool without --encrypt, --compression, --load-addr and --non-bootable.',
    )
  }
  if (headerBytes < HEADER_BYTES || headerBytes > 4096 || headerBytes % 4 !== 0 || payloadBytes < 8)
    throw broken('header', `a header of ${headerBytes} and a payload of ${payloadBytes} bytes cannot be`)
  if (headerBytes + payloadBytes > bytes.length) throw broken('size', 'the image is cut off')
  const afterPayload = headerBytes + payloadBytes
  const none = { entries: new Map<number, Buffer>(), end: afterPayload }
  const safe = protectedBytes === 0 ? none : walk(bytes, afterPayload, MAGIC_PROTECTED)
  if (safe.end - afterPayload !== protectedBytes)
    throw broken('tlv', 'header and protected TLVs disagree about their size')
  const open = walk(bytes, safe.end, MAGIC_OPEN)
  for (const type of [TLV.securityCounter, TLV.modelHash, TLV.board, TLV.slotAddress]) {
    if (open.entries.has(type)) throw broken('tlv', `TLV 0x${type.toString(16)} has to be a protected one`)
  }
  explainOtherSignature(open.entries)
  const digest = sized(open.entries, TLV.sha256, 32)
  const keyHash = sized(open.entries, TLV.keyHash, 32)
  const signature = sized(open.entries, TLV.ed25519, 64)
  if (digest !== undefined && keyHash === undefined && signature === undefined)
    throw new ImageError('tlv', 'the image is not signed', 'Sign it with "sluice fw sign", or with imgtool and --key.')
  if (digest === undefined || keyHash === undefined || signature === undefined)
    throw new ImageError(
      'tlv',
      'SHA-256, key hash or Ed25519 signature is missing in the image',
      'Sign it with an Ed25519 key: "sluice fw key new" or "imgtool keygen -t ed25519" makes one.',
    )
  const fixed = (flags & FLAG_FIXED_ADDRESS) !== 0 ? bytes.readUInt32LE(4) : undefined
  const slot = sized(safe.entries, TLV.slotAddress, 4)?.readUInt32LE(0)
  if (fixed !== undefined && slot !== undefined && fixed !== slot)
    throw broken('slot', 'the header and the TLV name different slot addresses')
  return {
    version: versionOf(bytes),
    headerBytes,
    payload: bytes.subarray(headerBytes, afterPayload),
    size: open.end,
    securityCounter: sized(safe.entries, TLV.securityCounter, 4)?.readUInt32LE(0),
    board: safe.entries.get(TLV.board)?.toString('latin1'),
    slotAddress: slot ?? fixed,
    modelHash: sized(safe.entries, TLV.modelHash, 8),
    digest,
    keyHash,
    signature,
    signedBytes: safe.end,
  }
}
