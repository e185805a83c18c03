import { SluiceError } from '../../../api/errors.ts'
import { shortUuid } from '../codec/uuid.ts'
import type { Patience } from '../guard.ts'
import type { BleLink, RemoteCharacteristic } from '../transport.ts'
import { strengthOf } from './bluez-devices.ts'
import { type DbusConnection, DbusRefusal } from './dbus-connection.ts'
import { type DbusValue, Variant } from './dbus-values.ts'
import { BLUEZ, CHARACTERISTIC, DEVICE, OBJECT_MANAGER, objectsOf, PROPERTIES, propertiesOf, SERVICE } from './names.ts'

/** Attribute Protocol, Vol 3 Part F 3.2.8. */
const SMALLEST_MTU = 23
const GONE = /NotConnected|UnknownObject|DoesNotExist|NoReply/

/** What BlueZ refused, in our words: `SLUICE_BLE_DISCONNECTED` or `SLUICE_BLE_REFUSED`. */
export function refused(mac: string, what: string, thrown: unknown): SluiceError {
  if (thrown instanceof SluiceError) return thrown
  const reason = thrown instanceof Error ? thrown.message : String(thrown)
  return thrown instanceof DbusRefusal && GONE.test(thrown.errorName)
    ? new SluiceError('SLUICE_BLE_DISCONNECTED', `${what}: ${mac} is not connected (${reason})`, {
        hint: 'It is connected again by itself.',
        cause: thrown,
      })
    : new SluiceError('SLUICE_BLE_REFUSED', `${what}: ${mac} refused (${reason})`, {
        hint: 'See what the characteristic allows, and whether the device wants to be paired: pair: true.',
        cause: thrown,
      })
}

/** What a link needs of its transport. */
export interface LinkHome {
  readonly bus: DbusConnection
  /** Calls `listener` with every new value of the characteristic at `path`; undefined ends that. */
  listen(path: string, listener: ((bytes: Uint8Array) => void) | undefined): void
  /** Resolves when BlueZ knows the services of the device at `path`. */
  resolved(path: string): Promise<void>
}

/** One connection that BlueZ holds for us. */
export class BluezLink implements BleLink {
  readonly mac: string
  readonly ended: Promise<string>
  readonly #path: string
  readonly #home: LinkHome
  readonly #end = Promise.withResolvers<string>()
  readonly #paths = new Map<RemoteCharacteristic, string>()
  readonly #listening = new Set<string>()
  #connected = true
  #leaving = false
  #mtu = SMALLEST_MTU
  #last: Promise<unknown> = Promise.resolve()

  constructor(mac: string, path: string, home: LinkHome) {
    this.mac = mac
    this.#path = path
    this.#home = home
    this.ended = this.#end.promise
  }

  get mtu(): number {
    return this.#mtu
  }

  discover(patience: Patience): Promise<readonly RemoteCharacteristic[]> {
    return this.#turn('discovering services', async () => {
      const { bus } = this.#home
      await bus.within(patience, `discovering services of ${this.mac}`, () =>
        Promise.race([this.#home.resolved(this.#path), this.ended]),
      )
      if (!this.#connected) throw new DbusRefusal('org.bluez.Error.NotConnected', 'it left meanwhile')
      const call = { destination: BLUEZ, path: '/', interface: OBJECT_MANAGER, member: 'GetManagedObjects' }
      const [answer] = await bus.call(call, patience)
      this.#paths.clear()
      const objects = objectsOf(answer)
      for (const [path, interfaces] of objects) {
        const properties = interfaces.get(CHARACTERISTIC)
        if (properties === undefined || !path.startsWith(`${this.#path}/`)) continue
        const service = objects.get(String(properties.get('Service')))?.get(SERVICE)
        this.#paths.set(remoteOf(properties, String(service?.get('UUID') ?? '')), path)
        const mtu = properties.get('MTU')
        if (typeof mtu === 'number' && mtu >= SMALLEST_MTU) this.#mtu = mtu
      }
      return [...this.#paths.keys()]
    })
  }

  read(remote: RemoteCharacteristic, patience: Patience): Promise<Uint8Array> {
    return this.#turn(`reading ${remote.uuid}`, async () => {
      const [value] = await this.#gatt(remote, 'ReadValue', patience, 'a{sv}', [new Map()])
      if (!(value instanceof Uint8Array)) throw new Error('no data')
      return value
    })
  }

