import type { Clock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'

/** How long a caller waits, and whether it still wants to. */
export interface Patience {
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

/**
 * Gives a call that may never settle an end of our own: rejects with `SLUICE_BLE_TIMEOUT` after `timeoutMs` and with
 * `SLUICE_BLE_CANCELLED` when the signal aborts. `giveUp` is called in both cases, to stop what was started; whatever
 * the call does later is ignored.
 */
export function withDeadline<T>(
  clock: Clock,
  { timeoutMs, signal }: Patience,
  what: string,
  start: () => Promise<T>,
  giveUp?: () => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    if (signal?.aborted) return reject(cancelled(what))
    const end = () => {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
    }
    const stop = (error: SluiceError) => {
      end()
      reject(error)
      try {
        giveUp?.()
      } catch {
        // Stopping what hangs may fail too; the caller has its answer.
      }
    }
    const onAbort = () => stop(cancelled(what))
    const timer = clock.after(timeoutMs, () =>
      stop(
        new SluiceError('SLUICE_BLE_TIMEOUT', `${what}: no answer within ${Math.round(timeoutMs)} ms`, {
          hint: 'The device may be out of range, asleep or busy with another central.',
        }),
      ),
    )
    signal?.addEventListener('abort', onAbort, { once: true })
    start().then(
      (value) => {
        end()
        resolve(value)
      },
      (error) => {
        end()
        reject(error)
      },
    )
  })
}

const cancelled = (what: string) =>
  new SluiceError('SLUICE_BLE_CANCELLED', `${what}: given up`, {
    hint: 'A newer wish replaced it, or the device left.',
  })
