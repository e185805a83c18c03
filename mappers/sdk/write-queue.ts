import type { MapperHost, WriteCommand, WriteOutcome } from './mapper.ts'
import { untilAborted } from './until-aborted.ts'

/** Waits before reading back again: some devices take a moment to apply what they accepted. */
export const READ_BACK_WAITS_MS: readonly number[] = [50, 200, 500, 1000]

const RETRY_MIN_MS = 250
const RETRY_MAX_MS = 5000

/** How long to wait before attempt number `attempt + 2`. */
export const retryWaitMs = (attempt: number): number => Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** attempt)

type HasClock = Pick<MapperHost, 'clock'>

export const rejected = ({ clock }: HasClock, code: string, reason: string): WriteOutcome => ({
  state: 'rejected',
  code,
  reason,
  atMs: clock.now(),
})

export const timedOut = ({ clock }: HasClock, reason: string): WriteOutcome => ({
  state: 'timedOut',
  reason,
  atMs: clock.now(),
})

export const superseded = (host: HasClock): WriteOutcome =>
  rejected(host, 'SLUICE_WRITE_SUPERSEDED', 'a newer desired value took its place')

/** A write the device took and does not show. `got`: what it shows instead, undefined for nothing readable. */
export const mismatch = (host: HasClock, { property, value }: WriteCommand, got: unknown): WriteOutcome => {
  const kept = got === undefined ? 'nothing readable' : JSON.stringify(got)
  const reason = `${property} was written as ${JSON.stringify(value)}, the device has ${kept}`
  return rejected(host, 'SLUICE_WRITE_MISMATCH', reason)
}

/** What a write is waiting for, in words; told when its deadline passes. */
export interface Waiting {
  reason: string
}

/** Writes to one device, one after the other in the order they were wished for, each with its own deadline. */
export class WriteQueue implements Disposable {
  readonly #protocol: string
  readonly #host: MapperHost
  readonly #closing = new AbortController()
  #last: Promise<unknown> = Promise.resolve()

  constructor(protocol: string, host: MapperHost) {
    this.#protocol = protocol
    this.#host = host
  }

  /** Whatever still waits ends as rejected. */
  [Symbol.dispose](): void {
    this.#closing.abort()
  }

  /**
   * Runs `work` when all earlier ones have ended. Its signal aborts at the deadline, when a newer value took the place
   * (`signal`), and when the device goes; what it throws then becomes the outcome. Never rejects.
   */
  run(
    command: WriteCommand,
    signal: AbortSignal,
    work: (stop: AbortSignal, waiting: Waiting) => Promise<WriteOutcome>,
  ): Promise<WriteOutcome> {
    const outcome = this.#guarded(command, signal, work, this.#last)
    this.#last = outcome
    return outcome
  }

  async #guarded(
    command: WriteCommand,
    signal: AbortSignal,
    work: (stop: AbortSignal, waiting: Waiting) => Promise<WriteOutcome>,
    before: Promise<unknown>,
  ): Promise<WriteOutcome> {
    const { clock } = this.#host
    const leftMs = command.deadlineMs - clock.monotonic()
    if (leftMs <= 0) return timedOut(this.#host, 'the deadline had passed before the write could start')
    const deadline = new AbortController()
    const timer = clock.after(leftMs, () => deadline.abort())
    const stop = AbortSignal.any([signal, deadline.signal, this.#closing.signal])
    const waiting: Waiting = { reason: 'waiting for earlier writes to the device' }
    try {
      await untilAborted(before, stop)
      return await work(stop, waiting)
    } catch (error) {
      if (deadline.signal.aborted) return timedOut(this.#host, `not applied by its deadline: ${waiting.reason}`)
      if (signal.aborted) return superseded(this.#host)
      if (this.#closing.signal.aborted) {
        return rejected(this.#host, 'SLUICE_WRITE_NOT_SERVED', 'the device was changed or removed meanwhile')
      }
      this.#host.log('error', `${this.#protocol}: write to ${command.device} failed`, { reason: String(error) })
      return rejected(this.#host, 'SLUICE_INTERNAL', String(error))
    } finally {
      timer.cancel()
    }
  }
}
