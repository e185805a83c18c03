import { delay } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import { matchesDesired } from '../../api/twin/twin.ts'
import type { GatewayHost, WriteCommand, WriteOutcome } from '../sdk/mapper.ts'
import { untilAborted } from '../sdk/until-aborted.ts'
import { mismatch, READ_BACK_WAITS_MS, rejected, retryWaitMs, type Waiting, WriteQueue } from '../sdk/write-queue.ts'
import type { GattPoint } from './device-config.ts'
import type { GattClient } from './gatt-client.ts'
import type { GattSession } from './gatt-session.ts'
import type { Point } from './point.ts'
import type { Radio } from './radio.ts'

/** Writes to one device, one after the other in the order they were wished for. */
export class BleWriter {
  readonly #client: GattClient
  readonly #radio: Radio
  readonly #host: GatewayHost
  readonly #queue: WriteQueue

  constructor(client: GattClient, radio: Radio, host: GatewayHost) {
    this.#client = client
    this.#radio = radio
    this.#host = host
    this.#queue = new WriteQueue('ble', host)
  }

  dispose(): void {
    this.#queue[Symbol.dispose]()
  }

  write(point: Point, command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    const bytes = point.encode(command.value)
    if (!(bytes instanceof Uint8Array)) return Promise.resolve(rejected(this.#host, bytes.code, bytes.reason))
    if (point.source.kind !== 'gatt') {
      const reason = `${point.name} comes from advertisements, which cannot be written`
      return Promise.resolve(rejected(this.#host, 'SLUICE_WRITE_READ_ONLY', reason))
    }
    const gattPoint = { ...point, source: point.source }
    return this.#queue.run(command, signal, (stop, waiting) => this.#attempts(gattPoint, bytes, command, stop, waiting))
  }

  async #attempts(
    point: GattPoint,
    bytes: Uint8Array,
    command: WriteCommand,
    stop: AbortSignal,
    ended: Waiting,
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
          return rejected(this.#host, 'SLUICE_WRITE_REFUSED', `${point.name}: ${error.message}`)
        }
        ended.reason = error.message
      }
      await delay(this.#host.clock, retryWaitMs(attempt), stop)
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
      if (waitMs === undefined) return mismatch(this.#host, command, got)
      await delay(this.#host.clock, waitMs, stop)
    }
  }
}
