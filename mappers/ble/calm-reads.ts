import type { Clock } from '../../api/clock.ts'

/**
 * Where nothing but advertisements comes, waking up for each of them costs more than decoding it. Reads then wait this
 * long after the one before: a thousand advertisements a second, more than the three channels carry, are 2 300 bytes in
 * that time, and the system's buffer holds 4 096.
 */
const CALM_MS = 50
/** So much in one read means that there may be more: the next one does not wait. */
const PLENTY_BYTES = 1024

/**
 * Makes the reads of an open serial port wait while `isCalm` says that nobody is waiting for an answer. `port` is the
 * binding of a `SerialPort`; anything else is left alone.
 */
export function calmReads(port: unknown, clock: Clock, isCalm: () => boolean): { hurry(): void } {
  const read: unknown = typeof port === 'object' && port !== null ? Reflect.get(port, 'read') : undefined
  let hurry = nothing
  if (typeof port !== 'object' || port === null || typeof read !== 'function') return { hurry }
  let lastMs = Number.NEGATIVE_INFINITY
  let plenty = false
  Reflect.set(port, 'read', async (...values: unknown[]): Promise<unknown> => {
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
    const result: unknown = await Reflect.apply(read, port, values)
    plenty = typeof result === 'object' && result !== null && Number(Reflect.get(result, 'bytesRead')) >= PLENTY_BYTES
    return result
  })
  return { hurry: () => hurry() }
}

function nothing(): void {}
