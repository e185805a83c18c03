import { delay } from '../../api/clock.ts'
import type { Json } from '../../api/resources.ts'
import { matchesDesired } from '../../api/twin/twin.ts'
import type { MapperHost, WriteCommand, WriteOutcome } from '../sdk/mapper.ts'
import { Unusable } from '../sdk/no-value.ts'
import { untilAborted } from '../sdk/until-aborted.ts'
import { mismatch, READ_BACK_WAITS_MS, rejected, retryWaitMs, type Waiting, WriteQueue } from '../sdk/write-queue.ts'
import type { DeviceConfig } from './device-config.ts'
import type { Exchanged } from './exchange.ts'
import type { Failure } from './failure.ts'
import type { Encoded, Point, WriteTarget } from './point.ts'
import type { UnitPoller } from './poller.ts'
import { MAX_EXPONENT } from './scale-register.ts'
import type { ServedLink } from './served-link.ts'
import { writeEncoded } from './write-requests.ts'

type Sent = { readonly sent: true } | { readonly sent: false; readonly outcome: WriteOutcome }

/** Writes to one device, one after the other in the order they were wished for. */
export class UnitWriter {
  readonly #config: DeviceConfig
  readonly #poller: UnitPoller
  readonly #link: ServedLink
  readonly #host: MapperHost
  readonly #queue: WriteQueue
  /** What the device said of its powers of ten when it was last written. */
  readonly #exponents = new Map<Point, number>()

  constructor(config: DeviceConfig, poller: UnitPoller, link: ServedLink, host: MapperHost) {
    this.#config = config
    this.#poller = poller
    this.#link = link
    this.#host = host
    this.#queue = new WriteQueue('modbus', host)
  }

  /** Whatever still waits ends as rejected. */
  dispose(): void {
    this.#queue[Symbol.dispose]()
  }

  write(point: Point, command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    // The device itself knows its power of ten. What does not fit with the largest one does not fit at all, and what is
    // outside the limits of the property needs none: neither goes to the wire.
    const encoded = point.encode(command.value, point.exponent === undefined ? undefined : MAX_EXPONENT)
    if ('code' in encoded) return Promise.resolve(rejected(this.#host, encoded.code, encoded.reason))
    const { write } = point
    if (write === undefined) {
      return Promise.resolve(
        rejected(
          this.#host,
          'SLUICE_WRITE_READ_ONLY',
          `${point.name} lives in the ${point.table} table, which cannot be written`,
        ),
      )
    }
    return this.#queue.run(command, signal, async (stop, waiting) => {
      const scaled = point.exponent === undefined ? encoded : await this.#encodeScaled(point, command, stop, waiting)
      if ('state' in scaled) return scaled
      const sent = await this.#send(point, { write, encoded: scaled }, stop, waiting)
      return sent.sent ? await this.#confirm(point, scaled, command, stop, waiting) : sent.outcome
    })
  }

  /** Asks the device for the power of ten first. Throws when `stop` aborts. */
  async #encodeScaled(
    point: Point,
    command: WriteCommand,
    stop: AbortSignal,
    waiting: Waiting,
  ): Promise<Encoded | WriteOutcome> {
    for (let attempt = 0; ; attempt++) {
      await untilAborted(this.#link.whenUp(), stop)
      const result = await this.#inTurn(stop, () => this.#poller.readNow(point, stop))
      stop.throwIfAborted()
      if (result.ok) {
        const exponent = exponentIn(point, result)
        if (exponent instanceof Unusable) {
          return rejected(this.#host, 'SLUICE_WRITE_REFUSED', `${point.name}: ${exponent.reason}`)
        }
        this.#exponents.set(point, exponent)
        const encoded = point.encode(command.value, exponent)
        return 'code' in encoded ? rejected(this.#host, encoded.code, encoded.reason) : encoded
      }
      waiting.reason = result.failure.reason
      if (result.failure.kind === 'refused') {
        return rejected(this.#host, 'SLUICE_WRITE_REFUSED', `${point.name}: ${result.failure.reason}`)
      }
      await this.#pause(result.failure, attempt, stop)
    }
  }

  /** Repeats until the device took it or refused it. Throws when `stop` aborts. */
  async #send(
    point: Point,
    what: { write: WriteTarget; encoded: Encoded },
    stop: AbortSignal,
    ended: Waiting,
  ): Promise<Sent> {
    for (let attempt = 0; ; attempt++) {
      await untilAborted(this.#link.whenUp(), stop)
      const result = await this.#inTurn(stop, async () => {
        // Nothing is written into registers that may mean something else.
        const doubt = await this.#poller.check?.verify(stop)
        return doubt ?? writeEncoded(this.#poller.exchange, this.#config, what, stop)
      })
      stop.throwIfAborted()
      if (result.ok || result.failure.exception === 5) return { sent: true }
      ended.reason = result.failure.reason
      if (result.failure.kind === 'refused') {
        const reason = `${point.name}: ${result.failure.reason}`
        return { sent: false, outcome: rejected(this.#host, 'SLUICE_WRITE_REFUSED', reason) }
      }
      await this.#pause(result.failure, attempt, stop)
    }
  }

  async #confirm(
    point: Point,
    encoded: Encoded,
    command: WriteCommand,
    stop: AbortSignal,
    ended: Waiting,
  ): Promise<WriteOutcome> {
    if (!point.readBack) return { state: 'applied', atMs: this.#host.clock.now() }
    ended.reason = 'written, but the device did not confirm it'
    let mismatches = 0
    for (let attempt = 0; ; attempt++) {
      const result = await this.#inTurn(stop, () => this.#poller.readNow(point, stop))
      if (result.ok) {
        const range = { table: point.table, start: point.start, count: point.size }
        const got = this.#poller.deliver([point], range, result)[0]?.value
        if (got !== undefined && this.#confirms(point, encoded, command.value, got)) {
          return { state: 'applied', readBack: got, atMs: result.atMs }
        }
        const waitMs = READ_BACK_WAITS_MS[mismatches++]
        if (waitMs === undefined) return mismatch(this.#host, command, got)
        await delay(this.#host.clock, waitMs, stop)
        continue
      }
      if (result.failure.kind === 'refused') {
        return rejected(
          this.#host,
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
    const again = point.encode(got, this.#exponents.get(point))
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
    const waitMs = failure.kind === 'busy' ? this.#config.busyWaitMs : retryWaitMs(attempt)
    await delay(clock, waitMs, stop)
  }
}

function exponentIn(point: Point, { reply: { response } }: Exchanged & { readonly ok: true }): number | Unusable {
  if (response.fc !== 3 && response.fc !== 4) return new Unusable('bad-scale', 'its scale register could not be read')
  const { buffer, byteOffset, byteLength } = response.registers
  return point.exponent!(new DataView(buffer, byteOffset, byteLength), 0)
}

function sameBits(a: Encoded, b: Encoded): boolean {
  if (a.kind === 'coil' || b.kind === 'coil') return a.kind === 'coil' && b.kind === 'coil' && a.value === b.value
  return a.values.length === b.values.length && a.values.every((register, index) => register === b.values[index])
}
