import type { Clock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { type Patience, withDeadline } from './guard.ts'
import type { BleLink, BleTransport, Heard, Pairing, Peer, RemoteCharacteristic } from './transport.ts'

export interface ScriptedDevice {
  readonly mac: string
  /** Value by characteristic; undefined answers never. */
  readonly values: Map<string, Uint8Array | undefined>
  reachable: boolean
  connected: boolean
  connects: number
  readonly written: string[]
  /** How the last connection was asked to pair. */
  pairing?: Pairing
  notify?: (bytes: Uint8Array) => void
  onConnect?: () => void
  drop?: (reason: string) => void
}

/** A radio in virtual time that does what a test tells it. */
export class ScriptedRadio {
  readonly clock: Clock
  readonly devices = new Map<string, ScriptedDevice>()
  opened = 0
  closed = 0
  answers = true
  opens = true
  links = 0
  mostLinks = 0
  #heard: (heard: Heard) => void = () => undefined
  #down: (reason: string) => void = () => undefined

  constructor(clock: Clock) {
    this.clock = clock
  }

  device(mac: string, values: Record<string, string> = {}): ScriptedDevice {
    const bytes = Object.entries(values).map(([uuid, hex]): [string, Uint8Array] => [
      uuid,
      Uint8Array.from(Buffer.from(hex, 'hex')),
    ])
    const device: ScriptedDevice = {
      mac,
      values: new Map(bytes),
      reachable: true,
      connected: false,
      connects: 0,
      written: [],
    }
    this.devices.set(mac, device)
    return device
  }

  hear(mac: string, hex: string, rest: Partial<Heard> = {}): void {
    const data = Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
    this.#heard({ mac, random: false, connectable: true, rssiDbm: -60, data, ...rest })
  }

  fail(reason: string): void {
    this.#down(reason)
  }

  readonly open = async (): Promise<BleTransport> => ({
    open: async () => {
      if (!this.opens) throw new SluiceError('SLUICE_BLE_RADIO', 'no such adapter')
      this.opened++
      // A reset takes every link with it.
      for (const { drop } of this.devices.values()) drop?.('the adapter was opened anew')
    },
    onHeard: (listener) => void (this.#heard = listener),
    onDown: (listener) => void (this.#down = listener),
    scan: async () => undefined,
    alive: async () => this.answers,
    connect: (peer, patience) => this.#connect(peer, patience),
    [Symbol.asyncDispose]: async () => {
      this.closed++
      for (const { drop } of this.devices.values()) drop?.('the radio was closed')
    },
  })

  #connect(peer: Peer, patience: Patience): Promise<BleLink> {
    const device = this.devices.get(peer.mac)
    const start = async () => {
      if (device === undefined || !device.reachable || !this.answers) return new Promise<BleLink>(() => undefined)
      device.connects++
      if (peer.pairing !== undefined) device.pairing = peer.pairing
      device.onConnect?.()
      return this.#link(device)
    }
    return withDeadline(this.clock, patience, `connecting to ${peer.mac}`, start)
  }

  #link(device: ScriptedDevice): BleLink {
    const ended = Promise.withResolvers<string>()
    // One link between two radios: an adapter that was opened anew has none of those before.
    device.drop?.('connected anew')
    let open = true
    device.connected = true
    this.links++
    this.mostLinks = Math.max(this.mostLinks, this.links)
    const over = (reason: string) => {
      if (!open) return
      open = false
      if (device.drop === over) device.connected = false
      this.links--
      ended.resolve(reason)
    }
    device.drop = over
    const answer = <T>(what: string, patience: Patience, value: () => T | undefined) =>
      withDeadline(this.clock, patience, what, () => {
        const found = value()
        return found === undefined ? new Promise<T>(() => undefined) : Promise.resolve(found)
      })
    return {
      mac: device.mac,
      mtu: 100,
      ended: ended.promise,
      discover: async () => [...device.values.keys()].map(remote),
      read: ({ uuid }, patience) => answer(`reading ${uuid}`, patience, () => device.values.get(uuid)),
      write: async ({ uuid }, bytes, response) => {
        device.written.push(`${uuid}=${Buffer.from(bytes).toString('hex')}${response ? '' : '!'}`)
        device.values.set(uuid, bytes)
      },
      subscribe: async (_, listener) => void (device.notify = listener),
      rssi: async () => -60,
      disconnect: async () => over('disconnected by us'),
    }
  }
}

const remote = (uuid: string): RemoteCharacteristic => ({
  service: '181a',
  uuid,
  canRead: true,
  canWrite: true,
  canWriteWithoutResponse: true,
  canNotify: uuid === '2a6e',
})
