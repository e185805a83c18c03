import { type DbusValue, Variant } from './dbus-values.ts'

/** Names of BlueZ's D-Bus interface (doc/adapter-api.txt, device-api.txt, gatt-api.txt, agent-api.txt of BlueZ 5). */
export const BLUEZ = 'org.bluez'
export const ADAPTER = 'org.bluez.Adapter1'
export const DEVICE = 'org.bluez.Device1'
export const SERVICE = 'org.bluez.GattService1'
export const CHARACTERISTIC = 'org.bluez.GattCharacteristic1'
export const AGENT = 'org.bluez.Agent1'
export const AGENT_MANAGER = 'org.bluez.AgentManager1'
export const PROPERTIES = 'org.freedesktop.DBus.Properties'
export const OBJECT_MANAGER = 'org.freedesktop.DBus.ObjectManager'

/** Properties of one interface, variants unpacked. */
export type Properties = ReadonlyMap<string, DbusValue>
/** Interfaces of one object, by name. */
export type Interfaces = ReadonlyMap<string, Properties>

const unpacked = (value: DbusValue): DbusValue => (value instanceof Variant ? unpacked(value.value) : value)

export function propertiesOf(value: DbusValue | undefined): Properties {
  const found = new Map<string, DbusValue>()
  if (value instanceof Map) for (const [name, one] of value) found.set(String(name), unpacked(one))
  return found
}

export function interfacesOf(value: DbusValue | undefined): Interfaces {
  const found = new Map<string, Properties>()
  if (value instanceof Map) for (const [name, one] of value) found.set(String(name), propertiesOf(one))
  return found
}

/** What `GetManagedObjects` says, by path. */
export function objectsOf(value: DbusValue | undefined): ReadonlyMap<string, Interfaces> {
  const found = new Map<string, Interfaces>()
  if (value instanceof Map) for (const [path, one] of value) found.set(String(path), interfacesOf(one))
  return found
}

/** Bytes by key of `ManufacturerData` (company number) or `ServiceData` (UUID). */
export function bytesByKey(value: DbusValue | undefined): ReadonlyMap<string, Uint8Array> | undefined {
  if (!(value instanceof Map)) return undefined
  const found = new Map<string, Uint8Array>()
  for (const [key, one] of value) {
    const bytes = unpacked(one)
    if (bytes instanceof Uint8Array) found.set(String(key), bytes)
  }
  return found
}

export const devicePath = (adapterPath: string, mac: string): string =>
  `${adapterPath}/dev_${mac.toUpperCase().replaceAll(':', '_')}`

/** Address in the path of a device or of anything below it; undefined for other objects. */
export const macOfPath = (path: string): string | undefined =>
  /\/dev_([0-9A-F]{2}(?:_[0-9A-F]{2}){5})(?:\/|$)/.exec(path)?.[1]?.replaceAll('_', ':')
