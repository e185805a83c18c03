import type { SluiceError } from '../../api/errors.ts'

/** A pipe of bytes that is open: a TCP connection, a serial port, or a test's own. */
export interface ByteTransport {
  /** Sends the bytes; they are copied or gone when it returns. Errors come through `onClose`. */
  write(bytes: Uint8Array): void
  /** One listener; the chunk is only valid during the call. */
  onData(listener: (chunk: Uint8Array) => void): void
  /** One listener, called once, also after `close`; with the reason when it was not asked for. */
  onClose(listener: (reason: SluiceError | undefined) => void): void
  close(): void
  /**
   * RS-485 direction, where the transceiver must be told: called before a write and after its last bit.
   * Resolves when the line is ours to send on, or given back.
   */
  readonly direction?: { send(): Promise<void>; receive(): Promise<void> }
}

export type OpenTransport = (signal: AbortSignal) => Promise<ByteTransport>
