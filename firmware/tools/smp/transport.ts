import { type Clock, systemClock } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import { ConsoleDecoder, encodeConsole } from './console.ts'
import { SMP_HEADER_BYTES } from './packet.ts'

/** Carries one packet to a board and brings one back. Whether it answers the right question is the client's to see. */
export interface SmpTransport {
  /** Longest packet that goes through in one piece, in bytes. */
  readonly maxPacketBytes: number
  /**
   * Sends a packet and waits for one that `wanted` takes. Rejects with SLUICE_SMP_TIMEOUT when none comes in time, and with
   * the signal's reason when that aborts.
   */
  exchange(packet: Uint8Array, wanted: (packet: Uint8Array) => boolean, options: ExchangeOptions): Promise<Uint8Array>
}

export interface ExchangeOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/** Bytes both ways: a serial port, a pty, a TCP socket, a stream through the cloud. */
export interface ByteLine {
  write(bytes: Uint8Array): void | Promise<void>
  /** Calls back with every chunk until the returned function is called. */
  onData(listener: (chunk: Uint8Array) => void): () => void
}

export interface StreamOptions {
  /** `console`: lines of base64 that share a line with text. `raw`: packets as they are. Default `console`. */
  readonly framing?: 'console' | 'raw'
  readonly clock?: Clock
  /** Default 512 until the board says otherwise. */
  readonly maxPacketBytes?: number
}

export const timedOut = (timeoutMs: number): SluiceError =>
  new SluiceError('SLUICE_SMP_TIMEOUT', `the board did not answer within ${timeoutMs} ms`, {
    hint: 'Check the wire, the baud rate and the power; "sluice fw flash" finds boards that wait in recovery.',
  })

/** Raw packets out of a stream: the header says how long each is. What is no header is skipped byte by byte. */
class RawDecoder {
  readonly #onPacket: (packet: Uint8Array) => void
  readonly #maxBytes: number
  #bytes: Buffer = Buffer.alloc(0)

  constructor(onPacket: (packet: Uint8Array) => void, maxBytes: number) {
    this.#onPacket = onPacket
    this.#maxBytes = maxBytes
  }

  push(chunk: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    while (this.#bytes.length >= SMP_HEADER_BYTES) {
      const op = this.#bytes[0] ?? 0
      const size = SMP_HEADER_BYTES + this.#bytes.readUInt16BE(2)
      // Bits 5 to 7 are reserved, operations 1 and 3 are answers; anything else is not the beginning of one.
      if ((op & 0xe0) !== 0 || ((op & 7) !== 1 && (op & 7) !== 3) || size > this.#maxBytes) {
        this.#bytes = this.#bytes.subarray(1)
      } else if (this.#bytes.length < size) return
      else {
        this.#onPacket(Uint8Array.from(this.#bytes.subarray(0, size)))
        this.#bytes = this.#bytes.subarray(size)
      }
    }
  }
}

/** SMP over any line of bytes. One exchange at a time; what nobody waits for is dropped. */
export function streamTransport(line: ByteLine, options: StreamOptions = {}): SmpTransport & Disposable {
  const { framing = 'console', clock = systemClock, maxPacketBytes = 512 } = options
  let waiting: ((packet: Uint8Array) => void) | undefined
  const onPacket = (packet: Uint8Array) => waiting?.(packet)
  const decoder = framing === 'console' ? new ConsoleDecoder(onPacket) : new RawDecoder(onPacket, 4096)
  const stop = line.onData((chunk) => decoder.push(chunk))
  return {
    maxPacketBytes,
    async exchange(packet, wanted, { timeoutMs, signal }) {
      signal?.throwIfAborted()
      if (waiting !== undefined) throw new SluiceError('SLUICE_SMP_BUSY', 'the line to the board is in use')
      const answer = Promise.withResolvers<Uint8Array>()
      const onAbort = () => answer.reject(signal?.reason)
      const timer = clock.after(timeoutMs, () => answer.reject(timedOut(timeoutMs)))
      signal?.addEventListener('abort', onAbort, { once: true })
      waiting = (candidate) => {
        if (wanted(candidate)) answer.resolve(candidate)
      }
      try {
        const written = line.write(framing === 'console' ? encodeConsole(packet) : packet)
        return await Promise.race([answer.promise, Promise.resolve(written).then(() => answer.promise)])
      } finally {
        waiting = undefined
        timer.cancel()
        signal?.removeEventListener('abort', onAbort)
      }
    },
    [Symbol.dispose]: stop,
  }
}
