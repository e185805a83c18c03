import { SluiceError } from '../../../api/errors.ts'
import { type Image, parseImage } from '../image.ts'
import type { ByteLine } from '../smp/transport.ts'
import type { FlashRegion } from './uf2.ts'

/** What a runner found at the other end, for a person and to compare with what is to be written. */
export interface FlashTarget {
  /** Name of the board, where it says so. */
  readonly board?: string
  readonly chip: string
  /** Its processor, as gcc names it (`cortex-m3`), where that can be asked. */
  readonly processor?: string
  /** Product id of the chip, where it has one (STM32: 0x410). */
  readonly chipId?: number
  /** Board that the firmware in its flash is for: no proof of what the board is, but a reason to ask. */
  readonly holds?: string
  /** What runs on it, or lies in its slots. */
  readonly running?: string
}

export interface FlashProgress {
  readonly writtenBytes: number
  readonly totalBytes: number
  readonly bytesPerSecond: number
}

export interface FlashOptions {
  readonly signal: AbortSignal
  readonly onProgress: (progress: FlashProgress) => void
}

/** A line that is closed when the runner is done with it. */
export type OpenLine = ByteLine & AsyncDisposable

/** What there is still to do. */
export interface FlashOutcome {
  /** Digest of an image that runs on trial: the board goes back unless somebody confirms it. */
  readonly trial?: Uint8Array
}

/** One way to bring firmware onto a board. Opened by its module; flashing always ends with reading back. */
export interface FlashRunner extends AsyncDisposable {
  readonly name: string
  /** Who is there. SLUICE_FW_FLASH_TARGET when nobody answers. */
  identify(signal: AbortSignal): Promise<FlashTarget>
  /** Writes, reads back and compares, and starts what was written. SLUICE_FW_FLASH_VERIFY when it differs. */
  flash(what: Firmware, options: FlashOptions): Promise<FlashOutcome>
}

/** What is to be flashed: raw bytes for addresses, or signed images of which the board takes the fitting one. */
export interface Firmware {
  /** Board it was built for. */
  readonly board: string
  /** The board's processor and product id, where its file says them. */
  readonly processor?: string
  readonly chipId?: number
  readonly regions: readonly FlashRegion[]
  readonly images: readonly Uint8Array[]
}

export const bytesOf = (regions: readonly FlashRegion[]): number =>
  regions.reduce((sum, { bytes }) => sum + bytes.length, 0)

/**
 * Throws SLUICE_FW_FLASH_BOARD where the board, its processor or its chip says that it is another one. `replace`: firmware
 * of another board in its flash is nothing to stop at.
 */
export function refuseOther(
  target: FlashTarget,
  wanted: Pick<Firmware, 'board' | 'processor' | 'chipId'>,
  options: { readonly replace?: boolean; readonly hint?: string } = {},
): void {
  const { replace = true, hint } = options
  const other = (is: string, needs: string, advice: string): SluiceError =>
    new SluiceError('SLUICE_FW_FLASH_BOARD', `this is ${is}, the firmware is for ${needs}`, { hint: hint ?? advice })
  if (target.board !== undefined && target.board !== wanted.board)
    throw other(
      `a board of kind ${target.board}`,
      wanted.board,
      `Build it with --board ${target.board}, or name the port of the right board with --port.`,
    )
  if (target.processor !== undefined && wanted.processor !== undefined && target.processor !== wanted.processor)
    throw other(
      `a ${target.processor}`,
      `${wanted.board}, which has a ${wanted.processor}`,
      'Name the port of the right board with --port, or its kind with --board.',
    )
  if (target.chipId !== undefined && wanted.chipId !== undefined && target.chipId !== wanted.chipId)
    throw other(
      `chip 0x${target.chipId.toString(16)}`,
      `${wanted.board}, which has chip 0x${wanted.chipId.toString(16)}`,
      'Name the port of the right board with --port, or its kind with --board.',
    )
  if (!replace && target.holds !== undefined && target.holds !== wanted.board)
    throw other(
      `a board with firmware for ${target.holds}`,
      wanted.board,
      'Name the port of the right board with --port; where this is the one, --replace writes over what it has.',
    )
}

/** Throws SLUICE_FW_FLASH_VERIFY with the first byte that differs. */
export function compare(address: number, wanted: Uint8Array, found: Uint8Array): void {
  for (let at = 0; at < wanted.length; at++) {
    if (wanted[at] === found[at]) continue
    throw new SluiceError('SLUICE_FW_FLASH_VERIFY', `the flash differs at 0x${(address + at).toString(16)}`, {
      hint: 'Flash it once more; when it differs again, wire or flash are faulty.',
    })
  }
}

/** The image that is linked for a slot. */
export function imageForSlot(images: readonly Uint8Array[], slotAddress: number): { bytes: Uint8Array; image: Image } {
  for (const bytes of images) {
    const image = parseImage(bytes)
    if (image.slotAddress === slotAddress) return { bytes, image }
  }
  throw new SluiceError('SLUICE_FW_FLASH_IMAGE', `there is no image for the slot at 0x${slotAddress.toString(16)}`, {
    hint: 'Sign both variants: sluice fw sign.',
  })
}

/** Nobody is there. */
export const nobody = (where: string, hint: string): SluiceError =>
  new SluiceError('SLUICE_FW_FLASH_TARGET', `no board answers ${where}`, { hint })

/** Progress with a rate, from bytes that are written. */
export function progressOf(
  totalBytes: number,
  monotonicMs: () => number,
  onProgress: (progress: FlashProgress) => void,
): (writtenBytes: number) => void {
  const startedMs = monotonicMs()
  return (writtenBytes) => {
    const seconds = (monotonicMs() - startedMs) / 1000
    onProgress({ writtenBytes, totalBytes, bytesPerSecond: seconds > 0 ? writtenBytes / seconds : 0 })
  }
}
