import type { Clock } from '../../api/clock.ts'
import type { HciSieve } from './codec/hci-sieve.ts'

/**
 * Where nothing but advertisements comes, waking up for each of them costs more than decoding it. Reads then wait this
 * long after the one before: a thousand advertisements a second, more than the three channels carry, are 3 700 bytes in
 * that time, and the system's buffer holds 4 096.
 */
const CALM_MS = 80
/** So much in one read means that there may be more: the next one does not wait. */
const PLENTY_BYTES = 1024
/** Read at once: a few times what the system holds, and the start of an event that was kept back. */
const SCRATCH_BYTES = 16_384

export interface SievedReads {
  /** Somebody waits for an answer: what comes is read at once. */
  hurry(): void
}

/**
 * Puts a sieve before the reads of an open serial port, and makes them wait while `isCalm` says that nobody is waiting
 * for an answer. `port` is the binding of a `SerialPort`; anything else is left alone. `takeRest` gives what the parser
 * behind has of a packet that is not complete, and makes it forget that.
 */
export function sieveReads(
  port: unknown,
  clock: Clock,
  sieve: HciSieve,
  takeRest: () => Uint8Array,
  isCalm: () => boolean,
): SievedReads | undefined {
  const read: unknown = typeof port === 'object' && port !== null ? Reflect.get(port, 'read') : undefined
  if (typeof port !== 'object' || port === null || typeof read !== 'function') return undefined
  let hurry = nothing
  let lastMs = Number.NEGATIVE_INFINITY
  let plenty = false
  let first = true
  const readOnce = async (buffer: Uint8Array, offset: number, length: number): Promise<number> => {
    const waitMs = lastMs + CALM_MS - clock.monotonic()
    if (waitMs > 1 && !plenty && isCalm()) {
      await new Promise<void>((resolve) => {
        const timer = clock.after(waitMs, resolve, true)
        hurry = () => {
          timer.cancel()
          resolve()
        }
      })
    }
    lastMs = clock.monotonic()
    const result: unknown = await Reflect.apply(read, port, [buffer, offset, length])
    const bytesRead = Number(typeof result === 'object' && result !== null ? Reflect.get(result, 'bytesRead') : 0)
    plenty = bytesRead >= PLENTY_BYTES
    return bytesRead
  }
  // The binding of a port takes nothing but a Buffer.
  const scratch = Buffer.alloc(SCRATCH_BYTES)
  let sifted: Uint8Array = scratch.subarray(0, 0)
  Reflect.set(port, 'read', async (buffer: Uint8Array, offset: number, length: number) => {
    // A read that was under way before the sieve was put in has gone to the parser directly; it may hold half a packet.
    if (first) sieve.prepend(takeRest())
    first = false
    while (sifted.length === 0) {
      const held = sieve.restore(scratch, 0)
      const bytesRead = await readOnce(scratch, held, scratch.length - held)
      // Zero is the end of the stream.
      if (bytesRead === 0) return { buffer, bytesRead }
      sifted = scratch.subarray(0, sieve.sift(scratch, 0, held + bytesRead))
    }
    // A stream may ask for less than a packet.
    const bytesRead = Math.min(length, sifted.length)
    buffer.set(sifted.subarray(0, bytesRead), offset)
    sifted = sifted.subarray(bytesRead)
    return { buffer, bytesRead }
  })
  return { hurry: () => hurry() }
}

function nothing(): void {}
