import { beforeAll, describe, expect, it } from 'vitest'
import { bootGuest, type GuestReport, missingPackages } from './guest-machine.ts'

const missing = missingPackages([
  ['/usr/sbin/bluetoothd', 'bluez'],
  ['/usr/bin/btvirt', 'bluez-test-tools'],
  ['/usr/bin/dbus-daemon', 'dbus-daemon'],
])
if (missing.length > 0) throw new Error(`apt-get install ${missing.join(' ')}`)

/** Programs that lie beside the first one, which starts them. */
const PROGRAMS = [
  './guest-bluetooth.ts',
  './bluetooth-client.ts',
  '../../hil/radio/bleno-peripheral.ts',
  '../../hil/radio/radio-main.ts',
].map((path) => new URL(path, import.meta.url))

let report: GuestReport
const told = <T>(name: string): T => report[name] as T

beforeAll(async () => {
  report = await bootGuest(PROGRAMS, (line) => process.stderr.write(`guest: ${line}\n`))
})

interface Gatt {
  readonly uid: number
  readonly capabilities: string
  readonly first: number
  readonly told: number
}

interface Adverts {
  readonly uid: number
  readonly perSecond: number
  readonly microsecondsEach: number
  readonly others: Readonly<Record<string, number>>
}

const NO_RIGHTS = '0000000000000000'
/** CAP_NET_ADMIN and CAP_NET_RAW, bits 12 and 13. */
const NETWORK_RIGHTS = '0000000000003000'

describe("Debian's own kernel, its Bluetooth stack and bluetoothd", () => {
  it('have two adapters of their emulator and take controllers of ours as a third', () => {
    expect(told('modules')).toEqual(expect.arrayContaining(['bluetooth', 'hci_vhci', 'hci_uart']))
    expect(told('adapters')).toEqual(['hci0', 'hci1'])
  })

  it.each([
    ['bluez', NO_RIGHTS],
    ['hci', NETWORK_RIGHTS],
  ])('an ordinary user hears, connects, reads, is notified and writes: %s', (role, capabilities) => {
    const gatt = told<Gatt>(role)
    expect(gatt).toMatchObject({
      ...{ uid: 12345, capabilities, charge: 87, online: true, rssiDbm: -60 },
      outcome: { state: 'applied', readBack: 23 },
      link: { protocol: 'ble', state: 'up', devices: 1 },
    })
    expect(gatt.told).toBeGreaterThan(gatt.first)
  })

  it('pairs, reads what a device tells only to friends, and comes back without pairing again', () => {
    expect(told('bond')).toMatchObject({ uid: 12345, capabilities: NO_RIGHTS, first: 42, again: 42 })
    expect(told('pairings')).toBe(1)
  })

  it('tell of every advertiser, through bluetoothd as without a kernel', () => {
    const [bluez, uart] = [told<Adverts>('adverts_bluez'), told<Adverts>('adverts_uart')]
    for (const { uid, perSecond } of [bluez, uart]) {
      expect(uid).toBe(12345)
      // How many a second says more of the machine that emulates than of ours.
      expect(perSecond).toBeGreaterThan(1)
    }
    const cost = { bluez: { own: bluez.microsecondsEach, ...bluez.others }, uart: uart.microsecondsEach }
    process.stderr.write(`guest: microseconds of an emulated core for one advertisement: ${JSON.stringify(cost)}\n`)
  })
})
