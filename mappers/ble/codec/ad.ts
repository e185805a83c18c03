import { shortUuid } from './uuid.ts'

/** What one advertisement (and its scan response) says, as far as it could be read. */
export interface Advertised {
  /** Data of every manufacturer structure, company identifier (two bytes, lowest first) included. */
  readonly manufacturer: readonly Uint8Array[]
  /** `uuid` as `shortUuid` writes it; `data` without the UUID. */
  readonly serviceData: readonly { readonly uuid: string; readonly data: Uint8Array }[]
  readonly serviceUuids: readonly string[]
  readonly name?: string
  readonly txPowerDbm?: number
}

/** AD types of the Bluetooth Assigned Numbers, section 2.3. */
const AD = {
  uuids16: [0x02, 0x03],
  uuids32: [0x04, 0x05],
  uuids128: [0x06, 0x07],
  name: [0x08, 0x09],
  txPower: 0x0a,
  serviceData16: 0x16,
  serviceData32: 0x20,
  serviceData128: 0x21,
  manufacturer: 0xff,
} as const

const MAX_STRUCTURES = 64
const utf8 = new TextDecoder('utf-8')

/**
 * Reads AD structures (Bluetooth Core 5.4, Vol 3 Part C, 11). Never throws: a structure that is cut off or too short
 * for its type is left out, and everything before it counts.
 */
export function parseAdvertised(bytes: Uint8Array): Advertised {
  const manufacturer: Uint8Array[] = []
  const serviceData: { uuid: string; data: Uint8Array }[] = []
  const serviceUuids: string[] = []
  let name: string | undefined
  let txPowerDbm: number | undefined
  let at = 0
  for (let count = 0; count < MAX_STRUCTURES && at < bytes.length; count++) {
    const length = bytes[at]!
    if (length === 0 || at + 1 + length > bytes.length) break
    const type = bytes[at + 1]!
    const data = bytes.subarray(at + 2, at + 1 + length)
    at += 1 + length
    if (type === AD.manufacturer) {
      if (data.length >= 2) manufacturer.push(data)
    } else if (type === AD.serviceData16) takeServiceData(serviceData, data, 2)
    else if (type === AD.serviceData32) takeServiceData(serviceData, data, 4)
    else if (type === AD.serviceData128) takeServiceData(serviceData, data, 16)
    else if (type === AD.name[0] || type === AD.name[1]) name = utf8.decode(data)
    else if (type === AD.txPower && data.length === 1) txPowerDbm = (data[0]! << 24) >> 24
    else if (type === AD.uuids16[0] || type === AD.uuids16[1]) takeUuids(serviceUuids, data, 2)
    else if (type === AD.uuids32[0] || type === AD.uuids32[1]) takeUuids(serviceUuids, data, 4)
    else if (type === AD.uuids128[0] || type === AD.uuids128[1]) takeUuids(serviceUuids, data, 16)
  }
  return {
    manufacturer,
    serviceData,
    serviceUuids,
    ...(name === undefined ? {} : { name }),
    ...(txPowerDbm === undefined ? {} : { txPowerDbm }),
  }
}

function takeServiceData(into: { uuid: string; data: Uint8Array }[], data: Uint8Array, width: number): void {
  if (data.length >= width) into.push({ uuid: uuidOf(data, 0, width), data: data.subarray(width) })
}

function takeUuids(into: string[], data: Uint8Array, width: number): void {
  for (let at = 0; at + width <= data.length; at += width) into.push(uuidOf(data, at, width))
}

function uuidOf(data: Uint8Array, at: number, width: number): string {
  let text = ''
  for (let i = width - 1; i >= 0; i--) text += data[at + i]!.toString(16).padStart(2, '0')
  return shortUuid(text)
}
