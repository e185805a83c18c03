import type { Characteristic, Peripheral } from '@stoprocent/noble'
import type { Clock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { shortUuid } from './codec/uuid.ts'
import { type Patience, withDeadline } from './guard.ts'
import type { BleLink, RemoteCharacteristic } from './transport.ts'

const DISCONNECT_MS = 2000
/** Attribute Protocol, Vol 3 Part F 3.2.8. */
const SMALLEST_MTU = 23

/** What noble threw, in our words: `SLUICE_BLE_DISCONNECTED` or `SLUICE_BLE_REFUSED`. */
export const refused = (mac: string, what: string, thrown: unknown): SluiceError => {
  const reason = thrown instanceof Error ? thrown.message : String(thrown)
  const gone = /disconnect|not connected|cleanup/i.test(reason)
  return gone
    ? new SluiceError('SLUICE_BLE_DISCONNECTED', `${what}: ${mac} disconnected (${reason})`, {
        hint: 'It is connected again by itself.',
        cause: thrown,
      })
    : new SluiceError('SLUICE_BLE_REFUSED', `${what}: ${mac} refused (${reason})`, {
        hint: 'See what the characteristic allows, and whether the device wants to be paired first.',
        cause: thrown,
      })
}

/** One connection of noble's, every call with a deadline of our own. */
export class NobleLink implements BleLink {
  readonly mac: string
  readonly ended: Promise<string>
  readonly #peripheral: Peripheral
  readonly #clock: Clock
  readonly #characteristics = new Map<RemoteCharacteristic, Characteristic>()
  readonly #end = Promise.withResolvers<string>()
  #connected = true
  #last: Promise<unknown> = Promise.resolve()

  constructor(mac: string, peripheral: Peripheral, clock: Clock) {
    this.mac = mac
    this.#peripheral = peripheral
    this.#clock = clock
    this.ended = this.#end.promise
    peripheral.once('disconnect', (reason) => this.over(`disconnected (${String(reason)})`))
  }

  get mtu(): number {
    return this.#peripheral.mtu ?? SMALLEST_MTU
  }

  async discover(patience: Patience): Promise<readonly RemoteCharacteristic[]> {
    const found = await this.#call('discovering services', patience, () =>
      this.#peripheral.discoverAllServicesAndCharacteristicsAsync(),
    )
    this.#characteristics.clear()
    for (const service of found.services) {
      for (const characteristic of service.characteristics) {
        const can = (what: string) => characteristic.properties.some((property) => property === what)
        const remote: RemoteCharacteristic = {
          service: shortUuid(service.uuid),
          uuid: shortUuid(characteristic.uuid),
          canRead: can('read'),
          canWrite: can('write'),
          canWriteWithoutResponse: can('writeWithoutResponse'),
          canNotify: can('notify') || can('indicate'),
        }
        this.#characteristics.set(remote, characteristic)
      }
    }
    return [...this.#characteristics.keys()]
  }

  read(remote: RemoteCharacteristic, patience: Patience): Promise<Uint8Array> {
    return this.#call(`reading ${remote.uuid}`, patience, async () => {
      const data: unknown = await this.#of(remote).readAsync()
      if (!(data instanceof Uint8Array)) throw new Error('no data')
      return data
    })
  }

  write(remote: RemoteCharacteristic, bytes: Uint8Array, response: boolean, patience: Patience): Promise<void> {
    return this.#call(`writing ${remote.uuid}`, patience, () =>
      this.#of(remote).writeAsync(Buffer.from(bytes), !response),
    )
  }

  async subscribe(
    remote: RemoteCharacteristic,
    listener: (bytes: Uint8Array) => void,
    patience: Patience,
  ): Promise<void> {
    const characteristic = this.#of(remote)
    characteristic.on('data', (data, isNotification) => {
      if (isNotification) listener(data)
    })
    await this.#call(`subscribing to ${remote.uuid}`, patience, () => characteristic.subscribeAsync())
  }

  rssi(patience: Patience): Promise<number> {
    return this.#call('reading the signal strength', patience, () => this.#peripheral.updateRssiAsync())
  }

  async disconnect(patience: Patience): Promise<void> {
    if (!this.#connected) return
    const timeoutMs = Math.min(DISCONNECT_MS, patience.timeoutMs)
    try {
      await withDeadline(this.#clock, { ...patience, timeoutMs }, 'disconnecting', () =>
        this.#peripheral.disconnectAsync(),
      )
    } catch {
      // Nobody confirmed it; the supervision time-out of the radio ends it.
    }
    this.over('disconnected by us')
  }

  /** The connection has ended, whoever says so. noble tells nothing of it when its radio fails. */
  over(reason: string): void {
    if (!this.#connected) return
    this.#connected = false
    for (const characteristic of this.#characteristics.values()) characteristic.removeAllListeners('data')
    this.#end.resolve(reason)
  }

  #of(remote: RemoteCharacteristic): Characteristic {
    const characteristic = this.#characteristics.get(remote)
    if (characteristic === undefined) throw new Error('unknown characteristic')
    return characteristic
  }

  /** One after the other, as the Attribute Protocol wants it; noble mixes up answers of calls that overlap. */
  #call<T>(what: string, patience: Patience, start: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(async () => {
      if (!this.#connected) throw refused(this.mac, what, new Error('not connected'))
      try {
        return await withDeadline(this.#clock, patience, `${what} of ${this.mac}`, start)
      } catch (thrown) {
        throw thrown instanceof SluiceError ? thrown : refused(this.mac, what, thrown)
      }
    })
    this.#last = turn.catch(() => undefined)
    return turn
  }
}
