import type { Heard } from '../transport.ts'

/** H4 event packet, LE meta event, LE Advertising Report or LE Extended Advertising Report. */
const EVENT = 0x04
const LE_META = 0x3e
const LEGACY = 0x02
const EXTENDED = 0x0d
const EXTENDED_HEADER = 24
/** "RSSI is not available" (Bluetooth Core 5.4, Vol 4 Part E, 7.7.65.2). */
const NO_RSSI = 127
const MAX_REPORTS = 25

export const isAdvertisingReport = (packet: Uint8Array): boolean =>
  packet[0] === EVENT && packet[1] === LE_META && (packet[3] === LEGACY || packet[3] === EXTENDED)

/** Reads the reports of one packet, type byte included. What is cut off is left out; never throws. */
export function readReports(packet: Uint8Array, hear: (heard: Heard) => void): void {
  const count = Math.min(MAX_REPORTS, packet[4] ?? 0)
  let at = 5
  for (let report = 0; report < count; report++) {
    const size = packet[3] === LEGACY ? readLegacy(packet, at, hear) : readExtended(packet, at, hear)
    if (size === undefined) return
    at += size
  }
}

/** Type, address type, address, length, data, RSSI (7.7.65.2). */
function readLegacy(packet: Uint8Array, at: number, hear: (heard: Heard) => void): number | undefined {
  const length = packet[at + 8]
  if (length === undefined || at + 10 + length > packet.length) return undefined
  const type = packet[at]!
  hear({
    mac: macAt(packet, at + 2),
    random: (packet[at + 1]! & 1) === 1,
    // 0 ADV_IND and 1 ADV_DIRECT_IND; a scan response (4) says nothing of it.
    connectable: type <= 1,
    rssiDbm: rssiOf(packet[at + 9 + length]!),
    data: packet.subarray(at + 9, at + 9 + length),
  })
  return 10 + length
}

/** 7.7.65.13: event type (2), address type, address, PHYs (2), SID, TX power, RSSI, interval (2), direct (7), length. */
function readExtended(packet: Uint8Array, at: number, hear: (heard: Heard) => void): number | undefined {
  const length = packet[at + EXTENDED_HEADER - 1]
  if (length === undefined || at + EXTENDED_HEADER + length > packet.length) return undefined
  hear({
    mac: macAt(packet, at + 3),
    random: (packet[at + 2]! & 1) === 1,
    connectable: (packet[at]! & 1) === 1,
    rssiDbm: rssiOf(packet[at + 13]!),
    data: packet.subarray(at + EXTENDED_HEADER, at + EXTENDED_HEADER + length),
  })
  return EXTENDED_HEADER + length
}

const rssiOf = (byte: number): number | undefined => (byte === NO_RSSI ? undefined : (byte << 24) >> 24)

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0').toUpperCase())

const macAt = (packet: Uint8Array, at: number): string =>
  `${HEX[packet[at + 5]!]}:${HEX[packet[at + 4]!]}:${HEX[packet[at + 3]!]}:${HEX[packet[at + 2]!]}:${HEX[packet[at + 1]!]}:${HEX[packet[at]!]}`
