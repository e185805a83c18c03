import { encodeAdvertised } from '../codec/ad-encode.ts'
import { shortUuid } from '../codec/uuid.ts'
import type { Heard } from '../transport.ts'
import type { DbusValue } from './dbus-values.ts'
import { bytesByKey, macOfPath, type Properties } from './names.ts'

/** Devices remembered: BlueZ forgets those it has not heard for half a minute. The one heard longest ago goes first. */
const REMEMBERED = 4096
const NOT_MEASURED = 127

type Data = ReadonlyMap<string, Uint8Array>

interface Known {
  readonly mac: string
  random: boolean
  name: string | undefined
  manufacturer: Data
  services: Data
}

const NONE: Data = new Map()

/**
 * What BlueZ says of devices, turned back into advertisements. BlueZ merges the frames of a device and tells the merged
 * data again with every frame; only what is new of it was in the frame just heard.
 */
export class BluezDevices {
  readonly #known = new Map<string, Known>()
  readonly #hear: (heard: Heard) => void

  constructor(hear: (heard: Heard) => void) {
    this.#hear = hear
  }

  get remembered(): number {
    return this.#known.size
  }

  removed(path: string): void {
    this.#known.delete(path)
  }

  /** What was known when we came: nothing of it was heard just now. */
  learn(path: string, properties: Properties): void {
    this.#update(path, properties)
  }

  /** BlueZ made an object for a device, or told of changes of one: heard, if a signal strength or data is among them. */
  told(path: string, properties: Properties): void {
    const before = this.#known.get(path)
    const old = { manufacturer: before?.manufacturer ?? NONE, services: before?.services ?? NONE }
    const known = this.#update(path, properties)
    const rssi = properties.get('RSSI')
    const hasData = properties.has('ManufacturerData') || properties.has('ServiceData')
    if (known === undefined || (typeof rssi !== 'number' && !hasData)) return
    const manufacturer = properties.has('ManufacturerData') ? fresh(known.manufacturer, old.manufacturer) : NONE
    const services = properties.has('ServiceData') ? fresh(known.services, old.services) : NONE
    const isNamed = properties.has('Name')
    this.#hear({
      mac: known.mac,
      random: known.random,
      // BlueZ does not say, and refuses itself to connect where that is not possible.
      connectable: true,
      rssiDbm: strengthOf(rssi),
      data: encodeAdvertised({
        manufacturer: [...manufacturer].map(([company, data]) => withCompany(Number(company), data)),
        serviceData: [...services].map(([uuid, data]) => ({ uuid: shortUuid(uuid), data })),
        serviceUuids: [],
        ...(isNamed && known.name !== undefined ? { name: known.name } : {}),
      }),
    })
  }

  #update(path: string, properties: Properties): Known | undefined {
    const known = this.#known.get(path) ?? fromPath(path)
    if (known === undefined) return undefined
    const random: DbusValue | undefined = properties.get('AddressType')
    const name = properties.get('Name')
    if (random !== undefined) known.random = random === 'random'
    if (typeof name === 'string') known.name = name
    known.manufacturer = bytesByKey(properties.get('ManufacturerData')) ?? known.manufacturer
    known.services = bytesByKey(properties.get('ServiceData')) ?? known.services
    this.#known.delete(path)
    this.#known.set(path, known)
    if (this.#known.size > REMEMBERED) this.#known.delete(this.#known.keys().next().value ?? '')
    return known
  }
}

/** Undefined where the controller does not measure it (Bluetooth Core 5.4, Vol 4 Part E 7.7.65.2): BlueZ passes 127 on. */
export const strengthOf = (rssi: DbusValue | undefined): number | undefined =>
  typeof rssi === 'number' && rssi < NOT_MEASURED ? rssi : undefined

function fromPath(path: string): Known | undefined {
  const mac = macOfPath(path)
  if (mac === undefined || path.endsWith('/')) return undefined
  return { mac, random: false, name: undefined, manufacturer: NONE, services: NONE }
}

/** Entries that are not as before; all of them where none changed, because then the frame was a repetition. */
function fresh(now: Data, before: Data): Data {
  if (now.size <= 1) return now
  const changed = [...now].filter(([key, data]) => {
    const old = before.get(key)
    return old === undefined || Buffer.compare(old, data) !== 0
  })
  return changed.length === 0 ? now : new Map(changed)
}

const withCompany = (company: number, data: Uint8Array): Uint8Array =>
  Uint8Array.of(company & 0xff, company >> 8, ...data)
