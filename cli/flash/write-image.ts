import { createHash } from 'node:crypto'
import { SluiceError } from '../../api/errors.ts'
import type { VerifyReader, WriteTarget } from './target.ts'

export const BLOCK_BYTES = 4 * 1024 * 1024
/** A GPT keeps a second copy in the last 33 sectors; firmware would start an older system from it. */
const TAIL_BYTES = 1024 * 1024
const SECTOR = 512

export type Phase = 'write' | 'verify'

export interface WriteOptions {
  readonly target: WriteTarget
  /** The image as it is to be on the card, in pieces of any size. */
  readonly image: AsyncIterable<Buffer>
  readonly imageBytes: number
  /** Of what the pieces are before `patch`; checked when it is known. */
  readonly imageSha256?: string | undefined
  /** Changes a piece that begins at `offset`. */
  readonly patch?: (bytes: Buffer, offset: number) => void
  readonly signal: AbortSignal
  readonly onProgress?: (phase: Phase, doneBytes: number) => void
}

export interface Written {
  /** Of everything on the card, as it was read back. */
  readonly sha256: string
  readonly bytes: number
  /** Whether reading back went past the machine's cache. */
  readonly direct: boolean
}

/**
 * Writes an image so that the card is either whole or plainly unbootable, whatever happens: the first block is made zero
 * before anything else and written last, after all the rest has reached the card; then all is read back and compared.
 * On any failure the first block is made zero again, as far as the card still listens.
 *
 * Throws SLUICE_FLASH_DEVICE_LOST, SLUICE_FLASH_WRITE, SLUICE_FLASH_VERIFY, SLUICE_FLASH_IMAGE_CHANGED, or why `signal`
 * was aborted; every message says what the card is now.
 */
export async function writeImage(options: WriteOptions): Promise<Written> {
  const { target, imageBytes, signal } = options
  if (imageBytes > target.sizeBytes) {
    throw new SluiceError(
      'SLUICE_FLASH_DEVICE_REFUSED',
      `The image has ${imageBytes} bytes and ${target.path} only ${target.sizeBytes}`,
      { hint: 'Use a larger card. Nothing was written.' },
    )
  }
  signal.throwIfAborted()
  let phase: Phase = 'write'
  try {
    await blank(target)
    const hashes = await writeBlocks(options)
    phase = 'verify'
    return await verify(options, hashes)
  } catch (cause) {
    const blanked = await blank(target).then(
      () => true,
      () => false,
    )
    throw told(cause, phase, target.path, blanked, signal)
  }
}

async function blank(target: WriteTarget): Promise<void> {
  await target.write(Buffer.alloc(Math.min(BLOCK_BYTES, target.sizeBytes)), 0)
  const tail = Math.max(0, target.sizeBytes - TAIL_BYTES)
  if (tail > 0) await target.write(Buffer.alloc(target.sizeBytes - tail), tail)
  await target.flush()
}

/** Hash of each block as it was written. */
async function writeBlocks(options: WriteOptions): Promise<readonly Buffer[]> {
  const { target, imageBytes, signal, patch, onProgress } = options
  const source = createHash('sha256')
  const hashes: Buffer[] = []
  let first: Buffer | undefined
  let offset = 0
  for await (const block of blocksOf(options.image, imageBytes)) {
    signal.throwIfAborted()
    source.update(block)
    patch?.(block, offset)
    hashes.push(createHash('sha256').update(block).digest())
    if (first === undefined) first = padded(block)
    else await target.write(padded(block), offset)
    offset += block.length
    onProgress?.('write', offset)
  }
  const sha256 = source.digest('hex')
  if (offset !== imageBytes || (options.imageSha256 !== undefined && options.imageSha256 !== sha256)) {
    throw new SluiceError('SLUICE_FLASH_IMAGE_CHANGED', 'The image changed while it was written', {
      hint: 'Let it alone and start again.',
    })
  }
  await target.flush()
  signal.throwIfAborted()
  if (first !== undefined) await target.write(first, 0)
  await target.flush()
  return hashes
}

