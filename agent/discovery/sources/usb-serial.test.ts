import { mkdirSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Json } from '../../../api/resources.ts'
import { VirtualClock } from '../../../api/virtual-clock.ts'
import { silentLog } from '../../log.ts'
import { temporaryDirectory } from '../../test-helpers/plant.ts'
import { Sightings } from '../sightings.ts'
import { guessBehind } from './usb-products.ts'
import { type UsbSystem, usbAdapters, watchUsbSerial } from './usb-serial.ts'

let directory: ReturnType<typeof temporaryDirectory>
let root: string
let clock: VirtualClock
let sightings: Sightings
let watching: AsyncDisposable | undefined
let used: Json[]
let changed: () => void

const write = (path: string, text: string) => {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

const link = (path: string, to: string) => {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  symlinkSync(to, join(root, path))
}

/** An adapter as the kernel and udev show it. */
function plug(port: string, usb: Readonly<Record<string, string>>, byId?: string): void {
  const socket = `sys/devices/pci0000:00/usb1/1-${port}`
  for (const [name, text] of Object.entries(usb)) write(`${socket}/${name}`, `${text}\n`)
  mkdirSync(join(root, `${socket}/1-${port}:1.0/${port}`), { recursive: true })
  mkdirSync(join(root, `sys/class/tty/${port}`), { recursive: true })
  link(`sys/class/tty/${port}/device`, join(root, `${socket}/1-${port}:1.0/${port}`))
  write(`dev/${port}`, '')
  if (byId !== undefined) link(`dev/serial/by-id/${byId}`, `../../${port}`)
}

function unplug(port: string, byId: string): void {
  rmSync(join(root, `sys/class/tty/${port}`), { recursive: true })
  rmSync(join(root, `sys/devices/pci0000:00/usb1/1-${port}`), { recursive: true })
  unlinkSync(join(root, `dev/serial/by-id/${byId}`))
  unlinkSync(join(root, `dev/${port}`))
}

const FTDI = { idVendor: '0403', idProduct: '6001', manufacturer: 'FTDI', product: 'USB-RS485 Cable', serial: 'FT1A' }
const FTDI_NAME = 'usb-FTDI_USB-RS485_Cable_FT1A-if00-port0'

function start(): void {
  const system: UsbSystem = {
    root,
    watch(_folder, onChange) {
      changed = onChange
      return { [Symbol.dispose]: () => {} }
    },
  }
  const host = {
    clock,
    log: silentLog,
    addresses: () => used,
    sighted: (protocol: string, seen: Parameters<Sightings['sighted']>[1]) => sightings.sighted(protocol, seen),
    withdrawn: (protocol: string, ids: readonly string[]) => sightings.withdrawn(protocol, ids),
  }
  watching = watchUsbSerial(host, system)
}

beforeEach(() => {
  directory = temporaryDirectory()
  root = directory.path
  mkdirSync(join(root, 'dev'))
  clock = new VirtualClock()
  sightings = new Sightings({ clock, onChange: () => {} })
  used = []
})

afterEach(async () => {
  await watching?.[Symbol.asyncDispose]()
  sightings[Symbol.dispose]()
  directory[Symbol.dispose]()
})

describe('serial adapters on USB', () => {
  it('are seen with maker, product, lasting name, what may be behind them, and the command that looks', () => {
    plug('ttyUSB0', FTDI, FTDI_NAME)
    plug('ttyS0', { idVendor: 'dead' })
    start()
    expect(sightings.list()).toMatchObject([
      {
        protocol: 'usb-serial',
        id: FTDI_NAME,
        address: { port: `/dev/serial/by-id/${FTDI_NAME}` },
        name: 'FTDI USB-RS485 Cable',
        facts: {
          ...{ port: '/dev/ttyUSB0', vendor: 'FTDI', product: 'USB-RS485 Cable', serial: 'FT1A', usb: '0403:6001' },
          behind: 'a serial line: RS-485 or RS-232, often Modbus RTU',
          next: `sluice discover modbus --port /dev/serial/by-id/${FTDI_NAME}`,
        },
      },
    ])
  })

  it('come and go as they are plugged in and pulled out', async () => {
    start()
    expect(sightings.list()).toEqual([])
    plug('ttyACM0', { idVendor: '2e8a', idProduct: '000a', product: 'Pico' }, 'usb-Pico')
    changed()
    await clock.advance(1000)
    expect(sightings.list().map(({ id, facts }) => [id, facts['behind']])).toEqual([
      ['usb-Pico', 'a micro-controller board, or a device that is one'],
    ])
    unplug('ttyACM0', 'usb-Pico')
    changed()
    await clock.advance(1000)
    expect(sightings.list()).toEqual([])
  })

  it('are found although nothing told of them', async () => {
    start()
    plug('ttyUSB0', FTDI, FTDI_NAME)
    await clock.advance(15_000)
    expect(sightings.list()).toHaveLength(1)
  })

  it('are left out once a device uses them, by whichever name', async () => {
    plug('ttyUSB0', FTDI, FTDI_NAME)
    start()
    expect(sightings.list()).toHaveLength(1)
    used = [{ tcp: { host: 'plc' } }, { rtu: { port: '/dev/ttyUSB0', baud: 9600 }, unit: 3 }]
    await clock.advance(15_000)
    expect(sightings.list()).toEqual([])
    used = [{ rtu: { port: `/dev/serial/by-id/${FTDI_NAME}` } }]
    await clock.advance(15_000)
    expect(sightings.list()).toEqual([])
    used = []
    await clock.advance(15_000)
    expect(sightings.list()).toHaveLength(1)
  })

  it('have a name of their own where two of them say the same, and none of the maker', () => {
    plug('ttyUSB0', { idVendor: '1a86', idProduct: '7523' })
    plug('ttyUSB1', { idVendor: '1a86', idProduct: '7523', product: `${'x'.repeat(5000)}\u0007` })
    start()
    expect(sightings.list().map(({ id, name }) => [id, name?.length])).toEqual([
      ['/dev/ttyUSB1', 128],
      ['/dev/ttyUSB0', undefined],
    ])
  })

  it('are not looked for outside of sys, wherever a link leads', () => {
    plug('ttyUSB0', FTDI)
    write('elsewhere/idVendor', '1234')
    mkdirSync(join(root, 'elsewhere/a'))
    mkdirSync(join(root, 'sys/class/tty/ttyUSB7'))
    link('sys/class/tty/ttyUSB7/device', join(root, 'elsewhere/a'))
    expect(usbAdapters(root).map(({ port }) => port)).toEqual(['/dev/ttyUSB0'])
    expect(usbAdapters(join(root, 'no-such-folder'))).toEqual([])
  })

  it('with the chip of an adapter may be radios, which only their names tell', () => {
    const cp210x = { vendorId: '10C4', productId: 'EA60', vendor: 'ITEAD' }
    expect(guessBehind({ ...cp210x, product: 'Sonoff Zigbee 3.0 USB Dongle Plus' }).what).toBe('a Zigbee radio')
    expect(guessBehind({ ...cp210x, product: 'CP2102N' }).what).toContain('a serial line')
    expect(guessBehind({ vendorId: '2c7c', productId: '0125', vendor: 'Quectel', product: 'EC25' }).what).toBe(
      'a mobile modem',
    )
    expect(guessBehind({ vendorId: 'ffff', productId: 'ffff', vendor: undefined, product: undefined }).what).toContain(
      'serial line',
    )
  })
})
