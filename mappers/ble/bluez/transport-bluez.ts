import type { Clock } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import { RADIO_HINT } from '../adapter.ts'
import type { Patience } from '../guard.ts'
import type { BleLink, BleTransport, Heard, Peer } from '../transport.ts'
import { AGENT_CAPABILITY, AGENT_PATH, BluezAgent } from './bluez-agent.ts'
import { BluezDevices } from './bluez-devices.ts'
import { BluezLink, refused } from './bluez-link.ts'
import { DbusConnection, DbusRefusal, systemBusPath } from './dbus-connection.ts'
import type { DbusMessage } from './dbus-message.ts'
import { type DbusValue, Variant } from './dbus-values.ts'
import * as names from './names.ts'

/** BlueZ gives up a connection after 20 s by itself; ending ours must not take longer. */
const GIVE_UP_MS = 2000

/**
 * BlueZ over the system bus, as any user whom the bus lets speak to it (on Debian: the group `bluetooth`). No root, no
 * capability, and the adapter stays shared with everybody else who uses BlueZ. One match rule for everything: rules for
 * each device leak until the bus refuses more.
 */
export class BluezTransport implements BleTransport {
  readonly #name: string
  readonly #path: string
  readonly #clock: Clock
  readonly #busPath: string
  readonly #heard: ((heard: Heard) => void)[] = []
  readonly #down: ((reason: string) => void)[] = []
  readonly #agent = new BluezAgent()
  readonly #links = new Map<string, BluezLink>()
  readonly #listeners = new Map<string, (bytes: Uint8Array) => void>()
  readonly #waiting = new Map<string, PromiseWithResolvers<void>>()
  readonly #resolved = new Set<string>()
  readonly #devices = new BluezDevices((heard) => {
    for (const listener of this.#heard) listener(heard)
  })
  #bus: DbusConnection | undefined
  #owner: string | undefined
  #up = false
  #scanWanted = false
  #connecting = 0

  /** @param name `hci0` and so on. */
  constructor(name: string, clock: Clock, busPath: string = systemBusPath()) {
    this.#name = name
    this.#path = `/org/bluez/${name}`
    this.#clock = clock
    this.#busPath = busPath
  }

  async open(patience: Patience): Promise<void> {
    const endMs = this.#clock.monotonic() + patience.timeoutMs
    const left = (): Patience => ({ ...patience, timeoutMs: Math.max(1, endMs - this.#clock.monotonic()) })
    const bus = await DbusConnection.open(this.#busPath, this.#clock, left())
    this.#bus = bus
    try {
      await this.#setUp(bus, left)
    } catch (thrown) {
      await this[Symbol.asyncDispose]()
      if (thrown instanceof SluiceError && thrown.code !== 'SLUICE_BLE_TIMEOUT') throw thrown
      throw this.#failed(
        thrown instanceof DbusRefusal ? `cannot be used: ${thrown.message}` : 'does not answer',
        thrown,
      )
    }
    this.#up = true
    bus.rest(() => this.#links.size === 0)
    void bus.closed.then((reason) => this.#gone(`the system bus is gone (${reason})`))
  }

  onHeard(listener: (heard: Heard) => void): void {
    this.#heard.push(listener)
  }

  onDown(listener: (reason: string) => void): void {
    this.#down.push(listener)
  }

  async scan(on: boolean, patience: Patience): Promise<void> {
    this.#scanWanted = on
    // Taken up when the connection that is being made is there.
    if (this.#connecting === 0) await this.#discover(on, patience)
  }

  async #discover(on: boolean, patience: Patience): Promise<void> {
    try {
      if (!on) return void (await this.#call(this.#path, names.ADAPTER, 'StopDiscovery', patience))
      await this.#filter(patience)
      await this.#call(this.#path, names.ADAPTER, 'StartDiscovery', patience)
    } catch (thrown) {
      if (!(thrown instanceof DbusRefusal)) throw thrown
      if (thrown.errorName === 'org.bluez.Error.InProgress') return
      throw this.#failed(`cannot scan: ${thrown.message}`, thrown)
    }
  }

  async connect(peer: Peer, patience: Patience): Promise<BleLink> {
    const path = names.devicePath(this.#path, peer.mac)
    const { bus } = this.#opened()
    const link = new BluezLink(peer.mac, path, {
      bus,
      listen: (at, listener) =>
        void (listener === undefined ? this.#listeners.delete(at) : this.#listeners.set(at, listener)),
      resolved: (at) => this.#whenResolved(at),
    })
    this.#links.set(path, link)
    void link.ended.then(() => this.#forget(path, link))
    try {
      await this.#undisturbed(patience, () => this.#connected(path, patience))
      if (peer.pairing !== undefined) await this.#pair(path, peer, patience)
      const services = await this.#get(path, names.DEVICE, 'ServicesResolved', patience)
      if (services === true) this.#services(path, true)
      return link
    } catch (thrown) {
      // Also ends an attempt that BlueZ would go on with.
      void link.disconnect({ timeoutMs: GIVE_UP_MS })
      throw refused(peer.mac, 'connecting', thrown)
    }
  }

  async alive(patience: Patience): Promise<boolean> {
    if (!this.#up) return false
    try {
      return (await this.#get(this.#path, names.ADAPTER, 'Powered', patience)) === true
    } catch {
      return false
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#up = false
    this.#heard.length = 0
    this.#down.length = 0
    // The bus tells BlueZ that we left: it ends our scan, takes the agent away and keeps what others use.
    await this.#bus?.[Symbol.asyncDispose]()
    for (const link of [...this.#links.values()]) link.over('the radio was closed')
  }

  async #setUp(bus: DbusConnection, left: () => Patience): Promise<void> {
    bus.onSignal((message) => this.#signal(message))
    bus.serve(AGENT_PATH, (call) => {
      if (call.sender !== this.#owner) throw new DbusRefusal('org.freedesktop.DBus.Error.AccessDenied', 'not BlueZ')
      return this.#agent.answer(call)
    })
    await bus.addMatch(`type='signal',sender='${names.BLUEZ}'`, left())
    await bus.addMatch(`type='signal',sender='${bus.name}',member='NameOwnerChanged',arg0='${names.BLUEZ}'`, left())
    const call = { destination: names.BLUEZ, path: '/', interface: names.OBJECT_MANAGER, member: 'GetManagedObjects' }
    const [answer] = await bus.call(call, left())
    this.#owner = await bus.ownerOf(names.BLUEZ, left())
    const objects = names.objectsOf(answer)
    const adapter = objects.get(this.#path)?.get(names.ADAPTER)
    if (adapter === undefined) throw this.#failed(`is not there; BlueZ has ${adaptersOf(objects)}`)
    for (const [path, interfaces] of objects) {
      const device = interfaces.get(names.DEVICE)
      if (device !== undefined && path.startsWith(`${this.#path}/`)) this.#devices.learn(path, device)
    }
    if (adapter.get('Powered') !== true) await this.#powerOn(left())
    const agent = { destination: names.BLUEZ, path: '/org/bluez', interface: names.AGENT_MANAGER }
    await bus.call({ ...agent, member: 'RegisterAgent', signature: 'os', body: [AGENT_PATH, AGENT_CAPABILITY] }, left())
  }

  async #powerOn(patience: Patience): Promise<void> {
    try {
      const on = [names.ADAPTER, 'Powered', new Variant('b', true)]
      await this.#call(this.#path, names.PROPERTIES, 'Set', patience, 'ssv', on)
    } catch (thrown) {
      throw thrown instanceof DbusRefusal ? this.#failed(`is switched off (${thrown.message})`, thrown) : thrown
    }
  }

  /** Every frame is wanted, not only changes; what BlueZ is too old to know is left out. */
  async #filter(patience: Patience): Promise<void> {
    const transport: [string, DbusValue] = ['Transport', new Variant('s', 'le')]
    const every: [string, DbusValue] = ['DuplicateData', new Variant('b', true)]
    const set = (...some: [string, DbusValue][]) =>
      this.#call(this.#path, names.ADAPTER, 'SetDiscoveryFilter', patience, 'a{sv}', [new Map(some)])
    try {
      await set(transport, every)
    } catch (thrown) {
      if (!(thrown instanceof DbusRefusal)) throw thrown
      await set(transport)
    }
  }

  /**
   * Runs with our scan ended. The kernel connects when it hears the device again, and a controller that leaves out
   * repetitions tells of a device once a scan: the next one begins after ten seconds.
   */
  async #undisturbed(patience: Patience, connect: () => Promise<void>): Promise<void> {
    if (this.#connecting++ === 0 && this.#scanWanted) await this.#discover(false, patience).catch(() => undefined)
    try {
      await connect()
    } finally {
      if (--this.#connecting === 0 && this.#scanWanted && this.#up) {
        await this.#discover(true, { timeoutMs: GIVE_UP_MS }).catch((thrown: unknown) => {
          this.#gone(thrown instanceof Error ? thrown.message : String(thrown))
        })
      }
    }
  }

  async #connected(path: string, patience: Patience): Promise<void> {
    try {
      await this.#call(path, names.DEVICE, 'Connect', patience)
    } catch (thrown) {
      if (!(thrown instanceof DbusRefusal) || thrown.errorName !== 'org.bluez.Error.AlreadyConnected') throw thrown
    }
  }

  async #pair(path: string, peer: Peer, patience: Patience): Promise<void> {
    if ((await this.#get(path, names.DEVICE, 'Paired', patience)) === true) return
    using _ = this.#agent.expect(path, peer.pairing ?? {})
    try {
      await this.#call(path, names.DEVICE, 'Pair', patience)
    } catch (thrown) {
      if (!(thrown instanceof DbusRefusal)) throw thrown
      if (thrown.errorName === 'org.bluez.Error.AlreadyExists') return
      throw new SluiceError('SLUICE_BLE_REFUSED', `pairing with ${peer.mac} failed (${thrown.message})`, {
        hint: 'Put the device into its pairing mode, and give the passkey it shows in passkeyFile.',
        cause: thrown,
      })
    }
  }

  #signal(message: DbusMessage): void {
    const { path = '', member, body } = message
    if (member === 'NameOwnerChanged' && message.sender === 'org.freedesktop.DBus') {
      if (body[0] === names.BLUEZ && body[2] === '') this.#gone('bluetoothd has ended')
      return
    }
    // Before the owner is known nothing was asked for, and anybody may send us signals.
    if (this.#owner === undefined || message.sender !== this.#owner) return
    if (member === 'PropertiesChanged') this.#changed(path, String(body[0]), names.propertiesOf(body[1]))
    else if (member === 'InterfacesAdded' && path === '/') {
      const at = String(body[0])
      const device = names.interfacesOf(body[1]).get(names.DEVICE)
      if (device !== undefined && at.startsWith(`${this.#path}/`)) this.#devices.told(at, device)
    } else if (member === 'InterfacesRemoved' && path === '/') {
      this.#removed(String(body[0]), Array.isArray(body[1]) ? body[1].map(String) : [])
    }
  }

  #changed(path: string, of: string, properties: names.Properties): void {
    if (of === names.ADAPTER && path === this.#path) {
      if (properties.get('Powered') === false) this.#gone('the adapter was switched off')
    } else if (of === names.CHARACTERISTIC) {
      const value = properties.get('Value')
      if (value instanceof Uint8Array) this.#listeners.get(path)?.(value)
    } else if (of === names.DEVICE && path.startsWith(`${this.#path}/`)) {
      this.#devices.told(path, properties)
      const resolved = properties.get('ServicesResolved')
      if (typeof resolved === 'boolean') this.#services(path, resolved)
      if (properties.get('Connected') === false) this.#links.get(path)?.over('disconnected (BlueZ says so)')
    }
  }

  #removed(path: string, interfaces: readonly string[]): void {
    if (path === this.#path && interfaces.includes(names.ADAPTER)) this.#gone('the adapter was taken out')
    if (!interfaces.includes(names.DEVICE)) return
    this.#devices.removed(path)
    this.#links.get(path)?.over('disconnected (BlueZ forgot the device)')
  }

  #services(path: string, resolved: boolean): void {
    if (!resolved) return void this.#resolved.delete(path)
    if (!this.#links.has(path)) return
    this.#resolved.add(path)
    this.#waiting.get(path)?.resolve()
  }

  #whenResolved(path: string): Promise<void> {
    if (this.#resolved.has(path)) return Promise.resolve()
    const waiting = this.#waiting.get(path) ?? Promise.withResolvers<void>()
    this.#waiting.set(path, waiting)
    return waiting.promise
  }

  #forget(path: string, link: BluezLink): void {
    if (this.#links.get(path) !== link) return
    this.#links.delete(path)
    this.#resolved.delete(path)
    this.#waiting.delete(path)
  }

  #gone(reason: string): void {
    if (!this.#up) return
    this.#up = false
    for (const link of [...this.#links.values()]) link.over(reason)
    for (const listener of [...this.#down]) listener(`the radio bluez:${this.#name} is down: ${reason}`)
  }

  async #get(path: string, of: string, property: string, patience: Patience): Promise<DbusValue | undefined> {
    const [value] = await this.#call(path, names.PROPERTIES, 'Get', patience, 'ss', [of, property])
    return value instanceof Variant ? value.value : value
  }

  #call(
    path: string,
    of: string,
    member: string,
    patience: Patience,
    signature = '',
    body: readonly DbusValue[] = [],
  ): Promise<readonly DbusValue[]> {
    const { bus } = this.#opened()
    return bus.call({ destination: names.BLUEZ, path, interface: of, member, signature, body }, patience)
  }

  #opened(): { readonly bus: DbusConnection } {
    if (this.#bus === undefined) throw this.#failed('is not up')
    return { bus: this.#bus }
  }

  #failed(reason: string, cause?: unknown): SluiceError {
    return new SluiceError('SLUICE_BLE_RADIO', `the radio bluez:${this.#name} ${reason}`, {
      hint: RADIO_HINT.bluez,
      ...(cause === undefined ? {} : { cause }),
    })
  }
}

function adaptersOf(objects: ReadonlyMap<string, names.Interfaces>): string {
  const found = [...objects].filter(([, interfaces]) => interfaces.has(names.ADAPTER)).map(([path]) => path.slice(11))
  return found.length === 0 ? 'no adapter' : found.join(', ')
}
