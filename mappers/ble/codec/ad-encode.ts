import type { Advertised } from './ad.ts'

/** Writes AD structures; what is too long for one structure is left out. */
export function encodeAdvertised(advertised: Advertised): Uint8Array {
  const parts: Uint8Array[] = []
  const put = (type: number, data: Uint8Array) => {
    if (data.length <= 254) parts.push(Uint8Array.of(data.length + 1, type), data)
  }
  for (const data of advertised.manufacturer) put(0xff, data)
  for (const { uuid, data } of advertised.serviceData) {
    const bytes = uuidBytes(uuid)
    put(bytes.length === 2 ? 0x16 : bytes.length === 4 ? 0x20 : 0x21, Buffer.concat([bytes, data]))
  }
  for (const uuid of advertised.serviceUuids) {
    const bytes = uuidBytes(uuid)
    put(bytes.length === 2 ? 0x03 : bytes.length === 4 ? 0x05 : 0x07, bytes)
  }
  if (advertised.name !== undefined) put(0x09, Buffer.from(advertised.name, 'utf8'))
  if (advertised.txPowerDbm !== undefined) put(0x0a, Uint8Array.of(advertised.txPowerDbm & 0xff))
  return Buffer.concat(parts)
}

const uuidBytes = (uuid: string): Uint8Array => Uint8Array.from(Buffer.from(uuid, 'hex')).reverse()
