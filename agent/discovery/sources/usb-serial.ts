import { type FSWatcher, readdirSync, readFileSync, realpathSync, watch } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Timer } from '../../../api/clock.ts'
import type { Json } from '../../../api/resources.ts'
import type { Sighting } from '../../../mappers/sdk/mapper.ts'
import type { SourceHost } from './source.ts'
import { guessBehind } from './usb-products.ts'

/** No protocol of ours: an adapter is not a device, what is behind it may be some. */
export const USB_PROTOCOL = 'usb-serial'

/** udev makes the lasting name a moment after the port. */
const SETTLE_MS = 1000
/** For what no event told: a port that a device came to use, a folder that cannot be watched. */
const LOOK_EVERY_MS = 15_000
const MAX_ADAPTERS = 64
const MAX_ATTRIBUTE = 128

export interface UsbSystem {
  /** Holds `dev` and `sys`; another folder in tests. */
  readonly root: string
  /** Calls back when something in the folder came or went. @throws when the folder cannot be watched. */
  watch(folder: string, onChange: () => void): Disposable
}

const linux: UsbSystem = {
  root: '/',
  watch(folder, onChange) {
    const watcher: FSWatcher = watch(folder, { persistent: false }, (_event, name) => {
      // Everything else in /dev comes and goes without being of interest.
      if (name === null || /^(tty|serial)/.test(name)) onChange()
    })
    watcher.on('error', () => watcher.close())
    return { [Symbol.dispose]: () => watcher.close() }
  },
}

/** Serial ports on USB, each told once and again when it changes; withdrawn when it is pulled out or comes into use. */
export function watchUsbSerial(host: SourceHost, system: UsbSystem = linux): AsyncDisposable {
  const told = new Map<string, string>()
  let soon: Timer | undefined
  let next: Timer | undefined
  let watching: Disposable | undefined
  const look = () => {
    soon?.cancel()
    soon = undefined
    next?.cancel()
    next = host.clock.after(LOOK_EVERY_MS, look, true)
    const used = portsInUse(host.addresses(), system.root)
    const free = usbAdapters(system.root).filter(({ port }) => !used.has(port))
    const sightings = free.map((adapter) => sightingOf(adapter, host.clock.now()))
    const ids = new Set(sightings.map(({ id }) => id))
    const gone = [...told.keys()].filter((id) => !ids.has(id))
    for (const id of gone) told.delete(id)
    if (gone.length > 0) host.withdrawn(USB_PROTOCOL, gone)
    for (const { id, facts } of sightings) told.set(id, JSON.stringify(facts))
    if (sightings.length > 0) host.sighted(USB_PROTOCOL, sightings)
  }
  try {
    watching = system.watch(join(system.root, 'dev'), () => {
      soon ??= host.clock.after(SETTLE_MS, look, true)
    })
  } catch {
    // Then the regular look has to do.
  }
  look()
  return {
    async [Symbol.asyncDispose]() {
      soon?.cancel()
      next?.cancel()
      watching?.[Symbol.dispose]()
    },
  }
}

/** One serial port of one adapter. */
export interface UsbAdapter {
  /** `/dev/ttyUSB0`, without the root. */
  readonly port: string
  /** The same by a name that survives re-plugging: from by-id, or else by-path. */
  readonly lasting: string | undefined
  /** Four hexadecimal digits each. */
  readonly vendorId: string
  readonly productId: string
  readonly vendor: string | undefined
  readonly product: string | undefined
  readonly serial: string | undefined
}

/** The serial ports on USB that are plugged in now, by port. */
export function usbAdapters(root = '/'): readonly UsbAdapter[] {
  const lasting = new Map([...namesIn(root, 'by-path'), ...namesIn(root, 'by-id')])
  return list(join(root, 'sys/class/tty'))
    .filter((name) => /^tty(USB|ACM)\d{1,5}$/.test(name))
    .slice(0, MAX_ADAPTERS)
    .flatMap((name) => {
      const usb = usbFolder(join(root, 'sys/class/tty', name, 'device'), root)
      if (usb === undefined) return []
      return [
        {
          port: `/dev/${name}`,
          lasting: lasting.get(name),
          vendorId: attribute(usb, 'idVendor') ?? '',
          productId: attribute(usb, 'idProduct') ?? '',
          vendor: attribute(usb, 'manufacturer'),
          product: attribute(usb, 'product'),
          serial: attribute(usb, 'serial'),
        },
      ]
    })
    .sort((a, b) => (a.port < b.port ? -1 : 1))
}

function sightingOf({ port, lasting, ...usb }: UsbAdapter, atMs: number): Sighting {
  const path = lasting ?? port
  const behind = guessBehind(usb)
  const name = [usb.vendor, usb.product].filter((word) => word !== undefined).join(' ')
  const facts = {
    ...{ port, path: lasting, vendor: usb.vendor, product: usb.product, serial: usb.serial },
    usb: `${usb.vendorId}:${usb.productId}`,
    behind: behind.what,
    next: behind.next(path),
  }
  return {
    id: lasting === undefined ? port : basename(lasting),
    address: { port: path },
    ...(name === '' ? {} : { name }),
    candidates: [],
    facts: Object.fromEntries(Object.entries(facts).filter((fact): fact is [string, string] => fact[1] !== undefined)),
    atMs,
  }
}

/** Lasting names of ports: `ttyUSB0` to `/dev/serial/by-id/...`. */
function namesIn(root: string, kind: 'by-id' | 'by-path'): (readonly [string, string])[] {
  const folder = join(root, 'dev/serial', kind)
  return list(folder).flatMap((name) => {
    const real = realPath(join(folder, name))
    return real === undefined ? [] : [[basename(real), `/dev/serial/${kind}/${name}`] as const]
  })
}

/** The folder of the USB device that a port belongs to: the first above it that has a vendor. */
function usbFolder(device: string, root: string): string | undefined {
  const top = realPath(join(root, 'sys'))
  let folder = realPath(device)
  for (let level = 0; folder !== undefined && top !== undefined && level < 8; level++) {
    if (!folder.startsWith(`${top}/`)) return undefined
    if (attribute(folder, 'idVendor') !== undefined) return folder
    folder = dirname(folder)
  }
  return undefined
}

/** Ports that configured devices name anywhere in their addresses, by their kernel's name. */
function portsInUse(addresses: Iterable<Json>, root: string): ReadonlySet<string> {
  const ports = new Set<string>()
  const visit = (value: Json) => {
    if (typeof value === 'string') {
      if (value.startsWith('/dev/')) ports.add(`/dev/${basename(realPath(join(root, value)) ?? value)}`)
    } else if (typeof value === 'object' && value !== null) Object.values(value).forEach(visit)
  }
  for (const address of addresses) visit(address)
  return ports
}

/** What a device says of itself is bytes of its maker: no control characters, not too many. */
function attribute(folder: string, name: string): string | undefined {
  try {
    const text = readFileSync(join(folder, name), 'utf8').replaceAll(/[\p{Cc}\p{Cf}]/gu, ' ')
    const trimmed = text.trim().slice(0, MAX_ATTRIBUTE)
    return trimmed === '' ? undefined : trimmed
  } catch {
    return undefined
  }
}

function list(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort()
  } catch {
    return []
  }
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch {
    return undefined
  }
}