  write(remote: RemoteCharacteristic, bytes: Uint8Array, response: boolean, patience: Patience): Promise<void> {
    return this.#turn(`writing ${remote.uuid}`, async () => {
      const options = new Map([['type', new Variant('s', response ? 'request' : 'command')]])
      await this.#gatt(remote, 'WriteValue', patience, 'aya{sv}', [bytes, options])
    })
  }

  subscribe(remote: RemoteCharacteristic, listener: (bytes: Uint8Array) => void, patience: Patience): Promise<void> {
    return this.#turn(`subscribing to ${remote.uuid}`, async () => {
      const path = this.#pathOf(remote)
      this.#listening.add(path)
      this.#home.listen(path, listener)
      await this.#gatt(remote, 'StartNotify', patience)
    })
  }

  /** BlueZ keeps the figure of the last advertisement; it does not ask the controller for the connection's. */
  rssi(patience: Patience): Promise<number> {
    return this.#turn('reading the signal strength', async () => {
      const call = { destination: BLUEZ, path: this.#path, interface: PROPERTIES, member: 'Get' }
      const [value] = await this.#home.bus.call({ ...call, signature: 'ss', body: [DEVICE, 'RSSI'] }, patience)
      const rssi = strengthOf(propertiesOf(new Map([['RSSI', value ?? 0]])).get('RSSI'))
      if (rssi === undefined) throw new Error('BlueZ does not know it')
      return rssi
    })
  }

  async disconnect(patience: Patience): Promise<void> {
    if (!this.#connected) return
    this.#leaving = true
    try {
      const call = { destination: BLUEZ, path: this.#path, interface: DEVICE, member: 'Disconnect' }
      await this.#home.bus.call(call, patience)
    } catch {
      // Nobody confirmed it; BlueZ ends it when the device is silent.
    }
    this.over('disconnected by us')
  }

  /** The connection has ended, as BlueZ says. */
  over(reason: string): void {
    if (!this.#connected) return
    this.#connected = false
    for (const path of this.#listening) this.#home.listen(path, undefined)
    this.#end.resolve(this.#leaving ? 'disconnected by us' : reason)
  }

  #gatt(
    remote: RemoteCharacteristic,
    member: string,
    patience: Patience,
    signature = '',
    body: readonly DbusValue[] = [],
  ): Promise<readonly DbusValue[]> {
    const call = { destination: BLUEZ, path: this.#pathOf(remote), interface: CHARACTERISTIC, member }
    return this.#home.bus.call({ ...call, signature, body }, patience)
  }

  #pathOf(remote: RemoteCharacteristic): string {
    const path = this.#paths.get(remote)
    if (path === undefined) throw new Error('unknown characteristic')
    return path
  }

  /** One after the other: BlueZ answers `InProgress` to a second one of a characteristic. */
  #turn<T>(what: string, run: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(async () => {
      try {
        if (!this.#connected) throw new DbusRefusal('org.bluez.Error.NotConnected', 'not connected')
        return await run()
      } catch (thrown) {
        throw refused(this.mac, what, thrown)
      }
    })
    this.#last = turn.catch(() => undefined)
    return turn
  }
}

function remoteOf(properties: ReadonlyMap<string, DbusValue>, service: string): RemoteCharacteristic {
  const flags = properties.get('Flags')
  const can = (what: string) => Array.isArray(flags) && flags.includes(what)
  return {
    service: shortUuid(service),
    uuid: shortUuid(String(properties.get('UUID') ?? '')),
    canRead: can('read') || can('encrypt-read') || can('encrypt-authenticated-read'),
    canWrite: can('write') || can('encrypt-write') || can('encrypt-authenticated-write'),
    canWriteWithoutResponse: can('write-without-response'),
    canNotify: can('notify') || can('indicate'),
  }
}
