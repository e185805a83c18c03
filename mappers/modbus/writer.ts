import { delay } from '../../api/clock.ts'
import type { Json } from '../../api/resources.ts'
import { matchesDesired } from '../../api/twin/twin.ts'
import type { MapperHost, WriteCommand, WriteOutcome } from '../sdk/mapper.ts'
import type { DeviceConfig } from './device-config.ts'
import type { Exchanged } from './exchange.ts'
import type { Failure } from './failure.ts'
import type { Encoded, Point, WriteTarget } from './point.ts'
import type { UnitPoller } from './poller.ts'
import type { ServedLink } from './served-link.ts'
import { writeEncoded } from './write-requests.ts'

const RETRY_MIN_MS = 250
const RETRY_MAX_MS = 5000
/** Waits before reading back again: some devices take a moment to apply what they accepted. */
const READ_BACK_WAITS_MS = [50, 200, 500, 1000]

type Sent = { readonly sent: true } | { readonly sent: false; readonly outcome: WriteOutcome }

/** Writes to one device, one after the other in the order they were wished for. */
export class UnitWriter {
  readonly #config: DeviceConfig
  readonly #poller: UnitPoller
  readonly #link: ServedLink
  readonly #host: MapperHost
  readonly #closing = new AbortController()
  #last: Promise<unknown> = Promise.resolve()

  constructor(config: DeviceConfig, poller: UnitPoller, link: ServedLink, host: MapperHost) {
    this.#config = config
    this.#poller = poller
    this.#link = link
    this.#host = host
  }

  /** Whatever still waits ends as rejected. */
  dispose(): void {
    this.#closing.abort()
  }

  write(point: Point, command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    const encoded = point.encode(command.value)
    if ('code' in encoded) return Promise.resolve(this.#rejected(encoded.code, encoded.reason))
    const { write } = point
    if (write === undefined) {
      return Promise.resolve(
        this.#rejected(
          'SLUICE_WRITE_READ_ONLY',
          `${point.name} lives in the ${point.table} table, which cannot be written`,
        ),
      )
    }
    const before = this.#last
    const outcome = this.#guarded(point, { write, encoded }, command, signal, before)
    this.#last = outcome
    return outcome
  }

