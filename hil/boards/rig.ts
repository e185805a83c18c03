import type { FirmwareBuild } from '../../firmware/tools/build.ts'

/** How a line of a board is reached: a path foreign code opens, a TCP port, or bytes in this process. */
export type LineKind = 'pty' | 'tcp' | 'stream'

/** One serial line of a board. What is not there for its kind is undefined. */
export interface BoardLine {
  readonly kind: LineKind
  /** `pty`: a stable name, also over a power cut. */
  readonly path?: string
  /** `tcp`: on the loopback; the port changes with every power-on. */
  readonly tcp?: { readonly host: string; readonly port: number }
  /** `stream`: bytes for the board. */
  write(bytes: Uint8Array): void
  /** `stream`: what the board says. One listener. */
  onData(listener: (chunk: Uint8Array) => void): void
}

/** Bytes for the memory of a board before it starts. */
export interface MemoryImage {
  /** As the processor sees it. */
  readonly address: number
  readonly bytes: Uint8Array
}

/**
 * A board under test, emulated or real. What a kind of rig cannot do rejects with SLUICE_HIL_RIG_CANNOT, so that a test
 * written for all says what it needs.
 */
export interface BoardRig extends AsyncDisposable {
  readonly kind: 'qemu' | 'rp2040js' | 'host' | 'serial'
  readonly board: string
  readonly lines: readonly BoardLine[]
  /** The reset pin: RAM stays, flash stays. */
  reset(): Promise<void>
  /** The processor stands still; bytes that come are kept or lost as the part has it. */
  hang(): Promise<void>
  resume(): Promise<void>
  /** No orderly end: what was not in the flash is gone. Lines hang up. */
  powerCut(): Promise<void>
  powerOn(): Promise<void>
  /** The whole flash of the board's `flash` region. */
  readFlash(): Promise<Uint8Array>
  /** Changes flash behind the firmware's back, as a bit error would. `address` as the processor sees it. */
  writeFlash(address: number, bytes: Uint8Array): Promise<void>
  /** A temperature sensor TMP105 at 0x48 of the first I2C bus, degrees Celsius. */
  setTemperature(celsius: number): Promise<void>
}

export interface RigOptions {
  /** What the board runs; its board says which rig fits. */
  readonly build: FirmwareBuild
  /** One a serial line, in order. Default one `pty`. */
  readonly lines?: readonly LineKind[]
  /** More than the program: images in slots, settings. */
  readonly memory?: readonly MemoryImage[]
  /** With a TMP105 on the first I2C bus (`mps2-an385` only). */
  readonly sensor?: boolean
}