/** Blocks of 4 MiB and a shorter last one, each with memory of its own. */
async function* blocksOf(pieces: AsyncIterable<Buffer>, limit: number): AsyncGenerator<Buffer, void> {
  let block = Buffer.allocUnsafe(BLOCK_BYTES)
  let filled = 0
  let total = 0
  for await (const piece of pieces) {
    total += piece.length
    // Said once all is read, but never written beyond what was made sure to fit.
    if (total > limit) break
    for (let at = 0; at < piece.length; ) {
      const count = piece.copy(block, filled, at)
      filled += count
      at += count
      if (filled < BLOCK_BYTES) continue
      yield block
      block = Buffer.allocUnsafe(BLOCK_BYTES)
      filled = 0
    }
  }
  if (filled > 0) yield block.subarray(0, filled)
}

/** Disks take whole sectors. */
const padded = (block: Buffer): Buffer =>
  block.length % SECTOR === 0 ? block : Buffer.concat([block], Math.ceil(block.length / SECTOR) * SECTOR)

async function verify(options: WriteOptions, hashes: readonly Buffer[]): Promise<Written> {
  const { target, imageBytes, signal, onProgress } = options
  await using reader = await target.openToVerify()
  const whole = createHash('sha256')
  for (const [index, expected] of hashes.entries()) {
    signal.throwIfAborted()
    const offset = index * BLOCK_BYTES
    const length = Math.min(BLOCK_BYTES, imageBytes - offset)
    const bytes = await readBlock(reader, offset, length)
    if (bytes.length < length || !createHash('sha256').update(bytes).digest().equals(expected)) {
      throw new SluiceError(
        'SLUICE_FLASH_VERIFY',
        `What was read back from ${target.path} differs between byte ${offset} and ${offset + length}`,
        { hint: 'The card or its reader is faulty or of less capacity than it says; use another one.' },
      )
    }
    whole.update(bytes)
    onProgress?.('verify', offset + length)
  }
  return { sha256: whole.digest('hex'), bytes: imageBytes, direct: reader.direct }
}

async function readBlock(reader: VerifyReader, offset: number, length: number): Promise<Buffer> {
  const bytes = await reader.read(offset, Math.ceil(length / 4096) * 4096)
  return bytes.subarray(0, Math.min(length, bytes.length))
}

/** Errors of a device that is gone or broken. */
const LOST = new Set(['EIO', 'ENXIO', 'ENODEV', 'ENOMEDIUM', 'EMEDIUMTYPE', 'EREMOTEIO', 'ESHUTDOWN'])

function told(cause: unknown, phase: Phase, path: string, blanked: boolean, signal: AbortSignal): SluiceError {
  const state = blanked
    ? `${path} is plainly unbootable now (its first block is zero)`
    : `${path} does not answer any more; its first block was made zero before and is written last`
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  if (signal.aborted) {
    return new SluiceError('SLUICE_FLASH_INTERRUPTED', `Stopped half-way; ${state}`, {
      hint: 'Start it again to get a whole card.',
      cause,
    })
  }
  if (cause instanceof SluiceError) {
    const hint = cause.hint === undefined ? {} : { hint: cause.hint }
    return new SluiceError(cause.code, `${cause.message}; ${state}`, { ...hint, cause })
  }
  const during = phase === 'write' ? 'writing' : 'reading back'
  if (LOST.has(code)) {
    return new SluiceError(
      'SLUICE_FLASH_DEVICE_LOST',
      `The card failed or was pulled while ${during} (${code}); ${state}`,
      {
        hint: 'Put it in again and start anew; if it fails once more the card or its reader is broken.',
        cause,
      },
    )
  }
  const why = cause instanceof Error ? cause.message : String(cause)
  return new SluiceError('SLUICE_FLASH_WRITE', `${path} could not be written (${code || why}); ${state}`, {
    hint: code === 'ENOSPC' ? 'It has less room than it says; use another one.' : 'Use another card or reader.',
    cause,
  })
}
