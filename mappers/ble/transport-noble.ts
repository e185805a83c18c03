import { EventEmitter } from 'node:events'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Noble, Peripheral } from '@stoprocent/noble'
import type { Clock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { Adapter } from './adapter.ts'
import { calmReads } from './calm-reads.ts'
import { encodeAdvertised } from './codec/ad-encode.ts'
import { isAdvertisingReport, readReports } from './codec/hci-reports.ts'
import { shortUuid } from './codec/uuid.ts'
import { type Patience, withDeadline } from './guard.ts'
import { NobleLink, refused } from './noble-link.ts'
import type { BleLink, BleTransport, Heard, Peer } from './transport.ts'

const here = createRequire(import.meta.url)

const RADIO_HINT: Readonly<Record<Adapter['kind'], string>> = {
  hci: 'Is the adapter there and up (hciconfig), and may this user open it (CAP_NET_RAW)? bluez:hci0 needs no such right.',
  uart: 'Is the port right, and does an HCI controller listen there at this baud rate?',
  bluez: 'Is bluetoothd running, the adapter powered, and this user in the group bluetooth?',
}

/** @stoprocent/noble behind our own deadlines. Loaded when the first device needs it. */
export class NobleTransport implements BleTransport {
  readonly #adapter: Adapter
  readonly #clock: Clock
  readonly #heard: ((heard: Heard) => void)[] = []
  readonly #down: ((reason: string) => void)[] = []
  #noble: Noble | undefined
  #up = false
  #scanWanted = false
  /** Links and calls that somebody waits for. */
  #busy = 0
  #reads: { hurry(): void } = { hurry: () => undefined }

  constructor(adapter: Adapter, clock: Clock) {
    this.#adapter = adapter
    this.#clock = clock
  }

  async open(patience: Patience): Promise<void> {
    const adapter = this.#adapter
    const failed = (reason: string) =>
      new SluiceError('SLUICE_BLE_RADIO', `the radio ${nameOf(adapter)} ${reason}`, { hint: RADIO_HINT[adapter.kind] })
    if (adapter.kind === 'uart' && !existsSync(adapter.port)) throw failed('is not there')
    const noble = await loadNoble(adapter)
    this.#noble = noble
    noble.on('stateChange', (state) => this.#changed(state))
    noble.on('warning', () => undefined)
    try {
      await withDeadline(this.#clock, patience, `opening ${nameOf(this.#adapter)}`, () => poweredOn(noble, failed))
    } catch (thrown) {
      this.#stop()
      const timedOut = thrown instanceof SluiceError && thrown.code === 'SLUICE_BLE_TIMEOUT'
      throw timedOut ? failed('does not answer') : thrown
    }
    this.#up = true
    this.#tap(noble)
    const serial = serialOf(noble)
    if (serial === undefined) return
    this.#reads = calmReads(Reflect.get(serial, 'port'), this.#clock, () => this.#busy === 0)
    // A port may also end without a "close", and noble would never know.
    serial.once('end', () => this.#changed('gone'))
  }

  onHeard(listener: (heard: Heard) => void): void {
    this.#heard.push(listener)
  }

  onDown(listener: (reason: string) => void): void {
    this.#down.push(listener)
  }

  async scan(on: boolean, patience: Patience): Promise<void> {
    const noble = this.#opened()
    this.#scanWanted = on
    const done = this.#occupied()
    try {
      await withDeadline(this.#clock, patience, on ? 'starting the scan' : 'stopping the scan', () =>
        on ? noble.startScanningAsync([], true) : noble.stopScanningAsync(),
      )
    } finally {
      done()
    }
  }

  async connect(peer: Peer, patience: Patience): Promise<BleLink> {
    const noble = this.#opened()
    const id = peer.mac.replaceAll(':', '').toLowerCase()
    const options = {
      addressType: peer.random ? 'random' : 'public',
      ...(peer.mtu === undefined ? {} : { mtu: peer.mtu }),
    } as const
    const done = this.#occupied()
    try {
      const peripheral = await withDeadline(
        this.#clock,
        patience,
        `connecting to ${peer.mac}`,
        () => noble.connectAsync(id, options),
        () => noble.cancelConnect(id),
      )
      const link = new NobleLink(peer.mac, peripheral, this.#clock)
      void link.ended.then(done)
      return link
    } catch (thrown) {
      done()
      throw thrown instanceof SluiceError ? thrown : refused(peer.mac, 'connecting', thrown)
    } finally {
      this.#resumeScan(noble)
    }
  }

  async alive(patience: Patience): Promise<boolean> {
    const noble = this.#noble
    if (noble === undefined || !this.#up) return false
    const hci = hciOf(noble)
    const ask = hci === undefined ? undefined : Reflect.get(hci, 'readBdAddr')
    if (typeof ask !== 'function') return noble.state === 'poweredOn'
    const answer = Promise.withResolvers<boolean>()
    const heard = () => answer.resolve(true)
    const done = this.#occupied()
    noble.once('addressChange', heard)
    try {
      return await withDeadline(this.#clock, patience, 'asking the radio', () => {
        Reflect.apply(ask, hci, [])
        return answer.promise
      })
    } catch {
      return false
    } finally {
      done()
      noble.removeListener('addressChange', heard)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#heard.length = 0
    this.#down.length = 0
    this.#stop()
  }

  /** While anybody waits for an answer, bytes are read as they come. */
  #occupied(): () => void {
    this.#busy++
    this.#reads.hurry()
    let over = false
    return () => {
      if (!over) this.#busy--
      over = true
    }
  }

  #opened(): Noble {
    if (this.#noble === undefined || !this.#up) {
      throw new SluiceError('SLUICE_BLE_RADIO', `the radio ${nameOf(this.#adapter)} is not up`, {
        hint: RADIO_HINT[this.#adapter.kind],
      })
    }
    return this.#noble
  }

  #changed(state: string): void {
    if (!this.#up || state === 'poweredOn') return
    this.#up = false
    for (const listener of [...this.#down]) listener(`the radio ${nameOf(this.#adapter)} is ${state}`)
  }

  /** noble ends the scan before every connection and does not take it up again. */
  #resumeScan(noble: Noble): void {
    if (!this.#scanWanted || !this.#up) return
    try {
      noble.startScanning([], true)
    } catch {
      // The radio just went down: onDown has told it.
    }
  }

  #stop(): void {
    const noble = this.#noble
    this.#noble = undefined
    this.#up = false
    if (noble === undefined) return
    const serial = serialOf(noble)
    try {
      noble.stop()
    } catch {
      // It had not come up far enough to be stopped.
    }
    noble.removeAllListeners()
    // noble takes its listeners off a port that may still fail to open; an "error" that nobody hears ends the process.
    serial?.on('error', () => undefined)
  }

  /**
   * Takes advertisements where they come from the controller. noble's own way remembers every address it ever heard,
   * merges the frames of a device, throws on a structure that is too short, and costs ten times as much.
   */
  #tap(noble: Noble): void {
    const hci = hciOf(noble)
    if (hci === undefined) noble.on('discover', (peripheral) => this.#hear(heardFrom(peripheral)))
    else TAPS.set(hci, (packet) => readReports(packet, (heard) => this.#hear(heard)))
  }

  #hear(heard: Heard): void {
    for (const listener of this.#heard) listener(heard)
  }
}

/** Bindings that have decoded the advertisement already: written back, so that there is one way to read it. */
function heardFrom(peripheral: Peripheral): Heard {
  const { manufacturerData, serviceData, serviceUuids, localName } = peripheral.advertisement
  const data = encodeAdvertised({
    manufacturer: manufacturerData === undefined ? [] : [manufacturerData],
    serviceData: (serviceData ?? []).map(({ uuid, data: bytes }) => ({ uuid: shortUuid(uuid), data: bytes })),
    serviceUuids: (serviceUuids ?? []).map(shortUuid),
    ...(localName === undefined ? {} : { name: localName }),
  })
  return {
    mac: peripheral.address.toUpperCase(),
    random: peripheral.addressType === 'random',
    connectable: peripheral.connectable,
    rssiDbm: peripheral.rssi,
    data,
  }
}

const nameOf = (adapter: Adapter): string =>
  adapter.kind === 'uart' ? adapter.port : adapter.kind === 'hci' ? `hci${adapter.index}` : `bluez:${adapter.name}`

async function loadNoble(adapter: Adapter): Promise<Noble> {
  let open: unknown
  try {
    open = (await import('@stoprocent/noble')).withBindings
    guardParser()
  } catch (cause) {
    throw new SluiceError('SLUICE_BLE_NOT_INSTALLED', 'the Bluetooth library is not installed', {
      hint: 'Run npm install without --omit=optional.',
      cause,
    })
  }
  if (typeof open !== 'function') throw new SluiceError('SLUICE_BLE_NOT_INSTALLED', 'the Bluetooth library is damaged')
  try {
    // noble looks for it only when it starts, where nobody could catch that it is missing.
    if (adapter.kind === 'bluez') createRequire(here.resolve('@stoprocent/noble')).resolve('dbus-next')
    const noble: Noble = Reflect.apply(open, undefined, bindingsOf(adapter))
    return noble
  } catch (cause) {
    throw new SluiceError('SLUICE_BLE_NOT_INSTALLED', `what the radio ${nameOf(adapter)} needs is not installed`, {
      hint: adapter.kind === 'bluez' ? 'Run npm install dbus-next, or give adapter: hci0.' : RADIO_HINT[adapter.kind],
      cause,
    })
  }
}

function bindingsOf(adapter: Adapter): [string, object] {
  if (adapter.kind === 'bluez') return ['dbus', { adapterId: adapter.name }]
  if (adapter.kind === 'hci') return ['hci', { deviceId: adapter.index }]
  return ['hci', { hciDriver: 'uart', bindParams: { uart: { port: adapter.port, baudRate: adapter.baud } } }]
}

const GUARDED = Symbol('sluice: guarded')
/** Who wants the advertising reports of an HCI stack of noble's. */
const TAPS = new WeakMap<object, (packet: Uint8Array) => void>()

/**
 * noble reads past the end of short packets and throws where nobody catches: a hostile peripheral would end the process.
 * A packet that it cannot read is dropped instead; advertising reports go to us and not to it.
 */
function guardParser(): void {
  const hci: unknown = here('@stoprocent/noble/lib/hci-socket/hci')
  const prototype: unknown = typeof hci === 'function' ? hci.prototype : undefined
  if (typeof prototype !== 'object' || prototype === null || GUARDED in prototype) return
  const parse: unknown = Reflect.get(prototype, 'onSocketData')
  if (typeof parse !== 'function') return
  Reflect.set(prototype, GUARDED, true)
  Reflect.set(prototype, 'onSocketData', function guarded(this: object, packet: unknown) {
    try {
      if (packet instanceof Uint8Array && isAdvertisingReport(packet)) TAPS.get(this)?.(packet)
      else Reflect.apply(parse, this, [packet])
    } catch {
      // Nothing of the packet can be used.
    }
  })
}

function hciOf(noble: Noble): object | undefined {
  const bindings: unknown = Reflect.get(noble, '_bindings')
  const hci: unknown = typeof bindings === 'object' && bindings !== null ? Reflect.get(bindings, '_hci') : undefined
  return typeof hci === 'object' && hci !== null ? hci : undefined
}

/** The open port of the UART driver; undefined for kernel sockets. */
function serialOf(noble: Noble): EventEmitter | undefined {
  const hci = hciOf(noble)
  const socket: unknown = hci === undefined ? undefined : Reflect.get(hci, '_socket')
  const serial: unknown =
    typeof socket === 'object' && socket !== null ? Reflect.get(socket, '_serialDevice') : undefined
  return serial instanceof EventEmitter ? serial : undefined
}

function poweredOn(noble: Noble, failed: (reason: string) => SluiceError): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (state: string) => {
      if (state === 'poweredOn') resolve()
      else if (state === 'unauthorized' || state === 'unsupported') reject(failed(`is ${state}`))
    }
    noble.on('stateChange', look)
    look(noble.state)
  })
}