  async #guarded(
    point: Point,
    what: { write: WriteTarget; encoded: Encoded },
    command: WriteCommand,
    signal: AbortSignal,
    before: Promise<unknown>,
  ): Promise<WriteOutcome> {
    const { clock } = this.#host
    const deadline = new AbortController()
    const leftMs = command.deadlineMs - clock.monotonic()
    if (leftMs <= 0) return this.#timedOut('the deadline had passed before the write could start')
    const timer = clock.after(leftMs, () => deadline.abort())
    const stop = AbortSignal.any([signal, deadline.signal, this.#closing.signal])
    const ended = { reason: 'waiting for earlier writes to the device' }
    try {
      await untilAborted(before, stop)
      const sent = await this.#send(point, what, stop, ended)
      if (!sent.sent) return sent.outcome
      return await this.#confirm(point, what.encoded, command.value, stop, ended)
    } catch (error) {
      if (deadline.signal.aborted) return this.#timedOut(`not applied by its deadline: ${ended.reason}`)
      if (signal.aborted) return this.#rejected('SLUICE_WRITE_SUPERSEDED', 'a newer desired value took its place')
      if (this.#closing.signal.aborted) {
        return this.#rejected('SLUICE_WRITE_NOT_SERVED', 'the device was changed or removed meanwhile')
      }
      this.#host.log('error', `modbus: write to ${command.device} failed`, { reason: String(error) })
      return this.#rejected('SLUICE_INTERNAL', String(error))
    } finally {
      timer.cancel()
    }
  }

  /** Repeats until the device took it or refused it. Throws when `stop` aborts. */
  async #send(
    point: Point,
    what: { write: WriteTarget; encoded: Encoded },
    stop: AbortSignal,
    ended: { reason: string },
  ): Promise<Sent> {
    for (let attempt = 0; ; attempt++) {
      await untilAborted(this.#link.whenUp(), stop)
      const result = await this.#inTurn(stop, () => writeEncoded(this.#poller.exchange, this.#config, what, stop))
      stop.throwIfAborted()
      if (result.ok || result.failure.exception === 5) return { sent: true }
      ended.reason = result.failure.reason
      if (result.failure.kind === 'refused') {
        const reason = `${point.name}: ${result.failure.reason}`
        return { sent: false, outcome: this.#rejected('SLUICE_WRITE_REFUSED', reason) }
      }
      await this.#pause(result.failure, attempt, stop)
    }
  }

  async #confirm(
    point: Point,
    encoded: Encoded,
    wanted: Json,
    stop: AbortSignal,
    ended: { reason: string },
  ): Promise<WriteOutcome> {
    if (!point.readBack) return { state: 'applied', atMs: this.#host.clock.now() }
    ended.reason = 'written, but the device did not confirm it'
    let mismatches = 0
    for (let attempt = 0; ; attempt++) {
      const result = await this.#inTurn(stop, () => this.#poller.readNow(point, stop))
      if (result.ok) {
        const range = { table: point.table, start: point.start, count: point.size }
        const got = this.#poller.deliver([point], range, result)[0]?.value
        if (got !== undefined && this.#confirms(point, encoded, wanted, got)) {
          return { state: 'applied', readBack: got, atMs: result.atMs }
        }
        const waitMs = READ_BACK_WAITS_MS[mismatches++]
        if (waitMs === undefined) {
          const kept = got === undefined ? 'nothing readable' : JSON.stringify(got)
          return this.#rejected(
            'SLUICE_WRITE_MISMATCH',
            `${point.name} was written as ${JSON.stringify(wanted)}, the device has ${kept}`,
          )
        }
        await delay(this.#host.clock, waitMs, stop)
        continue
      }
      if (result.failure.kind === 'refused') {
        return this.#rejected(
          'SLUICE_WRITE_MISMATCH',
          `${point.name} was written but cannot be read back: ${result.failure.reason}`,
        )
      }
      await this.#pause(result.failure, attempt, stop)
      await untilAborted(this.#link.whenUp(), stop)
    }
  }

  #confirms(point: Point, encoded: Encoded, wanted: Json, got: Json): boolean {
    if (matchesDesired(wanted, got, point.tolerance)) return true
    // A value between two steps of the device's resolution comes back as the step it became.
    const again = point.encode(got)
    return 'kind' in again && again.kind === encoded.kind && sameBits(again, encoded)
  }

  /** Before every read; a device that is being left alone is tried at once, this is a probe as good as any. */
  #inTurn(stop: AbortSignal, run: () => Promise<Exchanged>): Promise<Exchanged> {
    return this.#link.scheduler.once(
      'write',
      () => {
        const { breaker } = this.#poller.exchange
        const nowMs = this.#host.clock.monotonic()
        breaker.hurry(nowMs)
        breaker.takeProbe(nowMs)
        return run()
      },
      stop,
    )
  }

  async #pause(failure: Failure, attempt: number, stop: AbortSignal): Promise<void> {
    const { clock } = this.#host
    const waitMs =
      failure.kind === 'busy' ? this.#config.busyWaitMs : Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** attempt)
    await delay(clock, waitMs, stop)
  }

  #rejected(code: string, reason: string): WriteOutcome {
    return { state: 'rejected', code, reason, atMs: this.#host.clock.now() }
  }

  #timedOut(reason: string): WriteOutcome {
    return { state: 'timedOut', reason, atMs: this.#host.clock.now() }
  }
}

function sameBits(a: Encoded, b: Encoded): boolean {
  if (a.kind === 'coil' || b.kind === 'coil') return a.kind === 'coil' && b.kind === 'coil' && a.value === b.value
  return a.values.length === b.values.length && a.values.every((register, index) => register === b.values[index])
}

/** Waits for `promise` (whatever becomes of it), or throws the signal's reason as soon as it aborts. */
function untilAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    const done = () => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }
    promise.then(done, done)
  })
}
