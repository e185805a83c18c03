/** CRC-16/MODBUS: polynomial 0xA001 reflected, start 0xFFFF (serial line specification V1.02, section 6.2.2). */
const crcTable = new Uint16Array(256)
for (let byte = 0; byte < 256; byte++) {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1
  crcTable[byte] = crc
}

/** The CRC of `bytes[start, end)`; on the wire its low byte goes first. */
export function crc16(bytes: Uint8Array, start: number, end: number): number {
  let crc = 0xffff
  for (let at = start; at < end; at++) crc = (crc >> 8) ^ crcTable[(crc ^ bytes[at]!) & 0xff]!
  return crc
}

/** Longitudinal check of ASCII frames: the two's complement of the sum of the bytes (section 6.2.1). */
export function lrc8(bytes: Uint8Array, start: number, end: number): number {
  let sum = 0
  for (let at = start; at < end; at++) sum += bytes[at]!
  return -sum & 0xff
}
