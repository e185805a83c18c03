import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { DeviceConfig, GattPoint } from './device-config.ts'
import type { BleLink, RemoteCharacteristic } from './transport.ts'

/** All points that live in one characteristic: one read serves them all. */
export interface CharacteristicGroup {
  readonly uuid: string
  readonly service: string | undefined
  readonly points: readonly GattPoint[]
  readonly notify: boolean
  readonly readable: boolean
  readonly everyMs: number
}

export function groupPoints(points: readonly GattPoint[]): readonly CharacteristicGroup[] {
  const groups = new Map<string, GattPoint[]>()
  for (const point of points) {
    const id = `${point.source.service ?? ''}/${point.source.characteristic}`
    groups.set(id, [...(groups.get(id) ?? []), point])
  }
  return [...groups.values()].map((members) => ({
    uuid: members[0]!.source.characteristic,
    service: members[0]!.source.service,
    points: members,
    notify: members.some(({ source }) => source.notify),
    readable: members.some(({ readable }) => readable),
    everyMs: members.reduce((fastest, { everyMs }) => Math.min(fastest, everyMs), Number.POSITIVE_INFINITY),
  }))
}

/** A connection with its characteristics known. */
export class GattSession {
  readonly link: BleLink
  readonly #config: DeviceConfig
  readonly #remote: readonly RemoteCharacteristic[]

  private constructor(config: DeviceConfig, link: BleLink, remote: readonly RemoteCharacteristic[]) {
    this.#config = config
    this.link = link
    this.#remote = remote
  }

  /** Learns what the device offers; disconnects when that fails. */
  static async open(config: DeviceConfig, link: BleLink, signal: AbortSignal): Promise<GattSession> {
    try {
      const remote = await link.discover({ timeoutMs: 2 * config.timeoutMs, signal })
      return new GattSession(config, link, remote)
    } catch (thrown) {
      await link.disconnect({ timeoutMs: config.timeoutMs })
      throw thrown
    }
  }

  find({ uuid, service }: Pick<CharacteristicGroup, 'uuid' | 'service'>): RemoteCharacteristic | undefined {
    return this.#remote.find((one) => one.uuid === uuid && (service === undefined || one.service === service))
  }

  /** @throws SluiceError; after a time-out the connection is ended, since no answer can be trusted to be its own. */
  async read(remote: RemoteCharacteristic, signal: AbortSignal): Promise<Uint8Array> {
    return this.#call(() => this.link.read(remote, { timeoutMs: this.#config.timeoutMs, signal }))
  }

  async write(
    remote: RemoteCharacteristic,
    bytes: Uint8Array,
    wish: 'withResponse' | 'withoutResponse' | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const response = wish === undefined ? remote.canWrite : wish === 'withResponse'
    if (!(response ? remote.canWrite : remote.canWriteWithoutResponse)) {
      throw new SluiceError(
        'SLUICE_BLE_REFUSED',
        `characteristic ${remote.uuid} cannot be written ${response ? 'with' : 'without'} response`,
        { hint: 'Leave out write: in the model, or correct the characteristic.' },
      )
    }
    await this.#call(() => this.link.write(remote, bytes, response, { timeoutMs: this.#config.timeoutMs, signal }))
    if (!response) await this.#flush(signal)
  }

  /**
   * A write without response is still in our buffers when it returns, and lost if the connection ends then. A device
   * handles requests in order, so the answer to a later read says that it got this far.
   */
  async #flush(signal: AbortSignal): Promise<void> {
    const readable = this.#remote.find(({ canRead }) => canRead)
    if (readable === undefined) return
    try {
      await this.read(readable, signal)
    } catch (thrown) {
      // A refusal is an answer, too.
      if (toSluiceError(thrown).code !== 'SLUICE_BLE_REFUSED') throw thrown
    }
  }

  subscribe(remote: RemoteCharacteristic, listener: (bytes: Uint8Array) => void, signal: AbortSignal): Promise<void> {
    return this.#call(() => this.link.subscribe(remote, listener, { timeoutMs: this.#config.timeoutMs, signal }))
  }

  async close(): Promise<void> {
    await this.link.disconnect({ timeoutMs: this.#config.timeoutMs })
  }

  async #call<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (thrown) {
      const error = toSluiceError(thrown)
      if (error.code === 'SLUICE_BLE_TIMEOUT') await this.close()
      throw error
    }
  }
}
