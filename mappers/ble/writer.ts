import { delay } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import { matchesDesired } from '../../api/twin/twin.ts'
import type { GatewayHost, WriteCommand, WriteOutcome } from '../sdk/mapper.ts'
import type { GattPoint } from './device-config.ts'
import type { GattClient } from './gatt-client.ts'
import type { GattSession } from './gatt-session.ts'
import type { Point } from './point.ts'
import type { Radio } from './radio.ts'
import { untilAborted } from './wait.ts'

const READ_BACK_WAITS_MS = [50, 200, 500, 1000]
const RETRY_MIN_MS = 250
const RETRY_MAX_MS = 5000

/** Writes to one device, one after the other in the order they were wished for. */
export class BleWriter {
  readonly #client: GattClient
  readonly #radio: Radio
  readonly #host: GatewayHost
  readonly #closing = new AbortController()
  #last: Promise<unknown> = Promise.resolve()

  constructor(client: GattClient, radio: Radio, host: GatewayHost) {
    this.#client = client
    this.#radio = radio
    this.#host = host
  }

  dispose(): void {
    this.#closing.abort()
  }

  write(point: Point, command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    const bytes = point.encode(command.value)
    if (!(bytes instanceof Uint8Array)) return Promise.resolve(this.#rejected(bytes.code, bytes.reason))
    if (point.source.kind !== 'gatt') {
      const reason = `${point.name} comes from advertisements, which cannot be written`
      return Promise.resolve(this.#rejected('SLUICE_WRITE_READ_ONLY', reason))
    }
    const outcome = this.#guarded({ ...point, source: point.source }, bytes, command, signal, this.#last)
    this.#last = outcome
    return outcome
  }

  async #guarded(
    point: GattPoint,
    bytes: Uint8Array,
    command: WriteCommand,
    signal: AbortSignal,
    before: Promise<unknown>,
  ): Promise<WriteOutcome> {
    const { clock } = this.#host
    const leftMs = command.deadlineMs - clock.monotonic()
    if (leftMs <= 0) return this.#timedOut('the deadline had passed before the write could start')
    const deadline = new AbortController()
    const timer = clock.after(leftMs, () => deadline.abort())
    const stop = AbortSignal.any([signal, deadline.signal, this.#closing.signal])
    const ended = { reason: 'waiting for earlier writes to the device' }
    try {
      await untilAborted(before, stop)
      return await this.#attempts(point, bytes, command, stop, ended)
    } catch (error) {
      if (deadline.signal.aborted) return this.#timedOut(`not applied by its deadline: ${ended.reason}`)
      if (signal.aborted) return this.#rejected('SLUICE_WRITE_SUPERSEDED', 'a newer desired value took its place')
      if (this.#closing.signal.aborted) {
        return this.#rejected('SLUICE_WRITE_NOT_SERVED', 'the device was changed or removed meanwhile')
      }
      this.#host.log('error', `ble: write to ${command.device} failed`, { reason: String(error) })
      return this.#rejected('SLUICE_INTERNAL', String(error))
    } finally {
      timer.cancel()
    }
  }

  async #attempts(
    point: GattPoint,
    bytes: Uint8Array,
    command: WriteCommand,
    stop: AbortSignal,
    ended: { reason: string },
  ): Promise<WriteOutcome> {
    for (let attempt = 0; ; attempt++) {
      ended.reason = this.#radio.downReason ?? 'waiting for a connection'
      await untilAborted(this.#radio.whenUp(), stop)
      try {
        return await this.#client.within(stop, (session) => this.#apply(session, point, bytes, command, stop))
      } catch (thrown) {
        stop.throwIfAborted()
        const error = toSluiceError(thrown)
        if (error.code === 'SLUICE_BLE_REFUSED') {
          return this.#rejected('SLUICE_WRITE_REFUSED', `${point.name}: ${error.message}`)
        }
        ended.reason = error.message
      }
      await delay(this.#host.clock, Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** attempt), stop)
    }
  }

  async #apply(
    session: GattSession,
    point: GattPoint,
    bytes: Uint8Array,
    command: WriteCommand,
    stop: AbortSignal,
  ): Promise<WriteOutcome> {
    const { characteristic: uuid, service, write } = point.source
    const remote = session.find({ uuid, service })
    if (remote === undefined) {
      throw new SluiceError('SLUICE_BLE_REFUSED', `the device has no characteristic ${uuid}`, {
        hint: 'Correct the UUID in the model.',
      })
    }
    await session.write(remote, bytes, write, stop)
    if (!point.readBack || !remote.canRead) return { state: 'applied', atMs: this.#host.clock.now() }
    for (let attempt = 0; ; attempt++) {
      const [reading] = this.#client.deliver([point], await session.read(remote, stop))
      const got = reading?.value
      if (got !== undefined && matchesDesired(command.value, got, point.tolerance)) {
        return { state: 'applied', readBack: got, atMs: this.#host.clock.now() }
      }
      const waitMs = READ_BACK_WAITS_MS[attempt]
      if (waitMs === undefined) {
        const kept = got === undefined ? 'nothing readable' : JSON.stringify(got)
        return this.#rejected(
          'SLUICE_WRITE_MISMATCH',
          `${point.name} was written as ${JSON.stringify(command.value)}, the device has ${kept}`,
        )
      }
      await delay(this.#host.clock, waitMs, stop)
    }
  }

  #rejected(code: string, reason: string): WriteOutcome {
    return { state: 'rejected', code, reason, atMs: this.#host.clock.now() }
  }

  #timedOut(reason: string): WriteOutcome {
    return { state: 'timedOut', reason, atMs: this.#host.clock.now() }
  }
}
