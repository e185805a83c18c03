const loaderBytes = 252

/**
 * The RP2040's boot ROM runs the first 252 bytes of the flash only if the CRC-32 behind them fits: polynomial 0x04C11DB7,
 * most significant bit first, start 0xFFFFFFFF, nothing inverted at the end (RP2040 datasheet, section 2.8.1.3.1).
 */
export function addStage2Checksum(image: Uint8Array): Uint8Array {
  const out = Uint8Array.from(image)
  new DataView(out.buffer).setUint32(loaderBytes, crc32Mpeg(out.subarray(0, loaderBytes)), true)
  return out
}

export function crc32Mpeg(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte << 24
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1
  }
  return crc >>> 0
}
