import { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import type { Noble } from '@stoprocent/noble'
import { SluiceError } from '../../api/errors.ts'
import { type HciAdapter, nameOf, RADIO_HINT } from './adapter.ts'
import { isAdvertisingReport, readReports } from './codec/hci-reports.ts'
import type { Heard } from './transport.ts'

/**
 * What we need of noble that it does not offer: it reads past the end of short packets and throws where nobody catches,
 * and its own way with advertisements remembers every address it ever heard.
 */
const here = createRequire(import.meta.url)
const GUARDED = Symbol('sluice: guarded')
/** Who wants the advertising reports of an HCI stack of noble's. */
const TAPS = new WeakMap<object, (packet: Uint8Array) => void>()

/** @throws SluiceError `SLUICE_BLE_NOT_INSTALLED`, `SLUICE_BLE_RADIO`. */
export async function loadNoble(adapter: HciAdapter): Promise<Noble> {
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
    const noble: Noble = Reflect.apply(open, undefined, bindingsOf(adapter))
    return noble
  } catch (cause) {
    throw new SluiceError('SLUICE_BLE_RADIO', `the radio ${nameOf(adapter)} cannot be used`, {
      hint: RADIO_HINT[adapter.kind],
      cause,
    })
  }
}

function bindingsOf(adapter: HciAdapter): [string, object] {
  if (adapter.kind === 'hci') return ['hci', { deviceId: adapter.index }]
  return ['hci', { hciDriver: 'uart', bindParams: { uart: { port: adapter.port, baudRate: adapter.baud } } }]
}

/** A packet that noble cannot read is dropped; advertising reports go to whoever tapped the stack and not to it. */
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

/** From now on `hear` gets the advertising reports that reach the stack. */
export function tapReports(hci: object, hear: (heard: Heard) => void): void {
  TAPS.set(hci, (packet) => readReports(packet, hear))
}

export const hciOf = (noble: Noble): object | undefined => child(child(noble, '_bindings'), '_hci')

/** The open port of the UART driver; undefined for kernel sockets. */
export function serialOf(noble: Noble): EventEmitter | undefined {
  const serial = child(child(hciOf(noble), '_socket'), '_serialDevice')
  return serial instanceof EventEmitter ? serial : undefined
}

/** What the parser behind the UART holds of a packet that has not come whole yet; it starts anew afterwards. */
export function takeUnparsed(noble: Noble): Uint8Array {
  const parser = child(child(hciOf(noble), '_socket'), '_hciSerialParser')
  const rest = child(parser, 'packetData')
  const reset: unknown = parser === undefined ? undefined : Reflect.get(parser, 'reset')
  if (!(rest instanceof Uint8Array) || typeof reset !== 'function') return new Uint8Array(0)
  const taken = Uint8Array.from(rest)
  Reflect.apply(reset, parser, [])
  return taken
}

function child(of: object | undefined, name: string): object | undefined {
  const value: unknown = of === undefined ? undefined : Reflect.get(of, name)
  return typeof value === 'object' && value !== null ? value : undefined
}

export function poweredOn(noble: Noble, failed: (reason: string) => SluiceError): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (state: string) => {
      if (state === 'poweredOn') resolve()
      else if (state === 'unauthorized' || state === 'unsupported') reject(failed(`is ${state}`))
    }
    noble.on('stateChange', look)
    look(noble.state)
  })
}
