import { SluiceError } from '../../../api/errors.ts'
import { type Image, parseImage } from '../image.ts'
import type { FlashRegion } from './uf2.ts'

/** What a runner found at the other end, for a person and to compare with what is to be written. */
export interface FlashTarget {
  /** Name of the board, where it says so. */
  readonly board?: string
  readonly chip: string
  /** What runs on it. */
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

/** One way to bring firmware onto a board. Opened by its module; flashing always ends with reading back. */
export interface FlashRunner extends AsyncDisposable {
  readonly name: string
  /** Who is there. SLUICE_FW_FLASH_TARGET when nobody answers. */
  identify(signal: AbortSignal): Promise<FlashTarget>
  /** Writes, reads back and compares, and starts what was written. SLUICE_FW_FLASH_VERIFY when it differs. */
  flash(what: Firmware, options: FlashOptions): Promise<void>
}

/** What is to be flashed: raw bytes for addresses, or signed images of which the board takes the fitting one. */
export interface Firmware {
  /** Board it was built for. */
  readonly board: string
  readonly regions: readonly FlashRegion[]
  readonly images: readonly Uint8Array[]
}

export const bytesOf = (regions: readonly FlashRegion[]): number =>
  regions.reduce((sum, { bytes }) => sum + bytes.length, 0)

/** Throws SLUICE_FW_FLASH_TARGET where the board says that it is another one. */
export function refuseOther(target: FlashTarget, board: string): void {
  if (target.board === undefined || target.board === board) return
  throw new SluiceError('SLUICE_FW_FLASH_TARGET', `this is a ${target.board}, the firmware is for ${board}`, {
    hint: `Build it with --board ${target.board}, or name the port of the right board with --port.`,
  })
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
  throw new SluiceError('SLUICE_FW_FLASH_TARGET', `there is no image for the slot at 0x${slotAddress.toString(16)}`, {
    hint: 'Sign both variants: sluice fw sign.',
  })
}

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
